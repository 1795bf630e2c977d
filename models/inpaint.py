"""Fill what is not known of a picture: smoothly by push-pull; a background with its own grain."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

F32 = NDArray[np.float32]

TOUCHED = 0.01  # alpha from which a pixel may hold colour of the person
REACH = 1 / 48  # px around the matte that are filled too, per the picture's longer side
STAINED = 1.5  # px around the matte that may hold colour of the person
KEPT = 0.5  # of the reach, from where on the picture is kept about a soft outline
SOLID = 0.9  # alpha from which a pixel is the person's
CRISP = 3.0  # px from there to where the matte touches nothing up to which an outline is plain: the picture is kept
WISPS = 2.0  # px more for each that an outline is softer: there, hair is missed
NEAR_DEPTH, GRAIN_DEPTH = 4.0, 6.0  # px from the rim
EVEN = 1 / 40  # sigma over which the grain's strength is evened out, per longer side
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

    rgb: (H, W, 3) uint8 or 0..1; alpha: (H, W) 0..1. The rim flows into the hole (push-pull), ever smoother with depth,
    with the picture's own grain; `reach` keeps hair and skin out of that rim. Around the matte the fill gives way to
    the picture again, the sooner the crisper the outline, so that what no movement uncovers stays as photographed.
    """
    image: NDArray = rgb.astype(np.float32) / (255 if rgb.dtype == np.uint8 else 1)
    longest = max(alpha.shape)
    reach = longest * REACH if reach is None else reach
    away, nearest = distance_transform_edt(alpha < TOUCHED, return_indices=True)  # px from what the matte touches
    hole = away <= reach
    if not hole.any():
        return image
    if hole.all():  # nothing is known of the background
        return np.broadcast_to(np.median(image.reshape(-1, 3), 0), image.shape).astype(np.float32)
    known = (~hole).astype(np.float32)
    stained = _stained(alpha, nearest, reach)
    clean = away > stained
    depth = distance_transform_edt(~clean).astype(np.float32)[..., None]
    rim = push_pull(image, clean.astype(np.float32))
    fill = rim + (depth / reach).clip(0, 1) * (push_pull(image, known) - rim)
    fill = _smoother_with_depth(fill, depth, longest)
    fill += _grain(image, known) * (depth / GRAIN_DEPTH).clip(0, 1)
    kept = ((away - STAINED) / np.maximum(stained - STAINED, 1)).clip(0, 1)[..., None]
    kept = kept * kept * (3 - 2 * kept)
    fill = fill * (1 - kept) + image * kept
    return np.where(hole[..., None], fill.clip(0, 1), image).astype(np.float32)


def _stained(alpha: NDArray, nearest: NDArray, reach: float) -> F32:
    """(H, W) px around the matte in which the picture may hold something of the person, at most KEPT of `reach`;
    nearest (2, H, W): row and column of the nearest pixel that the matte touches."""
    softness = distance_transform_edt(alpha < SOLID).astype(np.float32)  # of the outline, at its outer end
    at_end = softness[nearest[0], nearest[1]]
    stained = (2 * STAINED + WISPS * (at_end - CRISP)).clip(2 * STAINED, max(KEPT * reach, 2 * STAINED))
    return np.asarray(cv2.blur(stained, (2 * round(STAINED) + 1,) * 2), np.float32)


def _smoother_with_depth(fill: F32, depth: F32, longest: int) -> F32:
    """Hide the steps of the pyramid; sharp at the rim, where the picture goes on."""
    near, far = (cv2.GaussianBlur(fill, (0, 0), sigma) for sigma in (2.0, max(longest / 100, 2.0)))
    share = (depth / NEAR_DEPTH).clip(0, 1)
    fill = fill * (1 - share) + near * share
    share = ((depth - NEAR_DEPTH) / (longest / 30)).clip(0, 1)
    return np.asarray(fill * (1 - share) + far * share, np.float32)


def _grain(image: NDArray, known: F32) -> F32:
    """Noise as strong as the picture's own about each place; edges hardly count (geometric mean)."""
    fine = np.abs(image - cv2.GaussianBlur(image, (0, 0), GRAIN)).mean(2)
    level = np.exp(push_pull(np.log(fine + 1e-4)[..., None], known))
    level = cv2.GaussianBlur(level, (0, 0), max(max(known.shape) * EVEN, 2.0))[..., None]
    noise = np.random.default_rng(0).standard_normal(image.shape, np.float32)
    return (noise - cv2.GaussianBlur(noise, (0, 0), GRAIN)) * level
