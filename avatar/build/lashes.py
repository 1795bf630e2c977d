"""What stays before an eyeball as it turns: the lashes' and lids' shadow, and the corner's pink, over its white.

The photo shows it on the ball, which would take it along, towards the middle of the eye. So the ball is painted clean
there (eye_colours.py), and the photo's colours go onto a small mesh of the head's, over the ball.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatar.asset import Avatar
from avatar.build import eye_colours, overlay
from avatar.build.eye_colours import Eye
from avatar.build.kinematics import F64
from avatar.build.mesh import UnionMesh
from avatar.build.observe import Observation
from avatar.build.overlay import Spots
from avatar.build.seed import SEEN_SIGMA, Seeds

CELLS = 10  # of the mesh, across an eye
COPIES = 3  # Gaussians at a place that is none of the ball's own


def added(
    o: Observation, avatar: Avatar, union: UnionMesh, seeds: Seeds, balls: list[Eye], sampled: F64
) -> tuple[Avatar, UnionMesh, Seeds]:
    """All three with a mesh for each eye and the Gaussians on it; sampled (N, 3): the photo's colours of the seeds."""
    for ball in balls:
        copies = (COPIES * eye_colours.foreign(ball, seeds, sampled)).round().astype(int)
        at = np.repeat(ball.at, copies)
        if len(at):
            pixels = seeds.pixel[at]
            posed, faces, face, bary, edges = _grid(o, overlay.ball_of(union, ball.side), pixels)
            step = seeds.step[at] / COPIES**0.5
            shape = np.linalg.inv(edges) * (SEEN_SIGMA * seeds.step[at])[:, None, None]
            spots = Spots(face, bary, shape, pixels, step)
            avatar, union, seeds = overlay.added(avatar, union, seeds, ball.side, 0.0, posed, faces, spots)
    return avatar, union, seeds


def _grid(o: Observation, ball, pixels: F64) -> tuple[F64, NDArray, NDArray, F64, F64]:  # type: ignore[no-untyped-def]
    """Vertices (n, 3) m and triangles (m, 3) of a grid over pixels (k, 2); of each pixel its triangle (k,), its place
    there (k, 2) and that triangle's edges (k, 2, 2) px."""
    low = pixels.min(0) - 1
    side = float((np.ptp(pixels, axis=0).max() + 2) / CELLS)
    nx, ny = np.ceil((pixels.max(0) + 1 - low) / side).astype(int)
    y, x = np.mgrid[: ny + 1, : nx + 1]
    posed = overlay.below_surface(ball, low + side * np.stack([x, y], -1).reshape(-1, 2), o.camera)
    i = np.arange((nx + 1) * (ny + 1)).reshape(ny + 1, nx + 1)
    first = np.stack([i[:-1, :-1], i[:-1, 1:], i[1:, :-1]], -1).reshape(-1, 3)
    second = np.stack([i[1:, 1:], i[1:, :-1], i[:-1, 1:]], -1).reshape(-1, 3)
    place = (pixels - low) / side
    cell = np.floor(place).astype(int)
    place = place - cell
    lower = place.sum(1) > 1
    bary = np.where(lower[:, None], 1 - place, place)
    face = cell[:, 1] * nx + cell[:, 0] + lower * len(first)
    edges = np.where(lower, -side, side)[:, None, None] * np.eye(2)
    return posed, np.concatenate([first, second]), face, bary, edges
