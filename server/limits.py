"""Bodies are read up to a limit, and no further; nothing a client sends becomes a path."""

from __future__ import annotations

import json
import re
import secrets
import unicodedata
from pathlib import Path
from typing import Any

from aiohttp import BodyPartReader, web

from server.errors import Problem

CHUNK = 64 * 1024
MB = 1_000_000
MAX_JSON = 64 * 1024
MAX_NAME = 80


def too_large(what: str, limit: int) -> Problem:
    return Problem(
        413, f"{what} is larger than {limit / MB:g} MB", "send a smaller one, or raise the limit in the settings"
    )


async def read_body(request: web.Request, limit: int, what: str) -> bytes:
    """The whole body. Raises Problem 413 as soon as it is known to be larger than limit bytes."""
    if (request.content_length or 0) > limit:
        raise too_large(what, limit)
    parts, size = [], 0
    async for chunk in request.content.iter_chunked(CHUNK):
        size += len(chunk)
        if size > limit:
            raise too_large(what, limit)
        parts.append(chunk)
    return b"".join(parts)


async def read_json(request: web.Request, limit: int = MAX_JSON) -> dict[str, Any]:
    """The body as a JSON object. Raises Problem 400 or 413."""
    body = await read_body(request, limit, "the request")
    try:
        data = json.loads(body or b"{}")
    except (ValueError, RecursionError) as e:
        raise Problem(400, f"the body is not JSON ({e})") from e
    if not isinstance(data, dict):
        raise Problem(400, "the body must be a JSON object")
    return data


def number(data: dict[str, Any], key: str, default: float, low: float, high: float) -> float:
    """A number of a JSON object, or the default. Raises Problem 400 out of range."""
    value = data.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise Problem(400, f"`{key}` is {str(value)[:40]!r}; it must be a number from {low:g} to {high:g}")
    return value


async def save_part(part: BodyPartReader, path: Path, limit: int, what: str) -> int:
    """Write one part of a multipart body to a path of ours; returns its bytes. Raises Problem 413; no file stays."""
    size = 0
    try:
        with path.open("xb") as file:
            while chunk := await part.read_chunk(CHUNK):
                size += len(chunk)
                if size > limit:
                    raise too_large(what, limit)
                file.write(chunk)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return size


def clean_name(text: str) -> str:
    """A name for people to read: one line, no control characters, at most MAX_NAME characters."""
    text = unicodedata.normalize("NFC", text.encode("utf-8", "ignore").decode())
    text = "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    return " ".join(text.split())[:MAX_NAME].strip()


def slug(name: str) -> str:
    """An id of our own making: lower-case letters and digits of the name, and eight random characters."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:32].strip("-")
    return f"{words or 'avatar'}-{secrets.token_hex(4)}"
