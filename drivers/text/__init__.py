"""Typed text to speech: `EspeakReader` and `KokoroReader` with exact lips, `HttpReader` for the operator's own voice.

script cuts the text, tags takes moods and pauses out of it, espeak (a program of its own), kokoro or an HTTP server
says it, lips knows the mouth from the phonemes. `Readers` are several as one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from drivers.text.espeak import REMEDY
from drivers.text.http_voice import HttpReader
from drivers.text.kokoro import KokoroReader
from drivers.text.reading import USUAL, Delivery, EspeakReader, NoReader, Reader, Sentence, TextError, Voice, Word, find

__all__ = [
    "REMEDY", "USUAL", "Delivery", "EspeakReader", "HttpReader", "KokoroReader", "NoReader", "Reader", "Readers", "Sentence",
    "TextError", "Voice", "Word",
]  # fmt: skip


class Readers:
    """Several readers as one; the first that is there is the default."""

    def __init__(self, readers: Sequence[Reader]) -> None:
        self._readers = list(readers)

    def voices(self) -> list[Voice]:
        """Raises NoReader where none is there, with the last one's reason."""
        return [voice for _, voices in self._there() for voice in voices]

    def read(self, text: str, how: Delivery = USUAL) -> Iterator[Sentence]:
        """Raises TextError or NoReader."""
        there = self._there()
        if how.voice:
            wanted = find([v for _, voices in there for v in voices], how.voice)
            reader = next(reader for reader, voices in there if wanted in voices)
        else:
            reader = there[0][0]
        return reader.read(text, how)

    def close(self) -> None:
        for reader in self._readers:
            reader.close()

    def _there(self) -> list[tuple[Reader, list[Voice]]]:
        there, reason = [], NoReader(f"no voice is set up; {REMEDY}")
        for reader in self._readers:
            try:
                there.append((reader, reader.voices()))
            except NoReader as e:
                reason = e
        if not there:
            raise reason
        return there
