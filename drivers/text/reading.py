"""Reading a text aloud: sentence by sentence, each with its sound, its lips where they are known, and its words."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from drivers.mood import Mood
from drivers.text import lips, script, tags
from drivers.text.espeak import Espeak, EspeakError
from drivers.text.script import TextError
from drivers.text.tags import Part
from models.motion import Motion

RATE = 22_050  # Hz of espeak-ng, before it has said so itself
PARAGRAPH = 2.0  # a paragraph's pause, in pauses of a sentence
WORDS_A_MINUTE = 165  # at rate 1
DEFAULT = "en-us"
ABSENT = 10.0  # s that a missing espeak-ng is not looked for again
VARIANTS = {"": "", "+f3": ", female"}  # timbres of each espeak-ng voice that are offered; it has more of them


class NoReader(RuntimeError):
    """Nothing on this machine can read aloud just now; the message says what is missing and the remedy."""


@dataclass(frozen=True)
class Voice:
    id: str
    name: str
    language: str  # a tag such as en-us; "" for any
    missing: str = ""  # what it lacks to speak, and the remedy; "" where it is ready


@dataclass(frozen=True)
class Delivery:
    """How it is said. Raises TextError out of range."""

    voice: str = ""  # a voice's id; empty: one that fits the text
    rate: float = 1.0  # 1 is a calm speaker
    pitch: float = 1.0  # 1 is the voice's own
    pause: float = 0.25  # s after a sentence

    def __post_init__(self) -> None:
        for name, low, high in (("rate", 0.5, 2.5), ("pitch", 0.5, 2.0), ("pause", 0.0, 5.0)):
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise TextError(f"{name} is {value:g}; it must lie between {low:g} and {high:g}")


USUAL = Delivery()


@dataclass(frozen=True)
class Word:
    text: str
    start: float  # s from the sentence's first sample
    end: float


@dataclass(frozen=True)
class Sentence:
    """Its sound ends with the pause after it."""

    text: str
    samples: NDArray[np.int16]  # (n,)
    rate: int  # Hz
    lips: tuple[Motion, ...] | None  # times from the first sample; None: the speech driver has to listen
    words: tuple[Word, ...]
    mood: Mood | None = None  # asked for by a tag; None: as the session is


class Reader(Protocol):
    def voices(self) -> list[Voice]:
        """Raises NoReader."""

    def read(self, text: str, how: Delivery = USUAL) -> Iterator[Sentence]:
        """Raises TextError or NoReader, at once for what can be told at once, and later between sentences."""

    def close(self) -> None: ...


def prepared(text: str) -> list[Part]:
    """The text cleaned and cut at its tags. Raises TextError where nothing of it can be said, or on a wrong tag."""
    parts = tags.parts(script.clean(text))
    if not any(script.speakable(part.text) for part in parts):
        raise TextError("there is nothing to say: the text has no letter and no digit")
    return parts


def without_tags(parts: Sequence[Part]) -> str:
    return " ".join(part.text for part in parts)


@dataclass(frozen=True)
class Piece:
    """A sentence's text, or where that is empty a silence."""

    text: str
    pause: float  # in pauses of a sentence, after it; of a silence, s
    mood: Mood | None


def pieces(parts: Sequence[Part], longest: int = script.LONGEST) -> Iterator[Piece]:
    """What is to be said, sentence by sentence, none longer than `longest` characters."""
    for part in parts:
        if part.pause:
            yield Piece("", part.pause, part.mood)
        for text, paragraph in script.sentences(script.clean(part.text), longest):
            if script.speakable(text):
                yield Piece(text, PARAGRAPH if paragraph else 1.0, part.mood)


def silence(piece: Piece, rate: int) -> Sentence:
    """A tag's pause; the mouth is shut in it."""
    return Sentence("", np.zeros(round(piece.pause * rate), np.int16), rate, (), (), piece.mood)


class EspeakReader:
    """espeak-ng: small, quick, many languages, a robot's timbre; the times of its phonemes are exact."""

    def __init__(self, espeak: Espeak | None = None) -> None:
        self._espeak = espeak or Espeak()
        self._voices: list[Voice] | None = None
        self._absent: tuple[float, str] = (-math.inf, "")  # when it was found to be missing, and why

    def voices(self) -> list[Voice]:
        if self._voices is None:
            if time.monotonic() - self._absent[0] < ABSENT:
                raise NoReader(self._absent[1])
            try:
                self._voices = _offered(self._espeak.voices())
            except EspeakError as e:
                self._absent = time.monotonic(), str(e)
                raise NoReader(str(e)) from e
        return self._voices

    def read(self, text: str, how: Delivery = USUAL) -> Iterator[Sentence]:
        parts = prepared(text)
        return self._sentences(parts, how, self._voice_for(without_tags(parts), how.voice))

    def close(self) -> None:
        self._espeak.close()

    def _voice_for(self, text: str, wanted: str) -> Voice:
        writing = script.script_of(text)
        readers = [v for v in self.voices() if script.reads(v.language, writing)]
        if not readers:
            raise TextError(f"no voice reads {writing.title()} letters")
        if not wanted:
            first = DEFAULT if writing == "LATIN" else script.SCRIPTS[writing].split()[0]
            return next((v for v in readers if v.id == first), readers[0])
        voice = find(self.voices(), wanted)
        if voice not in readers:
            raise TextError(f"the voice {voice.id} does not read {writing.title()} letters; {readers[0].id} does")
        return voice

    def _sentences(self, parts: list[Part], how: Delivery, voice: Voice) -> Iterator[Sentence]:
        speed = round(WORDS_A_MINUTE * how.rate)
        pitch = round(min(max(50 + 50 * math.log2(how.pitch), 0), 99))
        for piece in pieces(parts):
            if not piece.text:
                yield silence(piece, self._espeak.rate or RATE)
                continue
            try:
                said = self._espeak.say(piece.text, voice.id, speed, pitch)
            except EspeakError as e:
                raise NoReader(str(e)) from e
            seconds = len(said.samples) / said.rate
            rest = np.zeros(round(how.pause * piece.pause * said.rate), np.int16)
            samples = np.concatenate([said.samples, rest])
            shut = [*said.phonemes, (seconds + lips.LABEL_SHIFT, "")]
            motions = tuple(lips.motions(shut, samples, said.rate))
            spoken = words(piece.text, said.words, seconds)
            yield Sentence(piece.text, samples, said.rate, motions, spoken, piece.mood)


def _offered(entries: Sequence[tuple[str, list[str], str, int]]) -> list[Voice]:
    """espeak-ng's own list -> ours, the first voice of each language tag, in each timbre; English leads."""
    found: dict[str, str] = {}
    for name, languages, file, _ in entries:
        if languages and not file.startswith(("mb/", "!v/")):
            found.setdefault(languages[0], name.replace("_", " "))
    tags = sorted(found, key=lambda tag: (tag != DEFAULT, not tag.startswith("en"), found[tag]))
    return [Voice(tag + v, found[tag] + words, tag) for tag in tags for v, words in VARIANTS.items()]


def find(voices: Sequence[Voice], wanted: str) -> Voice:
    """By id, by name, or the first of a language. Raises TextError."""
    wanted = wanted.strip().lower()
    for key in ("id", "name", "language"):
        for voice in voices:
            if getattr(voice, key).lower() == wanted:
                return voice
    for voice in voices:
        if voice.language.split("-")[0] == wanted:
            return voice
    raise TextError(f"there is no voice {wanted[:40]!r}; for instance there is {voices[0].id!r}")


def words(text: str, events: Sequence[tuple[float, int]], seconds: float) -> tuple[Word, ...]:
    """A sentence's words, parted at spaces, each from the first event inside it (s, characters before) to the next."""
    spans, position = [], 0
    for token in text.split():
        position = text.index(token, position)
        times = [t for t, at in events if position <= at < position + len(token)]
        spans.append((token, min(times) if times else None))
        position += len(token)
    starts, last = [], 0.0
    for _, start in spans:  # a word without an event of its own begins with the one before it
        last = max(last, start if start is not None else last)
        starts.append(last)
    ends = [*starts[1:], seconds]
    return tuple(Word(token, s, max(s, e)) for (token, _), s, e in zip(spans, starts, ends))
