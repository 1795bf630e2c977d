"""Where p, b and m shut the lips: closures as events, from what the head hears frame by frame.

A closure must be heard twice, as a viseme and by itself, and over more than one frame; then its weak ones count as
well. Of each only the frames near its height are shut, so that a strong one does not spread over its neighbours.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from drivers.speech.head import Articulation
from drivers.speech.solver import SEAL_OFF, SEAL_ON
from drivers.speech.visemes import PP

F32 = NDArray[np.float32]

SMOOTHING = np.array([0.25, 0.5, 0.25])  # over 60 ms
REACH = 2  # frames on either side among which a closure has its height
FALL = 0.6  # of the height, under which a frame is no part of the closure
BEFORE = REACH + 1  # frames that must be remembered: the smoothing's one more


class Closures:
    def __init__(self, seal: float) -> None:
        """seal: the evidence, 0..1, from which a closure counts; it is given out as the solver's threshold."""
        self._power = math.log(SEAL_ON) / math.log(seal)
        self.reset()

    def reset(self) -> None:
        self._before = np.zeros(BEFORE, np.float32)

    def __call__(self, heard: Articulation, final: int) -> F32:
        """(n,) closure of the n frames heard, above SEAL_ON where the lips are shut; the first `final` are not heard
        again, those behind them provisional."""
        evidence = np.concatenate([self._before, np.sqrt(heard.closure * heard.visemes[:, PP])])
        self._before = evidence[final : final + BEFORE]
        smooth = np.convolve(np.pad(evidence, 1, "edge"), SMOOTHING, "valid")
        height = maximum_filter1d(smooth, 2 * REACH + 1, mode="nearest")
        closure = smooth.clip(0, 1) ** self._power
        closure[smooth < FALL * height] = closure[smooth < FALL * height].clip(0, 0.9 * SEAL_OFF)
        return closure[BEFORE:].astype(np.float32)


def evidence_at(closure: float, seal: float) -> float:
    """The evidence that is given out as `closure`."""
    return closure ** (math.log(seal) / math.log(SEAL_ON))
