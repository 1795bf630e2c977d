"""Sessions: wishes, tokens, viewers, limits, sounds."""

from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient
from hypothesis import given
from hypothesis import strategies as st

from server.api import read_wish
from server.config import Config
from server.errors import Problem
from tests.server.requests import error_of, picture
from tests.server.scripted import Watcher, bearer, open_session, start


async def test_a_session_is_opened_shown_and_closed(client: TestClient) -> None:
    session = await open_session(client, width=96, height=64, fps=15)
    assert session["whep"] == f"/whep/{session['id']}" and session["whip"] == f"/whip/{session['id']}"
    assert session["audio"] == f"/sessions/{session['id']}/audio"
    state = await (await client.get(f"/sessions/{session['id']}", headers=bearer(session))).json()
    assert (state["width"], state["height"], state["target_fps"]) == (96, 64, 15)
    assert state["viewers"] == 0 and not state["speaking"] and state["state"] == "live"
    assert (await client.delete(f"/sessions/{session['id']}", headers=bearer(session))).status == 204
    await error_of(await client.get(f"/sessions/{session['id']}", headers=bearer(session)), 404)


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[]", b"{}", b'{"avatar": 3}', b'{"avatar": "demo", "width": 63}', b'{"avatar": "demo", "width": 65}',
        b'{"avatar": "demo", "height": "big"}', b'{"avatar": "demo", "fps": 1e9}', b'{"avatar": "demo", "fps": true}',
        b'{"avatar": "demo", "view": "from behind"}', b"\xff\xfe", b'{"avatar": "demo", "fps": NaN}',
    ],
)  # fmt: skip
async def test_wishes_that_are_refused(client: TestClient, body: bytes) -> None:
    await error_of(await client.post("/sessions", data=body), 400)


VALUES = st.none() | st.booleans() | st.floats() | st.text(max_size=9) | st.integers() | st.lists(st.none(), max_size=1)


@given(st.dictionaries(st.sampled_from(["avatar", "width", "height", "fps", "view"]), VALUES))
def test_any_wish_is_read_or_refused(data: dict) -> None:
    try:
        wish = read_wish(data, Config())
    except Problem as problem:
        assert problem.status == 400
    else:
        assert wish.width % 2 == 0 and 1 <= wish.fps <= 60


@pytest.mark.parametrize("avatar", ["nobody", "../demo", "demo.avatar", "/etc/passwd", "%2e%2e", "d" * 5000, "de\0mo"])
async def test_unknown_avatars(client: TestClient, avatar: str) -> None:
    await error_of(await client.post("/sessions", json={"avatar": avatar}), 404)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/sessions/{id}"), ("DELETE", "/sessions/{id}"), ("POST", "/sessions/{id}/speak"),
        ("POST", "/sessions/{id}/interrupt"), ("GET", "/sessions/{id}/audio"), ("POST", "/whep/{id}"),
        ("POST", "/whip/{id}"), ("DELETE", "/whep/{id}/x"), ("DELETE", "/whip/{id}/x"),
    ],
)  # fmt: skip
async def test_tokens_and_unknown_sessions(client: TestClient, method: str, path: str) -> None:
    session = await open_session(client)
    await error_of(await client.request(method, path.format(id="nothing"), headers=bearer(session)), 404)
    mine = path.format(id=session["id"])
    unasked = await client.request(method, mine)
    await error_of(unasked, 401)
    assert unasked.headers["WWW-Authenticate"] == "Bearer"
    await error_of(await client.request(method, mine, headers={"Authorization": "Bearer wrong"}), 403)
    await error_of(await client.request(method, mine, headers={"Authorization": "Bearer é"}), 403)
    other = await open_session(client)
    await error_of(await client.request(method, mine, headers=bearer(other)), 403)


async def test_a_viewer_may_watch_and_nothing_else(client: TestClient) -> None:
    session = await open_session(client)
    viewer = {"token": session["viewer_token"], "id": session["id"], "whep": session["whep"]}
    watcher = await Watcher().watch(client, viewer)
    assert (await client.get(f"/sessions/{session['id']}", headers=bearer(viewer))).status == 200
    await error_of(await client.post(f"/sessions/{session['id']}/interrupt", headers=bearer(viewer)), 403)
    await error_of(await client.delete(f"/sessions/{session['id']}", headers=bearer(viewer)), 403)
    await watcher.close()


async def test_all_sessions_taken(tmp_path: Path) -> None:
    client = await start(tmp_path, max_sessions=1)
    await open_session(client)
    response = await client.post("/sessions", json={"avatar": "demo"})
    await error_of(response, 503)
    assert int(response.headers["Retry-After"]) > 0
    await client.close()


async def test_all_viewers_there(tmp_path: Path) -> None:
    client = await start(tmp_path, max_viewers=1)
    session = await open_session(client)
    watcher = await Watcher().watch(client, session)
    headers = bearer(session) | {"Content-Type": "application/sdp"}
    response = await client.post(session["whep"], data="v=0", headers=headers)
    await error_of(response, 503)
    assert int(response.headers["Retry-After"]) > 0
    await watcher.close()
    await client.close()


@pytest.mark.parametrize(("body", "status"), [(b"", 400), (b"not a sound" * 99, 415), (picture(), 415)])
async def test_sounds_that_are_refused(client: TestClient, body: bytes, status: int) -> None:
    session = await open_session(client)
    await error_of(await client.post(f"/sessions/{session['id']}/speak", data=body, headers=bearer(session)), status)


async def test_a_sound_that_is_too_large_is_refused(tmp_path: Path) -> None:
    client = await start(tmp_path, max_sound_mb=0.1)
    session = await open_session(client)

    async def unannounced() -> object:
        for _ in range(20):
            yield bytes(10_000)

    for body in (bytes(200_000), unannounced()):
        response = await client.post(f"/sessions/{session['id']}/speak", data=body, headers=bearer(session))
        await error_of(response, 413)
    await client.close()
