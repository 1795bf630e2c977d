"""Utterances -> encoder features of true streaming windows, with the labels of the last frames of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from drivers.speech.features import FRAME, WINDOW_SECONDS, Encoder
from drivers.speech.training.corpus import LABEL_RATE, RATE, Utterance
from drivers.speech.visemes import SIL

FRAMES = 20  # newest frames kept of each window: those learned from and their context
STRIDE = (3680, 3840)  # samples between windows, drawn at random; about 240 ms
LABELS_PER_FRAME = FRAME * LABEL_RATE // RATE


@dataclass
class Windows:
    features: np.ndarray  # (N, FRAMES, D) f16
    labels: np.ndarray  # (N, FRAMES) viseme
    source: np.ndarray  # (N,) str, the utterance's name

    @classmethod
    def joined(cls, parts: list[Windows]) -> Windows:
        return cls(*(np.concatenate([getattr(p, k) for p in parts]) for k in ("features", "labels", "source")))

    def save(self, path: Path, notes: list[str], spent: float) -> None:
        """With what the building of them said, and the CPU seconds it took."""
        arrays: dict[str, Any] = {"features": self.features, "labels": self.labels, "source": self.source}
        with path.open("wb") as f:
            np.savez(f, notes=np.array(notes), spent=np.array(spent), **arrays)

    @classmethod
    def load(cls, path: Path) -> tuple[Windows, list[str], float]:
        with np.load(path, allow_pickle=False) as z:
            return cls(z["features"], z["labels"], z["source"]), z["notes"].tolist(), float(z["spent"])


def of_utterance(u: Utterance, encoder: Encoder, rng: np.random.Generator, seconds: float = WINDOW_SECONDS) -> Windows:
    """Every window ends at a random phase of the frames, as live audio does, and begins in faint noise."""
    n = int(seconds * RATE)
    samples = np.concatenate([rng.standard_normal(n).astype(np.float32) * 1e-4, u.samples])
    labels = np.concatenate([np.full(n * LABEL_RATE // RATE, SIL), u.labels])
    step = RATE // LABEL_RATE
    features, targets = [], []
    end = n + int(rng.integers(8, 24)) * step
    while end <= min(len(samples), len(labels) * step):
        features.append(encoder.features(samples[end - n : end])[-FRAMES:].astype(np.float16))
        last = end // step
        targets.append(labels[last - FRAMES * LABELS_PER_FRAME : last : LABELS_PER_FRAME])
        end += int(rng.choice(STRIDE))
    if not features:
        raise ValueError(f"{u.name}: {len(u.samples) / RATE:.2f} s are too short for a window")
    return Windows(np.stack(features), np.stack(targets), np.full(len(features), u.name, "U32"))
