"""A voice of the operator's own behind HTTP: the OpenAI-compatible `POST .../audio/speech` that many programs speak.

It gives sound without the times of its phonemes, so the speech driver listens to it as to any voice.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from drivers.speech import audio
from drivers.text.reading import USUAL, Delivery, NoReader, Sentence, Voice, Word, find, pieces, prepared, silence
from drivers.text.tags import Part

RATE = 48_000  # Hz that its sound is brought to
LONGEST_SOUND = 64_000_000  # bytes of one sentence


@dataclass(frozen=True)
class HttpReader:
    """url: all of the address, such as http://127.0.0.1:8880/v1/audio/speech."""

    url: str
    names: Sequence[str]  # its voices
    model: str = "tts-1"
    key: str = ""
    timeout: float = 15.0  # s for one sentence

    def voices(self) -> list[Voice]:
        return [Voice(f"http:{name}", name, "") for name in self.names]

    def read(self, text: str, how: Delivery = USUAL) -> Iterator[Sentence]:
        voices = self.voices()
        voice = find(voices, how.voice) if how.voice else voices[0]
        return self._sentences(prepared(text), how, voice)

    def close(self) -> None:
        """Holds nothing open."""

    def _sentences(self, parts: list[Part], how: Delivery, voice: Voice) -> Iterator[Sentence]:
        for piece in pieces(parts):
            if not piece.text:
                yield silence(piece, RATE)
                continue
            sound = self._fetch(piece.text, voice.name, how.rate)
            try:
                x = audio.load(sound, RATE)
            except audio.AudioError as e:
                raise NoReader(f"the voice at voice_url sent no sound ({e})") from e
            rest = np.zeros(round(how.pause * piece.pause * RATE), np.int16)
            samples = np.concatenate([np.rint(x * 32767).astype(np.int16), rest])
            yield Sentence(piece.text, samples, RATE, None, spread(piece.text, len(x) / RATE), piece.mood)

    def _fetch(self, text: str, voice: str, rate: float) -> bytes:
        body = {"model": self.model, "input": text, "voice": voice, "speed": rate, "response_format": "wav"}
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        request = urllib.request.Request(self.url, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as response:
                sound = response.read(LONGEST_SOUND + 1)
        except (OSError, ValueError) as e:
            reason = f"status {e.code}" if isinstance(e, urllib.error.HTTPError) else str(e)
            raise NoReader(f"the voice at voice_url does not answer ({reason})") from e
        if len(sound) > LONGEST_SOUND:
            raise NoReader("the voice at voice_url sent too much sound for one sentence")
        return sound


def spread(text: str, seconds: float) -> tuple[Word, ...]:
    """Words timed by their length, where nobody says when they are spoken."""
    tokens = text.split()
    ends = np.cumsum([len(token) + 1 for token in tokens]) / (len(text) + 1) * seconds
    return tuple(Word(t, float(s), float(e)) for t, s, e in zip(tokens, [0.0, *ends[:-1]], ends))
