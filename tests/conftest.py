"""Fixtures every room shares."""

from __future__ import annotations

import os
import struct

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as run_server.py does; before NumPy loads

import wave
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).parent.parent
TESTDATA = ROOT.parent / "shared" / "testdata"


@pytest.fixture(scope="session")
def demo_avatar_path() -> Path:
    """The demo avatar that `make demo` builds."""
    path = ROOT / "avatars" / "demo.avatar"
    assert path.exists(), f"{path} is missing; run `make demo` (make test does)"
    return path


def shared_file(name: str) -> Path:
    """A file of the shared test data; the test skips, naming it, where it is absent."""
    path = TESTDATA / name
    if not path.exists():
        pytest.skip(f"needs ../shared/testdata/{name}")
    return path


def write_wav(path: Path, samples: NDArray[np.int16], rate: int) -> None:
    """(n,) mono."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(samples.tobytes())


def write_float_wav(path: Path, samples: NDArray[np.floating], rate: int) -> None:
    """(n,) mono of 32-bit floats, which hold even what is no number."""
    data = samples.astype("<f4").tobytes()
    riff = struct.pack("<4sI8sI", b"RIFF", 36 + len(data), b"WAVEfmt ", 16)
    form = struct.pack("<HHIIHH", 3, 1, rate, 4 * rate, 4, 32)  # 3: floats
    path.write_bytes(riff + form + struct.pack("<4sI", b"data", len(data)) + data)


def voice_like(seconds: float, rate: int = 16_000, seed: int = 0) -> NDArray[np.float32]:
    """(n,) a synthetic vowel that opens and closes four times a second, with silence in its last quarter."""
    t = np.arange(round(seconds * rate)) / rate
    pulses = sum(np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 30))
    envelope = (0.5 + 0.5 * np.sin(2 * np.pi * 4 * t)) * (t < 0.75 * seconds)
    noise = np.random.default_rng(seed).normal(0, 1e-4, len(t))
    return (0.1 * pulses * envelope + noise).astype(np.float32)
