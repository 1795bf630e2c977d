"""The last seconds of a stream of samples, addressed by their number since the stream began."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


class Ring:
    def __init__(self, capacity: int) -> None:
        """Keeps at least `capacity` samples; what lies before the stream's first sample reads as silence."""
        self._buffer = np.zeros(2 * capacity, np.float32)
        self._capacity = capacity
        self._fill = capacity  # the silence before the beginning
        self.count = 0  # samples pushed since the beginning

    def push(self, samples: F32) -> None:
        """Append (n,), n at most `capacity`."""
        n = len(samples)
        if n > self._capacity:
            raise ValueError(f"{n} samples pushed at once into a ring of {self._capacity}")
        if self._fill + n > len(self._buffer):
            self._buffer[: self._capacity] = self._buffer[self._fill - self._capacity : self._fill]
            self._fill = self._capacity
        self._buffer[self._fill : self._fill + n] = samples
        self._fill += n
        self.count += n

    def window(self, end: int, length: int) -> F32:
        """Samples [end - length, end), a view that the next push may overwrite."""
        stop = self._fill - (self.count - end)
        if end > self.count or length > stop:
            raise ValueError(f"samples {end - length} to {end} are not held; the stream is at {self.count}")
        return self._buffer[stop - length : stop]
