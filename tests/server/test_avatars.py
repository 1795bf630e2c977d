"""Avatars and the jobs that make them: listed, built, refused, removed."""

import asyncio
import io
from pathlib import Path

import pytest
from aiohttp import FormData
from aiohttp.test_utils import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from server.api import check_photo
from server.errors import Problem
from server.limits import MAX_NAME, clean_name, slug
from tests.server.requests import error_of, follow, form, picture
from tests.server.scripted import api_of, bearer, open_session, scripted_parts, start


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
