"""One performance with its viewers: the clock, the sound pump, the encoders, and who is watching."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.text import Delivery
from server import manner
from server.auth import Tokens
from server.clock import MediaClock
from server.encoder import AUDIO_FRAME, MIN_BITRATE, AudioEncoder, Encoded, VideoEncoder, default_bitrate
from server.stream import RenderLoop, Timing
from server.tracks import AudioTrack, VideoTrack
from stage.performer import Performer, Utterance
from stage.sound import RATE

log = logging.getLogger(__name__)

TICK = AUDIO_FRAME / RATE  # 20 ms
SLIP = 0.06  # s that sound may be sent late before the clock waits for it
NET_AHEAD = 0.5  # s that the speech net runs ahead where there is sound already
KEY_INTERVAL = 0.5  # s between key frames, however many ask
SKEW_WINDOW = 250  # frames
LIFT = 1.05  # of a viewer's limit with every estimate that is no complaint
COMPLAINT, PATIENCE = 0.75, 1.0  # share of the sent bit rate, s that an estimate must stay below it


@dataclass
class Workers:
    """What all sessions share: the render loop, one thread each for sound and for the speech net, and readers."""

    render: RenderLoop
    sound: ThreadPoolExecutor
    net: ThreadPoolExecutor
    reader: ThreadPoolExecutor  # of typed text; several, as a voice over HTTP may keep one waiting

    @classmethod
    def start(cls) -> Workers:
        sound = ThreadPoolExecutor(1, thread_name_prefix="sound")
        net = ThreadPoolExecutor(1, thread_name_prefix="net", initializer=_one_torch_thread)
        return cls(RenderLoop(), sound, net, ThreadPoolExecutor(4, thread_name_prefix="reader"))

    def close(self) -> None:
        self.render.close()
        for executor in (self.sound, self.net, self.reader):
            executor.shutdown(wait=True, cancel_futures=True)


def _one_torch_thread() -> None:
    """torch's thread count belongs to the thread that sets it. Two on a busy machine wait for each other: 17 ms of
    speech net become a second."""
    import torch

    torch.set_num_threads(1)


class KeyFrames:
    """Requests for key frames of one encoder, at most one in KEY_INTERVAL. Thread-safe by being a flag."""

    def __init__(self) -> None:
        self._wanted, self._last = True, -KEY_INTERVAL

    def ask(self) -> None:
        self._wanted = True

    def take(self, now: float) -> bool:
        if not self._wanted or now - self._last < KEY_INTERVAL:
            return False
        self._wanted, self._last = False, now
        return True


@dataclass(eq=False)
class Viewer:
    """One peer that watches. `live` once its connection stands."""

    id: str
    connection: Any  # RTCPeerConnection
    codec: str = "H264"
    video: VideoTrack | None = None
    audio: AudioTrack | None = None
    live: bool = False
    limit: float = math.inf  # bit/s the peer can take, as far as it has complained
    unhappy_since: float = math.inf
    since: float = field(default_factory=time.monotonic)

    async def close(self) -> None:
        self.live = False
        for track in (self.video, self.audio):
            if track:
                track.stop()
        await close_connection(self.connection)


async def close_connection(connection: Any) -> None:
    try:
        await asyncio.wait_for(connection.close(), 5)
    except TimeoutError:
        log.warning("a peer connection did not close within 5 s")


class Session:
    """Made in the event loop; everything here runs in it but `shot`, `draw`, `encode`, `fail`."""

    def __init__(self, id: str, avatar: str, performer: Performer, fps: float, bitrate: int, workers: Workers) -> None:
        self.id, self.avatar, self.performer, self.fps = id, avatar, performer, fps
        self.size = (performer.picture.width, performer.picture.height)
        self.tokens, self.clock = Tokens(), MediaClock()
        self.viewers: dict[str, Viewer] = {}
        self.microphone: Callable[[], Any] | None = None  # closes the source that speaks now
        self.warnings: tuple[str, ...] = ()
        self.error = ""
        self.idle_since = time.monotonic()
        self.closed = False
        self._workers, self._loop = workers, asyncio.get_running_loop()
        self._bitrate = bitrate or default_bitrate(*self.size, fps)
        self._timing: Timing | None = None
        self._encoders: dict[str, VideoEncoder] = {}  # touched by the encode thread alone
        self._keys = {codec: KeyFrames() for codec in ("H264", "VP8")}
        self._targets: dict[str, int] = {}  # codec -> bit/s, for codecs somebody watches
        self._sent: dict[str, float] = {}  # codec -> bit/s that go out, smoothed over a second
        self._audio = AudioEncoder()
        self._audio_late = 0.0  # s, smoothed
        self._skews: deque[float] = deque(maxlen=SKEW_WINDOW)
        self._net: asyncio.Future[int] | None = None
        self._reader: asyncio.Future[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._pump = asyncio.create_task(self._run_pump(), name=f"sound of {id}")
        self._pump.add_done_callback(self._pump_ended)

    # ---- what the session is asked for ----------------------------------------------------------------------

    def interrupt(self) -> int:
        return self.performer.interrupt()

    async def speak(self, samples: NDArray[np.int16]) -> Utterance:
        """samples: mono at RATE."""
        return await self._loop.run_in_executor(self._workers.sound, self.performer.speak, samples, RATE)

    async def say(self, text: str, how: Delivery) -> Utterance:
        """Read a text aloud. Raises what Performer.say raises."""
        utterance = await self._loop.run_in_executor(self._workers.reader, self.performer.say, text, how)
        self._listen()
        return utterance

    def push_audio(self, samples: NDArray, rate: int) -> None:
        self.performer.push_audio(samples, rate)
        self._listen()

    async def take_microphone(self, close: Callable[[], Any]) -> None:
        """The newest microphone speaks; the one before is closed."""
        before, self.microphone = self.microphone, close
        if before:
            await before()

    def release_microphone(self, close: Callable[[], Any]) -> None:
        if self.microphone is close:
            self.microphone = None

    def state(self) -> dict[str, Any]:
        t = self._timing
        skews = np.array(self._skews) if self._skews else np.zeros(1)
        return {
            "id": self.id, "avatar": self.avatar, "state": "failed" if self.error else "live",
            "width": self.size[0], "height": self.size[1], "target_fps": self.fps,
            "fps": round(t.fps, 1) if t and self._targets else 0.0, "render_ms": round(t.render_ms, 2) if t else 0.0,
            "encode_ms": round(t.encode_ms, 2) if t else 0.0, "frames": t.frames if t else 0,
            "dropped": t.dropped if t else 0, "degraded": t.step if t else 0,
            "skew_ms": round(1000 * float(np.median(skews)), 1),
            "skew_p95_ms": round(1000 * float(np.percentile(np.abs(skews), 95)), 1),
            "viewers": len(self.viewers), "speaking": self.performer.speaking(self.clock.now()),
            "can_speak": self.performer.can_speak, "microphone": self.microphone is not None,
            "bitrate": sum(self._targets.values()), "time": round(self.clock.now(), 3), "epoch": self.performer.epoch,
            "warnings": list(self.warnings), "error": self.error,
            **manner.state(self.performer.life, self.clock.now()),
        }  # fmt: skip

    # ---- viewers --------------------------------------------------------------------------------------------

    def add(self, viewer: Viewer) -> None:
        self.viewers[viewer.id] = viewer

    def connected(self, viewer: Viewer) -> None:
        """The viewer's connection stands: it gets a key frame next."""
        viewer.live = True
        self._watch()
        self._keys[viewer.codec].ask()

    def ask_for_key(self, codec: str) -> None:
        self._keys[codec].ask()

    def estimated(self, viewer: Viewer, bitrate: int) -> None:
        """A viewer says what it can receive. All viewers of a codec share one stream, so the least counts.

        Peers estimate from what they get, and a quiet picture needs little: only an estimate that stays well below
        what is sent is a complaint. Otherwise the limit is lifted step by step.
        """
        complains = bitrate < COMPLAINT * self._sent.get(viewer.codec, 0.0)
        now = time.monotonic()
        if not complains:
            viewer.unhappy_since = math.inf
            viewer.limit = min(viewer.limit * LIFT, self._bitrate)
        elif viewer.unhappy_since == math.inf:
            viewer.unhappy_since = now
        elif now - viewer.unhappy_since > PATIENCE:
            viewer.limit, viewer.unhappy_since = max(0.9 * bitrate, MIN_BITRATE), now
        self._watch()

    async def remove(self, viewer_id: str) -> None:
        viewer = self.viewers.pop(viewer_id, None)
        if viewer is None:
            return
        self._watch()
        if not self.viewers:
            self.idle_since = time.monotonic()
        await viewer.close()

    def dismiss(self, viewer_id: str) -> None:
        """Like `remove`, without waiting for it."""
        task = self._loop.create_task(self.remove(viewer_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _watch(self) -> None:
        """Draw and encode exactly what somebody watches."""
        live = [v for v in self.viewers.values() if v.live and v.video]
        targets = {}
        for codec in {v.codec for v in live}:
            targets[codec] = round(min(self._bitrate, *(v.limit for v in live if v.codec == codec)))
        for codec in set(targets) - set(self._targets):
            self._keys[codec].ask()
        self._targets = targets
        if targets and self._timing is None and not self.error:
            self._timing = self._workers.render.add(self)
        elif not targets and self._timing is not None:
            self._workers.render.remove(self)
            self._timing = None

    async def close(self) -> None:
        """Free everything; safe to call twice."""
        if self.closed:
            return
        self.closed = True
        self._workers.render.remove(self)
        self._pump.cancel()
        if self.microphone:
            close, self.microphone = self.microphone, None
            await close()
        await asyncio.gather(*(self.remove(v) for v in list(self.viewers)))
        await asyncio.gather(self._pump, return_exceptions=True)
        # In their own threads, so that no frame is being drawn or encoded.
        self._workers.render.call(self.performer.close)
        self._workers.render.call_encoder(self._encoders.clear)

    # ---- the picture: render and encode threads -------------------------------------------------------------

    @property
    def levels(self) -> int:
        return self.performer.picture.levels

    def set_level(self, level: int) -> None:
        self.performer.picture.set_level(level)

    @property
    def launch(self) -> Callable[[Sequence[Any]], None] | None:
        return self.performer.picture.launch

    def shot(self, time: float, out: NDArray[np.uint8]) -> Any:
        return self.performer.shot(time, out)

    def draw(self, time: float, out: NDArray[np.uint8]) -> None:
        self.performer.frame(time, out)

    def encode(self, time: float, frame: NDArray[np.uint8]) -> None:
        targets = self._targets
        for codec in [c for c in self._encoders if c not in targets]:
            del self._encoders[codec]
        for codec, bitrate in targets.items():
            encoder = self._encoders.get(codec)
            if encoder is None:
                encoder = self._encoders[codec] = VideoEncoder(codec, *self.size, self.fps, self._bitrate)
            encoder.set_bitrate(bitrate)
            packet = encoder.encode(frame, time, self._keys[codec].take(self.clock.now()))
            if packet is not None and not self.closed:
                self._loop.call_soon_threadsafe(self._send_video, codec, packet, time)

    def fail(self, error: Exception) -> None:
        """The picture cannot be drawn: everybody is sent away, and whoever asks is told why."""
        self._loop.call_soon_threadsafe(self._end, f"the picture failed: {error}")

    def _end(self, error: str) -> None:
        self.error = error
        for viewer_id in list(self.viewers):
            self.dismiss(viewer_id)

    # ---- the wire: event loop -------------------------------------------------------------------------------

    def _send_video(self, codec: str, packet: Encoded, media_time: float) -> None:
        for viewer in self.viewers.values():
            if viewer.live and viewer.video and viewer.codec == codec:
                viewer.video.offer(packet)
        rate = 8 * len(packet.data) * self.fps
        self._sent[codec] = self._sent.get(codec, 0.0) + (rate - self._sent.get(codec, 0.0)) / self.fps
        late = -self.clock.until(media_time)
        self._skews.append(self._audio_late - late)

    def _pump_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the sound of a session failed", exc_info=error)
            self._end(f"the sound failed: {error}")

    async def _run_pump(self) -> None:
        """Every 20 ms, the next 960 samples to every viewer. This is what media time is made of."""
        n = 0
        while True:
            late = -self.clock.until(n * TICK)
            if late < 0:
                await asyncio.sleep(-late)
            elif late > SLIP:
                self.clock.slip(late)
            self._listen()
            self._read()
            samples = self.performer.voice(n * AUDIO_FRAME, AUDIO_FRAME)
            hearers = [v.audio for v in self.viewers.values() if v.live and v.audio]
            if hearers:
                self._send_audio(samples, n * AUDIO_FRAME, hearers)
            n += 1

    def _send_audio(self, samples: NDArray[np.int16], start: int, hearers: list[AudioTrack]) -> None:
        # Encoded right here: 0.15 ms. Handing it to a thread and back costs more, and comes late on a busy machine.
        packet = self._audio.encode(samples, start)
        if packet is None:
            return
        for track in hearers:
            track.offer(packet)
        self._audio_late += 0.1 * (-self.clock.until(start / RATE) - self._audio_late)

    def _listen(self) -> None:
        """Keep the speech net ahead of the playhead, in its own thread, one call at a time."""
        if self._net is not None:
            if not self._net.done():
                return
            self._warn_of("the speech driver failed", self._net.exception())
            self._net = None
        until = self.clock.now() + NET_AHEAD
        if self.performer.wants(until):
            self._net = self._loop.run_in_executor(self._workers.net, self.performer.advance, until)

    def _read(self) -> None:
        """Turn waiting text into voice before it is due, one sentence at a time."""
        if self._reader is not None:
            if not self._reader.done():
                return
            self._warn_of("the text could not be read to its end", self._reader.exception())
            self._reader = None
        if self.performer.reads:
            self._reader = self._loop.run_in_executor(self._workers.reader, self.performer.read_on)

    def _warn_of(self, what: str, error: BaseException | None) -> None:
        warning = f"{what}: {error}"
        if error and warning not in self.warnings:
            log.error(what, exc_info=error)
            self.warnings = (*self.warnings, warning)
