"""Fill what is not known of a picture: smoothly by push-pull; a background with texture and grain carried over."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

F32 = NDArray[np.float32]

TOUCHED = 0.01  # alpha from which a pixel may hold colour of the person
REACH = 1 / 48  # px around the matte that are filled too, per the picture's longer side
SHADE = 1 / 40  # sigma that parts shade from texture, and how far texture is carried over the rim; per longer side
GRAIN = 1.2  # px, sigma of the low-pass that parts the sensor's grain
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
    return np.asarray(filled, np.float32)


def _resize(img: NDArray, size: tuple[int, int], mode: int) -> F32:
    """cv2.resize keeps neither a single channel's axis nor its type."""
    return np.asarray(cv2.resize(img, size, interpolation=mode), np.float32).reshape(size[1], size[0], img.shape[2])


def inpaint_background(rgb: NDArray, alpha: NDArray, reach: float | None = None) -> F32:
    """The picture without the person, (H, W, 3) 0..1: what the matte touches, and `reach` px around, is filled.

    rgb: (H, W, 3) uint8 or 0..1; alpha: (H, W) 0..1. The shade of the rim flows into the hole (push-pull); `reach`
    keeps hair and skin out of that rim. Near the rim the texture outside is mirrored in, since that is the part which a
    turning head uncovers; deeper in there is only grain.
    """
    image: NDArray = rgb.astype(np.float32) / (255 if rgb.dtype == np.uint8 else 1)
    longest = max(alpha.shape)
    hole = distance_transform_edt(alpha < TOUCHED) <= (longest * REACH if reach is None else reach)
    if not hole.any():
        return image
    if hole.all():  # nothing is known of the background
        return np.broadcast_to(np.median(image.reshape(-1, 3), 0), image.shape).astype(np.float32)
    known = (~hole).astype(np.float32)
    sigma = max(longest * SHADE, 2.0)
    shade = push_pull(_blur_of_known(image, known, sigma), known)
    distance, rim = distance_transform_edt(hole, return_indices=True)
    texture = _mirrored((image - shade) * known[..., None], rim)
    fade = np.exp(-((distance / sigma) ** 2))[..., None].astype(np.float32)
    fill = shade + texture * fade + _grain(image, known) * np.sqrt(1 - fade**2)
    return np.where(hole[..., None], fill.clip(0, 1), image).astype(np.float32)


def _blur_of_known(image: NDArray, known: F32, sigma: float) -> F32:
    """Gaussian blur that takes no part of what is not known; only meaningful where `known` is 1."""
    height, width = known.shape
    step = max(int(sigma / 4), 1)  # a wide blur is as good at a coarse size, and much faster
    size = (-(-width // step), -(-height // step))
    weighted = np.concatenate([image * known[..., None], known[..., None]], 2)
    coarse = cv2.GaussianBlur(_resize(weighted, size, cv2.INTER_AREA), (0, 0), sigma / step)
    blurred = _resize(np.asarray(coarse, np.float32), (width, height), cv2.INTER_LINEAR)
    return np.asarray(blurred[..., :-1] / np.maximum(blurred[..., -1:], 1e-3), np.float32)


def _mirrored(texture: NDArray, rim: NDArray[np.int_]) -> F32:
    """Each pixel's reflection in the nearest pixel of the rim (2, H, W)."""
    height, width = texture.shape[:2]
    y, x = np.mgrid[:height, :width]
    source_y, source_x = (2 * rim[0] - y).astype(np.float32), (2 * rim[1] - x).astype(np.float32)
    mirrored = cv2.remap(texture, source_x, source_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(mirrored, np.float32)


def _grain(image: NDArray, known: F32) -> F32:
    """Noise as strong as the picture's own about each place; edges hardly count (geometric mean)."""
    fine = np.abs(image - cv2.GaussianBlur(image, (0, 0), GRAIN)).mean(2)
    level = np.exp(push_pull(np.log(fine + 1e-4)[..., None], known))
    level = cv2.GaussianBlur(level, (0, 0), max(max(known.shape) * SHADE, 2.0))[..., None]
    noise = np.random.default_rng(0).standard_normal(image.shape, np.float32)
    return (noise - cv2.GaussianBlur(noise, (0, 0), GRAIN)) * level
