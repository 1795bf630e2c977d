"""The 1-euro filter (Casiez, Roussel and Vogel 2012): calm when the signal rests, quick when it moves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def _share(cutoff: NDArray | float, dt: float) -> NDArray | float:
    """How much of a new sample a low pass of `cutoff` Hz takes over after `dt` s."""
    tau = 1 / (2 * np.pi * cutoff)
    return 1 / (1 + tau / dt)


class OneEuro:
    """Filters vectors of one length, sampled at any times."""

    def __init__(self, cutoff: float, beta: float, speed_cutoff: float = 1.0) -> None:
        """cutoff: Hz at rest; beta: Hz more per unit a second of speed; speed_cutoff: Hz, of the speed itself."""
        self.cutoff, self.beta, self.speed_cutoff = cutoff, beta, speed_cutoff
        self.reset()

    def reset(self) -> None:
        self._time: float | None = None
        self._value = np.zeros(0)
        self._speed = np.zeros(0)

    def __call__(self, value: NDArray, time: float) -> NDArray:
        """(n,) at `time` s -> (n,); a time that does not advance returns what was."""
        value = np.asarray(value, np.float64)
        if self._time is None or len(value) != len(self._value):
            self._time, self._value, self._speed = time, value, np.zeros_like(value)
            return value.copy()
        dt = time - self._time
        if dt <= 0:
            return self._value.copy()
        self._speed = self._speed + _share(self.speed_cutoff, dt) * ((value - self._value) / dt - self._speed)
        cutoff = self.cutoff + self.beta * np.abs(self._speed)
        self._value = self._value + _share(cutoff, dt) * (value - self._value)
        self._time = time
        return self._value.copy()
