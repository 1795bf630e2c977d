"""Sound files of any kind -> mono float32. PyAV decodes by content, so a wrong file extension does not matter."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from numpy.typing import NDArray

NET_RATE = 16000  # Hz, what the speech networks hear

Source = str | os.PathLike[str] | bytes | BinaryIO


class AudioError(ValueError):
    """A sound that cannot be used; the message says what is wrong and what would do."""


def load(source: Source, rate: int = NET_RATE, max_seconds: float | None = None) -> NDArray[np.float32]:
    """Decode a file, its bytes or an open stream to mono (n,) in [-1, 1] at `rate` Hz.

    Stereo is averaged. Raises AudioError naming the file when it is missing, empty, holds no sound, is longer than
    `max_seconds`, or breaks off before its first sample; damage further on keeps what came before.
    """
    name, stream = _open(source)
    try:
        with av.open(stream, mode="r", metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise AudioError(f"{name}: holds no sound (only {_kinds(container)})")
            samples = _decode(container, rate, max_seconds, name)
    except av.error.FFmpegError as e:
        raise AudioError(
            f"{name}: not a sound file that can be read ({e.strerror or e}); use wav, mp3, flac, ogg or m4a"
        ) from e
    if not len(samples):
        raise AudioError(f"{name}: holds no samples")
    return samples


def _open(source: Source) -> tuple[str, BinaryIO | str]:
    if isinstance(source, bytes):
        if not source:
            raise AudioError("the sound is empty (zero bytes)")
        return "the sound", io.BytesIO(source)
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if not path.is_file():
            raise AudioError(f"{path}: no such file" if not path.exists() else f"{path}: not a file")
        if path.stat().st_size == 0:
            raise AudioError(f"{path}: the file is empty (zero bytes)")
        return str(path), str(path)
    return getattr(source, "name", "the sound"), source


def _kinds(container: av.container.InputContainer) -> str:
    return ", ".join(sorted({s.type for s in container.streams})) or "nothing"


def _decode(
    container: av.container.InputContainer, rate: int, max_seconds: float | None, name: str
) -> NDArray[np.float32]:
    resampler = av.AudioResampler(format="fltp", rate=rate)  # channels as they are: its own mix of them may clip
    limit = None if max_seconds is None else int(max_seconds * rate)
    chunks: list[NDArray[np.float32]] = []
    total = 0
    try:
        for frame in container.decode(audio=0):
            for out in resampler.resample(frame):
                chunks.append(out.to_ndarray().mean(0))
                total += chunks[-1].size
            if limit is not None and total > limit:
                raise AudioError(f"{name}: longer than the {max_seconds:g} s allowed")
    except av.error.FFmpegError:
        if not chunks:
            raise
    chunks += [out.to_ndarray().mean(0) for out in resampler.resample(None)] if chunks else []
    return clean(np.concatenate(chunks) if chunks else np.zeros(0, np.float32))


def clean(samples: NDArray) -> NDArray[np.float32]:
    """Any real array -> (n,) float32 in [-1, 1]: integers are scaled, channels averaged, what is not finite is silence.

    Accepts (n,), (n, channels) or (channels, n) with at most 8 channels. Raises AudioError on anything else.
    """
    x = np.asarray(samples)
    if x.ndim == 2:
        x = _mix(x)
    if x.ndim != 1:
        raise AudioError(f"samples of shape {np.shape(samples)}; expected (n,) or (n, channels)")
    if np.issubdtype(x.dtype, np.integer) and x.dtype != np.bool_:
        middle = 2 ** (8 * x.dtype.itemsize - 1)
        x = (x.astype(np.float64) - (middle if np.issubdtype(x.dtype, np.unsignedinteger) else 0)) / middle
    elif not np.issubdtype(x.dtype, np.floating):
        raise AudioError(f"samples of type {x.dtype}; expected real numbers")
    with np.errstate(over="ignore", invalid="ignore"):
        y = np.nan_to_num(x.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(y, -1, 1)


def _mix(x: NDArray) -> NDArray:
    channels = min(x.shape)
    if channels == 0 or channels > 8:
        raise AudioError(f"samples of shape {x.shape}; expected (n,) or (n, channels)")
    axis = 1 if x.shape[1] == channels else 0
    if np.issubdtype(x.dtype, np.integer):
        return (x.astype(np.int64).sum(axis) // channels).astype(x.dtype)
    return x.mean(axis)


def resample(samples: NDArray, rate: int, to: int = NET_RATE) -> NDArray[np.float32]:
    """Mono (n,) at `rate` -> `to` Hz by libswresample (windowed sinc). Raises AudioError on a rate that is no rate."""
    if not 1000 <= rate <= 768000:
        raise AudioError(f"sample rate {rate} Hz; expected 1000 to 768000")
    samples = clean(samples)
    if rate == to or not len(samples):
        return samples
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples)[None], format="flt", layout="mono")
    frame.sample_rate = int(rate)
    resampler = av.AudioResampler(format="flt", layout="mono", rate=to)
    out = [f.to_ndarray()[0] for f in (*resampler.resample(frame), *resampler.resample(None))]
    return clean(np.concatenate(out)) if out else np.zeros(0, np.float32)
