"""What the small network hears: a log-mel spectrogram in NumPy, about a tenth of Whisper's cost, for weak machines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from drivers.speech.features import FRAME, RATE

F32 = NDArray[np.float32]

HOP = FRAME // 2  # samples, 10 ms: two columns of the spectrogram to a frame of 20 ms
SPAN = 400  # samples of a column, 25 ms
BANDS = 40
RANGE = 80.0  # dB below the loudest band of the window, where the spectrogram ends


def filters(bands: int = BANDS, low: float = 60.0, high: float = 7600.0) -> F32:
    """(bands, SPAN // 2 + 1) triangles evenly spaced in mel (O'Shaughnessy's formula), of unit area."""
    mel = lambda f: 1127 * np.log1p(f / 700)  # noqa: E731
    edges = 700 * np.expm1(np.linspace(mel(low), mel(high), bands + 2) / 1127)
    f = np.arange(SPAN // 2 + 1) * RATE / SPAN
    rise = (f - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - f) / (edges[2:] - edges[1:-1])[:, None]
    return (np.clip(np.minimum(rise, fall), 0, None) * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


class MelEncoder:
    """An encoder of `drivers.speech.features`: no weights, no state, NumPy alone."""

    width = 2 * BANDS

    def __init__(self) -> None:
        self._filters = filters().T
        self._window = np.hanning(SPAN + 1)[:-1].astype(np.float32)

    def features(self, window: F32) -> F32:
        """(n,) at 16 kHz -> (n / 320, 80): two columns a frame, -1 .. 1 within 80 dB below the window's loudest band.

        A frame hears its own 20 ms and 7.5 ms on either side.
        """
        frames = len(window) // FRAME
        side = (SPAN - HOP) // 2
        padded = np.pad(np.asarray(window[: frames * FRAME], np.float32), (side, side))
        columns = np.lib.stride_tricks.sliding_window_view(padded, SPAN)[::HOP]
        spectrum = fft.rfft(columns * self._window, axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        decibel = 10 * np.log10(power @ self._filters + 1e-10)
        shifted = np.clip(decibel - max(float(decibel.max()), -20.0), -RANGE, 0) / RANGE
        return (2 * shifted + 1).reshape(frames, self.width).astype(np.float32)
