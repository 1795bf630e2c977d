"""The real thing: the demo avatar speaks a real voice to a real peer, its mouth moves with it and rests without."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer

from models.motion import A, Motion
from server.app import API, make_app
from server.config import Config
from tests.server.scripted import Watcher, bearer

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "avatars" / "demo.avatar"
VOICE = ROOT.parent / "shared" / "testdata" / "speech" / "jfk_en.flac"


@pytest.fixture
def parts() -> None:
    from models import weights

    if not DEMO.exists():
        pytest.skip(f"{DEMO} is absent; `make demo` builds it")
    if not VOICE.exists():
        pytest.skip(f"{VOICE} is absent")
    try:
        weights.path("whisper_tiny_en")
    except weights.WeightsError as e:
        pytest.skip(str(e))


async def test_the_demo_person_speaks(parts: None, tmp_path: Path) -> None:
    (tmp_path / "demo.avatar").symlink_to(DEMO)
    client = TestClient(TestServer(make_app(Config(avatars=tmp_path, width=256, height=256, fps=25))))
    await client.start_server()
    session = await (await client.post("/sessions", json={"avatar": "demo"})).json()
    live = client.server.app[API].sessions.get(session["id"])  # type: ignore[attr-defined]
    drawn: list[tuple[float, float, float]] = []
    draw = live.performer.picture.draw

    def noting(motion: Motion, out: np.ndarray) -> None:
        drawn.append((motion.time, float(motion.face[A["jawOpen"]]), float(live.performer.speaking(motion.time))))
        draw(motion, out)

    live.performer.picture.draw = noting
    watcher = await Watcher().watch(client, session)
    await watcher.until(lambda: len(watcher.frames) > 20, timeout=60)
    response = await client.post(f"/sessions/{session['id']}/speak", data=VOICE.read_bytes(), headers=bearer(session))
    said = await response.json()
    assert response.status == 202 and said["seconds"] == pytest.approx(11, abs=0.1)
    await asyncio.sleep(6)
    await client.post(f"/sessions/{session['id']}/interrupt", headers=bearer(session))
    await asyncio.sleep(1.5)
    time, jaw, _ = np.array(drawn).T
    spoken = jaw[(time > said["start"] + 0.5) & (time < said["start"] + 5)]
    silent = np.concatenate([jaw[time < said["start"] - 0.2], jaw[time > live.clock.now() - 1]])
    assert len(spoken) > 20 and len(silent) > 5
    assert spoken.max() > 0.15 and np.ptp(spoken) > 0.1
    assert silent.max() < 0.05
    assert max(s[2] for s in watcher.sound) > 1000
    await watcher.close()
    await client.close()
