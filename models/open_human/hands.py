"""Hand pose components: designed, not measured. Row 0 closes the fist, then each finger, then the spread."""

from __future__ import annotations

import numpy as np

from models.open_human.makehuman import F64

FINGERS = ("index", "middle", "pinky", "ring", "thumb")  # SMPL-X order, three joints each
_CURL = (0.28, 0.34, 0.22)  # rad, relaxed
_GAIN = {"index": 0.8, "middle": 1.0, "ring": 1.1, "pinky": 1.15}
_SPREAD = (1.0, 0.2, -1.0, -0.5)


def components(sign: float) -> tuple[F64, F64]:
    """(relaxed pose (45,), orthonormal components (45, 45)) of the left hand (sign 1) or the right (-1)."""
    relaxed, fist = np.zeros((15, 3)), np.zeros((15, 3))
    for f, finger in enumerate(FINGERS[:4]):
        relaxed[3 * f : 3 * f + 3, 2] = [-sign * c * _GAIN[finger] for c in _CURL]
    relaxed[12:] = [[0.15, -0.1 * sign, -0.05 * sign], [0, -0.1 * sign, 0], [0, -0.15 * sign, 0]]
    fist[:12, 2] = -sign
    fist[12:, 1] = -0.4 * sign
    rows = [fist]
    for f in range(5):
        one = np.zeros((15, 3))
        one[3 * f : 3 * f + 3, 2 if f < 4 else 1] = -sign
        rows.append(one)
    spread = np.zeros((15, 3))
    spread[[0, 3, 6, 9], 1] = np.multiply(_SPREAD, sign)
    rows.append(spread)
    return relaxed.ravel(), _orthonormal(np.concatenate([np.reshape(rows, (-1, 45)), np.eye(45)]))


def _orthonormal(rows: F64) -> F64:
    """The first 45 directions of Gram and Schmidt."""
    kept: list[F64] = []
    for row in rows:
        for k in kept:
            row = row - k * (row @ k)
        length = np.linalg.norm(row)
        if length > 1e-3:
            kept.append(row / length)
    return np.array(kept)[:45]
