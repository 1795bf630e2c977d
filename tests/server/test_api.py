"""The HTTP API: right statuses, JSON errors, and nothing a client sends becomes a path or a crash."""

import asyncio
import io
import json
import time
from pathlib import Path

import numpy as np
import pytest
from aiohttp import FormData
from aiohttp.test_utils import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from server.api import check_photo, read_wish
from server.config import Config
from server.errors import Problem
from server.limits import MAX_NAME, clean_name, slug
from server.signalling import without_mdns
from tests.server.scripted import Watcher, api_of, bearer, open_session, scripted_parts, start


def picture(format: str = "PNG", size: tuple[int, int] = (64, 64)) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((size[1], size[0], 3), 128, np.uint8)).save(out, format)
    return out.getvalue()


def form(photo: bytes | None, name: str | None = "Ada", filename: str = "photo.png") -> FormData:
    data = FormData(default_to_multipart=True)
    if name is not None:
        data.add_field("name", name)
    if photo is not None:
        data.add_field("photo", photo, filename=filename, content_type="image/png")
    return data


async def error_of(response: object, status: int) -> dict:
    assert response.status == status, await response.text()  # type: ignore[attr-defined]
    body = await response.json()  # type: ignore[attr-defined]
    assert set(body) <= {"error", "remedy"} and body["error"] and "\n" not in body["error"]
    return body


# ---- avatars and jobs ---------------------------------------------------------------------------------------


async def test_avatars_are_listed_shown_and_removed(client: TestClient) -> None:
    cards = await (await client.get("/avatars")).json()
    assert [c["id"] for c in cards] == ["demo"]
    assert {"id", "name", "framing", "width", "height", "warnings"} <= set(cards[0])
    assert await (await client.get("/avatars/demo")).json() == cards[0]
    preview = await client.get(cards[0]["preview"])
    assert preview.content_type == "image/webp" and Image.open(io.BytesIO(await preview.read())).size == (8, 8)
    unchanged = await client.get(cards[0]["preview"], headers={"If-None-Match": preview.headers["ETag"]})
    assert unchanged.status == 304
    assert (await client.delete("/avatars/demo")).status == 204
    assert await (await client.get("/avatars")).json() == []
    await error_of(await client.get("/avatars/demo"), 404)


async def test_a_file_that_is_no_avatar_is_left_out(client: TestClient) -> None:
    (api_of(client).gallery.folder / "broken.avatar").write_bytes(b"junk")
    assert [c["id"] for c in await (await client.get("/avatars")).json()] == ["demo"]


async def test_an_avatar_in_use_is_not_removed(client: TestClient) -> None:
    session = await open_session(client)
    await error_of(await client.delete("/avatars/demo"), 409)
    await client.delete(f"/sessions/{session['id']}", headers=bearer(session))
    assert (await client.delete("/avatars/demo")).status == 204


async def follow(client: TestClient, job_id: str) -> list[tuple[str, dict]]:
    response = await client.get(f"/jobs/{job_id}/events")
    assert response.content_type == "text/event-stream"
    events = []
    for block in (await response.text()).strip().split("\n\n"):
        event, data = block.split("\n")
        events.append((event.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events


async def test_a_photo_becomes_an_avatar(client: TestClient) -> None:
    response = await client.post("/avatars", data=form(picture("JPEG"), "Ada Lovelace"))
    assert response.status == 202
    job = (await response.json())["job"]
    events = await follow(client, job["id"])
    assert [e for e, _ in events[:-1]] == ["progress"] * (len(events) - 1) and events[-1][0] == "done"
    assert [d["fraction"] for _, d in events] == sorted(d["fraction"] for _, d in events)
    done = await (await client.get(f"/jobs/{job['id']}")).json()
    assert done == events[-1][1] and done["state"] == "done" and done["avatar"].startswith("ada-lovelace-")
    assert done["avatar"] in [c["id"] for c in await (await client.get("/avatars")).json()]
    assert not list(api_of(client).uploads.iterdir())


async def test_jobs_queue_and_are_cancelled(tmp_path: Path) -> None:
    client = await start(tmp_path, scripted_parts(steps=200), max_jobs=2)
    first, second = [(await (await client.post("/avatars", data=form(picture()))).json())["job"] for _ in range(2)]
    full = await client.post("/avatars", data=form(picture()))
    await error_of(full, 429)
    assert int(full.headers["Retry-After"]) > 0
    await asyncio.sleep(0.1)
    assert (await (await client.get(f"/jobs/{first['id']}")).json())["state"] == "running"
    assert (await (await client.get(f"/jobs/{second['id']}")).json())["state"] == "queued"
    following = asyncio.create_task(follow(client, first["id"]))
    for job in (second, first):
        assert (await client.delete(f"/jobs/{job['id']}")).status in (200, 202)
    events = await asyncio.wait_for(following, 5)
    assert events[-1][0] == "cancelled"
    assert (await (await client.get(f"/jobs/{second['id']}")).json())["state"] == "cancelled"
    assert [p.name for p in tmp_path.glob("*.avatar")] == ["demo.avatar"]
    await asyncio.sleep(0.1)
    assert not list(api_of(client).uploads.iterdir())
    await client.close()


async def test_a_build_that_cannot_start_fails_with_words(tmp_path: Path) -> None:
    parts = scripted_parts()

    def broken(photo: Path, out: Path, name: str) -> object:
        raise RuntimeError("no memory")

    client = await start(tmp_path, type(parts)(parts.load, parts.perform, broken))  # type: ignore[arg-type]
    job = (await (await client.post("/avatars", data=form(picture()))).json())["job"]
    events = await follow(client, job["id"])
    assert events[-1][0] == "failed" and "no memory" in events[-1][1]["error"]
    await client.close()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (form(b"hello, I am not a picture"), 415),
        (form(picture("GIF")), 415),
        (form(b"\x89PNG\r\n\x1a\n" + bytes(50)), 415),
        (form(None), 400),
        (form(b""), 400),
    ],
)
async def test_photos_that_are_refused(client: TestClient, data: FormData, status: int) -> None:
    await error_of(await client.post("/avatars", data=data), status)
    assert not list(api_of(client).uploads.iterdir())


async def test_a_photo_that_is_too_large_is_refused(tmp_path: Path) -> None:
    client = await start(tmp_path, max_photo_mb=0.1)
    await error_of(await client.post("/avatars", data=form(bytes(150_000))), 413)
    await error_of(await client.post("/avatars", data=form(bytes(900_000))), 413)
    await client.close()


def test_a_photo_of_too_many_pixels_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (20_000, 20_000)).save(path)
    with pytest.raises(Problem) as refused:
        check_photo(path)
    assert refused.value.status == 413


async def test_a_body_that_is_not_multipart_is_refused(client: TestClient) -> None:
    await error_of(await client.post("/avatars", data=picture(), headers={"Content-Type": "image/png"}), 415)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=300), boundary=st.text("abcXYZ01'-", max_size=12))
def test_damaged_multipart_is_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, body: bytes, boundary: str
) -> None:
    async def send() -> None:
        client = await start(tmp_path_factory.mktemp("gallery"))
        for data in (body, b"--" + boundary.encode() + b"\r\n" + body, _part(boundary, body)):
            headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
            response = await client.post("/avatars", data=data, headers=headers)
            assert 400 <= response.status < 500, await response.text()
            assert (await response.json())["error"]
        await client.close()

    asyncio.run(send())


def _part(boundary: str, body: bytes) -> bytes:
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="photo"; filename="../../x.png"\r\n\r\n'
    return head.encode() + body + f"\r\n--{boundary}--\r\n".encode()


@given(st.text(max_size=300))
def test_names_are_cleaned_and_ids_are_ours(text: str) -> None:
    name = clean_name(text)
    assert len(name) <= MAX_NAME and "\n" not in name and name == name.strip()
    made = slug(name)
    assert made and len(made) <= 48 and set(made) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert slug(name) != made


# ---- sessions -----------------------------------------------------------------------------------------------


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


# ---- WHEP: what is not an offer -----------------------------------------------------------------------------

OFFER = """v=0
o=- 0 0 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
m=video 9 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=recvonly
a=mid:0
a=rtcp-mux
a=rtpmap:96 VP8/90000
a=ice-ufrag:abcd
a=ice-pwd:abcdefghijklmnopqrstuvwx
a=fingerprint:sha-256 {print}
a=setup:actpass
""".replace("\n", "\r\n").replace("{print}", ":".join(["AB"] * 32))


async def offer(client: TestClient, session: dict, body: str | bytes, kind: str = "application/sdp") -> object:
    return await client.post(session["whep"], data=body, headers=bearer(session) | {"Content-Type": kind})


@pytest.mark.parametrize(
    "body",
    [
        "", "v=0", "hello", b"\xff\xfe\x00", OFFER.replace("VP8", "AV1"), OFFER.replace("recvonly", "sendonly"),
        OFFER.replace("a=ice-ufrag:abcd\r\n", ""), OFFER.replace("a=mid:0\r\n", ""),
        OFFER.replace("setup:actpass", "setup:nonsense"), OFFER.replace("m=video 9 UDP", "m=video nine UDP"),
    ],
)  # fmt: skip
async def test_offers_that_are_refused(client: TestClient, body: str | bytes) -> None:
    session = await open_session(client)
    assert "offer" in (await error_of(await offer(client, session, body), 400))["error"]
    assert not api_of(client).sessions.get(session["id"]).viewers


async def test_an_offer_of_another_type_or_size(client: TestClient) -> None:
    session = await open_session(client)
    await error_of(await offer(client, session, "{}", "application/json"), 415)
    await error_of(await offer(client, session, "v=0\r\n" * 20_000), 413)
    trickle = await client.patch(f"{session['whep']}/peer", data="", headers=bearer(session))
    await error_of(trickle, 405)
    assert trickle.headers["Allow"] == "DELETE"


LINES = st.sampled_from(OFFER.split("\r\n")) | st.text(max_size=30) | st.from_regex(r"a=[a-z-]{2,11}:.{0,12}")


@settings(max_examples=25, deadline=None)
@given(st.lists(LINES, max_size=25))
def test_garbled_offers_are_never_a_crash(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    async def send() -> None:
        client = await start(tmp_path_factory.mktemp("gallery"))
        session = await open_session(client)
        for text in ("\r\n".join(lines), "\r\n".join(OFFER.split("\r\n")[:9] + lines)):
            response = await offer(client, session, text.encode("utf-8", "surrogatepass"))
            assert response.status in (201, 400), await response.text()  # type: ignore[attr-defined]
        await client.close()

    asyncio.run(send())


# ---- around it ----------------------------------------------------------------------------------------------


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


def test_hidden_addresses_are_not_looked_up() -> None:
    plain = OFFER + "a=candidate:1 1 UDP 1 192.0.2.1 5000 typ host\r\na=end-of-candidates\r\n"
    assert without_mdns(plain) == plain
    hidden = plain + "a=candidate:2 1 UDP 1 0f6cbe2e-6f3f-4a1a-a7a4-0de0e9f1a0c5.local 5001 typ host\r\n"
    assert without_mdns(hidden) == plain.replace("a=end-of-candidates\r\n", "")


async def test_a_peer_whose_address_is_hidden_connects_quickly(client: TestClient) -> None:
    session = await open_session(client)
    watcher = Watcher()
    watcher.hide_address = True
    began = time.monotonic()
    await watcher.watch(client, session)
    await watcher.until(lambda: watcher.frames)
    assert time.monotonic() - began < 2
    await watcher.close()


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
