"""A gesture model of the operator's own behind HTTP: the sound of a sentence in, SMPL-X motion out, in gestures' place.

`POST url` with a WAV file (16 kHz, mono, 16-bit) is to be answered by an npz with SMPL-X key names (body_pose,
left_hand_pose, right_hand_pose, ...; MotionTrack.load), at `fps` (30) or with `time`. Arms and hands are taken from it.
"""

from __future__ import annotations

import io
import logging
import urllib.request
import wave
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from models.motion import MotionTrack

log = logging.getLogger(__name__)
RATE = 16_000  # Hz
LONGEST = 64_000_000  # bytes of an answer


class GestureModel:
    """Sentences are asked for one after the other, in a thread of its own; speech never waits for them."""

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        self._url, self._timeout = url, timeout
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gestures")

    def ask(self, samples: NDArray[np.float32], then: Callable[[MotionTrack], None]) -> None:
        """samples (n,) at RATE; `then` gets the motion in the model's thread, or nothing where the model fails."""
        self._thread.submit(self._answer, samples, then)

    def track(self, samples: NDArray[np.float32]) -> MotionTrack:
        """Raises OSError where the model does not answer, ValueError where its answer is no motion."""
        request = urllib.request.Request(self._url, wav(samples), {"Content-Type": "audio/wav"})
        with urllib.request.urlopen(request, timeout=self._timeout) as response:
            answer = response.read(LONGEST + 1)
        if len(answer) > LONGEST:
            raise ValueError("the gesture model sent too much for one sentence")
        try:
            return MotionTrack.load(io.BytesIO(answer))  # type: ignore[arg-type]
        except ValueError as e:
            raise ValueError("its answer is no motion npz with SMPL-X key names") from e

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _answer(self, samples: NDArray[np.float32], then: Callable[[MotionTrack], None]) -> None:
        try:
            then(self.track(samples))
        except (OSError, ValueError) as e:
            log.warning("the gesture model at %s fails (%s); this sentence has no gestures of its", self._url, e)


def wav(samples: NDArray[np.float32]) -> bytes:
    """(n,) in -1..1 at RATE."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return out.getvalue()
