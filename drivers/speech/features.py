"""Streaming features: a speech encoder run on the last seconds every hop, each frame handed out once.

A frame is 20 ms; frame f is heard at f / 50 s, the centre of its convolution. A window that ends at sample e hands out
the hop's frames, whose times lie between e - latency and e - lookahead, and provisionally the newer ones behind them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from drivers.speech.ring import Ring

F32 = NDArray[np.float32]

RATE = 16000  # Hz
FRAME = 320  # samples, the encoder's 20 ms
FRAME_RATE = RATE // FRAME  # 50 Hz
WINDOW_SECONDS = 2.0  # s the encoder hears; 1.0 takes a third off its time and costs a hundredth of accuracy
HOP = 0.060  # s between two runs of the encoder
LOOKAHEAD = 0.060  # s after a frame that its features have heard, at least


class Encoder(Protocol):
    def features(self, window: F32) -> F32:
        """(n,) at 16 kHz -> (n / 320, D) at 50 Hz"""


@dataclass(frozen=True)
class Hop:
    """What one run of the encoder gives."""

    first: int  # number of the first frame to hand out
    final: int  # frames to hand out; those behind are provisional
    features: F32  # (context + final + provisional, D): frames known from earlier runs come first


class StreamingFeatures:
    def __init__(
        self,
        encoder: Encoder,
        window: float = WINDOW_SECONDS,
        hop: float = HOP,
        lookahead: float = LOOKAHEAD,
        context: int = 0,
    ) -> None:
        """Times in s, whole frames of 20 ms. Raises ValueError when they are not, or the window is too short."""
        self.hop, self.ahead, self._longest = (round(s * FRAME_RATE) for s in (hop, lookahead, window))
        if self.hop < 1 or self.ahead < 0:
            raise ValueError(f"hop {hop} s, lookahead {lookahead} s: a hop holds a frame, a lookahead is not negative")
        self.hear_with(encoder, window, context)
        self.latency = (self.hop + self.ahead) / FRAME_RATE
        self.encoded = 0  # runs of the encoder, for tests and figures
        self.reset()

    def hear_with(self, encoder: Encoder, window: float, context: int) -> None:
        """From the next hop on, with this encoder, over a window (s) no longer than the first one. ValueError."""
        length = round(window * FRAME_RATE)
        if not 2 * (self.hop + self.ahead) + context <= length <= self._longest:
            raise ValueError(
                f"window {window} s: it holds two hops with lookahead and context, of {self.hop}, {self.ahead} and "
                f"{context} frames, and no more than {self._longest}"
            )
        self.encoder, self.length, self.context = encoder, length, context

    def reset(self) -> None:
        self.ring = Ring((self._longest + self.hop) * FRAME)

    def room(self) -> int:
        """Samples to the next hop."""
        return self.hop * FRAME - self.ring.count % (self.hop * FRAME)

    def push(self, samples: F32, hear: bool = True) -> Hop | None:
        """Append at most `room()` samples; the hop's frames when they complete it.

        With `hear` false the encoder rests and the features are zeros (nobody speaks).
        """
        self.ring.push(samples)
        if self.ring.count % (self.hop * FRAME) or not len(samples):
            return None
        n = self.hop + self.ahead
        last = self.ring.count // FRAME
        if hear:
            self.encoded += 1
            features = self.encoder.features(self.ring.window(self.ring.count, self.length * FRAME))[
                -n - self.context :
            ]
        else:
            features = np.zeros((n + self.context, 1), np.float32)
        return Hop(last - n, self.hop, features)
