"""Typed text over HTTP: said, refused in words, and shown as captions."""

import asyncio
import json
import time
from pathlib import Path

import pytest
from aiohttp import ClientResponse, ClientSession, web
from aiohttp.test_utils import TestClient

from server.app import API, make_app
from server.config import Config, ConfigError, load
from tests.server.requests import error_of
from tests.server.scripted import Watcher, api_of, bearer, open_session, scripted_parts, start


async def say(client: TestClient, session: dict, **body: object) -> ClientResponse:
    return await client.post(f"/sessions/{session['id']}/speak", json=body, headers=bearer(session))


async def test_text_is_spoken_and_heard(client: TestClient) -> None:
    session = await open_session(client)
    watcher = await Watcher().watch(client, session)
    await watcher.until(lambda: watcher.frames and watcher.sound)
    began = time.monotonic()
    response = await say(client, session, text="one two. three", voice="beep", rate=1.2, pause=0)
    assert response.status == 202, await response.text()
    answer = await response.json()
    assert answer["utterance"] == 1 and answer["seconds"] == pytest.approx(0.8, abs=0.01) and answer["start"] > 0
    await watcher.until(lambda: any(loud > 3000 for at, _, loud in watcher.sound if at > began))
    await watcher.until(lambda: any(luma > 200 for at, _, luma in watcher.frames if at > began))
    state = await (await client.get(f"/sessions/{session['id']}", headers=bearer(session))).json()
    assert state["speaking"]
    await watcher.close()


async def captions(client: TestClient, session: dict, until: str, out: list) -> None:
    async with client.get(f"/sessions/{session['id']}/events?token={session['token']}") as response:
        assert response.status == 200 and response.content_type == "text/event-stream"
        event = ""
        async for line in response.content:
            kind, _, data = line.decode().strip().partition(": ")
            if kind == "event":
                event = data
            elif kind == "data":
                out.append((event, json.loads(data)))
                if event == until and len(out) > 1:
                    return


async def test_captions_come_when_they_are_heard(client: TestClient) -> None:
    session = await open_session(client)
    seen: list = []
    watching = asyncio.create_task(captions(client, session, "silence", seen))
    await asyncio.sleep(0.1)
    assert (await say(client, session, text="one two")).status == 202
    await asyncio.wait_for(watching, 5)
    (kind, caption), (last, silence) = seen
    assert (kind, last) == ("caption", "silence")
    assert caption["text"] == "one two." and caption["words"] == [["one", 0.1, 0.3], ["two.", 0.5, 0.7]]
    assert 0 <= caption["time"] - caption["start"] < 0.2
    assert silence["time"] == pytest.approx(caption["start"] + caption["seconds"], abs=0.2)


async def test_an_interruption_takes_the_caption_away(client: TestClient) -> None:
    session = await open_session(client)
    seen: list = []
    watching = asyncio.create_task(captions(client, session, "silence", seen))
    await say(client, session, text="one two three four five six seven. " * 10)
    while not seen:
        await asyncio.sleep(0.02)
    await client.post(f"/sessions/{session['id']}/interrupt", headers=bearer(session))
    await asyncio.wait_for(watching, 1)
    assert [kind for kind, _ in seen] == ["caption", "silence"]


async def test_the_events_end_with_the_session(client: TestClient) -> None:
    session = await open_session(client)
    watching = asyncio.create_task(captions(client, session, "never", []))
    await asyncio.sleep(0.1)
    await client.delete(f"/sessions/{session['id']}", headers=bearer(session))
    await asyncio.wait_for(watching, 2)


async def test_who_leaves_is_not_served_on(tmp_path: Path) -> None:
    (tmp_path / "demo.avatar").write_bytes(b"avatar")
    app = make_app(Config(avatars=tmp_path, width=128, height=128), scripted_parts())
    runner = web.AppRunner(app)  # as the server runs it; a TestServer would cancel what a client has left
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
        session = await (await client.post("/sessions", json={"avatar": "demo"})).json()
        performer, looks = app[API].sessions.get(session["id"]).performer, list[float]()
        performer.caption = looks.append  # type: ignore[assignment,method-assign]
        events = await client.get(f"/sessions/{session['id']}/events", headers=bearer(session))
        await events.content.readline()
        await asyncio.sleep(0.2)
        assert looks
        events.close()
        await asyncio.sleep(0.2)
        looks.clear()
        await asyncio.sleep(0.3)
        assert not looks
    await runner.cleanup()


async def test_a_viewer_may_read_captions_and_not_speak(client: TestClient) -> None:
    session = await open_session(client)
    viewer = {"id": session["id"], "token": session["viewer_token"]}
    events = await client.get(f"/sessions/{session['id']}/events", headers=bearer(viewer))
    assert events.status == 200
    events.close()
    await error_of(await say(client, viewer, text="one"), 403)
    await error_of(await client.get(f"/sessions/{session['id']}/events"), 401)


async def test_voices_are_listed(client: TestClient) -> None:
    voices = await (await client.get("/voices")).json()
    assert voices[0] == {"id": "beep", "name": "Beep", "language": "en"} and len(voices) == 2


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "`text`"), ({"text": ""}, "`text`"), ({"text": 3}, "`text`"), ({"text": " . "}, "nothing to say"),
        ({"text": "one", "voice": "nobody"}, "no voice"), ({"text": "one", "voice": 3}, "`voice`"),
        ({"text": "one", "rate": 99}, "`rate`"), ({"text": "one", "pitch": "high"}, "`pitch`"),
        ({"text": "one", "pause": True}, "`pause`"),
    ],
)  # fmt: skip
async def test_wishes_that_are_refused(client: TestClient, body: dict, words: str) -> None:
    session = await open_session(client)
    assert words in (await error_of(await say(client, session, **body), 400))["error"]


async def test_text_that_is_too_long_is_refused(tmp_path: Path) -> None:
    client = await start(tmp_path, max_text=100)
    session = await open_session(client)
    assert "100 can be said" in (await error_of(await say(client, session, text="a" * 101), 413))["error"]
    await error_of(await say(client, session, text="a" * 10_000), 413)
    assert (await say(client, session, text="😀a" * 50)).status == 202
    await client.close()


async def test_json_that_is_none(client: TestClient) -> None:
    session = await open_session(client)
    headers = bearer(session) | {"Content-Type": "application/json"}
    for body in (b"{", b"[]", b"\xff"):
        await error_of(await client.post(f"/sessions/{session['id']}/speak", data=body, headers=headers), 400)


async def test_without_a_reader_it_says_what_is_missing(tmp_path: Path) -> None:
    client = await start(tmp_path)
    session = await open_session(client)
    body = await error_of(await say(client, session, text="FAIL"), 503)
    assert body == {"error": "the voice is gone", "remedy": "bring it back"}
    assert (await say(client, session, text="one. FAIL. two")).status == 202
    live = api_of(client).sessions.get(session["id"])
    for _ in range(100):
        await asyncio.sleep(0.02)
        if live.warnings:
            break
    assert "gone" in live.warnings[0]
    await client.close()


async def test_the_reader_ends_with_the_server(tmp_path: Path) -> None:
    parts = scripted_parts()
    client = await start(tmp_path, parts)
    await client.close()
    assert parts.reader is not None and parts.reader.closed  # type: ignore[attr-defined]


def test_the_operators_voice_is_checked() -> None:
    assert Config().voice_url == ""
    given = load({"voice_url": "http://127.0.0.1:8880/v1/audio/speech", "voice_names": "ada bob"}, None, {})
    assert given.voice_names == ("ada", "bob")
    with pytest.raises(ConfigError, match="voice_url"):
        load({"voice_url": "file:///etc/passwd"}, None, {})
    with pytest.raises(ConfigError, match="voice_names"):
        load({"voice_url": "http://x", "voice_names": []}, None, {})
