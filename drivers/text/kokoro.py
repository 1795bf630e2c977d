"""Kokoro-82M (hexgrad 2025, after StyleTTS 2): a voice that sounds human, with the times of its phonemes.

Its weights are an optional set (`run_server.py weights --fetch voice`). espeak-ng, in a process of its own, turns
letters into phonemes; the net says them and tells how long each lasts, so the lips are known as with espeak-ng. On two
cores, shared with what draws, it speaks two to three times as fast as it is heard, so sentences are made while the ones
before are heard, and the first one is cut at a comma.
"""

from __future__ import annotations

import itertools
import re
import threading
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drivers.text import lips, script
from drivers.text.espeak import Espeak, EspeakError
from drivers.text.reading import (
    USUAL,
    Delivery,
    NoReader,
    Piece,
    Sentence,
    TextError,
    Voice,
    Word,
    find,
    pieces,
    prepared,
    silence,
    without_tags,
)  # fmt: skip
from drivers.text.tags import Part
from models import weights
from models.weights import WeightsError

if TYPE_CHECKING:
    import onnxruntime

RATE = 24_000  # Hz
UNIT = 600  # samples of the net's unit of duration
LABEL_SHIFT = 0.060  # s: the noise of s and sh lies 50 to 55 ms before its label; lips may lead a little, never lag
LONGEST = 120  # characters of a piece, so that the next is ready before it has been heard
OPENING = 8  # characters from which on the first sentence is cut at a comma: its sound comes the sooner
MOST_TOKENS = 508
THREADS = 2  # a second one makes the first sound come a third sooner; a frame then takes 16 ms instead of 8
STYLE = 256
QUIET = 0.004  # of full scale: the net's silence before and after a piece
# Kokoro's names say language and sex: af_heart is American and female. Japanese and Chinese voices speak English here:
# espeak-ng knows too little of those languages' readings.
LANGUAGES = {"a": "en-us", "b": "en-gb", "e": "es", "f": "fr-fr", "h": "hi", "i": "it", "p": "pt-br"}
SEX = {"f": "female", "m": "male"}

# espeak-ng's IPA, its compound sounds tied by ^, in the letters Kokoro was trained on (after hexgrad's misaki)
_LETTERS = (
    ("ʔˌn\u0329", "tᵊn"), ("ʔn\u0329", "tᵊn"), ("ʔn", "tᵊn"), ("a^ɪ", "I"), ("a^ʊ", "W"), ("d^ʒ", "ʤ"), ("e^ɪ", "A"),
    ("t^ʃ", "ʧ"), ("ɔ^ɪ", "Y"), ("ə^l", "ᵊl"), ("o^ʊ", "O"), ("ə^ʊ", "Q"), ("e^ə", "ɛː"), ("ʲ", ""), ("ɐ", "ə"),
    ("r", "ɹ"), ("ʔ", "t"), ("x", "k"), ("ɬ", "l"),
)  # fmt: skip
_AMERICAN = (("ɜːɹ", "ɜɹ"), ("ɜː", "ɜɹ"), ("ɪ^ə", "iə"), ("ɚ", "əɹ"), ("ː", ""))
_SOUNDS = {"A": "eɪ", "I": "aɪ", "O": "oʊ", "Q": "əʊ", "W": "aʊ", "Y": "ɔɪ", "ᵊ": "ə"}  # and back, for the lips
_SILENT = frozenset(';:,.!?—…"()“” ')
# the net's vocabulary, letter by letter from number 1; · where a number has no letter
_VOCABULARY = (
    ';:,.!?··—…"()“” \u0303ʣʥʦʨᵝꭧAI·····O·Q·ST··W·Yᵊabcdef·hijklmnopqrstuvwxyzɑɐɒæ··βɔɕç·ɖðʤə·ɚɛɜ·'
    "·ɟ·ɡ······ɥ·ɨɪʝ······ɯɰŋɳɲɴø·ɸθœ··ɹ·ɾɻ·ʁɽʂʃʈʧ·ʊʋ·ʌɣɤ·χʎ···ʒʔ·······ˈˌː···ʰ·ʲ····↓·→↗↘···ᵻ"
)
TOKEN = {letter: k for k, letter in enumerate(_VOCABULARY, 1) if letter != "·"}
_MARK = re.compile(r"([,.;:!?…—]+)(?=\s|$|[\"'”’»)\]])")


@dataclass(frozen=True)
class Spoken:
    """A sound (n,) in -1..1 at RATE, and each letter with when it begins, s."""

    samples: NDArray[np.float32]
    letters: list[tuple[float, str]]


class Net:
    """The net and its voices' styles. Loads in about half a second, when it is first needed."""

    def __init__(self, model: Path, voices: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # what draws needs the cores, too
        options.log_severity_level = 3
        self._session: onnxruntime.InferenceSession = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        self._styles = load_styles(voices)

    def say(self, letters: str, voice: str, rate: float) -> Spoken:
        """letters: Kokoro's, at most MOST_TOKENS; others are left out."""
        known = [c for c in letters if c in TOKEN][:MOST_TOKENS]
        tokens = np.array([[0, *(TOKEN[c] for c in known), 0]], np.int64)
        style = self._styles[voice][min(len(known), len(self._styles[voice])) - 1].reshape(1, STYLE)
        inputs = {"tokens": tokens, "style": style, "speed": np.array([rate], np.float32)}
        sound, units = self._session.run(None, inputs)
        starts = np.concatenate([[0], np.cumsum(units.reshape(-1))]) * UNIT / RATE
        return Spoken(sound.reshape(-1), list(zip(starts[1:-1].tolist(), [*known, ""], strict=True)))


def load_styles(path: Path) -> dict[str, NDArray[np.float32]]:
    """Voices by name, each (lengths, 256). Raises NoReader, naming the file, where it holds anything else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            styles = {name: np.asarray(file[name], np.float32).reshape(len(file[name]), STYLE) for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as e:
        raise NoReader(f"{path} is not a file of Kokoro's voices ({e}); name an npz of (lengths, 1, 256) each") from e
    if not styles or not all(len(s) and np.isfinite(s).all() for s in styles.values()):
        raise NoReader(f"{path} holds no voice that can be used; name an npz of Kokoro's voices")
    return styles


class KokoroReader:
    """voices: an npz of more voices, such as the publisher's voices-v1.0.bin; None: those of the manifest."""

    def __init__(self, voices: Path | None = None, espeak: Espeak | None = None) -> None:
        self._file = voices
        self._espeak = espeak or Espeak()
        self._lock = threading.Lock()
        self._net: Net | None = None

    def voices(self) -> list[Voice]:
        """Where something is absent one entry says so."""
        try:
            _, file = self._files()
            if self._file:
                load_styles(self._file)
            self._espeak.phonemes([], "en-us")
            with np.load(file, allow_pickle=False) as styles:
                return [_voice(name) for name in sorted(styles.files)]
        except (WeightsError, NoReader, EspeakError) as e:
            return [Voice("kokoro", "Kokoro", "en-us", str(e))]

    def read(self, text: str, how: Delivery = USUAL) -> Iterator[Sentence]:
        parts = prepared(text)
        voices = self.voices()
        voice = find(voices, how.voice) if how.voice else voices[0]
        if voice.missing:
            raise NoReader(voice.missing)
        writing = script.script_of(without_tags(parts))
        if not script.reads(voice.language, writing):
            raise TextError(f"the voice {voice.id} does not read {writing.title()} letters")
        return self._sentences(parts, how, voice)

    def close(self) -> None:
        self._espeak.close()
        self._net = None

    def _files(self) -> tuple[Path, Path]:
        return weights.path("kokoro"), self._file or weights.path("kokoro_voices")

    def _loaded(self) -> Net:
        with self._lock:
            if self._net is None:
                try:
                    self._net = Net(*self._files())
                except WeightsError as e:
                    raise NoReader(str(e)) from e
            return self._net

    def _sentences(self, parts: list[Part], how: Delivery, voice: Voice) -> Iterator[Sentence]:
        name = voice.id.removeprefix("kokoro:")
        for piece in opening(pieces(parts, LONGEST)):
            if not piece.text:
                yield silence(piece, RATE)
                continue
            letters, counts = self._letters(piece.text, voice.language)
            said = trimmed(self._loaded().say(letters, name, how.rate))
            yield self._sentence(piece, said, counts, how)

    def _sentence(self, piece: Piece, said: Spoken, counts: list[int], how: Delivery) -> Sentence:
        seconds = len(said.samples) / RATE
        rest = np.zeros(round(how.pause * piece.pause * RATE), np.int16)
        sound = np.rint(np.clip(said.samples, -1, 1) * 32767).astype(np.int16)
        samples = np.concatenate([sound, rest])
        phonemes = [*phonemes_of(said.letters), (seconds + LABEL_SHIFT, "")]
        motions = tuple(lips.motions(phonemes, samples, RATE, LABEL_SHIFT))
        return Sentence(piece.text, samples, RATE, motions, words(piece.text, said, counts, seconds), piece.mood)

    def _letters(self, text: str, language: str) -> tuple[str, list[int]]:
        """Kokoro's letters of a text, its marks kept, and how many each word has by itself."""
        clauses = [part for part in _MARK.split(text) if part.strip()]
        spoken = [part for part in clauses if script.speakable(part)]
        tokens = text.split()
        try:
            ipa = iter(self._espeak.phonemes([*spoken, *tokens], language))
        except EspeakError as e:
            raise NoReader(str(e)) from e
        american = language == "en-us"
        letters = ""
        for part in clauses:
            letters += (" " + letters_of(next(ipa), american)) if part in spoken else part[0]
        return letters.strip(), [len(letters_of(p, american).replace(" ", "")) for p in ipa]


def _voice(name: str) -> Voice:
    kind, _, own = name.partition("_")
    language = LANGUAGES.get(kind[:1], "en-us")
    sex = SEX.get(kind[1:2], "")
    return Voice(f"kokoro:{name}", f"Kokoro {own.capitalize() or name}{', ' + sex if sex else ''}", language)


def opening(found: Iterator[Piece]) -> Iterator[Piece]:
    """The pieces, the first of them cut after its first clause; a comma is no pause of a sentence."""
    for first in found:
        match = next((m for m in re.finditer(r"[,;:—]\s", first.text) if m.start() >= OPENING), None)
        if match and script.speakable(first.text[match.end() :]):
            yield Piece(first.text[: match.end()].strip(), 0.0, first.mood)
            first = Piece(first.text[match.end() :].strip(), first.pause, first.mood)
        yield first
        if first.text:
            break
    yield from found


def letters_of(ipa: str, american: bool) -> str:
    """espeak-ng's IPA -> the letters Kokoro knows."""
    for theirs, ours in (*_LETTERS, *(_AMERICAN if american else ())):
        ipa = ipa.replace(theirs, ours)
    return "".join(c for c in ipa if c in TOKEN)


def phonemes_of(letters: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """(s, IPA) of the lips' phonemes; marks are silence, and a space belongs to the sound before it."""
    found: list[tuple[float, str]] = []
    for start, letter in letters:
        if letter == "" or (letter in _SILENT and letter != " "):
            found.append((start, ""))
        elif letter not in " ˈˌː":
            found.append((start, _SOUNDS.get(letter, letter)))
    return found


def trimmed(said: Spoken) -> Spoken:
    """Without the net's silence before the first and after the last sound."""
    loud = np.flatnonzero(np.abs(said.samples) > QUIET)
    if not len(loud):
        return said
    first, last = max(int(loud[0]) - RATE // 50, 0), int(loud[-1]) + RATE // 25
    return Spoken(said.samples[first:last], [(max(t - first / RATE, 0.0), c) for t, c in said.letters])


def words(text: str, said: Spoken, counts: Sequence[int], seconds: float) -> tuple[Word, ...]:
    """The text's words, each as long as its share of the letters."""
    letters = [t - LABEL_SHIFT for t, c in said.letters if c and c not in _SILENT and c not in "ˈˌ"]
    share = np.concatenate([[0], np.cumsum(np.maximum(counts, 1))])
    at = share / share[-1] * len(letters)
    times = np.interp(at, np.arange(len(letters) + 1), [*letters, seconds]).clip(0, seconds)
    spans = itertools.pairwise(times.tolist())
    return tuple(Word(word, start, end) for word, (start, end) in zip(text.split(), spans, strict=True))
