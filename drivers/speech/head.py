"""The viseme head: encoder features of one frame -> viseme posteriors, lip closure, jaw opening. NumPy at run time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from drivers.speech.visemes import N_VISEMES

F32 = NDArray[np.float32]

CLOSURE, JAW, OUTPUTS = N_VISEMES, N_VISEMES + 1, N_VISEMES + 2
DEFAULT = Path(__file__).with_name("viseme_head.npz")
_FIELDS = ("w1", "b1", "w2", "b2")


@dataclass(frozen=True)
class Articulation:
    """What the head hears in n frames."""

    visemes: F32  # (n, 15) posteriors, each row sums to 1
    closure: F32  # (n,) probability that the lips are shut by p, b or m
    jaw: F32  # (n,) 0 shut .. 1 as wide as speech goes


@dataclass(frozen=True)
class Head:
    """A perceptron of one hidden layer (GELU), the features' normalisation folded into its first weights."""

    w1: F32  # (H, D)
    b1: F32  # (H,)
    w2: F32  # (17, H): 15 viseme logits, closure logit, jaw logit
    b2: F32  # (17,)

    @classmethod
    def of(cls, mean: NDArray, deviation: NDArray, w1: NDArray, b1: NDArray, w2: NDArray, b2: NDArray) -> Head:
        """Fold (x - mean) / deviation into the first layer."""
        scaled = w1 / deviation
        return cls(*(np.ascontiguousarray(a, np.float32) for a in (scaled, b1 - scaled @ mean, w2, b2)))

    @classmethod
    def load(cls, path: Path = DEFAULT) -> Head:
        """Raises ValueError naming the file when it is not a head."""
        try:
            with np.load(path, allow_pickle=False) as z:
                w1, b1, w2, b2 = (np.asarray(z[k], np.float32) for k in _FIELDS)
        except (OSError, KeyError, ValueError) as e:
            raise ValueError(
                f"{path}: not a viseme head ({e}); train one with `python -m drivers.speech.training`"
            ) from e
        shapes = w1.ndim == 2 and b1.shape == w1.shape[:1] and w2.shape == (OUTPUTS, len(w1)) and b2.shape == (OUTPUTS,)
        if not shapes or not all(np.isfinite(a).all() for a in (w1, b1, w2, b2)):
            raise ValueError(f"{path}: layers {w1.shape}, {w2.shape}; expected (H, D), ({OUTPUTS}, H), all finite")
        return cls(w1, b1, w2, b2)

    def save(self, path: Path) -> None:
        """As half floats: 16 bits change no figure of the card."""
        np.savez_compressed(path, **{k: getattr(self, k).astype(np.float16) for k in _FIELDS})

    def logits(self, features: F32) -> F32:
        """(n, D) -> (n, 17)"""
        h = features @ self.w1.T + self.b1
        h = (0.5 * h * (1 + erf(h / math.sqrt(2)))).astype(np.float32)
        return h @ self.w2.T + self.b2

    def __call__(self, features: F32) -> Articulation:
        z = self.logits(np.asarray(features, np.float32))
        e = np.exp(z[:, :N_VISEMES] - z[:, :N_VISEMES].max(1, keepdims=True))
        sigmoid = 1 / (1 + np.exp(-np.clip(z[:, N_VISEMES:], -30, 30)))
        return Articulation(e / e.sum(1, keepdims=True), *sigmoid.T.astype(np.float32))
