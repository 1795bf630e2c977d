"""Typed text over HTTP: say it, list the voices, and send its captions while it is heard."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any

from aiohttp import web

from drivers.text import USUAL, Delivery, NoReader, Reader, TextError, Voice
from server.config import Config
from server.errors import Problem
from server.limits import number, read_json
from server.session import Session
from stage.performer import Utterance
from stage.sound import SoundError

BYTES_A_CHARACTER = 12  # of JSON: two escapes of \\uXXXX at most
OTHER_FIELDS = 4096  # bytes
LOOK = 0.04  # s between looks for the next caption
ALIVE = 15.0  # s without an event after which a comment keeps the stream open


async def say(session: Session, request: web.Request, config: Config) -> Utterance:
    """Handle {"text", "voice"?, "rate"?, "pitch"?, "pause"?}. Raises Problem."""
    data = await read_json(request, BYTES_A_CHARACTER * config.max_text + OTHER_FIELDS)
    text, how = read_wish(data, config.max_text)
    try:
        return await session.say(text, how)
    except TextError as e:
        raise Problem(400, str(e), "GET /voices lists the voices") from e
    except NoReader as e:
        error, _, remedy = str(e).partition("; ")
        raise Problem(503, error, remedy) from e
    except SoundError as e:
        raise Problem(409 if session.performer.can_speak else 503, str(e)) from e


def read_wish(data: dict[str, Any], max_text: int) -> tuple[str, Delivery]:
    """What a client wants to hear, and how. Raises Problem 400 or 413."""
    text, voice = data.get("text"), data.get("voice") or ""
    if not isinstance(text, str) or not text.strip():
        raise Problem(400, "`text` is missing", "send what is to be said")
    if len(text) > max_text:
        raise Problem(413, f"the text has {len(text)} characters; {max_text} can be said at once", "send it in parts")
    if not isinstance(voice, str):
        raise Problem(400, "`voice` must be the id, the name or the language of a voice", "GET /voices lists them")
    rate, pitch = number(data, "rate", USUAL.rate, 0.5, 2.5), number(data, "pitch", USUAL.pitch, 0.5, 2.0)
    return text, Delivery(voice, rate, pitch, number(data, "pause", USUAL.pause, 0.0, 5.0))


async def voices(reader: Reader | None) -> list[dict[str, str]]:
    """All voices, the default first; none where nothing can read aloud."""
    try:
        found = await asyncio.to_thread(reader.voices) if reader else []
    except NoReader:
        found = []
    return [_listed(voice) for voice in found]


def _listed(voice: Voice) -> dict[str, str]:
    missing = {"missing": voice.missing} if voice.missing else {}
    return {"id": voice.id, "name": voice.name, "language": voice.language} | missing


async def events(session: Session, request: web.Request) -> web.StreamResponse:
    """Server-sent events until the session ends: `caption` when a sentence begins, `silence` when it is over."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    with contextlib.suppress(ConnectionResetError):  # whoever asked is gone
        await response.write(b": captions\n\n")
        await _send_captions(session, response, request)
        await response.write_eof()
    return response


async def _send_captions(session: Session, response: web.StreamResponse, request: web.Request) -> None:
    shown, sent = None, time.monotonic()
    while not (session.closed or session.error) and request.transport and not request.transport.is_closing():
        now = session.clock.now()
        caption = session.performer.caption(now)
        if caption is not shown:
            event = "caption" if caption else "silence"
            data = (caption.json() if caption else {}) | {"time": round(now, 3)}
            await response.write(f"event: {event}\ndata: {json.dumps(data)}\n\n".encode())
            shown, sent = caption, time.monotonic()
        elif time.monotonic() - sent > ALIVE:
            await response.write(b": still here\n\n")
            sent = time.monotonic()
        await asyncio.sleep(LOOK)
