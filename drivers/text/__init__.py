"""Typed text to speech: `EspeakReader` and `KokoroReader` with exact lips, `HttpReader` for the operator's own voice.

script cuts the text, tags takes moods and pauses out of it, espeak (a program of its own), kokoro or an HTTP server
says it, lips knows the mouth from the phonemes. `Readers` are several as one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from drivers.text.espeak import REMEDY, Espeak
from drivers.text.http_voice import HttpReader
from drivers.text.kokoro import KokoroReader
from drivers.text.reading import USUAL, Delivery, EspeakReader, NoReader, Reader, Sentence, TextError, Voice, Word, find

__all__ = [
    "REMEDY", "USUAL", "Delivery", "EspeakReader", "HttpReader", "KokoroReader", "NoReader", "Reader", "Readers",
    "Sentence", "TextError", "Voice", "Word", "readers",
]  # fmt: skip


class Readers:
    """Several readers as one; the first that is there is the default."""

    def __init__(self, readers: Sequence[Reader]) -> None:
        self._readers = list(readers)

    def voices(self) -> list[Voice]:
        """The default first; those that lack something last. Raises NoReader where none is there, and says why."""
        there, reason = self._there()
        if not there:
            raise reason
        return sorted((voice for _, voices in there for voice in voices), key=lambda voice: bool(voice.missing))

    def read(self, text: str, how: Delivery = USUAL) -> Iterator[Sentence]:
        """Raises TextError or NoReader."""
        there, reason = self._there()
        if how.voice and there:
            wanted = find([v for _, voices in there for v in voices], how.voice)
            return next(reader for reader, voices in there if wanted in voices).read(text, how)
        ready = next((reader for reader, voices in there if not voices[0].missing), None)
        if ready is None:
            raise reason
        return ready.read(text, how)

    def close(self) -> None:
        for reader in self._readers:
            reader.close()

    def _there(self) -> tuple[list[tuple[Reader, list[Voice]]], NoReader]:
        """The readers that have something to say about themselves, and the first reason why one has not."""
        there, reasons = [], []
        for reader in self._readers:
            try:
                there.append((reader, reader.voices()))
            except NoReader as e:
                reasons.append(e)
        return there, reasons[0] if reasons else NoReader(f"no voice is set up; {REMEDY}")


def readers(first: Sequence[Reader] = (), kokoro_voices: Path | None = None) -> Readers:
    """All that there are, `first` before them; the first that is ready is the default."""
    espeak = Espeak()
    return Readers([*first, EspeakReader(espeak), KokoroReader(kokoro_voices, espeak)])
