"""The words of typed text on the media clock, to be shown while they are heard."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

from drivers.text import Sentence, Word


@dataclass(frozen=True)
class Caption:
    """A sentence and when it is heard."""

    utterance: int
    start: float  # media time, s
    text: str
    words: tuple[Word, ...]  # times from `start`

    @classmethod
    def of(cls, sentence: Sentence, utterance: int, start: float) -> Caption:
        return cls(utterance, start, sentence.text, sentence.words)

    @property
    def end(self) -> float:
        """Media time, s, at which its last word ends."""
        return self.start + (self.words[-1].end if self.words else 0.0)

    def json(self) -> dict[str, Any]:
        words = [[w.text, round(w.start, 3), round(w.end, 3)] for w in self.words]
        seconds = round(self.end - self.start, 3)
        start = round(self.start, 3)
        return {"utterance": self.utterance, "start": start, "seconds": seconds, "text": self.text, "words": words}


class Captions:
    """In order; read by whoever watches. Thread-safe."""

    KEPT = 10.0  # s that what was said stays readable for who asks late

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._captions: deque[Caption] = deque()
        self._epoch = 0

    def add(self, caption: Caption, epoch: int) -> None:
        """Append, unless it was made for what has been interrupted meanwhile."""
        with self._lock:
            if epoch == self._epoch:
                while self._captions and self._captions[0].end < caption.start - self.KEPT:
                    self._captions.popleft()
                self._captions.append(caption)

    def cut(self, epoch: int) -> None:
        """Forget everything, and take captions of the new epoch only."""
        with self._lock:
            self._epoch = epoch
            self._captions.clear()

    def at(self, time: float) -> Caption | None:
        with self._lock:
            return next((c for c in self._captions if c.start <= time < c.end), None)
