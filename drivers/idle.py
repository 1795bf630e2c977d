"""A person at rest: blinks, gaze, breath and the head's drift, as a function of a seed and the time.

Nothing is integrated: `motion(time)` is the same however the moment is reached, live, offline or after seeking. Figures
are of conversation and rest: 15 to 20 blinks a minute (Bentivoglio et al. 1997), lids that close faster than
they open (VanderWerf et al. 2003), saccades of 2.2 ms a degree and 21 ms (Bahill et al. 1975), 14 breaths a minute.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from drivers.attention import STILL, Attention, Moment
from drivers.noise import between, normal, sway, uniform
from models.motion import GROUP, GROUPS, HEAD, JOINT, NECK, A, Motion

# streams of the seed
BLINK, GAZE, TREMOR, BREATH, YAW, PITCH, ROLL, SPINE, STANCE = range(0, 180, 20)

EYE_LOOK = (0.35, 0.50)  # rad that a coefficient of 1 turns the eye: up and down, in and out
DEGREE = math.pi / 180


@dataclass(frozen=True)
class Style:
    """How lively; all strengths are 1 for an attentive listener and 0 switches the part off."""

    blinks_per_minute: float = 13.0  # besides those that come with large shifts of gaze
    breaths_per_minute: float = 14.0
    gaze: float = 1.0
    head: float = 1.0
    breath: float = 1.0
    stance: float = 1.0  # shifts of weight from one leg to the other

    @classmethod
    def of(cls, liveliness: float) -> Style:
        """All strengths at once, 0 (as still as a photo) to 1.5. Raises ValueError out of range."""
        if not 0 <= liveliness <= 1.5:
            raise ValueError(f"liveliness is {liveliness:g}; it must lie between 0 and 1.5")
        x = liveliness
        return cls(13.0 * min(x, 1.0), 14.0, min(x, 1.2), x, min(x, 1.2), x)


# ---- shifts of weight -----------------------------------------------------------------------------------------------

STANCE_SLOT, STANCE_TIME = 11.0, 1.6  # s; at most one shift begins in each, and how long it takes
STANCE_ROLL, STANCE_WAY = 0.9, 0.006  # degrees of the spine's lean, m that the body goes, of one deviation

# ---- blinks ---------------------------------------------------------------------------------------------------------

BLINK_SLOT = 2.0  # s; at most one blink (or a double one) begins in each
BLINK_LATEST = 1.3  # s into its slot: leaves the lids time to open before the next
DOUBLE_BLINK, DOUBLE_AFTER = 0.10, 0.32  # share of blinks; s between the two
CLOSING, CLOSED, OPENING = (0.07, 0.10), 0.03, (0.15, 0.22)  # s


def blink_at(age: float, closing: float, opening: float) -> float:
    """Closure 0..1 of a blink that began `age` s ago: fast down, a moment shut, slowly up."""
    if age <= 0:
        return 0.0
    if age < closing:
        return _ease(age / closing)
    if age < closing + CLOSED:
        return 1.0
    return 1 - _ease(min((age - closing - CLOSED) / opening, 1.0))


def _ease(x: float) -> float:
    """0..1 with no speed at either end (minimum jerk)."""
    return x**3 * (10 - 15 * x + 6 * x * x)


def saccade_time(angle: float) -> float:
    """s that the eyes take for `angle` rad (the main sequence)."""
    return 0.021 + 0.0022 * abs(angle) / DEGREE


# ---- gaze -----------------------------------------------------------------------------------------------------------

GAZE_SLOT = 2.4  # s; one fixation begins in each
AWAY = 0.22  # share of fixations that leave the viewer
AWAY_YAW, AWAY_PITCH = 7.0, 4.0  # degrees, deviation of the fixations away
NEAR_YAW, NEAR_PITCH = 1.2, 0.8  # degrees, about the viewer's eyes
TREMOR_SLOT, TREMOR_ANGLE = 0.45, 0.25  # s and degrees of micro-saccades
VERGENCE = 0.35  # degrees by which both eyes turn in or out as the depth of fixation changes
HEAD_FOLLOWS, HEAD_TIME = 0.25, 0.45  # share of a glance that the head takes over, s it takes
SHIFT_BLINK = 0.5  # share of large gaze shifts that come with a blink
LARGE_SHIFT = 6 * DEGREE
LID_FOLLOWS = 0.25  # blink coefficient that goes with looking down by a coefficient of 1
LISTENING_GAZE, LISTENING_BLINKS = 0.2, 0.55  # of the wandering of the eyes, of the blinks that a listener keeps
THINKING = {"browInnerUp": 0.10, "browDown": 0.16, "eyeSquint": 0.06, "mouthPress": 0.08}  # ARKit coefficients
THINKING_TILT = 2.0  # degrees


@dataclass(frozen=True)
class Fixation:
    start: float  # s
    yaw: float  # rad, to the person's left
    pitch: float  # rad, up
    vergence: float  # rad, each eye inwards


class Idle:
    """Weights: mouth (closed), lids, gaze, head and torso. The arms are left alone."""

    def __init__(self, seed: int = 0, style: Style | None = None, attention: Attention | None = None) -> None:
        """style may be replaced while it runs. attention: when it listens and thinks."""
        self.seed = seed
        self.style = style or Style()
        self._attention = attention
        self._fixation = lru_cache(maxsize=64)(self._draw_fixation)
        self._blink = lru_cache(maxsize=64)(self._draw_blink)
        self._weight = np.zeros(len(GROUPS), np.float32)
        self._weight[[GROUP[g] for g in ("mouth", "lids", "gaze", "head", "torso")]] = 1

    def motion(self, time: float) -> Motion:
        """The moment `time` s; any finite time, in any order. Raises ValueError on one that is not finite."""
        if not math.isfinite(time):
            raise ValueError(f"time is {time}; expected a finite number of seconds")
        m = Motion(time=time, weight=self._weight.copy())
        state = self._attention.at(time) if self._attention else STILL
        yaw, pitch, vergence = self._gaze(time)
        stay = 1 - (1 - LISTENING_GAZE) * state.listening
        h, t = HEAD_FOLLOWS * self.style.head, min(4 * state.thinking, 1.0)  # the eyes leave at once, the head follows
        yaw = stay * (1 - t) * yaw + t * (state.yaw - h * state.thinking * state.yaw)
        pitch = stay * (1 - t) * pitch + t * (state.pitch - h * state.thinking * state.pitch)
        self._look(m, yaw, pitch, vergence)
        self._lids(m, time)
        self._body(m, time, state)
        if state.thinking:
            self._ponder(m, state.thinking)
        return m

    @staticmethod
    def _ponder(m: Motion, share: float) -> None:
        for name, value in THINKING.items():
            for i in [A[name]] if name in A else [A[name + "Left"], A[name + "Right"]]:
                m.face[i] = max(m.face[i], share * value)
        m.weight[GROUP["brows"]] = share

    # ---- eyes -------------------------------------------------------------------------------------------------------

    def _draw_fixation(self, k: int) -> Fixation:
        s = self.seed
        away = uniform(s, GAZE, k) < AWAY and k != 0
        spread = (AWAY_YAW, AWAY_PITCH) if away else (NEAR_YAW, NEAR_PITCH)
        yaw, pitch = (max(-2.0, min(2.0, normal(s, GAZE + 2 + 2 * i, k))) * spread[i] * DEGREE for i in range(2))
        start = (k + between(0, 0.7, s, GAZE + 6, k)) * GAZE_SLOT
        return Fixation(start, yaw, pitch, between(-1, 1, s, GAZE + 7, k) * VERGENCE * DEGREE)

    def _towards(self, time: float, duration: float | None) -> tuple[float, float, float]:
        """(yaw, pitch, vergence) on the way from the fixation before to the present one; None: at a saccade's speed."""
        k = math.floor(time / GAZE_SLOT)
        now = self._fixation(k)
        if time < now.start:
            now = self._fixation(k := k - 1)
        before = self._fixation(k - 1)
        way = math.hypot(now.yaw - before.yaw, now.pitch - before.pitch)
        a = _ease(min((time - now.start) / (duration or saccade_time(way)), 1.0))
        mix = lambda x, y: x + (y - x) * a  # noqa: E731
        return mix(before.yaw, now.yaw), mix(before.pitch, now.pitch), mix(before.vergence, now.vergence)

    def _gaze(self, time: float) -> tuple[float, float, float]:
        yaw, pitch, vergence = self._towards(time, None)
        k = math.floor(time / TREMOR_SLOT)
        a = _ease(min((time / TREMOR_SLOT - k) * TREMOR_SLOT / 0.025, 1.0))
        for axis in range(2):
            old, new = (normal(self.seed, TREMOR + 2 * axis, i) * TREMOR_ANGLE * DEGREE for i in (k - 1, k))
            if axis:
                pitch += old + (new - old) * a
            else:
                yaw += old + (new - old) * a
        follow_yaw, follow_pitch, _ = self._towards(time, HEAD_TIME)
        g, h = self.style.gaze, HEAD_FOLLOWS * self.style.head  # what the head takes over, the eyes give back
        return g * (yaw - h * follow_yaw), g * (pitch - h * follow_pitch), g * vergence

    @staticmethod
    def _look(m: Motion, yaw: float, pitch: float, vergence: float) -> None:
        """Eye turns -> the eyeLook coefficients."""
        for side, outwards in (("Left", yaw - vergence), ("Right", -yaw - vergence)):
            out = outwards / EYE_LOOK[1]
            m.face[A["eyeLookOut" + side]], m.face[A["eyeLookIn" + side]] = max(out, 0.0), max(-out, 0.0)
            up = pitch / EYE_LOOK[0]
            m.face[A["eyeLookUp" + side]], m.face[A["eyeLookDown" + side]] = max(up, 0.0), max(-up, 0.0)

    def _draw_blink(self, k: int) -> tuple[float, float, float, bool] | None:
        """(start s, closing s, opening s, double) of the blink of slot k, or none."""
        s = self.seed
        if uniform(s, BLINK, k) >= self.style.blinks_per_minute / 60 * BLINK_SLOT:
            return None
        start = k * BLINK_SLOT + between(0, BLINK_LATEST, s, BLINK + 1, k)
        double = uniform(s, BLINK + 2, k) < DOUBLE_BLINK
        return start, between(*CLOSING, s, BLINK + 3, k), between(*OPENING, s, BLINK + 4, k), double

    def _lids(self, m: Motion, time: float) -> None:
        closure = 0.0
        k = math.floor(time / BLINK_SLOT)
        for i in (k - 1, k):
            blink = self._blink(i)
            if blink and not self._held(i, blink[0]):
                start, closing, opening, double = blink
                closure = max(closure, blink_at(time - start, closing, opening))
                if double:
                    closure = max(closure, blink_at(time - start - DOUBLE_AFTER, closing, opening))
        closure = max(closure, self._shift_blink(time))
        for side in ("Left", "Right"):
            rest = LID_FOLLOWS * float(m.face[A["eyeLookDown" + side]])
            m.face[A["eyeBlink" + side]] = rest + (1 - rest) * closure

    def _held(self, k: int, start: float) -> bool:
        """Is the blink of slot k one that a listener leaves out?"""
        listening = self._attention.at(start).listening if self._attention else 0.0
        return listening > 0.5 and uniform(self.seed, BLINK + 6, k) > LISTENING_BLINKS

    def _shift_blink(self, time: float) -> float:
        """The blink that hides a large shift of gaze."""
        if not self.style.blinks_per_minute or not self.style.gaze:
            return 0.0
        k = math.floor(time / GAZE_SLOT)
        closure = 0.0
        for i in (k - 1, k):
            now, before = self._fixation(i), self._fixation(i - 1)
            large = math.hypot(now.yaw - before.yaw, now.pitch - before.pitch) > LARGE_SHIFT
            if large and uniform(self.seed, BLINK + 5, i) < SHIFT_BLINK:
                closure = max(closure, blink_at(time - now.start + 0.02, CLOSING[0], OPENING[0]))
        return closure

    # ---- head and chest ---------------------------------------------------------------------------------------------

    def _body(self, m: Motion, time: float, state: Moment) -> None:
        """Small turns, as axis-angle: x pitches down, y turns to the person's left, z tilts to the person's right."""
        s, style = self.seed, self.style
        yaw, pitch, _ = self._towards(time, HEAD_TIME)
        drift = np.array(
            [sway(s, PITCH, time, 0.06) * 0.5, sway(s, YAW, time, 0.05) * 0.7, sway(s, ROLL, time, 0.04) * 0.4]
        )
        away = 1 - state.listening * (1 - LISTENING_GAZE)
        follow = HEAD_FOLLOWS * style.gaze * np.array([-pitch, yaw, 0.0]) * away * (1 - state.thinking)
        asked = state.thinking * np.array([-HEAD_FOLLOWS * state.pitch, HEAD_FOLLOWS * state.yaw, 0.0])
        asked = asked + np.array([state.nod, 0.0, state.thinking * THINKING_TILT * DEGREE])
        head = style.head * (drift * DEGREE + follow + asked)
        chest = self._breath(time) * style.breath
        lean = style.head * DEGREE * 0.25 * np.array([sway(s, SPINE, time, 0.03), 0.0, sway(s, SPINE + 5, time, 0.035)])
        stance = self._stance(time)
        lean[2] += stance * STANCE_ROLL * DEGREE
        m.pose[JOINT["spine1"]] = 0.5 * lean
        m.pose[JOINT["spine2"]] = 0.5 * lean + chest * DEGREE * np.array([-0.25, 0.0, 0.0])
        m.pose[JOINT["spine3"]] = chest * DEGREE * np.array([-0.45, 0.0, 0.0])
        m.pose[NECK] = 0.4 * head + chest * DEGREE * np.array([0.45, 0.0, 0.0])  # the head stays level over the chest
        m.pose[HEAD] = 0.6 * head
        m.translation[:2] = -stance * STANCE_WAY, 0.0012 * chest

    def _stance(self, time: float) -> float:
        """Which leg bears the weight: -1..1, one shift a slot at a time of its own."""
        s, k = self.seed, math.floor(time / STANCE_SLOT)
        at = lambda i: between(-1, 1, s, STANCE, i)  # noqa: E731
        begin = STANCE_SLOT * k + between(0, STANCE_SLOT - STANCE_TIME, s, STANCE + 1, k)
        a = _ease(min(max((time - begin) / STANCE_TIME, 0.0), 1.0))
        return self.style.stance * (at(k - 1) + (at(k) - at(k - 1)) * a)

    def _breath(self, time: float) -> float:
        """0 out .. 1 in: in for two fifths of the cycle, out for the rest, the pace drifting a little."""
        cycles = time * self.style.breaths_per_minute / 60 + 0.15 * sway(self.seed, BREATH, time, 0.02, 2)
        x = (cycles + uniform(self.seed, BREATH + 5, 0)) % 1.0
        return _ease(x / 0.4) if x < 0.4 else 1 - _ease((x - 0.4) / 0.6)
