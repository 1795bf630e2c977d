"""A performer that flashes and clicks at known media times, and a peer that watches."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from aiohttp.test_utils import TestClient, TestServer
from aiortc import RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from drivers.text import USUAL, Delivery, NoReader, Sentence, TextError, Voice, Word
from models.motion import GROUP, A, Motion
from server.app import API, Parts, make_app
from server.config import Config
from server.sessions import Wish
from stage.performer import Performer

GREY, WHITE, BLACK = 90, 235, 16


class FlashPicture:
    """White while the mouth is open (jawOpen > .5), grey otherwise; a moving bar, so that no two frames are alike."""

    def __init__(self, width: int = 128, height: int = 128) -> None:
        self.width, self.height, self.count, self.closed = width, height, 0, False
        self.levels, self.level, self.launch = 3, 0, None

    def set_level(self, level: int) -> None:
        self.level = level

    def close(self) -> None:
        self.closed = True

    def shot(self, motion: Motion, out: np.ndarray) -> None:
        raise AssertionError("it is drawn alone")

    def draw(self, motion: Motion, out: np.ndarray) -> None:
        self.count += 1
        y = out[: self.height]
        y[:] = WHITE if motion.face[A["jawOpen"]] > 0.5 else GREY
        y[:8, self.count % (self.width - 8) :][:, :8] = BLACK
        out[self.height :] = 128


class LoudSpeech:
    """The mouth is open while the sound is loud; 20 ms frames, with the lookahead of a real driver."""

    rate, latency = 16000, 0.16

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._heard = np.empty(0, np.float32)
        self._said = 0

    def push(self, samples: np.ndarray) -> list[Motion]:
        self._heard = np.concatenate([self._heard, samples])
        return self._motions(len(self._heard) - 1280)

    def flush(self) -> list[Motion]:
        return self._motions(len(self._heard))

    def _motions(self, upto: int) -> list[Motion]:
        out = []
        while (self._said + 1) * 320 <= upto:
            x = self._heard[self._said * 320 : (self._said + 1) * 320]
            m = Motion((self._said + 0.5) / 50)
            m.face[A["jawOpen"]] = float(np.abs(x).max() > 0.1)
            m.weight[GROUP["mouth"]] = 1
            out.append(m)
            self._said += 1
        return out


class Still:
    def motion(self, time: float) -> Motion:
        m = Motion(time)
        m.weight[:] = 1
        return m


class TopLayer:
    """The strongest layer's face, weighted over the idle one."""

    def mix(self, time: float, layers: Any) -> Motion:
        m = Motion(time)
        for layer in layers:
            w = layer.weight[GROUP["mouth"]]
            m.face += w * (layer.face - m.face)
        return m


class BeepReader:
    """Reads each word as 0.2 s of tone with an open mouth between 0.1 s of silence; a sentence ends at a full stop.

    Lips come with the sound, unless the voice is `sound`. The word `FAIL` cannot be read.
    """

    def __init__(self) -> None:
        self.said: list[str] = []
        self.closed = False

    def voices(self) -> list[Voice]:
        return [Voice("beep", "Beep", "en"), Voice("sound", "Sound", "de")]

    def read(self, text: str, how: Delivery = USUAL) -> Iterator[Sentence]:
        if how.voice not in ("", "beep", "sound"):
            raise TextError(f"there is no voice {how.voice!r}")
        return (self._sentence(s.strip() + ".", how) for s in text.split(".") if s.strip())

    def _sentence(self, text: str, how: Delivery) -> Sentence:
        if "FAIL" in text:
            raise NoReader("the voice is gone; bring it back")
        self.said.append(text)
        n, rate = len(text.split()), 16000
        t = np.arange(round(n * 0.4 * rate)) / rate
        on = np.abs(t % 0.4 - 0.2) < 0.1
        samples = (16000 * np.sin(2 * np.pi * 1000 * t) * on).astype(np.int16)
        words = tuple(Word(w, 0.4 * k + 0.1, 0.4 * k + 0.3) for k, w in enumerate(text.split()))
        return Sentence(text, samples, rate, None if how.voice == "sound" else self._lips(n), words)

    @staticmethod
    def _lips(words: int) -> tuple[Motion, ...]:
        motions = [Motion(f / 50) for f in range(words * 20 + 1)]
        for f, m in enumerate(motions):
            m.face[A["jawOpen"]] = float(5 <= f % 20 < 15)
            m.weight[GROUP["mouth"]] = 1
        return tuple(motions)

    def close(self) -> None:
        self.closed = True


def scripted_performer(width: int = 128, height: int = 128, reader: BeepReader | None = None) -> Performer:
    return Performer(FlashPicture(width, height), Still(), TopLayer(), LoudSpeech(), reader)


def clicks(seconds: float, period: float = 1.0, length: float = 0.2, rate: int = 48000) -> np.ndarray:
    """Silence with a 1 kHz tone of `length` s every `period` s, the first after half a period."""
    t = np.arange(round(seconds * rate)) / rate
    on = ((t - period / 2) % period < length) & (t >= period / 2)
    return (0.5 * np.sin(2 * np.pi * 1000 * t) * on).astype(np.float32)


class FakeBuild:
    """A build that takes `steps` and writes a file; `cancel` stops it."""

    def __init__(self, photo: Path, out: Path, steps: int = 5, pause: float = 0.02) -> None:
        self.photo, self.out, self.steps, self.pause, self.cancelled = photo, out, steps, pause, False

    def events(self) -> Any:
        for k in range(self.steps):
            time.sleep(self.pause)
            if self.cancelled:
                yield {"event": "cancelled"}
                return
            yield {"event": "progress", "stage": "fit", "fraction": k / self.steps, "message": "fitting"}
        self.out.write_bytes(b"avatar")
        yield {"event": "done", "report": {"warnings": []}}

    def cancel(self) -> None:
        self.cancelled = True


def fake_avatar(path: Path) -> Any:
    if path.read_bytes() != b"avatar":
        raise ValueError(f"{path}: not an avatar")
    return SimpleNamespace(
        name=path.stem, framing="head", view=(0, 0, 64, 64), gaussians=SimpleNamespace(count=1), quality={},
        warnings=(), preview=np.zeros((8, 8, 3), np.uint8), limits={},
    )  # fmt: skip


def scripted_parts(**build_options: Any) -> Parts:
    reader = BeepReader()

    def perform(avatar: Any, wish: Wish) -> tuple[Performer, tuple[str, ...]]:
        return scripted_performer(wish.width, wish.height, reader), ()

    return Parts(fake_avatar, perform, lambda photo, out, name: FakeBuild(photo, out, **build_options), reader=reader)


async def start(folder: Path, parts: Parts | None = None, **settings: Any) -> TestClient:
    """A running server with one avatar `demo` in its folder."""
    (folder / "demo.avatar").write_bytes(b"avatar")
    config = Config(avatars=folder, client=folder / "dist", **({"width": 128, "height": 128} | settings))
    client = TestClient(TestServer(make_app(config, parts or scripted_parts())))
    await client.start_server()
    return client


def api_of(client: TestClient) -> Any:
    return client.server.app[API]  # type: ignore[attr-defined]


async def open_session(client: TestClient, **wish: Any) -> dict[str, Any]:
    response = await client.post("/sessions", json={"avatar": "demo"} | wish)
    assert response.status == 201, await response.text()
    return await response.json()


def bearer(session: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {session['token']}"}


@dataclass
class Watcher:
    """A real aiortc peer that receives video and audio over WHEP and notes when what arrived."""

    connection: RTCPeerConnection = field(default_factory=RTCPeerConnection)
    frames: list[tuple[float, float, float]] = field(default_factory=list)  # arrival s, RTP s, mean luma
    sound: list[tuple[float, float, float]] = field(default_factory=list)  # arrival s, RTP s, RMS
    location: str = ""
    answer: str = ""
    status: int = 0
    tasks: list[asyncio.Task] = field(default_factory=list)
    hide_address: bool = False  # as browsers do that were not given a camera or microphone

    async def watch(
        self, client: TestClient, session: dict[str, Any], video: bool = True, audio: bool = True, codec: str = ""
    ) -> Watcher:
        self.connection.on("track", lambda t: self.tasks.append(asyncio.create_task(self._receive(t))))
        if audio:
            self.connection.addTransceiver("audio", direction="recvonly")
        if video:
            transceiver = self.connection.addTransceiver("video", direction="recvonly")
            if codec:
                known = RTCRtpReceiver.getCapabilities("video").codecs  # type: ignore[union-attr]
                transceiver.setCodecPreferences([c for c in known if c.name == codec])
        await self.connection.setLocalDescription(await self.connection.createOffer())
        sdp = self.connection.localDescription.sdp
        if self.hide_address:
            sdp = re.sub(r"(a=candidate:\S+ \d \S+ \d+) \S+", r"\1 1f6cbe2e-6f3f-4a1a-a7a4-0de0e9f1a0c5.local", sdp)
        headers = bearer(session) | {"Content-Type": "application/sdp"}
        response = await client.post(session["whep"], data=sdp, headers=headers)
        self.status, self.answer = response.status, await response.text()
        assert self.status == 201, self.answer
        self.location = response.headers["Location"]
        await self.connection.setRemoteDescription(RTCSessionDescription(self.answer, "answer"))
        return self

    async def _receive(self, track: Any) -> None:
        try:
            while True:
                frame = await track.recv()
                now, media = time.monotonic(), float(frame.pts * frame.time_base)
                if track.kind == "video":
                    self.frames.append((now, media, float(np.asarray(frame.to_ndarray()[16 : frame.height]).mean())))
                else:
                    x = frame.to_ndarray().astype(np.float32)
                    self.sound.append((now, media, float(np.sqrt((x**2).mean()))))
        except MediaStreamError:
            pass

    async def until(self, what: Any, timeout: float = 10.0) -> None:
        end = time.monotonic() + timeout
        while not what():
            assert time.monotonic() < end, "waited too long"
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        await self.connection.close()
        for task in self.tasks:  # a track whose connection never stood does not end
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
