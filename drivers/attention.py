"""Listening and thinking: what somebody does who is not speaking just now, on the media clock.

Who listens looks at the speaker, blinks less and nods now and then (Kendon 1967; Ho et al. 2015); who has been asked
looks away while the answer forms (Glenberg et al. 1998). A state begins and ends softly, and a moment depends on what
was set before it alone, so it is the same live and offline.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

from drivers.noise import between, uniform

STATES = ("idle", "listening", "thinking")
FADE = 0.45  # s from one state to the next
DEGREE = math.pi / 180
NODDING, AVERTING = 300, 320  # streams of the seed
KEPT = 32  # changes that are remembered

NOD_SLOT, NODS = 3.0, 0.55  # s; share of the slots with a nod
NOD_TIME = 0.5  # s of one dip; some nods have two
NOD_ANGLE = (1.6, 3.2)  # degrees
AVERSION = 1.9  # s that the eyes stay where they went
ASIDE, UP, DOWN = (7.0, 13.0), (3.0, 7.0), (4.0, 9.0)  # degrees


@dataclass(frozen=True)
class Moment:
    """How much of each state a moment has, 0..1, and what it does."""

    listening: float
    thinking: float
    nod: float  # rad, down
    yaw: float  # rad to the person's left, where the eyes of a thinking one go
    pitch: float  # rad, up


STILL = Moment(0.0, 0.0, 0.0, 0.0, 0.0)


class Attention:
    """`set` in order of time; `at` any time. Thread-safe."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._lock = threading.Lock()
        self._changes: tuple[tuple[float, str], ...] = ()

    def set(self, state: str, time: float) -> None:
        """From media time `time` on; later changes that were set before are forgotten. Raises ValueError."""
        if state not in STATES:
            raise ValueError(f"there is no state {state!r:.40}; there are {', '.join(STATES)}")
        with self._lock:
            kept = tuple(c for c in self._changes if c[0] < time)
            if (kept[-1][1] if kept else "idle") != state:
                kept = (*kept[-KEPT:], (time, state))
            self._changes = kept

    def state(self, time: float) -> str:
        return next((state for start, state in reversed(self._changes) if start <= time), "idle")

    def at(self, time: float) -> Moment:
        changes = self._changes
        if not changes:
            return STILL
        listening = thinking = since = 0.0
        for start, state in changes:
            if start > time:
                break
            a = _ease((time - start) / FADE)
            listening += (float(state == "listening") - listening) * a
            thinking += (float(state == "thinking") - thinking) * a
            if state == "thinking":
                since = start
        if listening < 1e-4 and thinking < 1e-4:
            return STILL
        yaw, pitch = self._away(time - since, since) if thinking > 0 else (0.0, 0.0)
        return Moment(listening, thinking, listening * self._nod(time), yaw, pitch)

    def _nod(self, time: float) -> float:
        k, s = math.floor(time / NOD_SLOT), self._seed
        if uniform(s, NODDING, k) >= NODS:
            return 0.0
        age = time - NOD_SLOT * k - between(0.0, NOD_SLOT - 3 * NOD_TIME, s, NODDING + 1, k)
        dips = 1 + round(uniform(s, NODDING + 2, k))
        if not 0 < age < dips * NOD_TIME:
            return 0.0
        size = between(*NOD_ANGLE, s, NODDING + 3, k) * (1.0 if age < NOD_TIME else 0.55)
        return size * DEGREE * math.sin(math.pi * (age % NOD_TIME) / NOD_TIME) ** 2

    def _away(self, age: float, start: float) -> tuple[float, float]:
        """(yaw, pitch) rad that the eyes have gone to, a new place every AVERSION s."""
        k = math.floor(age / AVERSION)
        a = _ease((age - k * AVERSION) / 0.06)  # a saccade
        (y0, p0), (y1, p1) = ((0.0, 0.0) if i < 0 else self._place(i, start) for i in (k - 1, k))
        return y0 + (y1 - y0) * a, p0 + (p1 - p0) * a

    def _place(self, k: int, start: float) -> tuple[float, float]:
        s, key = self._seed, 64 * round(start * 50) + k
        side = 1 if uniform(s, AVERTING, key) < 0.5 else -1
        up = uniform(s, AVERTING + 1, key) < 0.6
        height = between(*UP, s, AVERTING + 2, key) if up else -between(*DOWN, s, AVERTING + 2, key)
        return side * between(*ASIDE, s, AVERTING + 3, key) * DEGREE, height * DEGREE


def _ease(x: float) -> float:
    x = min(max(x, 0.0), 1.0)
    return x * x * (3 - 2 * x)
