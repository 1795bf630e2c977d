"""The joint regressor: each joint as a near-uniform, non-negative mean of the ring of vertices around it.

It reproduces MakeHuman's joint cubes at the base shape. It is not fitted across shapes, because the cubes themselves
drift from the mesh (the knee's by 6 cm at full height).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from models.motion import HEAD, JAW, JOINT, LEFT_EYE, N_JOINTS, NECK, RIGHT_EYE
from models.open_human.makehuman import F64
from models.open_human.skeleton import PARENTS

TRUNK = [JOINT[n] for n in ("spine1", "spine2", "spine3", "left_collar", "right_collar")]
TRUNK_AND_NEIGHBOURS = [JOINT["pelvis"], *TRUNK, NECK]
INERT = 2e-4  # m, vertices that no expression moves further may carry the joints of the head
RING = 220  # vertices


def mean_weights(points: F64, joint: F64) -> F64:
    """(n,) non-negative weights summing to 1 with points (n, 3) @ weights = joint, as even as that allows."""
    n = len(points)
    a = np.concatenate([1e3 * points.T, 1e3 * np.ones((1, n)), np.eye(n)])
    b = np.concatenate([1e3 * joint, [1e3], np.full(n, 1 / n)])
    x, _ = nnls(a, b, maxiter=8000)
    return x / x.sum()


def spread_around(points: F64, centre: F64, count: int) -> NDArray[np.int64]:
    """Indices of `count` points that lie in the most different directions (and distances) from the centre."""
    if len(points) <= count:
        return np.arange(len(points))
    d = points - centre
    key = d / (np.linalg.norm(d, axis=1, keepdims=True) + 1e-9) * 0.08 + d * 0.3
    chosen = [0]
    nearest = np.linalg.norm(key - key[0], axis=1)
    for _ in range(count - 1):
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(key - key[chosen[-1]], axis=1))
    return np.array(chosen)


def near_ring(points: F64, joint: F64) -> NDArray[np.int64]:
    """Indices of a spread ring of the points near a joint."""
    distance = np.linalg.norm(points - joint, axis=1)
    near = np.flatnonzero(distance < max(2.6 * distance.min(), 0.02))
    return near[spread_around(points[near], joint, RING)]


def regressor(base: F64, base_joints: F64, mean: F64, mean_joints: F64, weights: F64, skin: NDArray, moved: F64) -> F64:
    """(55, V). base (V, 3), base_joints (55, 3): what it reproduces; mean: the template, on which rings are chosen;
    weights (V, 55); skin: vertices of the body's surface; moved (V,) m the most any expression moves each vertex."""
    out = np.zeros((N_JOINTS, len(base)))
    on_skin = np.isin(np.arange(len(base)), skin)
    for j in range(N_JOINTS):
        if j in (LEFT_EYE, RIGHT_EYE):
            ring = np.flatnonzero(weights[:, j] > 0.99)
            out[j, ring] = 1 / len(ring)
            continue
        if j in TRUNK:  # a slab of the torso, else the joint lies outside the hull of its ring
            slab = (
                on_skin & (weights[:, TRUNK_AND_NEIGHBOURS].sum(1) > 0.6) & (abs(base[:, 1] - base_joints[j, 1]) < 0.05)
            )
            ring = np.flatnonzero(slab)
            ring = ring[spread_around(base[ring], base_joints[j], RING + 20)]
        else:
            family = [j, *np.flatnonzero(np.equal(PARENTS, j)), *([PARENTS[j]] if j else [])]
            candidates = on_skin & (weights[:, family].sum(1) > 0.15)
            if j in (NECK, HEAD, JAW):
                candidates &= moved < INERT
            ring = np.flatnonzero(candidates)
            ring = ring[near_ring(mean[ring], mean_joints[j])]
        out[j, ring] = mean_weights(base[ring], base_joints[j])
    return out
