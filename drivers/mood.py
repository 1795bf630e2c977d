"""Moods: a look of the face and a bearing of the head, with a strength, under the lips that speak.

The looks follow the action units of Ekman and Friesen's prototypes (EMFACS: happiness 6+12, sadness 1+4+15, surprise
1+2+5+26, anger 4+5+7+23, fear 1+2+4+5+20, disgust 9+15), at the size a person in conversation shows them. Speech keeps
its lips: while it lasts the mouth's share is smaller, what would part the lips counts only as far as speech has parted
them, and round vowels stay round.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from drivers.speech.articulation import aperture
from models.motion import FACE_GROUP, GROUP, HEAD, JOINT, NECK, A, Motion, compose_rotations

F32 = NDArray[np.float32]

FADE = 0.6  # s from one mood to the next
SPEAKING = 0.65  # share of the mouth's look that is kept while it speaks
APART = 0.12  # aperture of the speaking mouth from which a look may open it as well
KEPT = 4096  # changes that are remembered


@dataclass(frozen=True)
class Mood:
    name: str
    strength: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in MOODS:
            raise ValueError(f"there is no mood {self.name[:40]!r}; there are {', '.join(MOODS)}")
        if not (math.isfinite(self.strength) and 0 <= self.strength <= 1):
            raise ValueError(f"a mood's strength is {self.strength:g}; it must lie between 0 and 1")


@dataclass(frozen=True)
class _Look:
    face: Mapping[str, float]  # ARKit coefficients; a name without a side stands for Left and Right
    pitch: float = 0.0  # degrees of the head, down
    tilt: float = 0.0  # degrees, to the person's right
    chest: float = 0.0  # degrees that the chest bends forwards


# takes away what is left of a photo's smile: at -1 nothing of what an avatar's neutral face holds (avatar/rig.py)
UNSMILING = {"mouthSmile": -1.0, "mouthDimple": -1.0, "mouthStretch": -1.0, "cheekSquint": -1.0, "noseSneer": -1.0}
KEPT_SMILE = 0.3  # of it, in the neutral mood: a face at rest may be friendly

MOODS: dict[str, _Look] = {
    "neutral": _Look({name: value * (1 - KEPT_SMILE) for name, value in UNSMILING.items()}),
    "happy": _Look(
        {"mouthSmile": 0.68, "cheekSquint": 0.55, "eyeSquint": 0.28, "mouthDimple": 0.12, "browInnerUp": 0.06,
         "browOuterUp": 0.08}, -1.5, 1.5, -0.5,
    ),
    "sad": _Look(
        UNSMILING | {"browInnerUp": 0.80, "browDown": 0.10, "mouthFrown": 0.60, "mouthShrugLower": 0.18,
         "eyeSquint": 0.10, "eyeBlink": 0.12}, 4.0, 2.0, 2.0,
    ),
    "angry": _Look(
        UNSMILING | {"browDown": 0.95, "eyeSquint": 0.35, "noseSneer": 0.32, "mouthPress": 0.30, "mouthFrown": 0.25},
        2.5, 0.0, 1.0,
    ),
    "surprised": _Look(
        UNSMILING | {"browInnerUp": 0.70, "browOuterUp": 0.75, "eyeWide": 0.70, "jawOpen": 0.17, "mouthFunnel": 0.10},
        -2.5, 0.0, -1.5,
    ),
    "afraid": _Look(
        UNSMILING | {"browInnerUp": 0.80, "browOuterUp": 0.25, "browDown": 0.20, "eyeWide": 0.60, "mouthStretch": 0.45,
         "mouthFrown": 0.12}, -1.0, 0.0, -1.0,
    ),
    "disgusted": _Look(
        UNSMILING | {"noseSneer": 0.80, "browDown": 0.55, "cheekSquint": 0.30, "eyeSquint": 0.30, "mouthFrown": 0.32,
         "mouthUpperUp": 0.10}, -1.5, -1.5, -1.0,
    ),
}  # fmt: skip

NEUTRAL = Mood("neutral")
_MOUTH = GROUP["mouth"] == FACE_GROUP
_JOINTS = [NECK, HEAD, JOINT["spine3"]]
_FACE, _BEARING = ([GROUP[g] for g in names] for names in (("mouth", "brows", "lids"), ("head", "torso")))


def _indices(*names: str) -> list[int]:
    return [i for n in names for i in ([A[n]] if n in A else [A[n + "Left"], A[n + "Right"]])]


_OPENING = _indices("jawOpen", "mouthUpperUp", "mouthLowerDown", "mouthFunnel", "mouthShrugUpper")
_WIDENING = _indices("mouthSmile", "mouthStretch", "mouthDimple")
_ROUND = _indices("mouthPucker", "mouthFunnel")


def look(mood: Mood) -> F32:
    """(55,) of a mood at its strength: 52 coefficients, then pitch and tilt of the head, bend of the chest in rad."""
    wanted = MOODS[mood.name]
    out = np.zeros(len(FACE_GROUP) + 3, np.float32)
    for name, value in wanted.face.items():
        out[_indices(name)] = value
    out[-3:] = np.radians([wanted.pitch, wanted.tilt, wanted.chest])
    return mood.strength * out


def spoken(face: F32, mood: F32) -> F32:
    """A speaking mouth (52,) with a mood's coefficients (52,) under it; shut lips stay shut, no smile comes back."""
    share = np.where(_MOUTH, SPEAKING, 1).astype(np.float32)
    share[_OPENING] *= min(float(aperture(face)) / APART, 1.0)
    share[_WIDENING] *= 1 - float(face[_ROUND].max())
    return _added(face, np.where(mood > 0, mood * share, mood))


def _added(face: F32, more: F32) -> F32:
    return face + more * (1 - face)


def _ease(x: float) -> float:
    x = min(max(x, 0.0), 1.0)
    return x * x * (3 - 2 * x)


class Moods:
    """The moods of a performance on the media clock: the session's own, and those that a text asks for over it.

    Nothing is integrated: a moment's look depends on what was said before it alone. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._own: tuple[tuple[float, F32], ...] = ((-math.inf, look(NEUTRAL)),)
        self._asked: tuple[tuple[float, F32 | None], ...] = ()  # None: the session's own again
        self.mood = NEUTRAL

    def set(self, mood: Mood, time: float) -> None:
        """The session's own mood from media time `time` on."""
        with self._lock:
            self.mood = mood
            self._own = (*self._own[-KEPT:], (time, look(mood)))

    def ask(self, mood: Mood | None, time: float) -> None:
        """A text's mood from media time `time` on; None: the session's own."""
        with self._lock:
            if mood is not None or (self._asked and self._asked[-1][1] is not None):
                self._asked = (*self._asked[-KEPT:], (time, None if mood is None else look(mood)))

    def cut(self, time: float) -> None:
        """Forget what texts ask for after media time `time`, and come back to the session's own mood."""
        with self._lock:
            self._asked = tuple(a for a in self._asked if a[0] <= time)
        self.ask(None, time)

    def at(self, time: float) -> F32:
        """(55,) as `look`."""
        own, asked = self._own, self._asked
        value = np.zeros(len(FACE_GROUP) + 3, np.float32)
        for start, target in own[_settled(own, time) :]:
            value = value + (target - value) * _ease((time - start) / FADE)
        base = value
        for start, wanted in asked[_settled(asked, time) :]:
            target = base if wanted is None else wanted
            value = value + (target - value) * _ease((time - start) / FADE)
        return value


def _settled(changes: Sequence[tuple[float, object]], time: float) -> int:
    """The last change that is over by a time; those before it do not matter any more."""
    return next((i for i in range(len(changes) - 1, -1, -1) if changes[i][0] <= time - FADE), 0)


def onto(motion: Motion, mood: F32) -> Motion:
    """A quiet face in a mood (55,), whole: brows, lids, mouth, head and chest."""
    pose, weight = motion.pose, motion.weight.copy()
    if mood[-3:].any():
        head, chest = np.array([mood[-3], 0.0, mood[-2]], np.float32), np.array([mood[-1], 0.0, 0.0], np.float32)
        pose = pose.copy()
        pose[_JOINTS] = compose_rotations(pose[_JOINTS], np.stack([0.4 * head, 0.6 * head, chest]))
        weight[_BEARING] = 1
    weight[_FACE] = 1
    return replace(motion, pose=pose, face=_added(motion.face, mood[:-3]), weight=weight)


def under(lips: Motion, mood: F32) -> Motion:
    """A speaking mouth with a mood under it; the other groups are left to the layer below."""
    face = np.where(_MOUTH, spoken(lips.face, mood[:-3]), lips.face).astype(np.float32)
    return replace(lips, face=face)
