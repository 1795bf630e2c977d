"""Sessions on a GPU are drawn together: the real loop and the real GPU path, on torch's CPU with gsplat's stand-in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from avatar.render import gpu
from models.motion import Motion
from server.clock import MediaClock
from server.sessions import Wish
from server.stream import RenderLoop
from stage import picture
from stage.performer import Performer
from tests.avatar import gsplat_standin, synthetic
from tests.server.scripted import Still, TopLayer, Watcher, api_of, open_session, scripted_parts, start

FPS = 10.0


class Stage:
    """A session without a wire, that keeps what it is given to encode."""

    levels, fps = 1, FPS

    def __init__(self, performer: Performer, clock: MediaClock) -> None:
        self.performer, self.clock = performer, clock
        self.size = (performer.picture.width, performer.picture.height)
        self.frames: list[NDArray[np.uint8]] = []
        self.alone = 0
        self.errors: list[Exception] = []

    def set_level(self, level: int) -> None:
        self.performer.picture.set_level(level)

    @property
    def launch(self) -> Callable[[Sequence[Any]], None] | None:
        return self.performer.picture.launch

    def shot(self, media_time: float, out: NDArray[np.uint8]) -> Any:
        return self.performer.shot(media_time, out)

    def draw(self, media_time: float, out: NDArray[np.uint8]) -> None:
        self.alone += 1
        self.performer.frame(media_time, out)

    def encode(self, media_time: float, frame: NDArray[np.uint8]) -> None:
        self.frames.append(frame.copy())

    def fail(self, error: Exception) -> None:
        self.errors.append(error)


class Counting(gpu.GpuRasterizer):
    """Notes the sizes of its launches; breaks where it is told to."""

    def __init__(self) -> None:
        super().__init__("cpu", gsplat_standin, "alpha")
        self.launches: list[int] = []
        self.broken = False

    def draw_many(self, shots: Sequence[gpu.Shot]) -> None:
        self.launches.append(len(shots))
        if self.broken and len(shots) > 1:
            raise RuntimeError("out of memory")
        super().draw_many(shots)


@pytest.fixture
def rasterizer(monkeypatch: pytest.MonkeyPatch) -> Counting:
    found = Counting()
    monkeypatch.setattr(picture, "gpu", lambda device: found)
    return found


def stages(*sizes: tuple[int, int]) -> list[Stage]:
    """Sessions of two avatars in turn, all on one clock, so that their frames are due together."""
    people, clock = (synthetic.tiny(), synthetic.avatar(800, "half", 64)), MediaClock()
    return [
        Stage(Performer(picture.AvatarPicture(people[k % 2], *size), Still(), TopLayer()), clock)
        for k, size in enumerate(sizes)
    ]


def perform(sessions: list[Stage], until: Callable[[], bool]) -> None:
    loop, end = RenderLoop(), time.monotonic() + 20
    for s in sessions:
        loop.add(s)
    while not until():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
    loop.close()


def test_what_is_due_together_is_drawn_in_one_launch_and_as_alone(rasterizer: Counting) -> None:
    sessions = stages((48, 48), (48, 48), (32, 64), (48, 48))
    perform(sessions, lambda: all(len(s.frames) >= 3 for s in sessions))
    assert max(rasterizer.launches) == 4
    assert np.mean(rasterizer.launches) > 2
    for s in sessions:
        alone = np.empty_like(s.frames[-1])
        s.performer.picture.draw(Motion(0.0), alone)  # Still says nothing: every frame is alike
        np.testing.assert_array_equal(s.frames[-1], alone)
        assert np.ptp(alone) > 50
        assert not s.errors


def test_one_that_fails_leaves_the_others_their_pictures(rasterizer: Counting) -> None:
    sessions = stages((48, 48), (48, 48), (32, 64))

    def broken(media_time: float, out: object) -> None:
        raise RuntimeError("no such pose")

    sessions[1].shot = sessions[1].draw = broken  # type: ignore[method-assign]
    perform(sessions, lambda: all(len(s.frames) >= 3 for s in (sessions[0], sessions[2])))
    assert [len(s.errors) for s in sessions] == [0, 1, 0]
    assert "no such pose" in str(sessions[1].errors[0])


def test_a_launch_that_fails_is_drawn_one_by_one(rasterizer: Counting) -> None:
    rasterizer.broken = True
    sessions = stages((48, 48), (48, 48))
    perform(sessions, lambda: all(len(s.frames) >= 2 for s in sessions))
    assert 2 in rasterizer.launches
    assert not any(s.errors for s in sessions)
    assert all(s.alone for s in sessions)


def test_frames_of_other_times_are_not_waited_for(rasterizer: Counting) -> None:
    """A session whose frames lie between another's is drawn when it is due."""
    first, second = stages((48, 48), (48, 48))
    second.clock = MediaClock()
    second.clock.slip(0.5 / FPS + (second.clock.now() - first.clock.now()))
    perform([first, second], lambda: len(second.frames) >= 4)
    assert np.mean(rasterizer.launches) < 1.6


def test_on_the_cpu_each_is_drawn_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "gpu", lambda device: None)
    sessions = stages((48, 48), (48, 48))
    assert all(s.launch is None for s in sessions)
    perform(sessions, lambda: all(len(s.frames) >= 2 for s in sessions))
    assert all(s.alone >= 2 for s in sessions)


async def test_a_servers_sessions_share_launches(rasterizer: Counting, tmp_path: Path) -> None:
    """Opened over HTTP, watched over WebRTC."""
    avatar = synthetic.tiny()

    def perform(_: object, wish: Wish) -> tuple[Performer, tuple[str, ...]]:
        return Performer(picture.AvatarPicture(avatar, wish.width, wish.height), Still(), TopLayer()), ()

    client = await start(tmp_path, replace(scripted_parts(), perform=perform), width=64, height=64, fps=FPS)
    sessions = [await open_session(client) for _ in range(2)]
    first, second = (api_of(client).sessions.get(s["id"]) for s in sessions)
    second.clock = first.clock  # otherwise their frames are due at times of their own
    watchers = [await Watcher().watch(client, s) for s in sessions]
    await watchers[0].until(lambda: all(len(w.frames) > 4 for w in watchers) and 2 in rasterizer.launches)
    assert not first.error and not second.error
    await asyncio.gather(*(w.close() for w in watchers))
    await client.close()
