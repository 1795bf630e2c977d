"""The viseme head: encoder features around a frame -> what the mouth does in it. NumPy at run time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from drivers.speech.visemes import N_VISEMES, PP

F32 = NDArray[np.float32]

CLOSURE, JAW, APERTURE, ROUNDING = range(N_VISEMES, N_VISEMES + 4)
OUTPUTS = N_VISEMES + 4
COUNTS = 0.45  # probability above which a closure shuts the lips
FOLDER = Path(__file__).parent
DEFAULT = FOLDER / "viseme_head.npz"
_LAYERS = ("w0", "b0", "w1", "b1", "w2", "b2")


@dataclass(frozen=True)
class Articulation:
    """What the head hears in n frames."""

    visemes: F32  # (n, 15) posteriors, each row sums to 1
    closure: F32  # (n,) probability that the lips are shut by p, b or m
    jaw: F32 | None = None  # (n,) 0 shut .. 1 as wide as speech goes; scored, not shown (articulation.py)
    aperture: F32 | None = None  # (n,) of the lips, likewise; None: as the visemes have it
    rounding: F32 | None = None  # (n,) 0 spread or slack .. 1 as in "oo"; None: as the visemes have it


@dataclass(frozen=True)
class Head:
    """Each frame's features are projected; the projections of a frame, of `past` frames before it and `ahead` after it
    go through one hidden layer (GELU). The features' normalisation is folded into the projection."""

    w0: F32  # (P, D)
    b0: F32  # (P,)
    w1: F32  # (H, (past + 1 + ahead) * P)
    b1: F32  # (H,)
    w2: F32  # (19, H): 15 viseme logits, then those of closure, jaw, aperture and rounding
    b2: F32  # (19,)
    past: int
    ahead: int
    seal: float | None = None  # evidence, 0..1, from which a closure counts; None: the closure's own output is all

    @classmethod
    def of(cls, mean: NDArray, deviation: NDArray, layers: list[NDArray], past: int, ahead: int) -> Head:
        """Fold (x - mean) / deviation into the first of `layers`, (w0, b0, w1, b1, w2, b2)."""
        first, bias, *rest = layers
        scaled = first / deviation
        folded = (np.ascontiguousarray(a, np.float32) for a in (scaled, bias - scaled @ mean, *rest))
        w0, b0, w1, b1, w2, b2 = folded
        return cls(w0, b0, w1, b1, w2, b2, past, ahead)

    @classmethod
    def load(cls, path: Path = DEFAULT) -> Head:
        """Raises ValueError naming the file when it is not a head."""
        try:
            with np.load(path, allow_pickle=False) as z:
                layers = [np.asarray(z[k], np.float32) for k in _LAYERS]
                past, ahead = (int(n) for n in z["context"])
                seal = float(z["seal"]) if "seal" in z else None
        except (OSError, KeyError, ValueError) as e:
            raise ValueError(
                f"{path}: not a viseme head ({e}); train one with `python -m drivers.speech.training`"
            ) from e
        w0, b0, w1, b1, w2, b2 = layers
        shapes = min(past, ahead) >= 0 and (w0.ndim, w1.ndim) == (2, 2) and w1.shape[1] == (past + 1 + ahead) * len(w0)
        shapes = shapes and b0.shape == w0.shape[:1] and b1.shape == w1.shape[:1] and b2.shape == (OUTPUTS,)
        if not shapes or w2.shape != (OUTPUTS, len(w1)) or not all(np.isfinite(a).all() for a in layers):
            raise ValueError(
                f"{path}: layers {w0.shape}, {w1.shape}, {w2.shape} with {past} + 1 + {ahead} frames; expected (P, D), "
                f"(H, frames * P), ({OUTPUTS}, H), all finite"
            )
        if seal is not None and not 0 < seal < 1:
            raise ValueError(f"{path}: its closures count from {seal}; expected a share between 0 and 1")
        return cls(w0, b0, w1, b1, w2, b2, past, ahead, seal)

    def save(self, path: Path) -> None:
        """As half floats: 16 bits change no figure of the card."""
        layers: dict[str, Any] = {k: getattr(self, k).astype(np.float16) for k in _LAYERS}
        layers["context"] = np.array([self.past, self.ahead], np.int16)
        if self.seal is not None:
            layers["seal"] = np.float32(self.seal)
        np.savez_compressed(path, **layers)

    @classmethod
    def mean(cls, heads: list[Head]) -> Head:
        """One head with the mean of the logits of several that hear the same frames."""
        past, ahead = heads[0].past, heads[0].ahead
        frames = past + 1 + ahead
        width, hidden = sum(len(h.w0) for h in heads), sum(len(h.w1) for h in heads)
        w1 = np.zeros((hidden, frames, width), np.float32)  # each part hears its own projection alone
        row = column = 0
        for h in heads:
            rows, columns = len(h.w1), len(h.w0)
            w1[row : row + rows, :, column : column + columns] = h.w1.reshape(rows, frames, columns)
            row, column = row + rows, column + columns
        w0, b0, b1 = (np.concatenate([getattr(h, k) for h in heads]) for k in ("w0", "b0", "b1"))
        w2 = (np.concatenate([h.w2 for h in heads], 1) / len(heads)).astype(np.float32)
        b2 = np.stack([h.b2 for h in heads]).mean(0).astype(np.float32)
        return cls(w0, b0, w1.reshape(hidden, -1), b1, w2, b2, past, ahead)

    @property
    def width(self) -> int:
        """Of the features it hears."""
        return self.w0.shape[1]

    def logits(self, features: F32) -> F32:
        """(past + n, D) -> (n, 19); beyond the last frame its own features stand for those not heard yet."""
        frames = features @ self.w0.T + self.b0
        frames = np.concatenate([frames, np.repeat(frames[-1:], self.ahead, 0)])
        n = len(features) - self.past
        around = np.concatenate([frames[i : i + n] for i in range(self.past + 1 + self.ahead)], 1)
        h = around @ self.w1.T + self.b1
        h = (0.5 * h * (1 + erf(h / math.sqrt(2)))).astype(np.float32)
        return h @ self.w2.T + self.b2

    def __call__(self, features: F32) -> Articulation:
        z = self.logits(np.asarray(features, np.float32))
        e = np.exp(z[:, :N_VISEMES] - z[:, :N_VISEMES].max(1, keepdims=True))
        sigmoid = 1 / (1 + np.exp(-np.clip(z[:, N_VISEMES:], -30, 30)))
        visemes = e / e.sum(1, keepdims=True)
        closure, *parts = sigmoid.T.astype(np.float32)
        return Articulation(visemes, self._closure(closure, visemes[:, PP]), *parts)

    def _closure(self, alone: F32, viseme: F32) -> F32:
        """The geometric mean of both outputs that hear a closure, bent so that `seal` becomes COUNTS."""
        if self.seal is None:
            return alone
        return np.sqrt(alone * viseme) ** (math.log(COUNTS) / math.log(self.seal))

    def evidence(self, closure: float) -> float:
        """What both outputs must say for a closure of this probability."""
        assert self.seal is not None
        return float(closure ** (math.log(self.seal) / math.log(COUNTS)))
