"""Stage seed, last step: no Gaussian may be drawn out into a spike by what the face can do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from avatar.asset import Avatar
from avatar.build import anatomy
from avatar.build.kinematics import F64
from avatar.build.observe import Observation, unit
from avatar.build.seed import Seeds
from avatar.build.unroll import Unrolled
from avatar.render.contract import LAYER
from avatar.rig import Rig
from models.motion import NECK

MOST, MOST_NECK, MOST_TRUNK = 3.1, 4.2, 7.5  # px, half of the longest spot at a face 140 px wide; of hidden skin there
MOST_LIPS, OF_STEP = 0.001, 0.7  # m, of the spacing: seen spots on lips are flat and would stand over the teeth
OF_NECK = 0.2  # weight of head and neck from which skin is the neck's
GROWN = 2.0  # times its length in the photo, of a spot on skin that unrolls: others lie below it there


def bounded(avatar: Avatar, o: Observation, seeds: Seeds, unrolled: Unrolled) -> Seeds:
    """The seeds with those made shorter, along what is drawn out, that a move would draw out too far."""
    rig, faces = Rig(avatar), avatar.mesh.faces
    photo = rig.vertices(avatar.photo).astype(np.float64)
    depth = float(np.median(o.camera.camera_from_world(photo)[faces[seeds.face, 0], 2]))
    already = largest_axes(photo, faces, seeds.face, seeds.shape)  # long along a steep surface
    limit = MOST * unit(o) * depth / o.camera.focal
    head = np.isin(avatar.mesh.joint_index[faces[seeds.face]][..., 0], (*anatomy.HEAD_JOINTS,)).all(1)
    turns = np.isin(avatar.mesh.joint_index, (*anatomy.HEAD_JOINTS, NECK)) * avatar.mesh.joint_weight
    neck = (turns.sum(1)[faces[seeds.face]] > OF_NECK).any(1)
    underlay = ~seeds.seen & (avatar.part[seeds.face] == anatomy.SKIN)
    below = np.where(neck, MOST_NECK, MOST_TRUNK) / MOST * limit
    most = np.where(underlay, np.where(head, limit, below), np.maximum(limit, already))
    covers = unrolled.folded[seeds.face] & seeds.seen
    most = np.where(covers, np.minimum(most, GROWN * already), most)
    lips = seeds.seen & np.isin(seeds.layer, [LAYER["lips"], LAYER["cavity"]])
    flat = np.where(lips, np.maximum(MOST_LIPS, OF_STEP * seeds.step * depth / o.camera.focal), np.inf)
    most, shape = np.minimum(most, flat), seeds.shape.copy()
    for v in (photo, *unrolled.moved):
        long = np.flatnonzero(largest_axes(v, faces, seeds.face, shape) > 1.001 * most)
        shape[long] = _shortened(v[faces[seeds.face[long]]], shape[long], most[long])
    return replace(seeds, shape=shape)


def _edges(corners: F64) -> F64:
    """(n, 3, 3) m -> (n, 3, 2)."""
    return np.stack([corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]], 2)


def _shortened(corners: F64, shape: F64, most: F64) -> F64:
    """Shapes (n, 2, 2) whose spots on triangles (n, 3, 3) m have no half axis above most (n,) m."""
    E = _edges(corners)
    U, s, Vt = np.linalg.svd(E @ shape, full_matrices=False)
    return np.linalg.pinv(E) @ ((U * np.minimum(s, most[:, None])[:, None]) @ Vt)


def largest_axes(v: NDArray, faces: NDArray, face: NDArray, shape: F64) -> F64:
    """(N,) m, the longest half axis (1 sigma) of spots on triangles face (N,) of a mesh posed (V, 3)."""
    M = _edges(v[faces[face]].astype(np.float64)) @ shape  # (N, 3, 2)
    a, b = (M[:, :, 0] ** 2).sum(1), (M[:, :, 1] ** 2).sum(1)
    c = (M[:, :, 0] * M[:, :, 1]).sum(1)
    return np.sqrt((a + b) / 2 + np.sqrt(((a - b) / 2) ** 2 + c**2))
