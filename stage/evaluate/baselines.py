"""What an avatar must beat: the photo itself, the photo pulled along by 2D landmarks, colours that nobody solved."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from models.crop import to_width
from stage.evaluate.metrics import U8, Cutout
from stage.evaluate.protocol import REENACT

if TYPE_CHECKING:
    from avatar.asset import Avatar

FACE_POINTS = 468  # without the irises, which lie in front of nothing that would move with them
SEEN = 3  # of Gaussians.confidence


def warped(photo: Cutout, landmarks: NDArray) -> U8 | None:
    """The photo's person (H, W, 3), piecewise affine between its own face landmarks and `landmarks` (478, 2) px.

    The picture's border stays where it is. None where the photo shows no face.
    """
    from scipy.interpolate import LinearNDInterpolator

    if photo.landmarks is None:
        return None
    H, W = photo.picture.shape[:2]
    border = _border(W, H, REENACT["border_points"])
    inside = ((landmarks[:FACE_POINTS] > 0) & (landmarks[:FACE_POINTS] < [W - 1, H - 1])).all(1)
    target = np.concatenate([landmarks[:FACE_POINTS][inside], border])
    source = np.concatenate([photo.landmarks[:FACE_POINTS][inside], border])
    y, x = np.mgrid[:H, :W].astype(np.float32) + 0.5
    there = LinearNDInterpolator(target, source)(x, y).astype(np.float32)
    outside = np.isnan(there[..., 0])
    there[outside] = np.stack([x, y], -1)[outside]
    there -= 0.5
    return np.asarray(cv2.remap(photo.picture, there[..., 0], there[..., 1], cv2.INTER_LINEAR), np.uint8)


def _border(width: int, height: int, n: int) -> NDArray[np.float64]:
    """(4 n, 2) points about the picture's edge."""
    t = np.arange(n) / n
    zero, one = np.zeros(n), np.ones(n)
    ring = np.concatenate([np.stack(p, 1) for p in ((t, zero), (one, t), (1 - t, one), (zero, 1 - t))])
    return ring * [width, height]


def sampled(avatar: Avatar, foreground: NDArray[np.float32]) -> Avatar:
    """The avatar with the photo's colour at the middle of every Gaussian that the photo shows, instead of the solved.

    foreground (h, w, 3) 0..1 without the background's share. Hidden Gaussians keep their colours.
    """
    from avatar.rig import Rig

    g, camera = avatar.gaussians, avatar.camera
    corners = Rig(avatar).vertices(avatar.photo).astype(np.float64)[avatar.mesh.faces[g.face]]
    weight = np.concatenate([1 - g.bary.sum(1, keepdims=True), g.bary], 1)
    at = camera.project(np.einsum("nk,nkd->nd", weight, corners))[:, :2]
    picture = np.asarray(to_width(foreground, camera.width, camera.height), np.float32)
    seen = g.confidence == SEEN
    colour = g.colour.copy()
    colour[seen] = _bilinear(picture, at[seen])
    return replace(avatar, gaussians=replace(g, colour=colour))


def _bilinear(picture: NDArray[np.float32], pixels: NDArray) -> NDArray[np.float32]:
    """(n, 3) at pixels (n, 2) whose centres lie at .5."""
    H, W = picture.shape[:2]
    x, y = (pixels - 0.5).clip(0, [W - 1.001, H - 1.001]).T
    i, j = x.astype(int), y.astype(int)
    a, b = (x - i)[:, None], (y - j)[:, None]
    top, bottom = (picture[r, i] * (1 - a) + picture[r, i + 1] * a for r in (j, j + 1))
    return np.asarray(top * (1 - b) + bottom * b, np.float32)
