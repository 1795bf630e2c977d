"""What the photo hides begins in the colours of what it shows beside it.

The fill (completion.py) is smooth over a whole head; a turn shows where it meets the photo as a line before the ear. So
at the contour it is corrected by as much as the photo differs from it, and beside hair that hangs it is that hair's.
An ear that the photo's turn hides is the other one's mirror image.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from avatar.build import anatomy, ears
from avatar.build.kinematics import F64
from avatar.build.mesh import UnionMesh
from avatar.build.parts import HAIR
from avatar.build.seed import Seeds
from models.body import BodyModel

REACH, REACH_OF_HAIR = 0.016, 0.012  # m over which the colours beside fade
EVEN = 0.003  # m over which they are evened out
POINTS = 24  # that they are taken from
FACING = 0.016  # m by which surfaces that face apart by 1 rad count as farther from each other
WORN = 0.1  # m by which cloth and what is bare do
NEAR, FAR = 0.4, 0.3  # shares of two ears that the photo shows, from which, and up to which, one mirrors the other
MIRRORS, MIRRORS_EVEN, MIRRORS_POINTS = 0.003, 0.001, 6  # of a mirrored ear's colours: as the first three, m
SOLID, SURE = 0.7, 0.7  # opacity and probability from which the sheet is hair that colours what is beside it


def off_at_the_contour(
    mesh: UnionMesh, seeds: Seeds, hidden: NDArray[np.bool_], shown: NDArray[np.bool_], off: F64, cloth: F64
) -> F64:
    """(n, 3) what the hidden (N,) Gaussians take of `off` (N, 3), by which the photo differs from the fill at the shown
    (N,): less the farther these are. Surfaces that face apart, and cloth (N,) 0..1 and skin, count as farther."""
    if shown.sum() < POINTS:
        return np.zeros((int(hidden.sum()), 3))
    tri = mesh.posed[mesh.skin.faces[seeds.face]]
    normal = np.cross(tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0])
    normal *= FACING / (np.linalg.norm(normal, axis=1, keepdims=True) + 1e-15)
    place = np.concatenate([places(mesh, seeds), normal, WORN * cloth[:, None]], 1)
    share, mean = _nearest(place[hidden], place[shown], off[shown], REACH)
    return share * mean


def beside_hair(mesh: UnionMesh, seeds: Seeds, hidden: NDArray[np.bool_], colour: F64) -> F64:
    """(n, 3) colours of the hidden (N,) Gaussians, of `colour` (N, 3) so far: near the sheet's hair those of that."""
    hair = seeds.seen & (mesh.part[seeds.face] == anatomy.SHELL) & (seeds.opacity > SOLID)
    hair &= mesh.parts.at(seeds.pixel)[:, HAIR] > SURE
    if hair.sum() < POINTS:
        return colour[hidden]
    place = places(mesh, seeds)
    share, mean = _nearest(place[hidden], place[hair], colour[hair], REACH_OF_HAIR)
    return np.asarray(colour[hidden] + share * (mean - colour[hidden]))


def far_ear(
    model: BodyModel, mesh: UnionMesh, seeds: Seeds, shown: NDArray[np.bool_], off: F64
) -> tuple[NDArray[np.int64], F64]:
    """Hidden Gaussians (n,) of an ear that is turned away, and what (n, 3) they take of `off` (N, 3), by which the
    photo differs from the fill, from the other ear's that are shown (N,)."""
    corners = mesh.skin.faces[seeds.face]
    on_body = corners.max(1) < mesh.body_vertices
    corners = corners.clip(0, mesh.body_vertices - 1)
    on = {side: on_body & ear[corners].all(1) for side, ear in ears.vertices(model).items()}
    seen = {side: float(shown[ear].mean()) if ear.any() else 1.0 for side, ear in on.items()}
    near, far = ("left", "right") if seen["left"] > seen["right"] else ("right", "left")
    at, known = np.flatnonzero(on[far] & ~shown), np.flatnonzero(on[near] & shown)
    if seen[near] < NEAR or seen[far] > FAR or len(known) < MIRRORS_POINTS:
        return np.zeros(0, np.int64), np.zeros((0, 3))
    w = np.concatenate([1 - seeds.bary.sum(1, keepdims=True), seeds.bary], 1)
    place = np.einsum("nk,nkc->nc", w, anatomy.of(model).from_the_eyes[corners])
    mirrored = place[known] * [-1, 1, 1]
    share, mean = _nearest(place[at], mirrored, off[known], MIRRORS, MIRRORS_EVEN, MIRRORS_POINTS)
    return at, share * mean


def places(mesh: UnionMesh, seeds: Seeds) -> F64:
    """(N, 3) m as posed in the photo."""
    w = np.concatenate([1 - seeds.bary.sum(1, keepdims=True), seeds.bary], 1)
    return np.asarray(np.einsum("nk,nkc->nc", w, mesh.posed[mesh.skin.faces[seeds.face]]))


def _nearest(
    at: F64, known: F64, value: F64, reach: float, even: float = EVEN, points: int = POINTS
) -> tuple[F64, F64]:
    """Of points (n, d) m: (n, 1) 0..1 how near the known (m, d) are, and (n, 3) the mean of their value (m, 3)."""
    distance, near = cKDTree(known).query(at, points)
    weight = np.exp(-(((distance - distance[:, :1]) / even) ** 2))
    mean = np.einsum("nk,nkc->nc", weight / weight.sum(1, keepdims=True), value[near])
    return np.exp(-((distance[:, :1] / reach) ** 2)), mean
