"""Co-speech gestures: arms and hands that go along with the accents of what is said, and come back to rest.

A phrase lifts the hands into one of a few held shapes, each accent in it is a small quick beat (McNeill 1992) that
strikes with the stressed vowel (drivers/prosody.py says when, drivers/gesture_style.py how often and with what). Shapes
and beats are turns from where the photo's arms rest, so that they fit arms that hang, are raised or lie on a table, and
small enough not to reach the body. How free an arm is comes with the avatar; an arm that is not does not move at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from drivers.gesture_style import GestureStyle
from drivers.noise import between, sway, uniform
from drivers.prosody import MOST, RISE, Accent, Prosody
from models.motion import GROUP, JOINT, JOINT_GROUP, JOINTS, N_JOINTS, Motion, MotionTrack, compose_rotations

F32 = NDArray[np.float32]
DEGREE = np.pi / 180

LIFT, STAY, SINK = 0.42, 1.15, 0.80  # s: hands go up for the first accent, stay after the last one, sink again
BEAT_DOWN, BEAT_BACK = RISE, 0.34  # s of a beat
SHAPE, HAND, SIZE, DRIFT = range(340, 420, 20)  # streams of the seed
REACH = 0.75  # share of an arm's range that a held shape takes at most
FAINT = 0.25  # share of a phrase's other hand
FINGERS = ("index", "middle", "ring", "pinky")

FREE, FORESHORTENED = "free", "foreshortened"  # an arm that moves wholly, one of which all from the elbow on does
AT_FACE = "at the face"  # one of which wrist and fingers do


@dataclass(frozen=True)
class Stroke:
    """Turns of the left arm from rest, in degrees, in the frame of the bone before; the right arm's mirror them.

    shoulder: forwards, outwards; elbow: bent; wrist: bent back, palm up; curl and spread of the fingers.
    """

    shoulder: tuple[float, float] = (0.0, 0.0)
    elbow: float = 0.0
    wrist: tuple[float, float] = (0.0, 0.0)
    curl: float = 0.0
    spread: float = 0.0

    def pose(self) -> F32:
        """(55, 3) rad."""
        turn = np.zeros((N_JOINTS, 3), np.float32)
        forwards, outwards = self.shoulder
        turn[JOINT["left_shoulder"]] = (-forwards, 0.0, outwards)
        turn[JOINT["left_elbow"]] = (0.0, -self.elbow, 0.0)
        back, up = self.wrist
        turn[JOINT["left_wrist"]] = (up, 0.0, back)
        for place, finger in enumerate(FINGERS):
            for k, share in ((1, 1.0), (2, 0.8), (3, 0.5)):
                turn[JOINT[f"left_{finger}{k}"]] = (0.0, 0.0, -share * self.curl)
            turn[JOINT[f"left_{finger}1"], 1] = (1.2, 0.3, -0.6, -1.4)[place] * self.spread
        return turn * np.float32(DEGREE)


# what a phrase holds its hands in
SHAPES: Mapping[str, Stroke] = {
    "offer": Stroke((5, 3), 16, (4, 16), -8, 3),
    "hold": Stroke((4, 0), 18, (6, 4), 6, 1),
    "open": Stroke((3, 7), 12, (8, 10), -10, 5),
    "pinch": Stroke((5, 1), 20, (8, -4), 16, 0),
}
# what an accent adds for a moment: the forearm drops a little, the hand follows
BEATS: Mapping[str, Stroke] = {
    "drop": Stroke((-2, 0), -7, (-9, 0), -4, 1),
    "chop": Stroke((2, 0), -5, (-4, -5), -2, 0),
    "push": Stroke((5, 2), -4, (10, 0), -6, 3),
    "turn": Stroke((0, 2), -2, (-3, 14), -5, 3),
}
_SHAPE_POSES = {name: s.pose() for name, s in SHAPES.items()}
_BEAT_POSES = {name: s.pose() for name, s in BEATS.items()}
_LEFT = [j for j, name in enumerate(JOINTS) if name.startswith("left_") and (j >= 25 or 16 <= j <= 21)]
_RIGHT = [JOINT[JOINTS[j].replace("left_", "right_")] for j in _LEFT]
_NOTHING = np.zeros(N_JOINTS, np.float32)
_ELBOW, _WRIST, _HAND = 0.25, 0.35, 0.8
_SHARES = {  # of a gesture that each joint makes
    FREE: np.ones(N_JOINTS, np.float32),
    FORESHORTENED: np.array(
        [_ELBOW * ("elbow" in n) + _WRIST * ("wrist" in n) + _HAND * (j >= 25) for j, n in enumerate(JOINTS)],
        np.float32,
    ),
    AT_FACE: np.array([_WRIST * ("wrist" in n) + _HAND * (j >= 25) for j, n in enumerate(JOINTS)], np.float32),
}
_MIRROR = np.array([1, -1, -1], np.float32)


@dataclass(frozen=True)
class Arms:
    """What a driver knows about an avatar's arms."""

    rest: F32  # (55, 3) where arms and hands rest, absolute
    left: str = ""  # FREE, FORESHORTENED or AT_FACE; with any other word it does not move
    right: str = ""
    axes: NDArray[np.float64] | None = None  # (55, 3, 3) of each joint: its parent's frame -> the axes of `range`
    range: NDArray[np.float64] | None = None  # (55, 3, 2) rad, lowest and highest turn from rest; None: any

    @property
    def move(self) -> bool:
        return bool({self.left, self.right} & set(_SHARES))


class Gesture:
    """`onto` a motion: the accents of `prosody` turned into arms and hands. Depends on the accents alone."""

    def __init__(self, arms: Arms, prosody: Prosody, seed: int = 0, strength: float = 1.0) -> None:
        """strength: 0 none, 1 a calm speaker. Raises ValueError outside 0..1.5."""
        self._arms, self._prosody, self._seed = arms, prosody, seed
        self.set_strength(strength)

    def set_strength(self, strength: float) -> None:
        """Raises ValueError outside 0..1.5."""
        if not 0 <= strength <= MOST:
            raise ValueError(f"strength is {strength:g}; it must lie between 0 and {MOST:g}")
        self._strength = strength

    def onto(self, motion: Motion) -> Motion:
        """The motion with arms and hands where they are at its moment; itself where no arm moves."""
        if not self._arms.move or not self._strength:
            return motion
        turn = self._turns(motion.time)
        for side, joints in ((self._arms.left, _LEFT), (self._arms.right, _RIGHT)):
            turn[joints] *= _SHARES.get(side, _NOTHING)[joints][:, None]
        pose, weight = motion.pose.copy(), motion.weight.copy()
        j = [*_LEFT, *_RIGHT]
        pose[j] = compose_rotations(self._arms.rest[j], turn[j])
        weight[[GROUP["arms"], GROUP["hands"]]] = 1
        return replace(motion, pose=pose, weight=weight)

    def _turns(self, time: float) -> F32:
        """(55, 3) rad from rest, of arms and hands that are wholly free, at this strength."""
        turn = self._drift(time)
        beats = np.zeros_like(turn)
        shapes: dict[tuple[int, GestureStyle], float] = {}
        for a in self._prosody.near(time):
            if uniform(self._seed, HAND + 1, a.phrase) >= a.style.hands:
                continue
            share = _window(time - a.raised, time - a.time)
            if share > 0:
                key = a.phrase, a.style
                shapes[key] = max(shapes.get(key, 0.0), share)
            beat = _beat(time - a.time) * a.style.size
            if beat > 0:
                beats += self._of_hands(a.phrase, a.style, self._beat_of(a)) * np.float32(beat * (0.5 + 0.5 * a.size))
        total = sum(shapes.values())
        for (phrase, style), share in shapes.items():
            held = self._of_hands(phrase, style, self._shape_of(phrase, style))
            size = style.size * between(0.7, 1.0, self._seed, SIZE, phrase)
            turn += held * np.float32(size * share / max(total, 1.0))
        return self._within(self._strength * turn) + self._strength * beats

    def _within(self, turn: F32) -> F32:
        """What is held, cut to where the arm goes, so that beats start from there and are not lost past the end."""
        arms = self._arms
        if arms.axes is None or arms.range is None:
            return turn
        seen = np.einsum("jab,jb->ja", arms.axes, turn)
        seen = np.clip(seen, REACH * arms.range[..., 0], REACH * arms.range[..., 1])
        return np.einsum("jba,jb->ja", arms.axes, seen).astype(np.float32)

    def _shape_of(self, phrase: int, style: GestureStyle) -> F32:
        names = style.shapes
        return _SHAPE_POSES[names[int(uniform(self._seed, SHAPE, phrase) * len(names))]]

    def _beat_of(self, accent: Accent) -> F32:
        names = accent.style.beats
        return _BEAT_POSES[names[int(uniform(self._seed, SHAPE + 1, accent.number) * len(names))]]

    def _of_hands(self, phrase: int, style: GestureStyle, left: F32) -> F32:
        """A left arm's turns on the hands that the phrase uses."""
        draw = (uniform(self._seed, HAND, phrase) - style.both) / (1 - style.both)  # negative: both
        hands = "both" if draw < 0 else "left" if draw < 0.5 else "right"
        out = np.zeros_like(left)
        out[_LEFT] = left[_LEFT] * (FAINT if hands == "right" else 1.0)
        out[_RIGHT] = left[_LEFT] * _MIRROR * (FAINT if hands == "left" else 1.0)
        return out

    def _drift(self, time: float) -> F32:
        """Hands at rest are not of wax."""
        turn = np.zeros((N_JOINTS, 3), np.float32)
        for side, (wrist, joints) in enumerate((("left_wrist", _LEFT), ("right_wrist", _RIGHT))):
            s = DRIFT + 6 * side
            turn[JOINT[wrist], 0] = 0.8 * DEGREE * sway(self._seed, s, time, 0.07)
            turn[JOINT[wrist], 2] = 0.6 * DEGREE * sway(self._seed, s + 2, time, 0.05)
            turn[joints[3:], 2] += 1.0 * DEGREE * sway(self._seed, s + 4, time, 0.06)
        return turn


class RecordedGestures:
    """Arms and hands from motion tracks in the gestures' place, such as a gesture model's of each sentence."""

    FADE = 0.4  # s in which a track takes over from rest, and gives way to it
    KEPT = 16

    def __init__(self, tracks: Sequence[tuple[float, MotionTrack]] = (), otherwise: Gesture | None = None) -> None:
        """tracks: with the media time each begins at; otherwise: what gestures where there is none."""
        self._tracks, self._otherwise = tuple(tracks), otherwise

    def add(self, start: float, track: MotionTrack) -> None:
        self._tracks = (*self._tracks[-self.KEPT :], (start, track))

    def cut(self, time: float) -> None:
        """Forget the tracks that begin after media time `time`, and end the one that plays."""
        self._tracks = tuple((s, t) for s, t in self._tracks if s + t.time[-1] < time)

    def set_strength(self, strength: float) -> None:
        """A recording is what it is."""
        if self._otherwise:
            self._otherwise.set_strength(strength)

    def onto(self, motion: Motion) -> Motion:
        for start, track in reversed(self._tracks):
            age, last = motion.time - start, float(track.time[-1])
            if track.time[0] - 1e-6 <= age <= last:
                return self._placed(motion, track, age, min(age, last - age) / self.FADE)
        return self._otherwise.onto(motion) if self._otherwise else motion

    @staticmethod
    def _placed(motion: Motion, track: MotionTrack, age: float, nearness: float) -> Motion:
        recorded = track.at(age)
        pose, weight = motion.pose.copy(), motion.weight.copy()
        for group in (GROUP["arms"], GROUP["hands"]):
            if recorded.weight[group] > 0:
                joints = group == JOINT_GROUP
                pose[joints], weight[group] = recorded.pose[joints], recorded.weight[group] * _ease(nearness)
        return replace(motion, pose=pose, weight=weight)


def _ease(x: float) -> float:
    x = min(max(x, 0.0), 1.0)
    return x**3 * (10 - 15 * x + 6 * x * x)


def _window(lifted: float, struck: float) -> float:
    """0..1: how much an accent holds the hands up, `lifted` s after they began to rise, `struck` s after its stroke."""
    return _ease(lifted / LIFT) * (1 - _ease((struck - STAY) / SINK))


def _beat(age: float) -> float:
    """0..1 of a beat that began `age` s ago."""
    return _ease(age / BEAT_DOWN) * (1 - _ease((age - BEAT_DOWN) / BEAT_BACK))
