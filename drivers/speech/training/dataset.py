"""The training set: synthesized, recorded and wordless sound, augmented, as windows of features."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from drivers.speech.features import WINDOW_SECONDS, Encoder
from drivers.speech.training import flite
from drivers.speech.training.alignment import Aligner, AlignmentError, dictionary_path
from drivers.speech.training.augmentation import augment, not_speech
from drivers.speech.training.corpus import RATE, Utterance, dictionary_words, english_text, other_text, recorded
from drivers.speech.training.synthesis import ENGLISH, OTHER_LANGUAGES, VARIANTS, utterance
from drivers.speech.training.windows import Windows, of_utterance
from drivers.text.espeak import Espeak


@dataclass(frozen=True)
class Amounts:
    """Minutes of sound before augmentation, and how often recorded speech is augmented anew."""

    english: float = 40.0
    flite: float = 30.0
    other: float = 20.0
    wordless: float = 6.0
    recorded_copies: int = 16


def build(
    encoder: Encoder,
    amounts: Amounts,
    recordings: Path | None,
    seed: int,
    report: Callable[[str], None],
    seconds_heard: float = WINDOW_SECONDS,
) -> Windows:
    """All windows of `seconds_heard`. Each source draws by itself: more of one leaves what others draw as it is."""
    parts: list[Windows] = []
    sources: dict[str, Callable[[np.random.Generator], Iterator[Utterance]]] = {
        "espeak, English": lambda rng: _english(amounts.english * 60, rng),
        "flite, English": lambda rng: _flite(amounts.flite * 60, rng),
        "espeak, other languages": lambda rng: _other(amounts.other * 60, rng),
        "not speech": lambda rng: _wordless(amounts.wordless * 60, rng),
        "recorded": lambda rng: _recorded(recordings, amounts.recorded_copies, rng),
    }
    for number, (name, utterances) in enumerate(sources.items()):
        rng = np.random.default_rng([seed, number])
        seconds, windows = 0.0, 0
        for u in utterances(rng):
            seconds += len(u.samples) / RATE
            parts.append(of_utterance(u, encoder, rng, seconds_heard))
            windows += len(parts[-1].labels)
        report(f"{name}: {seconds / 60:.1f} min, {windows} windows")
    return Windows.joined(parts)


def importance(data: Windows) -> np.ndarray:
    """Recorded speech counts three times, voices made of recordings one and a half: the head will hear people."""
    recorded, flite = (np.char.startswith(data.source, name) for name in ("LJ", "flite"))
    return np.where(recorded, 3.0, np.where(flite, 1.5, 1.0))


def _english(seconds: float, rng: np.random.Generator) -> Iterator[Utterance]:
    words = dictionary_words(dictionary_path())
    yield from _spoken(
        seconds, rng, lambda: (english_text(rng, words), str(rng.choice(ENGLISH)) + str(rng.choice(VARIANTS)))
    )


def _flite(seconds: float, rng: np.random.Generator) -> Iterator[Utterance]:
    words = dictionary_words(dictionary_path())
    while seconds > 0:
        voice = str(rng.choice(flite.VOICES, p=flite.SHARES))
        u = flite.utterance(english_text(rng, words), voice, float(rng.uniform(*flite.STRETCH)))
        if len(u.samples) > RATE / 2:
            seconds -= len(u.samples) / RATE
            yield augment(u, rng)


def _other(seconds: float, rng: np.random.Generator) -> Iterator[Utterance]:
    def draw() -> tuple[str, str]:
        language = str(rng.choice(OTHER_LANGUAGES))
        return other_text(rng, language), language + str(rng.choice(VARIANTS))

    yield from _spoken(seconds, rng, draw)


def _spoken(seconds: float, rng: np.random.Generator, draw: Callable[[], tuple[str, str]]) -> Iterator[Utterance]:
    espeak = Espeak()
    try:
        while seconds > 0:
            text, voice = draw()
            u = utterance(espeak, text, voice, int(rng.integers(130, 211)), int(rng.integers(25, 76)))
            if len(u.samples) > RATE / 2:
                seconds -= len(u.samples) / RATE
                yield augment(u, rng)
    finally:
        espeak.close()


def _wordless(seconds: float, rng: np.random.Generator) -> Iterator[Utterance]:
    for _ in range(int(seconds / 4)):
        yield not_speech(rng, 4.0)


def _recorded(folder: Path | None, copies: int, rng: np.random.Generator) -> Iterator[Utterance]:
    if folder is None or not folder.is_dir():
        return
    aligner = Aligner()
    for name, samples, text in recorded(folder):
        try:
            u = aligner.align(name, samples, text)
        except AlignmentError as e:
            print(f"left out: {e}", file=sys.stderr)
            continue
        for _ in range(copies):
            yield augment(u, rng)
