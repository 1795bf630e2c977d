"""The tracks of one viewer: queues of encoded packets that never grow old."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import av
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from server.encoder import Encoded


class _PacketTrack(MediaStreamTrack):
    """Hands queued packets to the RTP sender, oldest first. `offer` from the event loop only."""

    def __init__(self) -> None:
        super().__init__()
        self._queue: deque[Encoded] = deque()
        self._ready = asyncio.Event()

    async def recv(self) -> av.Packet:
        while not self._queue:
            if self.readyState != "live":
                raise MediaStreamError
            self._ready.clear()
            await self._ready.wait()
        return self._queue.popleft().packet()

    def _put(self, packet: Encoded) -> None:
        self._queue.append(packet)
        self._ready.set()

    def stop(self) -> None:
        super().stop()
        self._ready.set()


class VideoTrack(_PacketTrack):
    """Starts with a key frame. What the sender is too slow for is dropped up to the next key frame, never queued."""

    kind = "video"
    LIMIT = 3  # frames: 100 ms at 30 a second

    def __init__(self, ask_for_key: Callable[[], None]) -> None:
        super().__init__()
        self._ask_for_key = ask_for_key
        self._starving = True  # waits for a key frame
        self.dropped = 0

    def offer(self, packet: Encoded) -> None:
        if packet.key:
            self._starving = False
        elif len(self._queue) >= self.LIMIT:
            self.dropped += len(self._queue)
            self._queue.clear()
            self._starving = True
        if self._starving:
            self._ask_for_key()
            return
        self._put(packet)


class AudioTrack(_PacketTrack):
    """20 ms packets; the oldest is dropped when the sender falls behind."""

    kind = "audio"
    LIMIT = 6  # packets: 120 ms

    def offer(self, packet: Encoded) -> None:
        if len(self._queue) >= self.LIMIT:
            self._queue.popleft()
        self._put(packet)
