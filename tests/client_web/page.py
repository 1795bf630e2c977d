"""What the tests of the page share."""

from __future__ import annotations

import io
import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.client_web.fake_server import RATE, Session, draw_face

MOUTH = (0.38, 0.52, 0.62, 0.74)  # of the drawn face


def until(condition: Callable[[], Any], seconds: float = 10, every: float = 0.05) -> Any:
    """The condition's first true value; fails the test when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(every)
    return value


def vowel(seconds: float) -> bytes:
    """A WAV file of a vowel-like buzz."""
    t = np.arange(int(seconds * RATE)) / RATE
    samples = sum(np.sin(2 * np.pi * 130 * k * t) / k for k in range(1, 12))
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((6000 * np.asarray(samples)).astype("<i2").tobytes())
    return out.getvalue()


def photo(path: Path, face: bool = True) -> Path:
    picture = draw_face(0, 0, 40) if face else np.full((200, 200, 3), 127, np.uint8)
    cv2.imwrite(str(path), picture)
    return path


def only(sessions: dict[str, Session]) -> Session:
    (session,) = sessions.values()
    return session


def differs(one: list[int], other: list[int]) -> float:
    return float(np.abs(np.subtract(one, other)).mean())
