"""A microphone over WebSocket: binary messages of 16-bit little-endian mono samples."""

from __future__ import annotations

import asyncio
import contextlib

import numpy as np
from aiohttp import WSMsgType, web

from server.errors import Problem
from server.session import Session
from stage.sound import Resampler, SoundError

MAX_MESSAGE = 192_000  # bytes: 1 s at 96 kHz
HEARTBEAT = 20.0  # s


async def microphone(request: web.Request, session: Session) -> web.WebSocketResponse:
    """Serve one socket until either side closes it. Raises Problem 400 for a rate that cannot be used."""
    try:
        rate = int(request.query.get("rate", "48000"))
        Resampler(rate)
    except (ValueError, SoundError) as e:
        raise Problem(400, f"rate={request.query.get('rate')!r} is no sampling rate; use 8000 to 192000") from e
    if not session.performer.can_speak:
        raise Problem(503, "this session cannot speak", "; ".join(session.warnings))
    socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE, heartbeat=HEARTBEAT)
    if not socket.can_prepare(request):
        raise Problem(426, "this address speaks WebSocket", headers={"Upgrade": "websocket"})
    await socket.prepare(request)

    async def close() -> None:
        with contextlib.suppress(asyncio.TimeoutError, ConnectionError):
            await asyncio.wait_for(socket.close(code=1001, message=b"another microphone took over"), 2)

    await session.take_microphone(close)
    try:
        await _hear(socket, session, rate)
    finally:
        session.release_microphone(close)
    return socket


async def _hear(socket: web.WebSocketResponse, session: Session, rate: int) -> None:
    half = b""  # a sample may be split between two messages
    async for message in socket:
        if message.type != WSMsgType.BINARY:
            await socket.close(code=1003, message=b"send binary 16-bit samples")
            return
        data = half + message.data
        whole = len(data) & ~1
        half = data[whole:]
        session.push_audio(np.frombuffer(data[:whole], "<i2").astype(np.int16), rate)
