"""What will be heard: a timeline of mono samples on the media clock, and the same sound for the speech net."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from models.motion import Motion
from stage.sound import F32, I16, RATE, Decimator

FADE = round(0.03 * RATE)  # samples from full voice to silence when it is interrupted


@dataclass
class _Clip:
    start: int  # media sample of its first sample
    samples: I16
    open: bool = False  # a live microphone's: what comes next may follow without a gap

    @property
    def end(self) -> int:
        return self.start + len(self.samples)


@dataclass(frozen=True)
class Piece:
    """Sound for the speech net, in order. A piece that `begins` follows silence: the net starts afresh with it.

    Where the lips are known already (typed text), the first piece carries them all and the net is not asked.
    """

    start: int  # media sample (RATE) of its first sample
    samples: F32  # 16 kHz, -1..1
    begins: bool
    ends: bool  # nothing follows without a gap
    live: bool  # a microphone's: nothing of what follows is known yet
    lips: tuple[Motion, ...] | None = None  # times from the piece's first sample; None: the net has to listen


class Voice:
    """Samples are appended at or after `end`, handed out once and in order, and forgotten when they were heard.

    Thread-safe: the audio track reads while a microphone writes and the speech net takes its pieces.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clips: deque[_Clip] = deque()
        self._pieces: deque[Piece] = deque()  # for the net
        self._unheard: deque[Piece] = deque()  # for who hears accents
        self._decimator = Decimator()
        self.playhead = 0  # media sample handed out next
        self.epoch = 0

    @property
    def end(self) -> int:
        """Media sample after the last one that is known; never before the playhead."""
        with self._lock:
            return self._end()

    def _end(self) -> int:
        return max(self.playhead, self._clips[-1].end if self._clips else 0)

    @property
    def next_piece(self) -> int | None:
        """Media sample where the next untaken piece starts, None when all are taken."""
        with self._lock:
            return self._pieces[0].start if self._pieces else None

    @property
    def next_unheard(self) -> int | None:
        """As `next_piece`, for `hear`."""
        with self._lock:
            return self._unheard[0].start if self._unheard else None

    def append(
        self, samples: I16, not_before: int, closed: bool, lips: tuple[Motion, ...] | None = None, epoch: int = -1
    ) -> tuple[int, int]:
        """Place samples at the end, or at media sample `not_before` if that is later.

        Closed: a whole utterance; otherwise more may follow without a gap. Returns (start, epoch). With `epoch`, what
        was made for another one is dropped; compare the epoch returned.
        """
        with self._lock:
            if epoch not in (-1, self.epoch):
                return self._end(), self.epoch
            start = max(self._end(), not_before)
            follows = not closed and bool(self._clips) and self._clips[-1].open and self._clips[-1].end == start
            if not follows:
                self._decimator = Decimator()
            self._clips.append(_Clip(start, samples, open=not closed))
            piece = Piece(start, self._decimator.push(samples), not follows, closed, not closed, lips)
            self._pieces.append(piece)
            self._unheard.append(piece)
            return start, self.epoch

    def take(self, seconds: float) -> tuple[Piece | None, int]:
        """Up to `seconds` of sound for the net (None: nothing there) and the epoch it belongs to."""
        return self._next(self._pieces, seconds)

    def hear(self, seconds: float) -> tuple[Piece | None, int]:
        """As `take`, for who hears accents, at a pace of its own."""
        return self._next(self._unheard, seconds)

    def _next(self, pieces: deque[Piece], seconds: float) -> tuple[Piece | None, int]:
        n = max(1, round(seconds * RATE / Decimator.FACTOR))
        with self._lock:
            if not pieces:
                return None, self.epoch
            piece = pieces.popleft()
            if len(piece.samples) > n:
                known = None if piece.lips is None else ()
                start, rest = piece.start + n * Decimator.FACTOR, piece.samples[n:]
                pieces.appendleft(replace(piece, start=start, samples=rest, begins=False, lips=known))
                piece = replace(piece, samples=piece.samples[:n], ends=False)
            return piece, self.epoch

    def read(self, start: int, n: int) -> I16:
        """(n,) samples from media sample `start` on; silence where nobody speaks. Moves the playhead."""
        out = np.zeros(n, np.int16)
        with self._lock:
            self.playhead = max(self.playhead, start + n)
            while self._clips and self._clips[0].end <= start:
                self._clips.popleft()
            for clip in self._clips:
                if clip.start >= start + n:
                    break
                a, b = max(clip.start, start), min(clip.end, start + n)
                out[a - start : b - start] = clip.samples[a - clip.start : b - clip.start]
        return out

    def sounding(self, start: int, n: int) -> bool:
        """Is there voice (not the silence around it) in [start, start + n)?"""
        with self._lock:
            return any(c.start < start + n and c.end > start for c in self._clips)

    def cut(self) -> int:
        """Fade out from the playhead on and forget the rest. Returns the new epoch."""
        with self._lock:
            self.epoch += 1
            tail = np.zeros(FADE, np.int16)
            here = self.playhead
            for clip in self._clips:
                a, b = max(clip.start, here), min(clip.end, here + FADE)
                if a < b:
                    tail[a - here : b - here] = clip.samples[a - clip.start : b - clip.start]
            self._clips.clear()
            self._pieces.clear()
            self._unheard.clear()
            if tail.any():
                ramp = 0.5 + 0.5 * np.cos(np.linspace(0, np.pi, FADE, dtype=np.float32))
                self._clips.append(_Clip(here, (tail * ramp).astype(np.int16)))
            return self.epoch
