"""What the tests of the API send, and how they read the answers."""

import io
import json

import numpy as np
from aiohttp import FormData
from aiohttp.test_utils import TestClient
from PIL import Image


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


async def follow(client: TestClient, job_id: str) -> list[tuple[str, dict]]:
    response = await client.get(f"/jobs/{job_id}/events")
    assert response.content_type == "text/event-stream"
    events = []
    for block in (await response.text()).strip().split("\n\n"):
        event, data = block.split("\n")
        events.append((event.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events
