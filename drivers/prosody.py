"""Accents of speech -> small nods and raised brows, over whatever else the head does.

A listener sees the head dip and the brows rise on stressed syllables (Hadar et al. 1983; Cavé et al. 1996). An accent
is a syllable that stands out in loudness and pitch from what was said before it; it is known 90 ms after its peak, or
up to 80 ms later where sound comes in pieces, within what the speech driver hears ahead anyway. Each moves head and
brows for half a second and is gone: in silence nothing moves.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from drivers.noise import between, uniform
from models.motion import GROUP, HEAD, NECK, A, Motion, compose_rotations

RATE = 16_000  # Hz
STEP, WINDOW = 160, 640  # samples: 10 ms, 40 ms
REACH = 7  # steps a peak must stand out over, on either side
SMOOTHING = 0.45  # share of the new step in the smoothed level
FLOOR = -45.0  # dB of full scale, below which there is no voice
LEVEL, SPREAD, MEMORY = -26.0, 5.0, 2.0  # dB, dB, s: what a voice is taken for at first, and how soon it is known
PITCH_RANGE = (70, 400)  # Hz
VOICED = 0.45  # autocorrelation above which a step has a pitch
THRESHOLD = 0.7  # deviations that an accent stands out by
APART = 0.45  # s between accents
LAG = 0.06  # s from a syllable's peak to the movement's beginning, so that it is always known in time

NOD, TURN = np.radians(2.0), np.radians(0.7)  # of the strongest accent; more of them at once add up to a half more
BROW_INNER, BROW_OUTER, BROWS = 0.30, 0.22, 0.5  # ARKit coefficients; share of accents that raise the brows
RISE, FALL = 0.16, 0.36  # s
PHRASE = 1.4  # s without an accent after which a new phrase begins
MOST = 1.5  # strength
NODDING, TURNING, RAISING, STRENGTH = range(200, 280, 20)  # streams of the seed


@dataclass(frozen=True)
class Accent:
    time: float  # s, where the movement begins
    nod: float  # rad, down
    turn: float  # rad, to the person's left
    brows: float  # 0..1
    size: float = 1.0  # 0..1, how much it stands out
    number: int = 0  # of the accent, from the first that was heard
    phrase: int = 0  # of the run of accents it belongs to


class Prosody:
    """`push` what is said, in order; read `onto` at any time. Thread-safe: one thread pushes while another reads."""

    def __init__(self, seed: int = 0, strength: float = 1.0) -> None:
        """strength: 0 none, 1 an attentive speaker. Raises ValueError outside 0..1.5."""
        self._seed = seed
        self.set_strength(strength)
        self._lock = threading.Lock()
        self._accents: tuple[Accent, ...] = ()
        self._found, self._phrase, self._last = 0, 0, -np.inf
        self._mean = np.array([LEVEL, np.log2(130.0)])  # dB, octaves: of the voice
        self._deviation = np.array([SPREAD, 0.25])
        self._begin(0.0)

    def set_strength(self, strength: float) -> None:
        """Of all movements from the next moment on. Raises ValueError outside 0..1.5."""
        if not 0 <= strength <= MOST:
            raise ValueError(f"strength is {strength:g}; it must lie between 0 and {MOST:g}")
        self._strength = strength

    @property
    def accents(self) -> tuple[Accent, ...]:
        """Of the last few seconds, in order of time."""
        return self._accents

    def _begin(self, start: float) -> None:
        self._rest = np.zeros(0, np.float32)
        self._time = start  # of the first sample of `_rest`
        self._level = -90.0
        self._recent: list[tuple[float, float, float]] = []  # (time, smoothed dB, octaves or 0)

    def push(self, samples: NDArray[np.float32], start: float, begins: bool) -> None:
        """(n,) at 16 kHz, the first at media time `start`; begins: silence was before it."""
        with self._lock:
            if begins:
                self._begin(start)
            self._rest = np.concatenate([self._rest, samples])
            while len(self._rest) >= WINDOW:
                self._hear(self._rest[:WINDOW])
                self._rest = self._rest[STEP:]
                self._time += STEP / RATE

    def cut(self, time: float) -> None:
        """Forget the accents after media time `time`; movements that have begun come to their end."""
        with self._lock:
            self._accents = tuple(a for a in self._accents if a.time <= time)
            self._begin(time)

    def onto(self, motion: Motion) -> Motion:
        """The motion with head and brows moved as its moment asks; itself where nothing does."""
        near = [(a, bump(motion.time - a.time)) for a in self._accents]
        moving = [(a, b) for a, b in near if b > 0]
        if not moving or not self._strength:
            return motion
        nod, turn, brows = (
            self._strength * sum(getattr(a, k) * b for a, b in moving) for k in ("nod", "turn", "brows")
        )
        whole = np.array([_soft(nod, NOD), _soft(turn, TURN), 0.0], np.float32)
        pose, face, weight = motion.pose.copy(), motion.face.copy(), motion.weight.copy()
        for joint, share in ((NECK, 0.4), (HEAD, 0.6)):
            pose[joint] = compose_rotations(pose[joint][None], share * whole[None])[0]
        weight[GROUP["head"]] = max(weight[GROUP["head"]], 1)
        if brows > 0:
            face[A["browInnerUp"]] = max(face[A["browInnerUp"]], BROW_INNER * min(brows, 1))
            for side in ("Left", "Right"):
                name = A["browOuterUp" + side]
                face[name] = max(face[name], BROW_OUTER * min(brows, 1))
            weight[GROUP["brows"]] = 1
        return replace(motion, pose=pose, face=face, weight=weight)

    def _hear(self, x: NDArray[np.float32]) -> None:
        level = 10 * np.log10(float(np.mean(x**2)) + 1e-9)
        self._level += SMOOTHING * (max(level, -90.0) - self._level)
        pitch = octaves(x) if level > FLOOR else 0.0
        self._recent.append((self._time + WINDOW / 2 / RATE, self._level, pitch))
        if len(self._recent) > 2 * REACH:
            self._judge()
            del self._recent[0]
        for i, value in enumerate((level if level > FLOOR else 0.0, pitch)):
            if value:
                k = STEP / RATE / MEMORY
                self._mean[i] += k * (value - self._mean[i])
                self._deviation[i] += k * (1.25 * abs(value - self._mean[i]) - self._deviation[i])

    def _judge(self) -> None:
        """Is the step in the middle of the recent ones an accent?"""
        time, level, _ = self._recent[REACH]
        if level <= FLOOR or level < max(recent for _, recent, _ in self._recent):
            return
        if self._accents and time + LAG - self._accents[-1].time < APART:
            return
        pitches = [p for _, _, p in self._recent[REACH - 3 : REACH + 4] if p]
        loud = (level - self._mean[0]) / max(self._deviation[0], 2.0)
        high = (float(np.median(pitches)) - self._mean[1]) / max(self._deviation[1], 0.1) if pitches else 0.0
        score = 0.6 * loud + 0.4 * min(max(high, -2.0), 3.0)
        if score > THRESHOLD:
            self._accents = (*self._accents[-31:], self._accent(time, score))

    def _accent(self, time: float, score: float) -> Accent:
        s, k = self._seed, self._found
        self._found += 1
        size = min(0.35 + 0.35 * score, 1.0) * between(0.6, 1.0, s, STRENGTH, k)
        brows = size if uniform(s, RAISING, k) < BROWS else 0.0
        nod = NOD * size * between(0.6, 1.0, s, NODDING, k)
        if time + LAG - self._last > PHRASE:
            self._phrase += 1
        self._last = time + LAG
        return Accent(time + LAG, nod, TURN * size * between(-1, 1, s, TURNING, k), brows, size, k, self._phrase)


def _soft(x: float, limit: float) -> float:
    """x, bent so that it stays below 1.5 limits."""
    return 1.5 * limit * float(np.tanh(x / (1.5 * limit)))


def bump(age: float) -> float:
    """0..1 of a movement that began `age` s ago: up within RISE, back within FALL, at rest at both ends."""
    if not 0 < age < RISE + FALL:
        return 0.0
    x = age / RISE if age < RISE else (RISE + FALL - age) / FALL
    return x**3 * (10 - 15 * x + 6 * x * x)


def octaves(x: NDArray[np.float32]) -> float:
    """log2 of the pitch in Hz by autocorrelation; 0 where there is none."""
    x = x - x.mean()
    spectrum = np.fft.rfft(x, 2 * WINDOW)
    r = np.fft.irfft(spectrum.real**2 + spectrum.imag**2)[:WINDOW]
    low, high = RATE // PITCH_RANGE[1], RATE // PITCH_RANGE[0]
    r = r[: high + 1] / (1 - np.arange(high + 1) / WINDOW)  # longer shifts overlap less
    first = low + int(np.argmax(r[low:] > 0.85 * r[low:].max()))  # the shortest of the likely ones, not its double
    lag = first + int(np.argmax(r[first : first + first // 3]))
    return float(np.log2(RATE / lag)) if r[lag] > VOICED * r[0] else 0.0
