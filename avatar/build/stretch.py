"""Stage seed, last step: no Gaussian may be drawn out into a spike by what the face can do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from avatar.asset import Avatar, State
from avatar.build.kinematics import F64
from avatar.build.observe import Observation, unit
from avatar.build.seed import Seeds
from avatar.rig import Rig
from models.motion import A, Motion

MOST = 3.8  # px, half of the longest spot at a face 140 px wide
OPEN = (0.7, 1.0)  # jawOpen


def bounded(avatar: Avatar, o: Observation, seeds: Seeds) -> Seeds:
    """The seeds with those made smaller that an opening mouth would draw out past MOST."""
    rig = Rig(avatar)
    longest = largest_axes((rig.vertices(s).copy() for s in _open_mouths(rig)), avatar.mesh.faces, seeds)
    depth = float(
        np.median(o.camera.camera_from_world(rig.vertices(avatar.photo))[avatar.mesh.faces[seeds.face, 0], 2])
    )
    already = largest_axes([rig.vertices(avatar.photo)], avatar.mesh.faces, seeds)  # long along a steep surface
    most = np.maximum(MOST * unit(o) * depth / o.camera.focal, already)
    smaller = np.minimum(most / np.maximum(longest, 1e-12), 1.0)
    return replace(seeds, shape=seeds.shape * smaller[:, None, None])


def _open_mouths(rig: Rig) -> Iterable[State]:
    for value in OPEN:
        motion = Motion()
        motion.weight[:6] = 1
        motion.face[A["jawOpen"]] = value
        yield rig.state(motion)


def largest_axes(posed: Iterable[NDArray], faces: NDArray, seeds: Seeds) -> F64:
    """(N,) m, the longest half axis (1 sigma) over meshes posed (V, 3)."""
    out = np.zeros(seeds.count)
    for v in posed:
        corners = v[faces[seeds.face]].astype(np.float64)
        M = np.stack([corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]], 2) @ seeds.shape  # (N, 3, 2)
        a, b = (M[:, :, 0] ** 2).sum(1), (M[:, :, 1] ** 2).sum(1)
        c = (M[:, :, 0] * M[:, :, 1]).sum(1)
        out = np.maximum(out, np.sqrt((a + b) / 2 + np.sqrt(((a - b) / 2) ** 2 + c**2)))
    return out
