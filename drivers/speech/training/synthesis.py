"""Exactly timed speech from espeak-ng, a program of its own (`drivers/text/espeak.py`)."""

from __future__ import annotations

import numpy as np
from scipy.signal import resample_poly

from drivers.speech.training.corpus import LABEL_RATE, RATE, Utterance
from drivers.speech.visemes import SIL, from_ipa
from drivers.text.espeak import Espeak
from drivers.text.lips import LABEL_SHIFT

ENGLISH = (
    "en-us", "en", "en-us", "en-us-nyc", "en-gb-x-rp", "en-029", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd",
)  # fmt: skip  # "en" is British
VARIANTS = (
    "", "+m1", "+m2", "+m3", "+m4", "+m5", "+m6", "+m7", "+f1", "+f2", "+f3", "+f4", "+klatt", "+klatt2", "+klatt4",
    "+croak", "+whisper", "+Alex", "+Alicia", "+Andrea", "+Andy", "+Annie", "+Denis", "+Diogo", "+Gene", "+Hugo",
    "+Jacky", "+Lee", "+Marco", "+Mario", "+Michael", "+Mike", "+belinda", "+benjamin", "+david", "+ed", "+grandma",
    "+linda", "+max", "+norbert", "+pablo", "+paul", "+quincy", "+rob", "+sandro", "+shelby", "+steph", "+victor",
    "+zac",
)  # fmt: skip
OTHER_LANGUAGES = ("de", "fr", "es", "it", "ru", "cmn-latn-pinyin")


def utterance(espeak: Espeak, text: str, voice: str, rate: int, pitch: int) -> Utterance:
    """One utterance with its viseme labels. Raises EspeakError when espeak-ng is absent or knows no such voice."""
    said = espeak.say(text, voice, rate, pitch)
    samples = resample_poly(said.samples.astype(np.float32) / 32768, RATE, said.rate).astype(np.float32)
    return Utterance(f"espeak:{voice}", samples, labels_of(said.phonemes, len(samples)))


def labels_of(phonemes: list[tuple[float, str]], samples: int) -> np.ndarray:
    """Phoneme starts (s, IPA) -> viseme per 10 ms; a phoneme lasts until the next, an empty one is silence."""
    labels = np.zeros(samples * LABEL_RATE // RATE, np.int64)
    viseme = SIL
    for i, (start, ipa) in enumerate(phonemes):
        found = from_ipa(ipa) if ipa else SIL
        viseme = viseme if found is None else found
        end = phonemes[i + 1][0] if i + 1 < len(phonemes) else samples / RATE
        a, b = (max(0, round((t - LABEL_SHIFT) * LABEL_RATE)) for t in (start, end))
        labels[a:b] = viseme
    return labels
