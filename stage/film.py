"""A film file: frames in, the sound of another file alongside, nothing half written."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from stage.sound import finite

U8 = NDArray[np.uint8]
SOUND_RATE = 48_000  # Hz
PIECE = 1024  # samples that an encoder is given at a time
TICK = Fraction(1, 90_000)  # s, of the frames' times
LEAST_STEP = 1e-3  # s between frames
VIDEO_CODECS = {".mp4": "libx264", ".mov": "libx264", ".mkv": "libx264", ".webm": "libvpx-vp9"}
ALPHA_CODECS = {
    ".mp4": ("png", "rgba"),
    ".mov": ("png", "rgba"),
    ".mkv": ("png", "rgba"),
    ".webm": ("libvpx-vp9", "yuva420p"),
}


class FilmWriter:
    """Writes `path` through a temporary file beside it; the name appears only when the film is whole.

    Frames are I420 planes stacked as (height * 3 / 2, width) uint8, or with alpha=True straight RGBA (height, width, 4)
    uint8, kept losslessly as PNG (mp4, mov, mkv) or as VP9 (webm). The sound begins `delay` s after the first frame;
    before it (negative) its beginning is left out. Raises ValueError for another suffix.
    """

    def __init__(
        self,
        path: Path,
        width: int,
        height: int,
        fps: Fraction,
        sound: Path | bytes | None = None,
        alpha: bool = False,
        delay: float = 0.0,
    ) -> None:
        path = Path(path)
        if path.suffix.lower() not in VIDEO_CODECS:
            raise ValueError(f"{path}: films end in {', '.join(VIDEO_CODECS)}")
        if not path.absolute().parent.is_dir():
            raise ValueError(f"{path}: its folder does not exist; make it first")
        self.path, self._alpha, self._frames = path, alpha, 0
        self._temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
        self._container: Any = av.open(str(self._temporary), "w")
        self._video = self._add_video(path.suffix.lower(), width, height, fps)
        self._sound = _SoundCopy(self._container, sound, delay) if sound else None
        self._step, self._end = 1 / fps, 0.0

    def _add_video(self, suffix: str, width: int, height: int, fps: Fraction) -> Any:
        codec, pixels = ALPHA_CODECS[suffix] if self._alpha else (VIDEO_CODECS[suffix], "yuv420p")
        options = {"crf": "16", "preset": "veryfast"} if codec == "libx264" else {}
        if codec == "libvpx-vp9":
            options = {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "6"}
        stream = self._container.add_stream(codec, rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.codec_context.time_base = TICK
        stream.codec_context.thread_count = 2
        if codec == "libx264":
            stream.codec_context.colorspace, stream.codec_context.color_range = 5, 1  # BT.601, limited: what I420 holds
        return stream

    def write(self, frame: U8, time: float | None = None) -> None:
        """Append one frame and the sound that goes with it; time: s from the first frame's, later than the last one's
        (None: evenly spaced)."""
        picture = av.VideoFrame.from_ndarray(frame, format="rgba" if self._alpha else "yuv420p")
        if self._alpha and self._video.pix_fmt != "rgba":
            picture = picture.reformat(format=self._video.pix_fmt)
        time = float(self._frames * self._step) if time is None else time
        picture.pts, picture.time_base = round(time / TICK), TICK
        self._frames, self._end = self._frames + 1, time + float(self._step)
        self._container.mux(self._video.encode(picture))
        if self._sound:
            self._sound.advance(self._end)

    def __enter__(self) -> FilmWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._container.mux(self._video.encode(None))
                if self._sound:
                    self._sound.finish(self._end)
            self._container.close()
            if kind is None:
                os.replace(self._temporary, self.path)
        finally:
            self._temporary.unlink(missing_ok=True)


class _SoundCopy:
    """The first sound track of a file, resampled and encoded alongside the picture."""

    def __init__(self, container: Any, source: Path | bytes, delay: float) -> None:
        self._container, self._source = container, _pieces(_decode_sound(source), round(delay * SOUND_RATE))
        codec = "libopus" if "webm" in container.format.name else "aac"
        self._stream = container.add_stream(codec, rate=SOUND_RATE)
        self._stream.layout = "stereo"
        self._samples = 0

    def advance(self, seconds: float) -> None:
        """Encode sound up to `seconds`."""
        while self._samples < seconds * SOUND_RATE:
            frame = next(self._source, None)
            if frame is None:
                return
            frame.pts, frame.time_base = self._samples, Fraction(1, SOUND_RATE)
            self._samples += frame.samples
            self._container.mux(self._stream.encode(frame))

    def finish(self, seconds: float) -> None:
        self.advance(seconds)
        self._container.mux(self._stream.encode(None))


def _decode_sound(source: Path | bytes) -> Iterator[Any]:
    """Audio frames, float planar stereo at SOUND_RATE; none when the file has no sound."""
    opened: Any = io.BytesIO(source) if isinstance(source, bytes) else str(source)
    with av.open(opened) as container:
        if not container.streams.audio:
            return
        resampler = av.AudioResampler("fltp", "stereo", SOUND_RATE)
        for packet in container.demux(container.streams.audio[0]):
            try:
                frames = packet.decode()
            except av.FFmpegError:  # a damaged packet is a gap in the sound, not the end of the film
                continue
            for frame in frames:
                yield from resampler.resample(finite(frame))
        yield from resampler.resample(None)


def _pieces(sound: Iterator[Any], delay: int) -> Iterator[Any]:
    """The same in frames of PIECE samples, `delay` samples later; where that is negative, without its beginning."""
    fifo = av.AudioFifo()
    if delay > 0:
        silence = av.AudioFrame.from_ndarray(np.zeros((2, delay), np.float32), "fltp", "stereo")
        silence.sample_rate = SOUND_RATE
        fifo.write(silence)
    missing = max(-delay, 0)
    for frame in sound:
        frame.pts = None
        fifo.write(frame)
        if missing:
            left_out = fifo.read(min(missing, fifo.samples))
            missing -= left_out.samples if left_out else 0
        yield from fifo.read_many(PIECE)
    rest = fifo.read(partial=True)
    if rest:
        yield rest


def read_frames(path: Path) -> Iterator[tuple[float, U8]]:
    """(seconds, RGB (H, W, 3)) of each frame of a video, rotated as its display matrix says.

    Times rise: one that stands still or runs back is taken to be LEAST_STEP after the last. Raises ValueError
    where the file has no picture that can be decoded.
    """
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            rate = float(stream.average_rate or 25)
            last = -math.inf
            for k, frame in enumerate(container.decode(stream)):
                rgb = frame.to_ndarray(format="rgb24")
                turns = round(frame.rotation / 90)  # counterclockwise
                last = max(frame.time if frame.time is not None else k / rate, last + LEAST_STEP)
                yield last, np.ascontiguousarray(np.rot90(rgb, turns))
    except (av.FFmpegError, IndexError) as e:
        raise ValueError(f"{path}: its picture cannot be decoded ({e})") from e


def count_frames(path: Path) -> int:
    """Of the moving picture, counted by its packets without decoding; containers' own counts are often wrong.

    Raises ValueError where the file has no picture.
    """
    try:
        with av.open(str(path)) as container:
            return sum(packet.size > 0 for packet in container.demux(container.streams.video[0]))
    except (av.FFmpegError, IndexError) as e:
        raise ValueError(f"{path}: its picture cannot be decoded ({e})") from e


def sound_begins(path: Path) -> float:
    """When a film's sound begins on the clock of its frames (`read_frames`), s; 0 where the file does not say.

    Raises ValueError where it cannot be read or has no sound.
    """
    try:
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            return float((stream.start_time or 0) * (stream.time_base or 0))
    except (av.FFmpegError, IndexError) as e:
        raise ValueError(f"{path}: its sound cannot be found ({e})") from e


def probe(path: Path) -> tuple[bool, bool, Fraction, int]:
    """(has moving picture, has sound, frame rate, frames as the container says). Raises ValueError for neither."""
    if path.is_file() and not path.stat().st_size:
        raise ValueError(f"{path}: the file is empty (zero bytes)")
    try:
        with av.open(str(path)) as container:
            video = [s for s in container.streams.video if not _is_cover(s)]
            sound = bool(container.streams.audio)
            if not video and not sound:
                raise ValueError(f"{path}: holds neither sound nor moving pictures")
            if not video:
                return False, sound, Fraction(30), 0
            rate = Fraction(video[0].average_rate or 25)
            frames = video[0].frames or int(float(container.duration or 0) / av.time_base * float(rate))
            return True, sound, rate, frames
    except av.FFmpegError as e:
        raise ValueError(f"{path}: not a sound or video file that can be decoded ({e})") from e


def _is_cover(stream: Any) -> bool:
    """An album cover inside a sound file is a single still picture."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)
