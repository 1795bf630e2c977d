"""Stage seed, how densely: the wanted distance between neighbouring Gaussians at every pixel of the photo.

First by the part of the person and by local detail. Once those Gaussians are drawn, by what they miss: an error that
grows with the spacing h as c h is least in the mean square, for a given number of Gaussians, where h goes as c^-1/2.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.build.landmarks import LEFT_EYE, LIPS_INNER, LIPS_OUTER, OVAL, RIGHT_EYE
from avatar.build.observe import Observation, unit

TRUNK, SURROUNDS, FACE, FINE, FINEST = 2.0, 1.6, 1.2, 0.9, 0.6  # px of a face 140 px wide
LEVELS = (2.8, 2.2, 1.7, FACE, FINE, FINEST)  # the spacings there are
DETAIL = (0.7, 1.7)  # least and most detail that counts
NEAR = 1.5  # px of a face 140 px wide over which errors are gathered
UNSEEN = 0.6  # of 255, error that nobody sees
BEHIND = 0.3  # by how much another background may differ from the photo's, where alpha is wrong
SOFT = (0.03, 0.97)  # alpha of the matte's edge, which an even lattice would blur
BARE = 0.1  # of the matte that the Gaussians leave uncovered

F32 = NDArray[np.float32]


def by_detail(o: Observation) -> F32:
    """(H, W), one of LEVELS: by the part of the person, and outside the face by how much there is to draw."""
    out = np.full(o.alpha.shape, TRUNK, np.float32)
    _fill(o, out, OVAL, SURROUNDS, 1.7)
    out /= _detail(o)
    _fill(o, out, OVAL, FACE, 1.06)
    for eye in (RIGHT_EYE, LEFT_EYE):
        _fill(o, out, eye, FINE, 1.25)
    _fill(o, out, (*LIPS_OUTER, *LIPS_INNER), FINE, 1.2)
    return _levels(o, out)


def by_error(o: Observation, drawn: NDArray, before: F32) -> F32:
    """(H, W), one of LEVELS: finer where `drawn` (H, W, 4), RGB times alpha and alpha, of Gaussians spaced as `before`
    misses photo or matte; nowhere wider: faint texture weighs little in the error and much to the eye."""
    picture, lack = drawn[..., :3] + (1 - drawn[..., 3:]) * (o.background / 255), o.alpha - drawn[..., 3]
    squared = ((255 * picture - o.rgb) ** 2).mean(2) + (255 * BEHIND * lack) ** 2
    squared = (squared * (o.alpha > SOFT[0])).astype(np.float32)
    missed = np.sqrt(cv2.GaussianBlur(squared, (0, 0), NEAR * max(unit(o), 0.6))) + UNSEEN
    steep = missed / before
    out = np.maximum(TRUNK * (steep / np.median(steep[o.alpha > 0.5])) ** -0.5, FINE).astype(np.float32)
    out[cv2.dilate((lack > BARE).astype(np.uint8), np.ones((3, 3))) > 0] = FINEST
    return _levels(o, np.minimum(out, before))


def _levels(o: Observation, wanted: F32) -> F32:
    """The nearest of LEVELS; at most FINE along the matte's edge."""
    soft = cv2.dilate(((o.alpha > SOFT[0]) & (o.alpha < SOFT[1])).astype(np.uint8), np.ones((3, 3))) > 0
    wanted = np.where(soft, np.minimum(wanted, FINE), wanted)
    steps = np.log(wanted[..., None] / np.array(LEVELS))
    return np.array(LEVELS, np.float32)[np.abs(steps).argmin(-1)]


def _fill(o: Observation, out: F32, points: tuple[int, ...], value: float, grow: float) -> None:
    q = o.landmarks[list(points)]
    hull = cv2.convexHull(((q - q.mean(0)) * grow + q.mean(0)).astype(np.int32))
    cv2.fillConvexPoly(out, hull, value)


def _detail(o: Observation) -> F32:
    """(H, W) local detail over its median on the person, within DETAIL: the wanted density follows its square."""
    grey = cv2.cvtColor(o.rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    u = unit(o)
    curve = np.abs(cv2.Laplacian(cv2.GaussianBlur(grey, (0, 0), 0.7), cv2.CV_32F))
    local = np.sqrt(cv2.GaussianBlur(curve, (0, 0), max(2.5 * u, 1.5))) + 0.3
    return np.asarray((local / np.median(local[o.alpha > 0.5])).clip(*DETAIL), np.float32)
