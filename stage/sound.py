"""Sound files of any container -> mono samples; resampling of chunks as they arrive."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I16 = NDArray[np.int16]

RATE = 48_000  # Hz of everything that is heard
MAX_SECONDS = 600.0


class SoundError(ValueError):
    """A sound that cannot be used; the message says why in words for the user."""


class Resampler:
    """Mono chunks of any rate, in order -> mono int16 at RATE, with the filter's state kept between chunks."""

    def __init__(self, rate: int) -> None:
        if not 8_000 <= rate <= 192_000:
            raise SoundError(f"a sampling rate of {rate} Hz is out of range; use 8000 to 192000")
        self.rate = rate
        self._filter = av.AudioResampler("s16", "mono", RATE) if rate != RATE else None

    def push(self, samples: NDArray) -> I16:
        """(n,) int16, or float in -1..1 -> (about n * RATE / rate,) int16."""
        x = to_int16(samples)
        if self._filter is None or not len(x):
            return x
        frame = av.AudioFrame.from_ndarray(x[None], format="s16", layout="mono")
        frame.sample_rate = self.rate
        return _joined(self._filter.resample(frame))

    def flush(self) -> I16:
        """What the filter still holds; the resampler is used up afterwards."""
        return _joined(self._filter.resample(None)) if self._filter else np.empty(0, np.int16)


def to_int16(samples: NDArray) -> I16:
    """(n,) int16, or float in -1..1 (not finite counts as silence) -> int16."""
    x = np.ascontiguousarray(samples).reshape(-1)
    if x.dtype == np.int16:
        return x
    return np.rint(np.clip(np.nan_to_num(x), -1, 1) * 32767).astype(np.int16)


def load(source: Path | bytes, max_seconds: float = MAX_SECONDS) -> I16:
    """The first sound track of a file (or of its bytes) as (n,) int16 mono at RATE.

    Raises SoundError where there is none, where it cannot be decoded, or where it is longer than max_seconds.
    """
    opened: Any = io.BytesIO(source) if isinstance(source, bytes) else str(source)
    try:
        with av.open(opened, metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise SoundError("the file holds no sound")
            return _decode(container, max_seconds)
    except (av.FFmpegError, OSError, UnicodeDecodeError) as e:
        reason = e.strerror or str(e) if isinstance(e, OSError) else str(e)
        raise SoundError(f"not a sound file that can be decoded ({reason}); try WAV, MP3, OGG, FLAC or M4A") from e


def _decode(container: Any, max_seconds: float) -> I16:
    limit, total, parts = int(max_seconds * RATE), 0, []
    for chunk in _chunks(container):
        parts.append(chunk)
        total += len(chunk)
        if total > limit:
            raise SoundError(f"the sound is longer than {max_seconds:g} s; cut it into parts")
    if not total:
        raise SoundError("the sound track is empty")
    return np.concatenate(parts)


def _chunks(container: Any) -> Iterator[I16]:
    resampler = av.AudioResampler("s16", "mono", RATE)
    for packet in container.demux(container.streams.audio[0]):
        try:
            frames = packet.decode()
        except av.FFmpegError:  # a damaged packet is a gap in the sound, not its end
            continue
        for frame in frames:
            yield _joined(resampler.resample(finite(frame)))
    yield _joined(resampler.resample(None))


def finite(frame: av.AudioFrame) -> av.AudioFrame:
    """A decoded frame with silence where its samples are no numbers; encoders refuse these, integers turn to clicks."""
    if not frame.format.name.startswith(("flt", "dbl")):
        return frame
    samples: Any = frame.to_ndarray()
    if np.isfinite(samples).all():
        return frame
    samples = np.where(np.isfinite(samples), samples, 0).astype(samples.dtype)
    mended = av.AudioFrame.from_ndarray(samples, frame.format.name, frame.layout.name)
    mended.sample_rate, mended.pts, mended.time_base = frame.sample_rate, frame.pts, frame.time_base
    return mended


def _joined(frames: list[Any]) -> I16:
    """Packed mono s16 frames -> (n,); their buffers may be longer than their samples."""
    parts = [f.to_ndarray().reshape(-1)[: f.samples] for f in frames]
    return np.concatenate(parts) if parts else np.empty(0, np.int16)


class ClockKeeper:
    """Chunks of a live microphone at RATE, stretched or squeezed by a hair, so that they last as long as ours do.

    Two sound cards differ by up to some 200 ppm: 0.12 s in ten minutes, which would pile up, or run dry. How far the
    microphone is ahead is averaged over AVERAGE s, the more a chunk is late the less it says (networks only delay), and
    the pace follows so that a lead is worked off in SETTLE s: 200 ppm stand as a lead of 2 ms. Changes of pace stay
    below MOST, far less than is heard. Interpolation is Catmull and Rom's cubic.
    """

    AVERAGE, SETTLE, MOST = 4.0, 10.0, 1e-3  # s, s, share
    STEP = 0.08  # s from the average beyond which a lead tells of a stall rather than of the pace

    def __init__(self) -> None:
        self._past = np.zeros(3, np.float32)
        self._at = 1.0  # where the next sample is read, in samples from the first of `_past`
        self._aim: float | None = None  # s that the microphone was ahead by at first
        self._ahead = 0.0
        self._heard = 0.0

    @property
    def pace(self) -> float:
        """Share by which sound is squeezed now; above 0 the microphone is too fast."""
        return float(np.clip((self._ahead - (self._aim or 0.0)) / self.SETTLE, -self.MOST, self.MOST))

    def push(self, chunk: I16, ahead: float) -> I16:
        """(n,) samples, before which `ahead` s more are known than are needed -> about n."""
        seconds = len(chunk) / RATE
        self._watch(ahead, seconds)
        x = np.concatenate([self._past, chunk.astype(np.float32)])
        step = 1 + self.pace
        count = max(0, math.ceil((len(x) - 2 - self._at) / step))
        at = self._at + step * np.arange(count)
        whole = at.astype(np.int64)
        t = (at - whole).astype(np.float32)
        a, b, c, d = (x[whole + k] for k in (-1, 0, 1, 2))
        y = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
        kept = len(x) - 3
        self._past, self._at = x[kept:], self._at + step * count - kept
        return np.rint(np.clip(y, -32768, 32767)).astype(np.int16)

    def _watch(self, ahead: float, seconds: float) -> None:
        self._heard += seconds
        if self._aim is None or abs(ahead - self._ahead) > self.STEP:
            self._ahead, self._aim, self._heard = ahead, ahead, 0.0  # it begins, or began again after a stall
            return
        k = min(seconds / min(self._heard, self.AVERAGE), 1.0)
        self._ahead += k * (ahead - self._ahead)
        if self._heard < self.AVERAGE:
            self._aim = self._ahead


class Decimator:
    """Mono int16 at RATE, in chunks -> float32 in -1..1 at RATE / 3 = 16 kHz, as the speech net wants it.

    A windowed-sinc low-pass at 7.2 kHz; its delay of (TAPS - 1) / 2 samples is 0.7 ms and left alone.
    """

    FACTOR = 3
    TAPS = 64

    def __init__(self) -> None:
        n = np.arange(self.TAPS) - (self.TAPS - 1) / 2
        taps = np.sinc(n * 2 * 7200 / RATE) * np.hamming(self.TAPS)
        self._taps = (taps / taps.sum() / 32768).astype(np.float32)
        self._past = np.zeros(self.TAPS - 1, np.float32)
        self._phase = 0

    def push(self, samples: I16) -> F32:
        x = np.concatenate([self._past, samples.astype(np.float32)])
        self._past = x[len(x) - self.TAPS + 1 :]
        if not len(samples):
            return np.empty(0, np.float32)
        y = np.convolve(x, self._taps, "valid")[self._phase :: self.FACTOR]
        self._phase = (self._phase - len(samples)) % self.FACTOR
        return y.astype(np.float32)
