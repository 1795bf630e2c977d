"""Is somebody speaking? Silero VAD on 32 ms chunks, .25 ms each on one core.

The network (MIT, https://github.com/snakers4/silero-vad) is read as data from the installed silero-vad distribution and
run by onnxruntime; the package itself is not imported.
"""

from __future__ import annotations

import importlib.metadata
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]

RATE = 16000  # Hz
CHUNK = 512  # samples, 32 ms
CONTEXT = 64  # samples of the chunk before that the network wants in front
HISTORY = 128  # chunks whose probability is kept, 4 s
_MEMBER = "silero_vad_16k_op15.onnx"


def _model_path() -> Path:
    try:
        files = importlib.metadata.files("silero-vad") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for f in files:
        path = Path(str(f.locate()))
        if path.name == _MEMBER and path.is_file():
            return path
    raise FileNotFoundError(f"{_MEMBER} is missing; install the package that carries it: pip install silero-vad==6.2.3")


@lru_cache(maxsize=1)
def _session():
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(_model_path()), options, providers=["CPUExecutionProvider"])


class VoiceDetector:
    """Speech probability of a stream, chunk by chunk. Instances share one network and keep a state each."""

    def __init__(self) -> None:
        self._network = _session()
        self.reset()

    def reset(self) -> None:
        self._state = np.zeros((2, 1, 128), np.float32)
        self._pending = np.zeros(CONTEXT, np.float32)  # the context, then what does not fill a chunk yet
        self._probabilities = np.zeros(HISTORY, np.float32)
        self.chunks = 0  # chunks heard since the beginning

    def push(self, samples: F32) -> None:
        """(n,) at 16 kHz, any n."""
        self._pending = np.concatenate([self._pending, samples])
        while len(self._pending) >= CONTEXT + CHUNK:
            window = self._pending[None, : CONTEXT + CHUNK]
            inputs = {"input": window, "state": self._state, "sr": np.array(RATE, np.int64)}
            output, self._state = self._network.run(None, inputs)
            self._probabilities[self.chunks % HISTORY] = output[0, 0]
            self.chunks += 1
            self._pending = self._pending[CHUNK:]

    def highest(self, start: float, end: float) -> float:
        """The highest probability among the chunks heard that overlap start..end (s); 0 where there is none."""
        first = max(int(start * RATE // CHUNK), self.chunks - HISTORY, 0)
        last = min(int(end * RATE // CHUNK) + 1, self.chunks)
        numbers = np.arange(first, last)
        return float(self._probabilities[numbers % HISTORY].max()) if len(numbers) else 0.0
