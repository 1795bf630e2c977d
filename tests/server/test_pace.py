"""Detail and frames are given up when the rate cannot be held, and come back; sessions do not starve each other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
from aiohttp.test_utils import TestClient

from server.clock import MediaClock
from server.pace import GRACE, MOST_PATIENCE, PATIENCE, WINDOW, Load, Pace
from server.stream import RenderLoop
from tests.server.scripted import Watcher, api_of, bearer, open_session

FPS = 30.0


def play(pace: Pace, cost: Callable[[float, int], float], start: float, seconds: float) -> list[tuple[float, int, int]]:
    """Simulated frames of one session alone; cost(time, level) s. -> (time, step before, step) of every change."""
    now, due, changes = start, start, []
    load = Load()
    while now < start + seconds:
        interval = pace.stride / FPS
        missed = max(int((now - due) / interval), 0)
        due += (missed + 1) * interval
        spent = cost(now, pace.level)
        now += spent
        load.add(now, spent)
        before = pace.step
        if pace.frame(now, spent, missed, load.share(now)):
            changes.append((now - start, before, pace.step))
        now = max(now, due)
    return changes


def test_a_picture_that_keeps_up_is_left_alone() -> None:
    pace = Pace(3, FPS)
    assert not play(pace, lambda t, level: 0.025, 0, 60)
    assert pace.step == 0


def test_one_hiccup_costs_nothing() -> None:
    assert not play(Pace(3, FPS), lambda t, level: 0.09 if 5 < t < 5.05 else 0.01, 0, 20)


def test_detail_goes_first_then_frames_and_no_further() -> None:
    pace = Pace(3, FPS)
    changes = play(pace, lambda t, level: 0.2, 0, 30)
    assert [c[2] for c in changes] == [1, 2, 3, 4]
    assert GRACE <= changes[0][0] < GRACE + WINDOW + 1
    assert (pace.level, pace.stride) == (2, 3)


def test_it_stays_down_while_the_finer_level_would_not_fit() -> None:
    pace = Pace(3, FPS)
    changes = play(pace, lambda t, level: (0.05, 0.015, 0.01)[level], 0, 300)
    assert [c[1:] for c in changes] == [(0, 1)]


def test_it_comes_back_when_the_machine_is_free_again() -> None:
    pace = Pace(3, FPS)
    changes = play(pace, lambda t, level: (0.02, 0.015, 0.01)[level] * (4 if t < 10 else 1), 0, 40)
    assert pace.step == 0
    back = [c for c in changes if c[2] < c[1]]
    assert back[0][0] > 10 and np.diff([c[0] for c in back]).min() > PATIENCE
    assert back[-1][0] < 35


def test_vain_attempts_become_rare() -> None:
    """Where a finer level looks as if it would fit, and does not."""
    pace = Pace(2, FPS)
    pace._fits = lambda busy: True  # type: ignore[method-assign]
    ups = [c[0] for c in play(pace, lambda t, level: 0.012 if level else 0.06, 0, 300) if c[2] < c[1]]
    waits = np.diff(ups)
    assert waits[0] < 12 and waits[-1] > MOST_PATIENCE
    assert (np.diff(waits) > -1).all()


class Scene:
    """A session without a wire: draws for `cost` s a frame at each level, and notes when frames were encoded."""

    size, launch = (16, 16), None

    def __init__(self, *costs: float, fps: float = FPS) -> None:
        self.clock, self.fps, self.costs, self.level = MediaClock(), fps, costs, 0
        self.levels, self.encoded = len(costs), list[float]()
        self.errors: list[Exception] = []

    def set_level(self, level: int) -> None:
        assert threading.current_thread().name == "render"
        self.level = level

    def shot(self, media_time: float, out: np.ndarray) -> None:
        raise AssertionError("it is drawn alone")

    def draw(self, media_time: float, out: np.ndarray) -> None:
        time.sleep(self.costs[self.level])

    def encode(self, media_time: float, frame: np.ndarray) -> None:
        self.encoded.append(media_time)

    def fail(self, error: Exception) -> None:
        self.errors.append(error)

    def rate(self, seconds: float) -> float:
        return sum(t > self.encoded[-1] - seconds for t in self.encoded) / seconds


def test_a_slow_session_does_not_starve_the_others_and_is_alone_in_giving_way() -> None:
    loop = RenderLoop()
    slow, *quick = scenes = [Scene(0.06, 0.055), Scene(0.002, 0.001), Scene(0.002, 0.001)]
    timings = [loop.add(s) for s in scenes]
    time.sleep(GRACE + 2 * WINDOW)
    loop.close()
    assert min(s.rate(3) for s in quick) > 0.6 * FPS, [s.rate(3) for s in scenes]
    assert slow.rate(3) > 3
    assert timings[0].step > 0 and timings[1].step == timings[2].step == 0
    assert not any(s.errors for s in scenes)


def test_equal_sessions_that_want_too_much_share_alike() -> None:
    loop = RenderLoop()
    scenes = [Scene(0.02) for _ in range(3)]
    for s in scenes:
        loop.add(s)
    time.sleep(4)
    loop.close()
    rates = [len(s.encoded) for s in scenes]
    assert max(rates) < 1.4 * min(rates), rates


def test_the_finest_level_is_set_for_a_picture_that_returns() -> None:
    loop, scene = RenderLoop(), Scene(0.001, 0.001)
    scene.level = 1
    loop.add(scene)
    time.sleep(0.3)
    loop.close()
    assert scene.level == 0


async def test_a_slow_picture_gives_up_detail_and_tells(client: TestClient) -> None:
    session = await open_session(client)
    picture = api_of(client).sessions.get(session["id"]).performer.picture
    draw = picture.draw

    def slowly(motion: object, out: np.ndarray) -> None:
        time.sleep(0.06 if picture.level == 0 else 0.005)
        draw(motion, out)

    picture.draw = slowly
    watcher = await Watcher().watch(client, session)
    await watcher.until(lambda: picture.level == 1, timeout=10)
    frames = len(watcher.frames)
    await watcher.until(lambda: len(watcher.frames) > frames + 30, timeout=5)
    state = await (await client.get(f"/sessions/{session['id']}", headers=bearer(session))).json()
    assert state["degraded"] == 1
    metrics = await (await client.get("/metrics")).text()
    assert f'talkshot_degraded_steps{{session="{session["id"][:6]}"}} 1.0' in metrics
    await watcher.close()
