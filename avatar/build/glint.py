"""Highlights in the eyes: the mirror image of a lamp stays nearly where it is while an iris turns.

Painted on the iris it would turn along. So it is found there, the iris below is painted without it (eye_colours.py),
and it goes onto a small triangle of its own, which turns half as far as the eye: a lamp's image lies at the centre of
the cornea's curvature, some 5 mm before the ball's centre, the iris some 10 mm before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.asset import Avatar
from avatar.build import eyes, overlay
from avatar.build.kinematics import F64
from avatar.build.landmarks import LEFT_EYE_RING, RIGHT_EYE_RING
from avatar.build.mesh import UnionMesh
from avatar.build.observe import Observation
from avatar.build.overlay import Spots
from avatar.build.seed import Seeds

RING = {"Left": LEFT_EYE_RING, "Right": RIGHT_EYE_RING}
LEAST_IRIS = 3.0  # px, its radius: in a smaller one a highlight is less than a pixel
WITHIN, AROUND = 0.9, 2.0  # iris radii in which highlights are looked for, and to which they are followed
RINGS, COMMON = 4, 0.4  # by distance from the iris's centre; quantile of a ring's lightness that is the iris's own
STRONG, WHITE = 0.4, 0.8  # a highlight over the iris, at least, of the lightness that this quantile of the white has
SECOND, EDGE = 0.5, 0.4  # of the strongest one: a further one; of its brightest pixel: the others that belong to it
LARGEST, MOST = 0.22, 2  # of the iris's area; how many an iris can have
TURNS = 0.5  # share of the eye's turn
BESIDE, COPIES = 1.2, 10  # Gaussians at a place for a half share, and at most: they are averaged with the iris's own
STEP, SIGMA = 0.8, 0.42  # px between places; of the step


@dataclass(frozen=True)
class Glint:
    side: str
    mask: NDArray[np.bool_]  # (H, W) pixels that may hold some of it
    share: NDArray[np.float32]  # (H, W) how much of a pixel is the highlight's: 1 at its brightest, 0 where iris is


def find(o: Observation, side: str) -> list[Glint]:
    """The highlights on one iris, the strongest first."""
    points = o.landmarks[list(eyes.IRIS[side])].astype(np.float64)
    centre, radius = points[0], float(np.linalg.norm(points[1:] - points[0], axis=1).mean())
    if radius < LEAST_IRIS:
        return []
    light = np.asarray(o.foreground, np.float64).mean(2)
    H, W = light.shape
    y, x = np.mgrid[:H, :W] + 0.5
    r = np.hypot(x - centre[0], y - centre[1]) / radius
    around = (_opening(o, side) > 0) & (r < AROUND)
    iris, white = around & (r < WITHIN), around & (r > 1.2)
    if iris.sum() < LEAST_IRIS**2 or not white.any():
        return []
    over = light - _own_light(light, r, iris)
    least = STRONG * float(np.quantile(light[white], WHITE))
    left = np.where(iris, over, 0.0)
    out: list[Glint] = []
    for _ in range(2 * MOST):
        top = np.unravel_index(left.argmax(), left.shape)
        if left[top] < least or len(out) == MOST:
            break
        _, label = cv2.connectedComponents((around & (over > EDGE * over[top])).astype(np.uint8), connectivity=4)
        spot = label == label[top]
        if r[spot].max() < 1 and spot.sum() < LARGEST * np.pi * radius**2:  # else it is white that lies in the disc
            least = max(least, SECOND * left[top])
            mask = cv2.dilate(spot.astype(np.uint8), np.ones((3, 3))) > 0
            out.append(Glint(side, mask, (mask * over / over[top]).clip(0, 1).astype(np.float32)))
        left[spot] = 0
    return out


def _opening(o: Observation, side: str) -> NDArray[np.uint8]:
    """(H, W) 1 between the lids."""
    mask = np.zeros(o.alpha.shape, np.uint8)
    cv2.fillPoly(mask, [o.landmarks[list(RING[side])].round().astype(np.int32)], 1)
    return mask


def _own_light(light: F64, r: F64, iris: NDArray[np.bool_]) -> F64:
    """(H, W) the iris's own lightness: by distance from its centre, without what is brighter than is common there."""
    middle = (np.arange(RINGS) + 0.5) / RINGS * WITHIN
    k = (r / WITHIN * RINGS).astype(int)
    rings = [light[iris & (k == i)] for i in range(RINGS)]
    own = np.array([np.quantile(ring, COMMON) if len(ring) >= 4 else np.nan for ring in rings])
    known = np.isfinite(own)
    return np.interp(r, middle[known], own[known]) if known.any() else np.full(light.shape, np.inf)


def added(o: Observation, avatar: Avatar, union: UnionMesh, seeds: Seeds) -> tuple[Avatar, UnionMesh, Seeds]:
    """All three with a triangle for each highlight of both eyes and the Gaussians on it."""
    for g in (g for side in RING for g in find(o, side)):
        corners, spots = _on_triangle(o, overlay.ball_of(union, g.side), g)
        face = np.array([[0, 1, 2]])
        avatar, union, seeds = overlay.added(avatar, union, seeds, g.side, TURNS, corners, face, spots)
    return avatar, union, seeds


def _places(share: NDArray[np.float32]) -> F64:
    """(n, 2) px, places on a grid over a highlight, each as often as makes its share beside the iris's own spots."""
    ys, xs = np.nonzero(share)
    x, y = np.meshgrid(np.arange(xs.min(), xs.max() + 1, STEP), np.arange(ys.min(), ys.max() + 1, STEP))
    p = np.stack([x, y], -1).reshape(-1, 2) + STEP / 2
    q = np.floor(p).astype(int).clip(0, np.array(share.shape[::-1]) - 1)
    k = share[q[:, 1], q[:, 0]].astype(np.float64)
    return np.repeat(p, np.minimum(BESIDE * k / np.maximum(1 - k, 1e-6), COPIES).round().astype(int), axis=0)


def _on_triangle(o: Observation, ball: eyes.Ball, g: Glint) -> tuple[F64, Spots]:
    """Corners (3, 3) m of a triangle across the view, and round spots on it, all in the highlight's brightest colour.

    They lie denser than pixels: the photo says little of each."""
    pixels = _places(g.share)
    low, side = pixels.min(0) - 1, 2 * (np.ptp(pixels, axis=0).max() + 2)  # twice the pixels' square: half is ours
    middle = overlay.below_surface(ball, pixels.mean(0, keepdims=True), o.camera)[0]
    c, z, n = o.camera, -middle[2], len(pixels)
    at = low + side * np.array([[0, 0], [1, 0], [0, 1]])
    corners = np.stack([(at[:, 0] - c.cx) / c.focal * z, -(at[:, 1] - c.cy) / c.focal * z, np.full(3, -z)], 1)
    shape = np.repeat(SIGMA * STEP / side * np.eye(2)[None], n, 0)
    brightest = np.argwhere(g.share == g.share.max())[0, ::-1] + 0.5
    colour_of, step = np.repeat(brightest[None], n, 0), np.full(n, STEP / COPIES**0.5)
    return corners, Spots(np.zeros(n, np.int64), (pixels - low) / side, shape, colour_of, step)
