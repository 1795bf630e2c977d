"""What rooms, microphones, codecs and talkers do to speech, done to utterances; and sounds that are not speech."""

from __future__ import annotations

import numpy as np
from scipy import signal

from drivers.speech.training.corpus import LABEL_RATE, RATE, Utterance
from drivers.speech.visemes import SIL

STEP = RATE // LABEL_RATE
SPEED = (0.78, 1.2)  # of tempo, pitch and formants at once: one reader becomes men and women, slow and fast


def augment(u: Utterance, rng: np.random.Generator) -> Utterance:
    """Tempo with pitch, tilt, room, telephone band, codec, level, noise, silence around."""
    a, y = u.samples.astype(np.float64), u.labels
    if rng.random() < 0.75:
        a, y = _resample(a, y, rng.uniform(*SPEED))
    if rng.random() < 0.5:
        c = rng.uniform(-0.6, 0.6)
        a = signal.lfilter([1, c], [1], a) if rng.random() < 0.5 else signal.lfilter([1], [1, -0.7 * c], a)
    if rng.random() < 0.25:
        n = int(RATE * rng.uniform(0.05, 0.3))
        room = rng.standard_normal(n) * np.exp(-6.9 * np.arange(n) / n) * rng.uniform(0.02, 0.15)
        room[0] = 1
        a = signal.fftconvolve(a, room)[: len(a)]
    if rng.random() < 0.15:
        a = signal.sosfilt(signal.butter(4, [300, 3400], "band", fs=RATE, output="sos"), a)
    if rng.random() < 0.15:
        a = _mu_law(a)
    a = a / (np.abs(a).max() + 1e-6) * 10 ** rng.uniform(-1.0, -0.05)
    lead, tail = int(rng.integers(1, 60)), int(rng.integers(20, 60))
    a = np.concatenate([np.zeros(lead * STEP), a, np.zeros(tail * STEP)])
    y = np.concatenate([np.full(lead, SIL), y, np.full(tail, SIL)])
    level = np.sqrt(np.mean(a**2)) * 10 ** (-rng.uniform(8, 45) / 20)
    return Utterance(u.name, (a + _noise(len(a), rng) * level).astype(np.float32), y[: len(a) // STEP])


def _resample(a: np.ndarray, y: np.ndarray, speed: float) -> tuple[np.ndarray, np.ndarray]:
    n = int(len(a) / speed)
    a = np.interp(np.arange(n) * speed, np.arange(len(a)), a)
    return a, y[np.minimum((np.arange(n // STEP) * speed).astype(int), len(y) - 1)]


def _mu_law(a: np.ndarray, mu: int = 255) -> np.ndarray:
    """8-bit mu-law there and back (ITU-T G.711)."""
    x = a / (np.abs(a).max() + 1e-6)
    code = np.round(np.sign(x) * np.log1p(mu * np.abs(x)) / np.log1p(mu) * 127) / 127
    return np.sign(code) * np.expm1(np.abs(code) * np.log1p(mu)) / mu


def _noise(n: int, rng: np.random.Generator) -> np.ndarray:
    """White or brownish noise of unit power."""
    x = rng.standard_normal(n)
    if rng.random() < 0.5:
        x = signal.lfilter([1], [1, -0.9], x)
    return x / (np.sqrt(np.mean(x**2)) + 1e-9)


def not_speech(rng: np.random.Generator, seconds: float = 4.0) -> Utterance:
    """Noise, mains hum, breath or typing: the mouth stays shut through all of them."""
    n = int(seconds * RATE)
    t = np.arange(n) / RATE
    kind = str(rng.choice(["noise", "hum", "breath", "typing"]))
    if kind == "noise":
        a = _noise(n, rng) * 0.05
    elif kind == "hum":
        k = np.arange(1, 12)[:, None] * float(rng.choice([50, 60]))
        strength = rng.uniform(0, 1, (11, 1)) / np.arange(1, 12)[:, None]
        a = (np.sin(2 * np.pi * k * t + rng.uniform(0, 6, (11, 1))) * strength).sum(0) * 0.05
    elif kind == "breath":
        band = [rng.uniform(300, 800), rng.uniform(2500, 6000)]
        air = signal.sosfilt(signal.butter(2, band, "band", fs=RATE, output="sos"), rng.standard_normal(n))
        a = air * np.clip(np.sin(2 * np.pi * rng.uniform(0.2, 0.5) * t + rng.uniform(0, 6)), 0, None) ** 2 * 0.1
    else:
        a = np.zeros(n)
        for start in rng.integers(0, n - 800, int(seconds * rng.uniform(3, 9))):
            length = int(rng.integers(80, 800))
            a[start : start + length] += rng.standard_normal(length) * np.exp(-6 * np.arange(length) / length) * 0.3
    a = a * 10 ** rng.uniform(-1.2, 0.2) + rng.standard_normal(n) * 10 ** rng.uniform(-4.5, -2.5)
    return Utterance(f"not speech:{kind}", np.clip(a, -1, 1).astype(np.float32), np.full(n // STEP, SIL))
