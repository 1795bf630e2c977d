"""The real thing: the demo avatar reads typed text to a real peer, soon, with its lips and captions in step."""

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer

from drivers.text import EspeakReader, NoReader
from models.motion import A, Motion
from server.app import API, make_app
from server.config import Config
from tests.server.scripted import Watcher, bearer
from tests.server.test_real import DEMO

TEXT = "Papa, this is the first sentence that is typed. And mama hears the second one, which is a little longer."


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """A folder with the demo avatar; skips where it or espeak-ng is absent."""
    if not DEMO.exists():
        pytest.skip(f"{DEMO} is absent; `make demo` builds it")
    reader = EspeakReader()
    try:
        reader.voices()
    except NoReader as e:
        pytest.skip(f"espeak-ng is absent: {e}")
    finally:
        reader.close()
    (tmp_path / "demo.avatar").symlink_to(DEMO)
    return tmp_path


async def test_the_demo_person_reads_typed_text(demo: Path) -> None:
    client = TestClient(TestServer(make_app(Config(avatars=demo, width=256, height=256, fps=25))))
    await client.start_server()
    voices = await (await client.get("/voices")).json()
    assert voices[0]["id"] == "en-us"
    session = await (await client.post("/sessions", json={"avatar": "demo"})).json()
    live = client.server.app[API].sessions.get(session["id"])  # type: ignore[attr-defined]
    drawn: list[tuple[float, float]] = []
    draw = live.performer.picture.draw

    def noting(motion: Motion, out: np.ndarray) -> None:
        drawn.append((motion.time, float(motion.face[A["jawOpen"]])))
        draw(motion, out)

    live.performer.picture.draw = noting
    watcher = await Watcher().watch(client, session)
    await watcher.until(lambda: len(watcher.frames) > 20, timeout=60)
    asked, media = time.monotonic(), live.clock.now()
    url = f"/sessions/{session['id']}/speak"
    response = await client.post(url, json={"text": TEXT}, headers=bearer(session))
    assert response.status == 202, await response.text()
    said = await response.json()
    assert said["start"] - media < 0.5, "typed text is heard within the budget"
    await watcher.until(lambda: any(at > asked and loud > 300 for at, _, loud in watcher.sound), timeout=3)
    await asyncio.sleep(max(0.0, said["start"] + said["seconds"] + 1.0 - live.clock.now()))
    caption = live.performer.caption(live.clock.now())
    assert caption is not None and caption.text.startswith("And mama hears"), "the second sentence follows"
    t, jaw = np.array(drawn).T
    first = (t > said["start"]) & (t < said["start"] + said["seconds"])
    assert jaw[first].max() > 0.2 and jaw[t < said["start"] - 0.1].max() < 0.05
    response = await client.post(f"/sessions/{session['id']}/interrupt", headers=bearer(session))
    stopped = (await response.json())["time"]
    await asyncio.sleep(1.0)
    t, jaw = np.array(drawn).T
    assert jaw[t > stopped + 0.4].max() < 0.05 and live.performer.caption(live.clock.now()) is None
    await watcher.close()
    await client.close()
