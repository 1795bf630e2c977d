"""Fill what is not known of a picture: smoothly by push-pull, and a background with its grain continued into the hole."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

F32 = NDArray[np.float32]

TOUCHED = 0.01  # alpha from which a pixel may hold colour of the person
REACH = 1 / 48  # px around the matte that are filled too, per the picture's longer side
GRAIN = 1 / 160  # sigma of the low-pass that parts grain from shade, per the picture's longer side
PERIOD = 6.0  # how far from the rim grain is taken, in sigmas
FULL = 4.0  # children's weights that make a pixel of the coarser level count in full


def push_pull(img: NDArray, weight: NDArray) -> F32:
    """Fill `img` (H, W, C) smoothly where `weight` (H, W) is 0; kept exactly where it is 1, blended between.

    Gortler et al., The Lumigraph (1996): averages of what is known are pushed up a pyramid, and pulled down into the
    gaps. Nothing known at all gives zeros.
    """
    levels = []
    colour, known = img.astype(np.float32) * weight[..., None].astype(np.float32), weight.astype(np.float32)
    while min(known.shape) > 1:
        levels.append((colour, known))
        size = ((known.shape[1] + 1) // 2, (known.shape[0] + 1) // 2)
        coarse = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
        gain = np.minimum(coarse * FULL, 1) / np.maximum(coarse, 1e-6)
        colour = _resize(colour, size, cv2.INTER_AREA) * gain[..., None]
        known = coarse * gain
    filled = colour / np.maximum(known, 1e-6)[..., None]
    for colour, known in reversed(levels):
        finer = _resize(filled, (known.shape[1], known.shape[0]), cv2.INTER_LINEAR)
        filled = colour + finer * (1 - known)[..., None]
    return filled


def _resize(img: F32, size: tuple[int, int], mode: int) -> F32:
    """cv2.resize keeps neither a single channel's axis nor its type."""
    return np.asarray(cv2.resize(img, size, interpolation=mode), np.float32).reshape(size[1], size[0], img.shape[2])


def inpaint_background(rgb: NDArray, alpha: NDArray, reach: float | None = None) -> F32:
    """The picture without the person, (H, W, 3) 0..1: what the matte touches, and `reach` px around, is filled.

    rgb: (H, W, 3) uint8 or 0..1; alpha: (H, W) 0..1. The shade of the rim flows into the hole (push-pull); `reach` keeps
    hair and skin out of that rim. The picture's grain is mirrored over the rim, so that the fill does not look like fog.
    """
    image = rgb.astype(np.float32) / 255 if rgb.dtype == np.uint8 else rgb.astype(np.float32)
    longest = max(alpha.shape)
    hole = distance_transform_edt(alpha < TOUCHED) <= (longest * REACH if reach is None else reach)
    if not hole.any():
        return image
    if hole.all():  # nothing is known of the background
        return np.broadcast_to(np.median(image.reshape(-1, 3), 0), image.shape).astype(np.float32)
    sigma = max(longest * GRAIN, 1.5)
    known = (~hole).astype(np.float32)
    shade = _blur_of_known(image, known, sigma)
    fill = push_pull(shade, known) + _mirrored((image - shade) * known[..., None], hole, PERIOD * sigma)
    return np.where(hole[..., None], fill.clip(0, 1), image)


def _blur_of_known(image: F32, known: F32, sigma: float) -> F32:
    """Gaussian blur that takes no part of what is not known; only meaningful where `known` is 1."""
    weight = cv2.GaussianBlur(known, (0, 0), sigma)[..., None]
    return cv2.GaussianBlur(image * known[..., None], (0, 0), sigma) / np.maximum(weight, 1e-3)


def _mirrored(grain: F32, hole: NDArray[np.bool_], period: float) -> F32:
    """Grain of the nearest rim reflected into the hole, to and fro over `period` px."""
    height, width = hole.shape
    rim_y, rim_x = distance_transform_edt(hole, return_distances=False, return_indices=True)
    y, x = np.mgrid[:height, :width]
    dy, dx = (rim_y - y).astype(np.float32), (rim_x - x).astype(np.float32)
    distance = np.maximum(np.hypot(dy, dx), 1e-6)
    step = period - np.abs(distance % (2 * period) - period)  # 0 at the rim, up to `period` and back
    source_x, source_y = rim_x + dx / distance * step, rim_y + dy / distance * step
    return cv2.remap(grain, source_x.astype(np.float32), source_y.astype(np.float32), cv2.INTER_NEAREST)
