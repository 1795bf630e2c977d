"""All that moves an avatar besides its lips, from one seed: rest, attention, moods, and what speech does to the body.

Live and offline alike: a moment depends on what was said and set before it, never on when that was computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drivers import mood
from drivers.attention import Attention
from drivers.gesture import AT_FACE, FREE, Arms, Gesture, RecordedGestures
from drivers.gesture_model import GestureModel
from drivers.gesture_style import style as style_of
from drivers.idle import Idle, Style
from drivers.mood import Mood, Moods
from drivers.prosody import Prosody
from models.motion import HEAD, JOINTS, LEFT_EYE, N_JOINTS, RIGHT_EYE, Motion, matrix_from_axis_angle

if TYPE_CHECKING:
    from avatar.asset import Avatar

THINKS_AFTER = 0.25  # s that an answer may take before the eyes leave for it
LISTENS_AFTER = 1.2  # s of a quiet microphone after which its speaker listens
LISTENS_ON = 6.0  # s that one who was interrupted listens
MOOD_LEAD, MOOD_AFTER = 0.25, 0.7  # s that a text's mood comes before its sentence, and stays after the last
NEAR_FACE = 0.22  # m from a joint of the hand to the head's or an eye's
USUAL = 1.0


def arms_of(avatar: Avatar) -> Arms:
    """What a gesture driver is to know of an avatar."""
    from avatar.limbs import Limbs

    limbs = Limbs(avatar)
    free = ((-np.inf, np.inf),) * 3
    reach = np.array([limbs.limits.get(name, free) for name in JOINTS])
    left, right = (_kind(avatar, limbs.kind[side], side) for side in ("left", "right"))
    return Arms(limbs.photo, left, right, limbs.frames, reach)


def _kind(avatar: Avatar, kind: str, side: str) -> str:
    """A beat of an arm whose hand is at the face would cover it, or go through it."""
    near = at_face(avatar.photo.pose, avatar.mesh.joints, avatar.mesh.parents, side)
    return AT_FACE if kind == FREE and near else kind


def at_face(pose: NDArray, joints: NDArray, parents: NDArray, side: str) -> bool:
    """Is a hand within NEAR_FACE of the face, in a pose (55, 3) of joints at rest (55, 3) m?"""
    rest, turns, place = joints.astype(np.float64), matrix_from_axis_angle(pose), np.zeros((N_JOINTS, 3))
    for j, parent in enumerate(parents):
        if parent >= 0:
            turns[j] = turns[parent] @ turns[j]
            place[j] = place[parent] + turns[parent] @ (rest[j] - rest[parent])
    hand = [j for j, name in enumerate(JOINTS) if name.startswith(side) and (j >= 25 or "wrist" in name)]
    face = place[[HEAD, LEFT_EYE, RIGHT_EYE]]
    return bool(np.linalg.norm(place[hand][:, None] - face[None], axis=2).min() < NEAR_FACE)


class Life:
    """One performance's. Settings may be changed from any thread while it runs."""

    def __init__(self, seed: int = 0, arms: Arms | None = None, model: GestureModel | None = None) -> None:
        """model: gestures to whole sentences in the bank's place; performances may share it."""
        self.attention, self.moods, self.prosody = Attention(seed), Moods(), Prosody(seed)
        self.idle = Idle(seed, attention=self.attention)
        self.gesture: Gesture | RecordedGestures = Gesture(
            arms or Arms(np.zeros((N_JOINTS, 3), np.float32)), self.prosody, seed
        )
        self._model = model
        if model is not None:
            self.gesture = RecordedGestures(otherwise=self.gesture)
        self.gestures = self.liveliness = USUAL
        self._asked = False  # a state was asked for, and lasts until something is said
        self._quiet = 0.0  # s that the microphone has been quiet for

    def motion(self, time: float) -> Motion:
        """Everything but speaking lips."""
        motion = self.idle.motion(time)
        motion = mood.onto(motion, self.moods.at(time))
        return self.gesture.onto(self.prosody.onto(motion))

    def under(self, lips: Motion) -> Motion:
        """Speaking lips with the mood of their moment."""
        return mood.under(lips, self.moods.at(lips.time))

    # ---- settings -------------------------------------------------------------------------------------------

    def set_gestures(self, strength: float) -> None:
        """Nods, brows and hands that go with speech, 0 to 1.5. Raises ValueError."""
        self.prosody.set_strength(strength)
        self.gesture.set_strength(strength)
        self.gestures = strength

    def set_style(self, name: str) -> None:
        """One of gesture_style.STYLES, of the accents that are heard from now on. Raises ValueError."""
        self.prosody.style = style_of(name)

    @property
    def style(self) -> str:
        return self.prosody.style.name

    def set_liveliness(self, liveliness: float) -> None:
        """Blinks, gaze, breath and sway, 0 to 1.5. Raises ValueError."""
        self.idle.style = Style.of(liveliness)
        self.liveliness = liveliness

    def set_state(self, state: str, time: float) -> None:
        """One of attention.STATES from media time `time` until something is said. Raises ValueError."""
        self.attention.set(state, time)
        self._asked = True

    # ---- what happens ---------------------------------------------------------------------------------------

    def ask_for_gestures(self, samples: NDArray[np.float32], start: float) -> None:
        """A sentence (n,) at 16 kHz that sounds from media time `start` on is shown to the gesture model, if any."""
        recorded = self.gesture
        if self._model is not None and isinstance(recorded, RecordedGestures):
            self._model.ask(samples, lambda track: recorded.add(start, track))

    def hear(
        self, samples: NDArray[np.float32], start: float, begins: bool, ends: bool = False, live: bool = False
    ) -> None:
        """What is being said, (n,) at 16 kHz, in order, the first at media time `start`; live: as it is recorded."""
        self.prosody.push(samples, start, begins, ends, live)

    def expect(self, time: float) -> None:
        """Something is to be said, and is not known yet."""
        if self.attention.state(time) != "thinking":
            self.attention.set("thinking", time + THINKS_AFTER)

    def speak(self, start: float, wanted: Mood | None) -> None:
        """A sentence sounds from media time `start` on, in the mood that its text asks for."""
        self._asked = False
        self.attention.set("idle", start)
        self.moods.ask(wanted, start - MOOD_LEAD)

    def ended(self, time: float) -> None:
        """A text ends at media time `time`."""
        self.moods.ask(None, time + MOOD_AFTER)

    def give_up(self, time: float) -> None:
        """What was expected will not be said."""
        if not self._asked:
            self.attention.set("idle", time)

    def microphone(self, loud: bool, seconds: float, time: float) -> None:
        """A chunk of a live microphone came at media time `time`: who does not speak into it listens."""
        self._quiet = 0.0 if loud else self._quiet + seconds
        if loud:
            self._asked = False
        state = "listening" if self._quiet > LISTENS_AFTER else "idle"
        if not self._asked and self.attention.state(time) != state:
            self.attention.set(state, time)

    def cut(self, time: float) -> None:
        """An interruption: somebody else speaks."""
        self.prosody.cut(time)
        self.moods.cut(time)
        if isinstance(self.gesture, RecordedGestures):
            self.gesture.cut(time)
        self._asked = False
        self.attention.set("listening", time)
        self.attention.set("idle", time + LISTENS_ON)
