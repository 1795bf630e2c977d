"""Time and queues: one clock that waits for held-up sound, tracks that never grow old, frames that are dropped."""

import asyncio
import threading
import time
from fractions import Fraction

import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError

from server.clock import NTP_EPOCH, MediaClock
from server.encoder import Encoded
from server.session import KEY_INTERVAL, KeyFrames
from server.stream import MAX_LEAD, RenderLoop, Timing
from server.tracks import AudioTrack, VideoTrack


def packet(n: int, key: bool = False) -> Encoded:
    return Encoded(bytes([n]), n, Fraction(1, 90_000), key)


def test_the_clock_runs_and_waits() -> None:
    steady = [100.0]
    clock = MediaClock(lambda: steady[0], lambda: 5000.0)
    assert clock.now() == 0 and clock.ntp(0) == (5000 + NTP_EPOCH) << 32
    steady[0] = 103.0
    clock.slip(1.0)
    clock.slip(-5.0)  # it never jumps ahead
    assert clock.now() == 2.0 and clock.until(2.5) == 0.5
    assert clock.ntp(2.0) == (5003 + NTP_EPOCH) << 32  # what is sent now is due now


def test_key_frames_come_when_asked_but_not_too_often() -> None:
    keys = KeyFrames()
    assert keys.take(0.0) and not keys.take(0.1)
    keys.ask()
    assert not keys.take(0.2) and keys.take(KEY_INTERVAL) and not keys.take(2.0)


async def test_video_starts_with_a_key_frame_and_drops_what_is_not_taken() -> None:
    asked: list[int] = []
    track = VideoTrack(lambda: asked.append(1))
    track.offer(packet(0))
    assert asked == [1]
    for n in range(1, 6):
        track.offer(packet(n, key=n == 1))
    assert len(asked) == 3 and track.dropped == 3  # the queue overflowed at the fourth, and was emptied
    track.offer(packet(9, key=True))
    assert (await track.recv()).pts == 9
    track.stop()
    with pytest.raises(MediaStreamError):
        await track.recv()


async def test_sound_drops_the_oldest() -> None:
    track = AudioTrack()
    for n in range(10):
        track.offer(packet(n))
    assert [(await track.recv()).pts for _ in range(AudioTrack.LIMIT)] == list(range(4, 10))
    waiting = asyncio.create_task(track.recv())
    await asyncio.sleep(0)
    track.offer(packet(42))
    assert (await waiting).pts == 42


def test_the_lead_follows_the_lateness() -> None:
    timing = Timing()
    for _ in range(300):
        timing.encoded(0.002, 0.03 - timing.lead)
    assert timing.lead == pytest.approx(0.03, abs=1e-3)
    for _ in range(300):
        timing.encoded(0.002, 0.5)
    assert timing.lead == MAX_LEAD


class Slow:
    """A session whose frames take a while."""

    def __init__(self, fps: float, cost: float) -> None:
        self.clock, self.fps, self.size, self.cost = MediaClock(), fps, (16, 16), cost
        self.drawn: list[float] = []
        self.encoded: list[float] = []
        self.error: Exception | None = None
        self.failed = threading.Event()

    levels, launch = 1, None

    def set_level(self, level: int) -> None:
        assert level == 0

    def shot(self, time_: float, out: np.ndarray) -> None:
        raise AssertionError("it is drawn alone")

    def draw(self, time_: float, out: np.ndarray) -> None:
        time.sleep(self.cost)
        self.drawn.append(time_)

    def encode(self, time_: float, frame: np.ndarray) -> None:
        self.encoded.append(time_)

    def fail(self, error: Exception) -> None:
        self.error = error
        self.failed.set()


def test_a_slow_session_loses_frames_and_slows_nobody_down() -> None:
    loop = RenderLoop()
    slow, quick = Slow(30, 0.06), Slow(10, 0.0)
    timing = loop.add(slow)
    loop.add(quick)
    time.sleep(1.5)
    loop.close()
    assert 0.6 * 15 <= len(quick.drawn) <= 17
    assert timing.dropped > 10 and len(slow.drawn) < 30
    assert all(a < b for a, b in zip(slow.encoded, slow.encoded[1:]))
    assert slow.clock.now() - slow.encoded[-1] < 0.5  # dropped, not bunched


def test_what_is_removed_is_not_drawn_and_what_fails_is_told() -> None:
    loop = RenderLoop()
    source = Slow(50, 0.0)
    loop.add(source)
    time.sleep(0.2)
    loop.remove(source)
    time.sleep(0.05)
    n = len(source.drawn)
    time.sleep(0.15)
    assert n > 3 and len(source.drawn) == n
    broken = Slow(50, 0.0)
    broken.draw = lambda t, out: 1 / 0  # type: ignore[assignment, return-value]
    loop.add(broken)
    assert broken.failed.wait(2) and isinstance(broken.error, ZeroDivisionError)
    done = threading.Event()
    loop.call(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    loop.call(done.set)
    assert done.wait(2)
    loop.close()
