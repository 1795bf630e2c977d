"""A live microphone, by WebSocket and by WHIP: heard by the viewers, with the lips in step."""

import asyncio
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from aiohttp import WSServerHandshakeError
from aiohttp.test_utils import TestClient
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack

from stage.sound import RATE, to_int16
from tests.server.scripted import Watcher, api_of, bearer, clicks, open_session
from tests.server.test_stream import onsets


class ClickTrack(MediaStreamTrack):
    """A microphone that clicks once a second."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._samples, self._n = to_int16(clicks(30)), 0
        self._began: float | None = None

    async def recv(self) -> av.AudioFrame:
        loop = asyncio.get_running_loop()
        self._began = self._began or loop.time()
        await asyncio.sleep(max(0, self._began + self._n / RATE - loop.time()))
        frame = av.AudioFrame.from_ndarray(self._samples[None, self._n : self._n + 960], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self._n, Fraction(1, RATE)
        self._n += 960
        return frame


async def whip(client: TestClient, session: dict, track: MediaStreamTrack | None) -> tuple[RTCPeerConnection, Any]:
    peer = RTCPeerConnection()
    if track:
        peer.addTrack(track)
    else:
        peer.addTransceiver("audio", direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    headers = bearer(session) | {"Content-Type": "application/sdp"}
    response = await client.post(session["whip"], data=peer.localDescription.sdp, headers=headers)
    if response.status == 201:
        await peer.setRemoteDescription(RTCSessionDescription(await response.text(), "answer"))
    return peer, response


@pytest.mark.parametrize("rate", [48000, 16000])
async def test_pcm_over_websocket_is_heard_with_lips_in_step(client: TestClient, rate: int) -> None:
    session = await open_session(client)
    watcher = await Watcher().watch(client, session)
    await watcher.until(lambda: watcher.frames)
    pcm = to_int16(clicks(3.0, rate=rate)).astype("<i2").tobytes()
    url = f"/sessions/{session['id']}/audio?rate={rate}&token={session['token']}"
    async with client.ws_connect(url) as socket:
        step, began = rate // 50 * 2, asyncio.get_running_loop().time()
        for k in range(0, len(pcm), step):
            await asyncio.sleep(max(0, began + k / (2 * rate) - asyncio.get_running_loop().time()))
            await socket.send_bytes(pcm[k : k + step])
        assert api_of(client).sessions.get(session["id"]).microphone is not None
    await asyncio.sleep(0.7)
    heard, seen = onsets(watcher.sound, 2000), onsets(watcher.frames, 160)
    assert len(heard) == 3 == len(seen)
    assert api_of(client).sessions.get(session["id"]).microphone is None
    await watcher.close()


async def test_webrtc_audio_is_heard(client: TestClient) -> None:
    session = await open_session(client)
    watcher = await Watcher().watch(client, session)
    await watcher.until(lambda: watcher.frames)
    peer, response = await whip(client, session, ClickTrack())
    assert response.status == 201
    await watcher.until(lambda: len(onsets(watcher.sound, 1500)) >= 2 and len(onsets(watcher.frames, 160)) >= 2)
    assert (await client.delete(response.headers["Location"], headers=bearer(session))).status == 200
    assert api_of(client).sessions.get(session["id"]).microphone is None
    assert (await client.delete(response.headers["Location"], headers=bearer(session))).status == 404
    await peer.close()
    await watcher.close()


async def test_the_newest_microphone_speaks(client: TestClient) -> None:
    session = await open_session(client)
    url = f"/sessions/{session['id']}/audio?token={session['token']}"
    first = await client.ws_connect(url)
    await first.send_bytes(bytes(960))
    second = await client.ws_connect(url)
    message = await first.receive(timeout=3)
    assert message.type.name in ("CLOSE", "CLOSING", "CLOSED")
    await second.send_bytes(bytes(961))  # half a sample is kept for the next message
    await asyncio.sleep(0.1)
    assert not second.closed
    await second.close()


async def test_offer_without_sound_is_refused(client: TestClient) -> None:
    session = await open_session(client)
    peer, response = await whip(client, session, None)
    assert response.status == 400 and "does not send audio" in (await response.json())["error"]
    assert api_of(client).sessions.get(session["id"]).microphone is None
    await peer.close()


@pytest.mark.parametrize(("query", "status"), [("rate=7", 400), ("rate=x", 400), ("", 403)])
async def test_socket_refusals(client: TestClient, query: str, status: int) -> None:
    session = await open_session(client)
    token = session["token"] if query else "wrong"
    with pytest.raises(WSServerHandshakeError) as refused:
        await client.ws_connect(f"/sessions/{session['id']}/audio?{query}&token={token}")
    assert refused.value.status == status


async def test_text_closes_the_socket(client: TestClient) -> None:
    session = await open_session(client)
    socket = await client.ws_connect(f"/sessions/{session['id']}/audio?token={session['token']}")
    await socket.send_str("hello")
    message = await socket.receive(timeout=3)
    assert message.data == 1003


def test_clicks_are_where_they_should_be() -> None:
    x = clicks(2.0)
    assert not x[: RATE // 2].any() and np.abs(x[RATE // 2 : RATE // 2 + 4800]).max() > 0.4
