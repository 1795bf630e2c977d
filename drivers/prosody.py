"""Accents of speech -> small nods, raised brows and leans of the trunk, over whatever else the body does.

A listener sees the head dip and the brows rise on stressed syllables (Hadar et al. 1983; Cavé et al. 1996), and what a
movement strikes with, its apex, belongs on the stressed vowel (Leonard and Cummins 2011). An accent is a syllable that
stands out in loudness and pitch from what was said before it and, where the sound is known ahead, from what comes in
the next half second. Then its apex falls on the vowel's beginning; of a microphone, whose sound is known 90 ms after a
syllable's peak, the movement begins with the peak. In silence nothing moves.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from drivers.gesture_style import NEUTRAL, GestureStyle
from drivers.noise import between, uniform
from models.motion import GROUP, HEAD, JOINT, NECK, A, Motion, compose_rotations

RATE = 16_000  # Hz
STEP, WINDOW = 160, 640  # samples: 10 ms, 40 ms
REACH = 7  # steps a peak must stand out over, on either side
SMOOTHING = 0.45  # share of the new step in the smoothed level
VOICE = (300, 2500)  # Hz, where vowels are loud and neither hum nor s and sh are
FLOOR = -48.0  # dB of full scale in that band, below which there is no voice
LEVEL, SPREAD, MEMORY = -29.0, 5.0, 2.0  # dB, dB, s: what a voice is taken for at first, and how soon it is known
PITCH_RANGE = (70, 400)  # Hz
VOICED = 0.45  # autocorrelation above which a step has a pitch
LOOK = 0.45  # s ahead, in which a stronger syllable takes an accent away, where the sound is known
VOWEL = 0.05  # s from a vowel's beginning to its loudest moment
LAG = 0.02  # s from a microphone's syllable's peak to the movement's beginning, so that it is always known in time
PREPARE = 0.30  # s that hands begin to rise before their stroke

NOD, TURN = np.radians(2.0), np.radians(0.7)  # of the strongest accent; more of them at once add up to a half more
HINT = 0.25  # of a nod
BROW_INNER, BROW_OUTER = 0.30, 0.22  # ARKit coefficients
LEAN, SWAY, DIP = (
    np.radians(0.8),
    np.radians(1.2),
    np.radians(0.7),
)  # of the trunk: forwards, to a side, a shoulder down
HEAD_STAYS = 0.7  # of the trunk's turn that the neck takes back: the face stays with the viewer
RISE, FALL = 0.16, 0.36  # s
SLOW = 1.6  # times as long the trunk takes
PHRASE = 1.4  # s without an accent after which a new phrase begins
MOST = 1.5  # strength
KEPT = 32_768  # accents
BEFORE, AFTER = 3.0, 1.0  # s about a moment, in which accents matter to it
NODDING, TURNING, RAISING, STRENGTH = range(200, 280, 20)  # streams of the seed


@dataclass(frozen=True)
class Accent:
    time: float  # s, where the stroke begins; its apex is RISE later
    raised: float  # s, where hands begin to rise for it
    nod: float  # rad, down
    turn: float  # rad, to the person's left
    brows: float  # 0..1
    size: float = 1.0  # 0..1, how much it stands out
    number: int = 0  # of the accent, from the first that was heard
    phrase: int = 0  # of the run of accents it belongs to
    style: GestureStyle = NEUTRAL
    peak: float = 0.0  # s, where its syllable is loudest


class Prosody:
    """`push` what is said, in order; read `onto` at any time. Thread-safe: one thread pushes while another reads."""

    def __init__(self, seed: int = 0, strength: float = 1.0) -> None:
        """strength: 0 none, 1 an attentive speaker. Raises ValueError outside 0..1.5."""
        self._seed = seed
        self.style = NEUTRAL  # of accents that are heard from now on
        self.set_strength(strength)
        self._lock = threading.Lock()
        self._accents: list[Accent] = []
        self._found, self._phrase, self._last = 0, 0, -np.inf
        self._mean = np.array([LEVEL, np.log2(130.0)])  # dB, octaves: of the voice
        self._deviation = np.array([SPREAD, 0.25])
        self._earliest = self._end = 0.0
        self._begin(0.0)

    def set_strength(self, strength: float) -> None:
        """Of all movements from the next moment on. Raises ValueError outside 0..1.5."""
        if not 0 <= strength <= MOST:
            raise ValueError(f"strength is {strength:g}; it must lie between 0 and {MOST:g}")
        self._strength = strength

    @property
    def accents(self) -> tuple[Accent, ...]:
        """All that were heard and are remembered, in order of time."""
        return tuple(self._accents)

    def near(self, time: float) -> list[Accent]:
        """The accents that may move something at a time, in order."""
        accents = self._accents
        key = lambda a: a.time  # noqa: E731
        return accents[bisect_left(accents, time - BEFORE, key=key) : bisect_left(accents, time + AFTER, key=key)]

    def _begin(self, start: float) -> None:
        if start > self._end + STEP / RATE:
            self._earliest = start  # what was not known before cannot move anything before
        self._rest = np.zeros(0, np.float32)
        self._time = self._end = start  # of the first sample of `_rest`; of what comes next
        self._level = -90.0
        self._recent: list[tuple[float, float, float]] = []  # (time, smoothed dB, octaves or 0)
        self._waiting: list[tuple[float, float]] = []  # (time, score) of peaks that a stronger one may follow
        self._peak = -np.inf  # s, of the last accent
        self._live = False

    def push(
        self, samples: NDArray[np.float32], start: float, begins: bool, ends: bool = False, live: bool = False
    ) -> None:
        """(n,) at 16 kHz, the first at media time `start`; begins, ends: silence is before or after it.

        live: it is heard as it is recorded, so that nothing is known of what follows.
        """
        with self._lock:
            if begins:
                self._settle(np.inf)
                self._begin(start)
            self._live = live
            self._end += len(samples) / RATE
            self._rest = np.concatenate([self._rest, samples])
            for i in range(0, len(self._rest) - WINDOW + 1, STEP):
                self._hear(self._rest[i : i + WINDOW])
                self._time += STEP / RATE
            self._rest = self._rest[max(0, (len(self._rest) - WINDOW) // STEP + 1) * STEP :]
            if ends:
                self._settle(np.inf)

    def cut(self, time: float) -> None:
        """Forget the accents after media time `time`; movements that have begun come to their end."""
        with self._lock:
            self._accents = [a for a in self._accents if a.time <= time]
            self._end = self._earliest = time
            self._begin(time)

    def onto(self, motion: Motion) -> Motion:
        """The motion with head, brows and trunk moved as its moment asks; itself where nothing does."""
        near = self.near(motion.time)
        moving = [(a, bump(motion.time - a.time)) for a in near]
        swaying = [(a, bump((motion.time - max(a.raised, a.time - (SLOW - 1) * RISE)) / SLOW)) for a in near]
        if not self._strength or max((b for _, b in moving + swaying), default=0.0) < 1e-6:
            return motion
        nod, turn, brows = (
            self._strength * sum(getattr(a, k) * b for a, b in moving) for k in ("nod", "turn", "brows")
        )
        pose, face, weight = motion.pose.copy(), motion.face.copy(), motion.weight.copy()
        trunk = self._trunk(swaying)
        head = np.array([_soft(nod, NOD), _soft(turn, TURN), 0.0], np.float32)
        back = np.array([0.0, -HEAD_STAYS * trunk[1], -HEAD_STAYS * trunk[2]], np.float32)
        for joint, share in (
            (NECK, 0.4 * head + back),
            (HEAD, 0.6 * head),
            (_SPINE[0], trunk / 2),
            (_SPINE[1], trunk / 2),
        ):
            pose[joint] = compose_rotations(pose[joint][None], share[None])[0]
        weight[[GROUP["head"], GROUP["torso"]]] = 1
        if brows > 0:
            face[A["browInnerUp"]] = max(face[A["browInnerUp"]], BROW_INNER * min(brows, 1))
            for side in ("Left", "Right"):
                name = A["browOuterUp" + side]
                face[name] = max(face[name], BROW_OUTER * min(brows, 1))
            weight[GROUP["brows"]] = 1
        return replace(motion, pose=pose, face=face, weight=weight)

    def _trunk(self, swaying: list[tuple[Accent, float]]) -> NDArray[np.float32]:
        """(3,) rad: accents lean the chest in, those of a phrase turn it to one side and let that shoulder down."""
        lean = sway = dip = 0.0
        for a, b in swaying:
            share = self._strength * b * a.size * a.style.size * a.style.torso
            side = between(-1, 1, self._seed, TURNING + 1, a.phrase)
            lean += share * LEAN * between(0.3, 1, self._seed, TURNING + 2, a.number)
            sway += share * SWAY * side
            dip += share * DIP * side * between(-0.4, 1, self._seed, TURNING + 3, a.number)
        return np.array([_soft(lean, LEAN), _soft(sway, SWAY), -_soft(dip, DIP)], np.float32)

    def _hear(self, x: NDArray[np.float32]) -> None:
        level = _loudness(x)
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
        if level > FLOOR and level >= max(recent for _, recent, _ in self._recent):
            pitches = [p for _, _, p in self._recent[REACH - 3 : REACH + 4] if p]
            loud = (level - self._mean[0]) / max(self._deviation[0], 2.0)
            high = (float(np.median(pitches)) - self._mean[1]) / max(self._deviation[1], 0.1) if pitches else 0.0
            score = 0.6 * loud + 0.4 * min(max(high, -2.0), 3.0)
            if score > self.style.threshold:
                self._waiting.append((time, score))
        self._settle(np.inf if self._live else time - LOOK)

    def _settle(self, until: float) -> None:
        """Peaks up to `until` become accents, where no stronger one follows soon."""
        while self._waiting and self._waiting[0][0] <= until:
            time, score = self._waiting.pop(0)
            stronger = any(s > score and t - time < LOOK for t, s in self._waiting)
            if time - self._peak >= self.style.apart and not stronger:
                self._peak = time
                self._accents.append(self._accent(time, score))
        if len(self._accents) > KEPT:
            self._accents = self._accents[KEPT // 2 :]

    def _accent(self, peak: float, score: float) -> Accent:
        s, k, style = self._seed, self._found, self.style
        self._found += 1
        time = peak + LAG if self._live else max(peak - VOWEL - RISE, self._earliest)
        raised = time if self._live else max(time - PREPARE, self._earliest)
        size = min(0.5 + 0.35 * score, 1.0) * between(0.6, 1.0, s, STRENGTH, k)
        brows = size if uniform(s, RAISING, k) < style.brows else 0.0
        share = between(0.6, 1.0, s, NODDING, k) * (1.0 if uniform(s, NODDING + 1, k) < style.nods else HINT)
        nod, turn = NOD * style.size * size * share, TURN * style.size * size * between(-1, 1, s, TURNING, k)
        if time - self._last > PHRASE:
            self._phrase += 1
        self._last = time
        return Accent(time, raised, nod, turn, brows, size, k, self._phrase, style, peak)


_SPINE = (JOINT["spine2"], JOINT["spine3"])
_HANN = np.hanning(WINDOW).astype(np.float32)
_BAND = slice(*(round(f * 2 * WINDOW / RATE) for f in VOICE))


def _loudness(x: NDArray[np.float32]) -> float:
    """dB of full scale of a step's (WINDOW,) sound in the band of VOICE."""
    power = np.abs(np.fft.rfft((x - x.mean()) * _HANN, 2 * WINDOW)[_BAND]) ** 2
    return 10 * float(np.log10(float(power.sum()) / WINDOW**2 * 2.67 + 1e-9))  # 2.67: both halves, and what Hann takes


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
