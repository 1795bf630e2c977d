"""Forced alignment of recorded English speech with its transcript, by pocketsphinx -> viseme labels."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from drivers.speech.training.corpus import LABEL_RATE, RATE, Utterance
from drivers.speech.visemes import from_arpabet

LEAD, TAIL = 0.25, 0.5  # s of faint noise around the clip: without it the decoder often fails to end on a final state
NOISE = 1e-4


class AlignmentError(ValueError):
    """The aligner could not fit the words to the sound."""


def dictionary_path() -> Path:
    from pocketsphinx import get_model_path

    return Path(get_model_path()) / "en-us" / "cmudict-en-us.dict"


class Aligner:
    def __init__(self) -> None:
        from pocketsphinx import Decoder

        self.decoder = Decoder(lm=None, loglevel="FATAL")

    def align(self, name: str, samples: np.ndarray, text: str) -> Utterance:
        """Raises AlignmentError naming the clip; words the dictionary lacks are left out."""
        words = re.sub("[^a-z' ]", " ", text.lower().replace("-", " ")).split()
        known = [w for w in words if self.decoder.lookup_word(w) is not None]
        noise = np.random.default_rng(0).standard_normal(len(samples) + int((LEAD + TAIL) * RATE)) * NOISE
        lead = int(LEAD * RATE)
        noise[lead : lead + len(samples)] += samples
        pcm = (noise / (np.abs(noise).max() + 1e-9) * 0.8 * 32767).astype("<i2").tobytes()
        try:
            self.decoder.set_align_text(" ".join(known))
            self._pass(pcm)
            self.decoder.set_alignment()  # the second pass resolves words into phones
            self._pass(pcm)
            phones = [
                (p.start / 100, (p.start + p.duration) / 100, p.name) for w in self.decoder.get_alignment() for p in w
            ]
        except RuntimeError as e:
            raise AlignmentError(f"{name}: {e}") from e
        labels = np.zeros(len(samples) * LABEL_RATE // RATE, np.int64)
        for start, end, phone in phones:
            a, b = (max(0, round((t - LEAD) * LABEL_RATE)) for t in (start, end))
            labels[a:b] = from_arpabet(phone)
        return Utterance(name, samples, labels)

    def _pass(self, pcm: bytes) -> None:
        self.decoder.start_utt()
        try:
            self.decoder.process_raw(pcm, full_utt=True)
        finally:
            self.decoder.end_utt()
