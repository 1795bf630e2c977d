"""The render loop: one thread draws the frames of all sessions in turn, one encodes them, the event loop sends them.

A frame is drawn a little before its media time is due, by as much as drawing and encoding took lately, so that it
leaves together with its sound. A session that cannot keep up loses frames; it never piles them up, nor slows the
others down: the session whose frame is due first goes first, and a late one skips to the next frame that is still due.
On a GPU those that are due within the same few milliseconds are drawn in one launch.
Where all of them want more than the thread has, those that take more than their share wait (`RenderLoop._wait`), and
give up detail and then frames (server/pace.py).
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from server.clock import MediaClock
from server.pace import Load, Pace

log = logging.getLogger(__name__)

MAX_LEAD = 0.06  # s a frame may be drawn ahead of its time
LEAD_RATE = 0.05  # share of each new measurement in the smoothed lead
TOGETHER = 0.004  # s that a frame may be drawn early to share another's launch
IDLE_WAIT = 0.25  # s between looks when nothing is due
CROWDED = 0.95  # of the render thread's time: where sessions want more, each gets its share
GREEDY = 0.8  # of the sessions' mean: who wants less is not asked to give way


class Source(Protocol):
    """What the loop draws: one session."""

    clock: MediaClock
    fps: float
    size: tuple[int, int]

    @property
    def levels(self) -> int:
        """How many levels of detail there are, 1 or more."""

    def set_level(self, level: int) -> None:
        """Render thread: draw at this level of detail from now on, 0 the finest."""

    def draw(self, time: float, out: NDArray[np.uint8]) -> None:
        """Render thread: draw media time `time` into out."""

    @property
    def launch(self) -> Callable[[Sequence[Any]], None] | None:
        """Render thread: draws shots of all sources whose `launch` equals this one at once; None: each by `draw`."""

    def shot(self, time: float, out: NDArray[np.uint8]) -> Any:
        """Render thread: media time `time` into out, as `launch` takes it."""

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
    step: int = 0  # given up to hold the rate: levels of detail, then frames
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
        self.pace = Pace(source.levels, source.fps)
        self.level = -1  # of detail, as the source knows it: not yet
        self.ended = 0.0  # when its last frame had been drawn
        self.buffers = [np.zeros((height * 3 // 2, width), np.uint8) for _ in range(self.BUFFERS)]
        self.active = True

    @property
    def due(self) -> float:
        """Seconds from now until the next frame should be drawn."""
        return self.source.clock.until(self.next / self.source.fps) - self.timing.lead

    @property
    def demand(self) -> float:
        """The share of the render thread that its full rate would take, as things stand."""
        return self.timing.render_ms / 1000 * self.source.fps / self.pace.stride

    def skip_to_present(self) -> int:
        """Leave out frames whose time has passed by more than one interval; how many."""
        here = self.source.clock.now() + self.timing.lead
        missed = max(int(here * self.source.fps) - self.next, 0) // self.pace.stride
        self.timing.dropped += missed
        self.next += missed * self.pace.stride
        return missed


@dataclass
class _Frame:
    """One frame on its way."""

    seat: _Seat
    time: float  # media time, s
    buffer: NDArray[np.uint8]
    missed: int  # frames left out before it


class RenderLoop:
    """Owns the render thread and the encode thread. `add` and `remove` from any thread."""

    def __init__(self) -> None:
        self._seats: dict[int, _Seat] = {}
        self._wake = threading.Condition()
        self._tasks: list[Callable[[], None]] = []
        self._stopping = False
        self._load = Load()
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
                seats = [] if task else self._due()
                if not task and not seats:
                    self._wake.wait(self._pause())
                    continue
            if task:
                self._attempt(task)
            else:
                self._draw(seats)

    def _due(self) -> list[_Seat]:
        """The session whose frame is due first, with those that may be drawn in the same launch."""
        waits = [(self._wait(s), s) for s in self._seats.values() if s.buffers]
        first = min((s for wait, s in waits if wait <= 0), key=lambda s: s.due, default=None)
        if first is None:
            return []
        launch = first.source.launch
        also = [s for wait, s in waits if wait <= TOGETHER and s is not first and s.source.launch == launch]
        return [first, *also] if launch is not None else [first]

    def _pause(self) -> float:
        waits = [self._wait(s) for s in self._seats.values() if s.buffers]
        return min(max(min(waits), 0.0005), IDLE_WAIT) if waits else IDLE_WAIT

    def _wait(self, seat: _Seat) -> float:
        """Seconds from now until it is this session's turn.

        Frames cannot be cut in two: a session that wants too much would always be the one whose frame is most overdue.
        In a crowd it waits after a frame for as long as leaves the others their share.
        """
        others = len(self._seats) - 1
        if others and seat.demand * (others + 1) > 1 and sum(s.demand for s in self._seats.values()) > CROWDED:
            rest = seat.ended + others * seat.timing.render_ms / 1000 - time.monotonic()
            return max(seat.due, rest)
        return seat.due

    def _adapt(self, seat: _Seat, seconds: float, missed: int) -> None:
        """Let the session give up, or get back, a step of quality."""
        now = seat.ended = time.monotonic()
        self._load.add(now, seconds)
        with self._wake:
            demands = [s.demand for s in self._seats.values()]
        may_fall = seat.demand * len(demands) >= GREEDY * sum(demands)
        if not seat.pace.frame(now, seconds, missed, self._load.share(now), may_fall):
            return
        seat.timing.step = seat.pace.step
        log.info("a session is drawn at detail level %d, frame rate divided by %d", seat.pace.level, seat.pace.stride)

    def _draw(self, seats: list[_Seat]) -> None:
        """Draw the next frame of each, and hand them to the encoder."""
        began = time.perf_counter()
        frames = [frame for s in seats if (frame := self._begin(s))]
        frames = self._drawn(frames)
        seconds = (time.perf_counter() - began) / max(len(frames), 1)  # a launch's time is shared alike
        for f in frames:
            f.seat.timing.drawn(seconds)
            self._adapt(f.seat, seconds, f.missed)
            with contextlib.suppress(RuntimeError):  # the executor was shut down
                self._encoder.submit(self._encode, f.seat, f.time, f.buffer)

    def _begin(self, seat: _Seat) -> _Frame | None:
        """The frame that is next; None where the session cannot be drawn."""
        missed = seat.skip_to_present()
        frame = _Frame(seat, seat.next / seat.source.fps, seat.buffers.pop(), missed)
        seat.next += seat.pace.stride
        if seat.level == seat.pace.level:
            return frame
        seat.level = seat.pace.level
        seat.timing.render_ms = 0.0  # which was of another level
        return frame if self._tried(seat, lambda: seat.source.set_level(seat.level)) else None

    def _drawn(self, frames: list[_Frame]) -> list[_Frame]:
        """Draw the frames, in one launch where there are several -> those that could be drawn."""
        launch = frames[0].seat.source.launch if len(frames) > 1 else None
        if launch is not None:
            shots: list[Any] = []

            def shoot(f: _Frame) -> None:
                shots.append(f.seat.source.shot(f.time, f.buffer))

            frames = [f for f in frames if self._tried(f.seat, functools.partial(shoot, f))]
            try:
                launch(shots)
                return frames
            except Exception:
                log.exception("a launch of %d pictures failed; each is drawn alone", len(shots))
        return [f for f in frames if self._tried(f.seat, functools.partial(f.seat.source.draw, f.time, f.buffer))]

    def _tried(self, seat: _Seat, step: Callable[[], None]) -> bool:
        """Whether a session's step succeeded; otherwise it is not drawn any more."""
        try:
            step()
        except Exception as error:
            self._give_up(seat, error)
            return False
        return True

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
