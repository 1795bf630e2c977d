"""What holds for every request: health, headers, foreign pages, wrong methods, streams that end."""

import asyncio
from pathlib import Path

from aiohttp.test_utils import TestClient

from tests.server.requests import error_of, follow, form, picture
from tests.server.scripted import api_of, open_session, scripted_parts, start


async def test_health_and_metrics(client: TestClient) -> None:
    session = await open_session(client)
    assert (await (await client.get("/healthz")).json())["status"] == "ok"
    text = await (await client.get("/metrics")).text()
    assert "talkshot_sessions 1.0" in text and "talkshot_fps{" in text and session["token"] not in text
    assert session["id"] not in text


async def test_security_headers_on_everything(client: TestClient) -> None:
    for path, status in (("/", 503), ("/healthz", 200), ("/nothing", 404), ("/avatars/demo/preview.webp", 200)):
        response = await client.get(path)
        assert response.status == status
        assert "default-src 'self'" in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_foreign_pages_and_names_are_refused(client: TestClient) -> None:
    await error_of(await client.get("/avatars", headers={"Host": "evil.example"}), 421)
    await error_of(await client.post("/sessions", json={}, headers={"Origin": "https://evil.example"}), 403)
    await error_of(await client.post("/sessions", json={}, headers={"Origin": "null"}), 403)
    own = f"http://127.0.0.1:{client.port}"
    assert (await client.post("/sessions", json={"avatar": "demo"}, headers={"Origin": own})).status == 201


async def test_a_named_origin_is_let_in(tmp_path: Path) -> None:
    client = await start(tmp_path, origins=("https://talk.example.org",))
    headers = {"Host": "talk.example.org", "Origin": "https://talk.example.org"}
    assert (await client.get("/avatars", headers=headers)).status == 200
    await client.close()


async def test_the_page_is_served_from_its_folder_only(client: TestClient) -> None:
    assert "not built" in await (await client.get("/")).text()
    dist = api_of(client).config.client
    (dist / "assets").mkdir(parents=True)
    (dist / "index.html").write_text("<p>the page")
    (dist / "assets" / "a.js").write_text("1")
    page = await client.get("/")
    assert page.status == 200 and page.content_type == "text/html" and await page.text() == "<p>the page"
    script = await client.get("/assets/a.js")
    assert script.content_type == "text/javascript" and "immutable" in script.headers["Cache-Control"]
    for path in ("/../demo.avatar", "/%2e%2e/demo.avatar", "/assets/..%2f..%2fdemo.avatar", "/etc/passwd"):
        await error_of(await client.get(path), 404)


async def test_wrong_methods_say_which_are_right(client: TestClient) -> None:
    response = await client.put("/avatars")
    await error_of(response, 405)
    assert "GET" in response.headers["Allow"]


async def test_open_streams_end_when_the_server_stops(tmp_path: Path) -> None:
    client = await start(tmp_path, scripted_parts(steps=1000))
    session = await open_session(client)
    job = (await (await client.post("/avatars", data=form(picture()))).json())["job"]
    events = asyncio.create_task(follow(client, job["id"]))
    socket = await client.ws_connect(f"/sessions/{session['id']}/audio?token={session['token']}")
    live = api_of(client).sessions.get(session["id"])
    await asyncio.sleep(0.1)
    await asyncio.wait_for(client.server.close(), 5)
    assert (await asyncio.wait_for(events, 1))[-1][0] == "cancelled"
    assert (await socket.receive(timeout=1)).type.name in ("CLOSE", "CLOSING", "CLOSED")
    assert live.performer.picture.closed
    await client.close()


async def test_the_demo_voice_is_the_one_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "voice.wav").write_bytes(b"RIFF")
    for voice, status in (("", 404), (str(tmp_path / "voice.wav"), 200)):
        client = await start(tmp_path, demo_voice=voice)
        assert (await client.get("/voices/demo")).status == status
        await client.close()


async def test_an_avatar_that_broke_meanwhile_and_one_that_cannot_be_shown(tmp_path: Path) -> None:
    parts = scripted_parts()
    broken = False

    def load(path: Path) -> object:
        if broken:
            raise ValueError("its tensors are torn")
        return parts.load(path)

    def perform(avatar: object, wish: object) -> tuple:
        raise ValueError("too small a picture")

    client = await start(tmp_path, type(parts)(load, perform, parts.build))  # type: ignore[arg-type]
    body = await error_of(await client.post("/sessions", json={"avatar": "demo"}), 400)
    assert "too small a picture" in body["error"]
    api_of(client).gallery._loaded.clear()
    broken = True
    body = await error_of(await client.post("/sessions", json={"avatar": "demo"}), 409)
    assert "torn" in body["error"]
    await client.close()
