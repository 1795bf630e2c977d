"""The render loop: one thread draws the frames of all sessions in turn, one encodes them, the event loop sends them.

A frame is drawn a little before its media time is due, by as much as drawing and encoding took lately, so that it
leaves together with its sound. A session that cannot keep up loses frames; it never piles them up, nor slows the
others down: the session whose frame is due first goes first, and a late one skips to the next frame that is still due.
"""

from __future__ import annotations

import contextlib
import heapq
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from server.clock import MediaClock

log = logging.getLogger(__name__)

MAX_LEAD = 0.06  # s a frame may be drawn ahead of its time
LEAD_RATE = 0.05  # share of each new measurement in the smoothed lead
IDLE_WAIT = 0.25  # s between looks when nothing is due


class Source(Protocol):
    """What the loop draws: one session."""

    clock: MediaClock
    fps: float
    size: tuple[int, int]

    def draw(self, time: float, out: NDArray[np.uint8]) -> None:
        """Render thread: draw media time `time` into out."""

    def encode(self, time: float, frame: NDArray[np.uint8]) -> None:
        """Encode thread: encode the frame and send it on its way."""

    def fail(self, error: Exception) -> None:
        """Any thread: drawing or encoding raised; the session is not drawn any more."""


@dataclass
class Timing:
    """Smoothed figures of one session's frames."""

    render_ms: float = 0.0
    encode_ms: float = 0.0
    fps: float = 0.0
    frames: int = 0
    dropped: int = 0
    lead: float = 0.02  # s that frames are drawn ahead
    _last: float = 0.0
    _interval: float = 0.0

    def drawn(self, seconds: float) -> None:
        self.render_ms = _smooth(self.render_ms, 1000 * seconds, 0.1)

    def encoded(self, seconds: float, lateness: float) -> None:
        """lateness: s from the frame's media time to its being encoded (negative: early)."""
        self.encode_ms = _smooth(self.encode_ms, 1000 * seconds, 0.1)
        self.lead = min(max(self.lead + LEAD_RATE * lateness, 0.0), MAX_LEAD)
        now = time.monotonic()
        if self._last:
            self._interval = _smooth(self._interval, max(now - self._last, 1e-4), 0.05)
            self.fps = 1 / self._interval
        self._last = now
        self.frames += 1


def _smooth(old: float, new: float, share: float) -> float:
    return new if old == 0 else old + share * (new - old)


class _Seat:
    """A session's place in the loop: which frame is next, and buffers that are drawn and encoded in turn."""

    BUFFERS = 2  # one is drawn while the other is encoded

    def __init__(self, source: Source) -> None:
        width, height = source.size
        self.source, self.timing, self.next = source, Timing(), 0
        self.buffers = [np.zeros((height * 3 // 2, width), np.uint8) for _ in range(self.BUFFERS)]
        self.active = True

    @property
    def due(self) -> float:
        """Seconds from now until the next frame should be drawn."""
        return self.source.clock.until(self.next / self.source.fps) - self.timing.lead

    def skip_to_present(self) -> None:
        """Leave out frames whose time has passed by more than one interval."""
        here = self.source.clock.now() + self.timing.lead
        newest = int(here * self.source.fps)
        if newest > self.next:
            self.timing.dropped += newest - self.next
            self.next = newest


class RenderLoop:
    """Owns the render thread and the encode thread. `add` and `remove` from any thread."""

    def __init__(self) -> None:
        self._seats: dict[int, _Seat] = {}
        self._wake = threading.Condition()
        self._tasks: list[Callable[[], None]] = []
        self._stopping = False
        self._encoder = ThreadPoolExecutor(1, thread_name_prefix="encode")
        self._thread = threading.Thread(target=self._run, name="render", daemon=True)
        self._thread.start()

    def add(self, source: Source) -> Timing:
        """Draw this session from now on."""
        seat = _Seat(source)
        seat.next = int(source.clock.now() * source.fps) + 1
        with self._wake:
            self._seats[id(source)] = seat
            self._wake.notify()
        return seat.timing

    def remove(self, source: Source) -> None:
        with self._wake:
            seat = self._seats.pop(id(source), None)
            if seat:
                seat.active = False

    def call(self, task: Callable[[], None]) -> None:
        """Run something in the render thread between frames: compiling kernels, warming up."""
        with self._wake:
            self._tasks.append(task)
            self._wake.notify()

    def call_encoder(self, task: Callable[[], None]) -> None:
        """Run something in the encode thread between frames."""
        with contextlib.suppress(RuntimeError):  # it has been shut down, and nothing needs freeing
            self._encoder.submit(self._attempt, task)

    def close(self) -> None:
        with self._wake:
            self._stopping = True
            self._seats.clear()
            self._wake.notify()
        self._thread.join(5)
        self._encoder.shutdown(wait=True, cancel_futures=True)

    # ---- the render thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._wake:
                task = self._tasks.pop(0) if self._tasks else None
                if self._stopping and not task:
                    return
                seat = None if task else self._first_due()
                if not task and not seat:
                    self._wake.wait(self._pause())
                    continue
            if task:
                self._attempt(task)
            elif seat:
                self._draw(seat)

    def _first_due(self) -> _Seat | None:
        ready = [s for s in self._seats.values() if s.buffers]
        seat = min(ready, key=lambda s: s.due, default=None)
        return seat if seat and seat.due <= 0 else None

    def _pause(self) -> float:
        waits = heapq.nsmallest(1, (s.due for s in self._seats.values() if s.buffers))
        return min(max(waits[0], 0.0005), IDLE_WAIT) if waits else IDLE_WAIT

    def _draw(self, seat: _Seat) -> None:
        seat.skip_to_present()
        media_time = seat.next / seat.source.fps
        seat.next += 1
        buffer = seat.buffers.pop()
        began = time.perf_counter()
        try:
            seat.source.draw(media_time, buffer)
        except Exception as error:
            self._give_up(seat, error)
            return
        seat.timing.drawn(time.perf_counter() - began)
        try:
            self._encoder.submit(self._encode, seat, media_time, buffer)
        except RuntimeError:  # the executor was shut down
            return

    def _encode(self, seat: _Seat, media_time: float, buffer: NDArray[np.uint8]) -> None:
        if seat.active:
            began = time.perf_counter()
            try:
                seat.source.encode(media_time, buffer)
            except Exception as error:
                self._give_up(seat, error)
                return
            seat.timing.encoded(time.perf_counter() - began, -seat.source.clock.until(media_time))
        with self._wake:
            seat.buffers.append(buffer)
            self._wake.notify()

    def _give_up(self, seat: _Seat, error: Exception) -> None:
        log.exception("a session's picture failed", exc_info=error)
        self.remove(seat.source)
        seat.source.fail(error)

    @staticmethod
    def _attempt(task: Callable[[], None]) -> None:
        try:
            task()
        except Exception:
            log.exception("a task between frames failed")
