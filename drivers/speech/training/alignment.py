"""Forced alignment of recorded English speech with its transcript, by pocketsphinx -> viseme labels."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from drivers.speech.training.corpus import LABEL_RATE, RATE, Utterance
from drivers.speech.visemes import from_arpabet

# (lead s, tail s, noise) around the clip: without padding the decoder often fails to end on a final state, and where
# one padding fails another may not
PADDINGS = ((0.25, 0.5, 1e-4), (0.5, 0.8, 3e-4), (0.1, 0.3, 1e-3), (0.4, 1.0, 2e-3))

Phone = tuple[float, float, str]  # start s, end s, name

PRONUNCIATIONS = Path(__file__).with_name("pronunciations.txt")  # words of our clips that the dictionary lacks


class AlignmentError(ValueError):
    """The aligner could not fit the words to the sound."""


def dictionary_path() -> Path:
    from pocketsphinx import get_model_path

    return Path(get_model_path()) / "en-us" / "cmudict-en-us.dict"


def phone_model_path() -> str:
    from pocketsphinx import get_model_path

    return str(Path(get_model_path()) / "en-us" / "en-us-phone.lm.bin")


class Aligner:
    def __init__(self) -> None:
        from pocketsphinx import Decoder

        self.decoder = Decoder(lm=None, loglevel="FATAL")
        for line in PRONUNCIATIONS.read_text().splitlines():
            word, _, phones = line.partition(" ")
            self.decoder.add_word(word, phones, True)

    def align(self, name: str, samples: np.ndarray, text: str) -> Utterance:
        """Raises AlignmentError naming the clip, and the words that the dictionary lacks: no label may be wrong."""
        phones = [phone for _, found in self.words(name, samples, text) for phone in found]
        return Utterance(name, samples, _labels(phones, len(samples)))

    def words(self, name: str, samples: np.ndarray, text: str) -> list[tuple[str, list[Phone]]]:
        """Each word, and each silence, with its phones. Raises AlignmentError as `align`."""
        words = re.sub("[^a-z0-9' ]", " ", text.lower().replace("-", " ")).split()
        unknown = [w for w in words if self.decoder.lookup_word(w) is None]
        if unknown or not words:
            raise AlignmentError(f"{name}: no pronunciation of {', '.join(unknown) or 'a text without words'}")
        error = ""
        for lead, tail, level in PADDINGS:
            try:
                return self._fitted(_padded(samples, lead, tail, level), " ".join(words), lead)
            except RuntimeError as e:
                error = str(e)
        raise AlignmentError(f"{name}: {error}")

    def _fitted(self, pcm: bytes, text: str, lead: float) -> list[tuple[str, list[Phone]]]:
        self.decoder.set_align_text(text)
        self._pass(pcm)
        self.decoder.set_alignment()  # the second pass resolves words into phones
        self._pass(pcm)
        return [
            (w.name, [(p.start / 100 - lead, (p.start + p.duration) / 100 - lead, p.name) for p in w])
            for w in self.decoder.get_alignment()
        ]

    def _pass(self, pcm: bytes) -> None:
        self.decoder.start_utt()
        try:
            self.decoder.process_raw(pcm, full_utt=True)
        finally:
            self.decoder.end_utt()


def _padded(samples: np.ndarray, lead: float, tail: float, level: float) -> bytes:
    out = np.random.default_rng(0).standard_normal(len(samples) + int((lead + tail) * RATE)) * level
    start = int(lead * RATE)
    out[start : start + len(samples)] += samples
    return (out / (np.abs(out).max() + 1e-9) * 0.8 * 32767).astype("<i2").tobytes()


def _labels(phones: list[Phone], samples: int) -> np.ndarray:
    labels = np.zeros(samples * LABEL_RATE // RATE, np.int64)
    for start, end, phone in phones:
        a, b = (max(0, round(t * LABEL_RATE)) for t in (start, end))
        labels[a:b] = from_arpabet(phone)
    return labels
