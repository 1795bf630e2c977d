"""A small server that speaks Talkshot's HTTP and WebRTC without its models: a drawn face whose mouth follows the sound.

For the page's tests. It keeps what it was asked (`FakeServer.requests`, `Session.heard`, ...) so that they can look.
"""

from __future__ import annotations

import asyncio
import contextlib
import fractions
import io
import itertools
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from aiohttp import WSMsgType, web
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from numpy.typing import NDArray

from server.security import HEADERS

DIST = Path(__file__).resolve().parents[2] / "client_web" / "dist"
SIZE = 256  # px; small, for the encoder's sake
FPS = 25
RATE = 48_000
BLOCK = 960  # samples: 20 ms
STAGES = [
    ("observe", "Looking for the face"),
    ("fit", "Fitting the head"),
    ("solve", "Painting"),
    ("check", "Checking the result"),
]


def draw_face(opening: float, phase: float, hue: int = 0) -> NDArray[np.uint8]:
    """(SIZE, SIZE, 3) RGB; opening 0..1 of the mouth, phase in radians of the breath."""
    picture = np.full((SIZE, SIZE, 3), (52 + hue, 66, 74), np.uint8)
    y = int(3 * np.sin(phase))
    cv2.ellipse(picture, (128, 262 + y), (96, 74), 0, 0, 360, (70, 92, 120 - hue), -1, cv2.LINE_AA)
    cv2.ellipse(picture, (128, 118 + y), (58, 76), 0, 0, 360, (222, 184, 160), -1, cv2.LINE_AA)
    cv2.ellipse(picture, (128, 76 + y), (60, 46), 0, 180, 360, (66, 46, 36), -1, cv2.LINE_AA)
    for x in (106, 150):
        cv2.ellipse(picture, (x, 108 + y), (9, 5), 0, 0, 360, (250, 250, 250), -1, cv2.LINE_AA)
        cv2.circle(picture, (x, 108 + y), 4, (52, 40, 34), -1, cv2.LINE_AA)
    cv2.ellipse(picture, (128, 158 + y), (18, 2 + int(14 * opening)), 0, 0, 360, (120, 44, 48), -1, cv2.LINE_AA)
    return picture


def decode(data: bytes) -> NDArray[np.int16]:
    """A sound file's bytes as mono samples at RATE."""
    resampler = av.AudioResampler("s16", "mono", RATE)
    blocks: list[NDArray[np.int16]] = []
    with av.open(io.BytesIO(data), "r") as container:
        for frame in itertools.chain(container.decode(audio=0), [None]):
            blocks += [part.to_ndarray()[0] for part in resampler.resample(frame)]
    return np.concatenate(blocks) if blocks else np.zeros(0, np.int16)


@dataclass
class Session:
    """What is said now, and what came in."""

    id: str
    avatar: str
    token: str = field(default_factory=lambda: secrets.token_urlsafe(8))
    viewer_token: str = field(default_factory=lambda: secrets.token_urlsafe(8))
    voice: NDArray[np.int16] = field(default_factory=lambda: np.zeros(0, np.int16))
    heard: list[NDArray[np.int16]] = field(default_factory=list)  # from the microphone
    spoken: int = 0  # sound files
    said: list[tuple[str, str]] = field(default_factory=list)  # typed text and voice
    caption: dict[str, Any] | None = None
    manners: list[dict[str, Any]] = field(default_factory=list)  # mood, strength and gestures asked for
    interrupted: int = 0
    loudness: float = 0.0
    peers: dict[str, RTCPeerConnection] = field(default_factory=dict)

    def next_block(self) -> NDArray[np.int16]:
        block, self.voice = self.voice[:BLOCK], self.voice[BLOCK:]
        block = np.pad(block, (0, BLOCK - len(block)))
        self.loudness = float(np.sqrt(np.mean((block / 32768.0) ** 2)))
        return block


class _Paced(MediaStreamTrack):
    """A track whose n-th frame is due n steps after the first."""

    def __init__(self, session: Session, step: float) -> None:
        super().__init__()
        self.session, self.step, self.count, self.begun = session, step, 0, 0.0

    async def due(self) -> int:
        self.begun = self.begun or time.monotonic()
        await asyncio.sleep(max(0.0, self.begun + self.count * self.step - time.monotonic()))
        self.count += 1
        return self.count - 1


class Voice(_Paced):
    kind = "audio"

    async def recv(self) -> av.AudioFrame:
        number = await self.due()
        frame = av.AudioFrame.from_ndarray(self.session.next_block()[None], "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, number * BLOCK, fractions.Fraction(1, RATE)
        return frame


class Face(_Paced):
    kind = "video"

    async def recv(self) -> av.VideoFrame:
        number = await self.due()
        picture = draw_face(min(1.0, 8 * self.session.loudness), 2 * np.pi * number / FPS / 3)
        planes = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420)
        frame = av.VideoFrame.from_ndarray(np.asarray(planes, np.uint8), "yuv420p")
        frame.pts, frame.time_base = number * 90_000 // FPS, fractions.Fraction(1, 90_000)
        return frame


def _problem(status: int, error: str, remedy: str = "") -> web.Response:
    return web.json_response({"error": error, "remedy": remedy}, status=status)


def _webp(picture: NDArray[Any]) -> bytes:
    return cv2.imencode(".webp", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()


class FakeServer:
    """Runs in a thread of its own; `with FakeServer() as server: ... server.url`."""

    def __init__(self) -> None:
        self.previews = {"demo": _webp(draw_face(0, 0)), "grace": _webp(draw_face(0, 0, 60))}
        self.avatars: list[dict[str, Any]] = [
            {"id": "grace", "name": "Grace", "framing": "head", "width": SIZE, "height": SIZE,
             "warnings": ["The photo is small: close up, the picture is soft."]},
            {"id": "demo", "name": "Eileen Collins", "framing": "bust", "width": SIZE, "height": SIZE, "warnings": []},
        ]  # fmt: skip
        self.sessions: dict[str, Session] = {}
        self.ended: list[Session] = []
        self.jobs: dict[str, dict[str, Any]] = {}
        self.requests: list[str] = []  # "METHOD path"
        self.stage_seconds = 0.25
        self.voice: bytes | None = None  # what GET /voices/demo gives
        self.voices = [
            {"id": "en-us", "name": "English (America)", "language": "en-us"},
            {"id": "de", "name": "German", "language": "de"},
        ]
        self.media_blocked = False
        self.down = False
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()

    def __enter__(self) -> FakeServer:
        self._thread.start()
        assert self._ready.wait(10), "the fake server did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def call(self, coroutine: Any) -> Any:
        """Run a coroutine in the server's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    def drop_peers(self) -> None:
        """Cut every viewer's connection, as a network would."""

        async def drop() -> None:
            for session in self.sessions.values():
                for peer in session.peers.values():
                    await peer.close()
                session.peers.clear()

        self.call(drop())

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._ready.set()
        self._loop.run_forever()

    async def _start(self) -> None:
        app = web.Application(client_max_size=64 * 2**20, middlewares=[self._record])
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/avatars", self._list),
                web.get("/avatars/{id}/preview.webp", self._preview),
                web.delete("/avatars/{id}", self._delete_avatar),
                web.post("/avatars", self._build),
                web.get("/jobs/{id}", self._job),
                web.get("/jobs/{id}/events", self._events),
                web.delete("/jobs/{id}", self._cancel),
                web.post("/sessions", self._create),
                web.get("/sessions/{id}", self._status),
                web.delete("/sessions/{id}", self._delete_session),
                web.patch("/sessions/{id}", self._change),
                web.post("/sessions/{id}/speak", self._speak),
                web.get("/sessions/{id}/events", self._captions),
                web.post("/sessions/{id}/interrupt", self._interrupt),
                web.get("/sessions/{id}/audio", self._audio),
                web.post("/whep/{id}", self._whep),
                web.delete("/whep/{id}/{peer}", self._leave),
                web.get("/voices", self._voices),
                web.get("/voices/demo", self._voice),
                web.static("/", DIST),
            ]
        )
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/"

    async def _stop(self) -> None:
        for session in list(self.sessions.values()):
            await self._end(session)
        await self._runner.cleanup()

    @web.middleware
    async def _record(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path}")
        if self.down and request.path != "/" and not request.path.startswith("/assets"):
            return _problem(503, "the server is restarting")
        response = await handler(request)
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    def _owned(self, request: web.Request, *, viewer: bool = False) -> Session:
        session = self.sessions.get(request.match_info["id"])
        if session is None:
            raise web.HTTPNotFound(text=json.dumps({"error": "there is no such session"}))
        given = request.headers.get("Authorization", "").removeprefix("Bearer ") or request.query.get("token", "")
        if given != session.token and not (viewer and given == session.viewer_token):
            raise web.HTTPForbidden(text=json.dumps({"error": "the token is not the session's"}))
        return session

    async def _page(self, _: web.Request) -> web.FileResponse:
        return web.FileResponse(DIST / "index.html")

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response(self.avatars)

    async def _preview(self, request: web.Request) -> web.Response:
        data = self.previews.get(request.match_info["id"])
        return web.Response(body=data, content_type="image/webp") if data else _problem(404, "there is no such avatar")

    async def _delete_avatar(self, request: web.Request) -> web.Response:
        self.avatars = [avatar for avatar in self.avatars if avatar["id"] != request.match_info["id"]]
        return web.Response(status=204)

    # ---- builds ------------------------------------------------------------------------------------------

    async def _build(self, request: web.Request) -> web.Response:
        form = await request.post()
        photo, name = form["photo"], str(form["name"])
        assert isinstance(photo, web.FileField)
        pixels = cv2.imdecode(np.frombuffer(photo.file.read(), np.uint8), cv2.IMREAD_COLOR)
        if pixels is None:
            return _problem(415, "the file is no picture", "send a JPEG, PNG or WebP photo")
        job_id = secrets.token_hex(4)
        self.jobs[job_id] = {"id": job_id, "state": "queued", "fraction": 0.0, "stage": "", "message": ""}
        asyncio.get_running_loop().create_task(self._run_build(self.jobs[job_id], pixels, name))
        return web.json_response({"job": {"id": job_id}}, status=202)

    async def _run_build(self, job: dict[str, Any], pixels: NDArray[Any], name: str) -> None:
        for number, (stage, message) in enumerate(STAGES):
            if job["state"] == "cancelled":
                return
            job |= {"state": "running", "stage": stage, "message": message, "fraction": number / len(STAGES)}
            await asyncio.sleep(self.stage_seconds)
            if float(pixels.std()) < 2:  # one flat colour
                job |= {"state": "failed", "error": "no face was found in this photo", "remedy": "use one with a face"}
                return
        if job["state"] == "cancelled":
            return
        avatar: dict[str, Any] = {
            "id": f"made-{job['id']}",
            "name": name,
            "framing": "bust",
            "width": SIZE,
            "height": SIZE,
            "warnings": [],
        }
        self.previews[avatar["id"]] = _webp(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
        self.avatars.append(avatar)
        job |= {"state": "done", "fraction": 1.0, "avatar": avatar["id"]}

    async def _job(self, request: web.Request) -> web.Response:
        return web.json_response(self.jobs[request.match_info["id"]])

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        job, last = self.jobs[request.match_info["id"]], ""
        while True:
            data = json.dumps(job)
            state = job["state"]
            over = state in ("done", "failed", "cancelled")
            if data != last:
                await response.write(f"event: {state if over else 'progress'}\ndata: {data}\n\n".encode())
            if over:
                return response
            last = data
            await asyncio.sleep(0.02)

    async def _cancel(self, request: web.Request) -> web.Response:
        self.jobs[request.match_info["id"]]["state"] = "cancelled"
        return web.Response(status=204)

    # ---- calls ------------------------------------------------------------------------------------------

    async def _create(self, request: web.Request) -> web.Response:
        avatar = (await request.json())["avatar"]
        if avatar not in [known["id"] for known in self.avatars]:
            return _problem(404, f"there is no avatar {avatar!r}")
        session = Session(secrets.token_hex(4), avatar)
        self.sessions[session.id] = session
        paths = {"whep": f"/whep/{session.id}", "whip": f"/whip/{session.id}", "audio": f"/sessions/{session.id}/audio"}
        tokens = {"token": session.token, "viewer_token": session.viewer_token}
        return web.json_response({"id": session.id, **tokens, **paths}, status=201)

    async def _status(self, request: web.Request) -> web.Response:
        session = self._owned(request, viewer=True)
        state = {"state": "live", "fps": FPS, "skew_ms": 3.2, "viewers": len(session.peers)}
        return web.json_response(state | {"speaking": session.loudness > 0})

    async def _change(self, request: web.Request) -> web.Response:
        session, wish = self._owned(request), await request.json()
        if wish["mood"] == "afraid":
            return _problem(400, "nothing frightens this server")
        session.manners.append(wish)
        return web.json_response(wish)

    async def _end(self, session: Session) -> None:
        self.sessions.pop(session.id, None)
        self.ended.append(session)
        for peer in session.peers.values():
            await peer.close()

    async def _delete_session(self, request: web.Request) -> web.Response:
        await self._end(self._owned(request))
        return web.Response(status=204)

    async def _speak(self, request: web.Request) -> web.Response:
        session = self._owned(request)
        if request.content_type == "application/json":
            return self._say(session, await request.json())
        try:
            samples = decode(await request.read())
        except (av.FFmpegError, IndexError):
            return _problem(415, "the file holds no sound that can be read", "send a WAV, MP3, OGG, FLAC or M4A file")
        session.voice = np.concatenate([session.voice, samples])
        session.spoken += 1
        return web.json_response({"utterance": str(session.spoken), "seconds": len(samples) / RATE}, status=202)

    def _say(self, session: Session, wish: dict[str, Any]) -> web.Response:
        """A word is 0.4 s of buzz; the caption comes at once."""
        text, voice = wish["text"], wish.get("voice", "")
        if "ជ" in text:
            return _problem(400, "no voice reads Khmer letters", "GET /voices lists the voices")
        session.said.append((text, voice))
        words = [[word, 0.4 * k, 0.4 * k + 0.3] for k, word in enumerate(text.split())]
        t = np.arange(int(0.4 * len(words) * RATE)) / RATE
        session.voice = np.concatenate([session.voice, (6000 * np.sign(np.sin(800 * t))).astype(np.int16)])
        session.caption = {"utterance": 1, "start": 0.0, "time": 0.0, "seconds": t[-1], "text": text, "words": words}
        return web.json_response({"utterance": 1, "seconds": t[-1], "start": 0.0}, status=202)

    async def _captions(self, request: web.Request) -> web.StreamResponse:
        session, shown = self._owned(request, viewer=True), None
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        while session.id in self.sessions:
            if not len(session.voice):
                session.caption = None
            if session.caption is not shown:
                shown = session.caption
                event = f"event: {'caption' if shown else 'silence'}\ndata: {json.dumps(shown or {})}\n\n"
                await response.write(event.encode())
            await asyncio.sleep(0.02)
        return response

    async def _voices(self, _: web.Request) -> web.Response:
        return web.json_response(self.voices)

    async def _interrupt(self, request: web.Request) -> web.Response:
        session = self._owned(request)
        session.interrupted += 1
        session.voice = session.voice[:0]
        return web.Response(status=204)

    async def _audio(self, request: web.Request) -> web.WebSocketResponse:
        session = self._owned(request)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        assert request.query["rate"] == "48000"
        async for message in socket:
            if message.type == WSMsgType.BINARY:
                session.heard.append(np.frombuffer(message.data, "<i2"))
        return socket

    async def _whep(self, request: web.Request) -> web.Response:
        session = self._owned(request, viewer=True)
        assert request.content_type == "application/sdp"
        peer, name = RTCPeerConnection(), secrets.token_hex(4)
        session.peers[name] = peer
        peer.addTrack(Face(session, 1 / FPS))
        peer.addTrack(Voice(session, BLOCK / RATE))
        await peer.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        sdp = peer.localDescription.sdp
        if self.media_blocked:  # nobody will answer the browser's checks
            await peer.close()
        headers = {"Location": f"/whep/{session.id}/{name}", "Content-Type": "application/sdp"}
        return web.Response(text=sdp, status=201, headers=headers)

    async def _leave(self, request: web.Request) -> web.Response:
        session = self.sessions.get(request.match_info["id"])
        if session:
            with contextlib.suppress(KeyError):
                await session.peers.pop(request.match_info["peer"]).close()
        return web.Response(status=204)

    async def _voice(self, _: web.Request) -> web.Response:
        return web.Response(body=self.voice, content_type="audio/wav") if self.voice else _problem(404, "no demo voice")


if __name__ == "__main__":
    with FakeServer() as fake:
        print(fake.url, flush=True)
        threading.Event().wait()
