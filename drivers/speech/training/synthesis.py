"""Exactly timed speech from espeak-ng, run as a separate process (`espeak_worker.py`)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from drivers.speech.training.corpus import LABEL_RATE, RATE, Utterance
from drivers.speech.visemes import SIL, from_ipa

LABEL_SHIFT = 0.010  # s: espeak's phoneme events lie this much after the sound, against pocketsphinx's alignment

ENGLISH = ("en-us", "en", "en-us", "en-gb-x-rp", "en-029", "en-gb-scotland")  # "en" is British
VARIANTS = (
    "", "+m1", "+m2", "+m3", "+m4", "+m5", "+m6", "+m7", "+f1", "+f2", "+f3", "+f4", "+klatt", "+klatt2", "+klatt4",
    "+croak", "+whisper",
)  # fmt: skip
OTHER_LANGUAGES = ("de", "fr", "es", "it", "ru")


class Espeak:
    """The worker process; `say` gives one utterance with its viseme labels."""

    def __init__(self) -> None:
        worker = Path(__file__).with_name("espeak_worker.py")
        self.process = subprocess.Popen([sys.executable, str(worker)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def say(self, text: str, voice: str, rate: int, pitch: int, pitch_range: int = 50) -> Utterance:
        """Raises RuntimeError when the worker died (is the library installed?) or knows no such voice."""
        assert self.process.stdin and self.process.stdout
        request = {"text": text, "voice": voice, "rate": rate, "pitch": pitch, "range": pitch_range}
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            raise RuntimeError("the espeak-ng process ended; install espeak-ng (Debian: apt install espeak-ng)")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        pcm = np.frombuffer(self.process.stdout.read(2 * answer["samples"]), "<i2").astype(np.float32) / 32768
        samples = resample_poly(pcm, RATE, answer["rate"]).astype(np.float32)
        return Utterance(f"espeak:{voice}", samples, labels_of(answer["phonemes"], len(samples)))

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=10)


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
