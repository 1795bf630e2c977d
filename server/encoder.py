"""Encode once, send to many: one video and one audio encoder of a session, in the settings real time needs."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.frame import PictureType
from numpy.typing import NDArray

from stage.sound import I16, RATE

VIDEO_CLOCK = 90_000  # Hz, RTP timestamps of video (RFC 6184, RFC 7741)
AUDIO_FRAME = 960  # samples of 20 ms at 48 kHz
AUDIO_BITRATE = 48_000
MIN_BITRATE, MAX_BITRATE = 200_000, 6_000_000
CODECS = ("H264", "VP8")


@dataclass(frozen=True)
class Encoded:
    """One encoded frame or 20 ms of sound, ready for every viewer."""

    data: bytes
    pts: int  # RTP clock units since media time 0
    time_base: Fraction
    key: bool = True

    def packet(self) -> av.Packet:
        """A packet of its own for one viewer's track."""
        packet = av.Packet(self.data)
        packet.pts, packet.time_base = self.pts, self.time_base
        return packet


def default_bitrate(width: int, height: int, fps: float) -> int:
    """bit/s: 1.2 Mbit/s at 512x512 and 30 fps, less than proportional to pixels above and below."""
    rate = 1_200_000 * (width * height / 512**2) ** 0.75 * (fps / 30) ** 0.5
    return int(np.clip(rate, MIN_BITRATE, MAX_BITRATE))


def video_frame(i420: NDArray[np.uint8], width: int, height: int) -> av.VideoFrame:
    """(height * 3 / 2, width) uint8 -> a frame of its own; libav's rows may be longer than the picture's."""
    frame = av.VideoFrame(width, height, "yuv420p")
    flat, offset = i420.reshape(-1), 0
    for plane, (w, h) in zip(frame.planes, ((width, height), (width // 2, height // 2), (width // 2, height // 2))):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        rows[:h, :w] = flat[offset : offset + w * h].reshape(h, w)
        offset += w * h
    return frame


class VideoEncoder:
    """H264 (x264, ultrafast or so, no lookahead, constrained baseline) or VP8 (libvpx, real time), one thread."""

    def __init__(self, codec: str, width: int, height: int, fps: float, bitrate: int) -> None:
        if codec not in CODECS:
            raise ValueError(f"no encoder for {codec}; there are {', '.join(CODECS)}")
        self.codec, self.width, self.height, self.fps = codec, width, height, fps
        self.bitrate = bitrate
        self._context = self._open(bitrate)

    def _open(self, bitrate: int) -> Any:
        c: Any = av.CodecContext.create("libx264" if self.codec == "H264" else "libvpx", "w")
        c.width, c.height, c.pix_fmt = self.width, self.height, "yuv420p"
        c.time_base, c.framerate = Fraction(1, VIDEO_CLOCK), Fraction(self.fps).limit_denominator(1001)
        c.bit_rate, c.gop_size, c.thread_count = bitrate, 100_000, 1  # key frames are asked for, never due
        if self.codec == "H264":
            c.profile = "Baseline"
            # A rate that can change without a new encoder needs the buffer model (maxrate, bufsize).
            c.options = {
                "preset": "superfast", "tune": "zerolatency", "maxrate": str(bitrate), "bufsize": str(bitrate // 2),
                "forced-idr": "1", "sc_threshold": "0",
            }  # fmt: skip
        else:
            c.options = {
                "deadline": "realtime", "cpu-used": "-8", "lag-in-frames": "0", "error-resilient": "default",
                "maxrate": str(bitrate), "minrate": str(bitrate // 4), "bufsize": str(bitrate // 2),
                "static-thresh": "100",
            }  # fmt: skip
        return c

    def encode(self, i420: NDArray[np.uint8], time: float, key: bool) -> Encoded | None:
        """Encode the frame of media time `time` s; None where the encoder keeps it back (it should not)."""
        frame = video_frame(i420, self.width, self.height)
        frame.pts, frame.time_base = round(time * VIDEO_CLOCK), Fraction(1, VIDEO_CLOCK)
        frame.pict_type = PictureType.I if key else PictureType.NONE
        packets = self._context.encode(frame)
        if not packets:
            return None
        data = b"".join(bytes(p) for p in packets)
        return Encoded(data, frame.pts, Fraction(1, VIDEO_CLOCK), any(p.is_keyframe for p in packets))

    def set_bitrate(self, bitrate: int) -> None:
        """Change the target; libvpx ignores a change while it runs, so VP8 keeps the rate it was opened with."""
        bitrate = int(np.clip(bitrate, MIN_BITRATE, MAX_BITRATE))
        if self.codec == "H264" and abs(bitrate - self.bitrate) > 0.1 * self.bitrate:
            self.bitrate = self._context.bit_rate = bitrate


class AudioEncoder:
    """Opus, mono, 20 ms packets, stamped so that a decoded sample bears the media time it was meant for."""

    def __init__(self) -> None:
        c: Any = av.CodecContext.create("libopus", "w")
        c.sample_rate, c.layout, c.format = RATE, "mono", "s16"
        c.bit_rate, c.time_base = AUDIO_BITRATE, Fraction(1, RATE)
        c.options = {"application": "audio", "frame_duration": "20"}
        self._context = c

    def encode(self, samples: I16, start: int) -> Encoded | None:
        """(960,) mono samples from media sample `start`. The codec's own delay is taken off the stamp."""
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        packets = self._context.encode(frame)
        if not packets:
            return None
        return Encoded(bytes(packets[0]), packets[0].pts, Fraction(1, RATE))
