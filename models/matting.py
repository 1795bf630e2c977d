"""The person cut out of a picture, to the hair: alpha, the colours of the person alone, and the picture without them.

Segmentation gives a trimap: narrow where the outline is plain, wide about the hair. Closed-form matting (Levin et al.
2008) finds alpha in between at a bounded size, and a guided filter (He et al. 2013) carries it to the full picture. A
finer look at the person's part of it says where the outline really runs (`models/outline.py`); multi-level estimation
(Germer et al. 2020) finds the foreground's colours. Matting's kernels are compiled at the first call,
which takes about a minute once per installation: `warm()` does that beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import diags

from models.inpaint import inpaint_background, push_pull
from models.main_object import main_object
from models.outline import combined, without_strays
from models.person import Person
from models.person_mask import disc, person_mask
from models.trimap import Trimap, trimap_of

__all__ = ["Matte", "closed_form", "inpaint_background", "matte", "push_pull", "warm"]

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

WORK_PIXELS = 500_000  # alpha is solved at most at this size of the person's part of the picture
PRIOR = 0.01  # weight of a certain segmentation against the matting Laplacian; none where it is in doubt
EPSILON = 1e-6  # regularisation of the matting Laplacian's colour model
INSET, BESIDE = 0.008, 0.015  # face heights from the soft band, and sigma, of the colours that soft pixels are mixed of
APART = 0.12  # distance (RGB 0..1) of the two from which they tell alpha
EXPLAINED = 0.02  # squared distance of a pixel from the line between them, per squared length, that counts e times less
CLEAN = 0.8  # of the way from the estimated colour to the one just inside, where little of the person is left
TOLERANCE, MOST_STEPS = 1e-5, 400  # of the conjugate gradients


@dataclass(frozen=True)
class Matte:
    alpha: F32  # (H, W) 0..1
    foreground: F32  # (H, W, 3) 0..1, the person's colour without the background's, continued beyond the matte


def matte(rgb: U8, person: Person, given_alpha: NDArray | None = None, others: Sequence[Person] = ()) -> Matte:
    """Cut `person` out of `rgb` (H, W, 3) uint8.

    given_alpha: (H, W) uint8 or 0..1, the alpha channel of a picture that has one: taken as it is.
    others: the other persons of the picture; with them, somebody beside or behind is not taken for part of this one.
    """
    if given_alpha is not None:
        if given_alpha.shape != rgb.shape[:2]:
            raise ValueError(f"the alpha has shape {given_alpha.shape}, the image {rgb.shape[:2]}")
        given = np.asarray(given_alpha / (255 if given_alpha.dtype == np.uint8 else 1), np.float32)
        return Matte(given, push_pull(rgb.astype(np.float32) / 255, (given > 0.02).astype(np.float32)))
    mask = person_mask(rgb, person, others)
    coarse = _alpha(rgb, trimap_of(rgb, person, mask))
    alpha = combined(rgb, person, mask, coarse, main_object(rgb, _box(coarse, person)))
    alpha = settled(rgb, without_strays(alpha, mask.sure, person.size), person.size)
    return Matte(alpha, _foreground(rgb, alpha, person.size))


def warm() -> None:
    """Compile (or load) the kernels of matting, with a picture of a disc."""
    y, x = np.mgrid[:48, :48]
    disc = np.hypot(x - 24, y - 24)
    rgb = np.where(disc[..., None] < 14, [200, 80, 60], [30, 60, 90]).astype(np.uint8)
    trimap = np.select([disc < 10, disc > 18], [1.0, 0.0], 0.5)
    alpha = closed_form(rgb.astype(np.float64) / 255, trimap, np.full(disc.shape, 0.5))
    _foreground(rgb, alpha.astype(np.float32), 20.0)


# --- alpha


def _alpha(rgb: U8, known: Trimap) -> F32:
    trimap = known.value
    y0, y1, x0, x1 = _part(trimap)
    part, part_trimap = rgb[y0:y1, x0:x1], trimap[y0:y1, x0:x1]
    height, width = part_trimap.shape
    k = min(1.0, (WORK_PIXELS / (height * width)) ** 0.5)
    size = (max(round(width * k), 1), max(round(height * k), 1))
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    small_trimap = cv2.resize(part_trimap, size, interpolation=cv2.INTER_AREA)
    small_trimap = np.where((small_trimap > 0.01) & (small_trimap < 0.99), 0.5, small_trimap.round())
    prior = cv2.resize(known.prior[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA)
    solved = closed_form(small.astype(np.float64) / 255, small_trimap, prior.astype(np.float64)).astype(np.float32)
    fine = solved if k == 1 else _joint_upsample(small, solved, part)
    alpha = np.zeros(trimap.shape, np.float32)
    alpha[y0:y1, x0:x1] = np.where(part_trimap == 0.5, fine, part_trimap)
    return alpha.clip(0, 1)


def _part(trimap: F32) -> tuple[int, int, int, int]:
    """The rectangle y0, y1, x0, x1 that holds all but background, with a rim."""
    rows, columns = np.flatnonzero((trimap > 0).any(1)), np.flatnonzero((trimap > 0).any(0))
    if len(rows) == 0:
        raise ValueError("no part of this picture looks like the person")
    return (
        max(int(rows[0]) - 4, 0), min(int(rows[-1]) + 5, trimap.shape[0]),
        max(int(columns[0]) - 4, 0), min(int(columns[-1]) + 5, trimap.shape[1]),
    )  # fmt: skip


def _box(alpha: F32, person: Person) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 px of what is rather the person; of the landmarks where that is nothing."""
    ys, xs = np.nonzero(alpha > 0.5)
    if len(ys) == 0:
        x0, y0, x1, y1 = person.box
        return int(x0), int(y0), int(np.ceil(x1)), int(np.ceil(y1))
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


def closed_form(image: NDArray[np.float64], trimap: NDArray, prior: NDArray[np.float64]) -> NDArray[np.float64]:
    """Alpha that is locally linear in colour, the trimap where it is certain, near `prior` where colour cannot tell.

    Only unknown pixels are unknowns of the linear system: the known ones go to its right side.
    """
    from pymatting import cf_laplacian, cg, ichol

    known = (trimap == 0) | (trimap == 1)
    alpha = np.where(known, trimap, prior).astype(np.float64)
    unknown = np.flatnonzero(~known.ravel())
    if len(unknown) == 0:
        return alpha
    laplacian = cf_laplacian(image, epsilon=EPSILON, is_known=known).tocsr()[unknown]
    fixed = np.where(known, alpha, 0).ravel()
    trust = PRIOR * (2 * prior.ravel()[unknown] - 1) ** 2 + 1e-6
    system = (laplacian[:, unknown] + diags(trust)).tocsc()
    right = trust * prior.ravel()[unknown] - laplacian @ fixed
    start = prior.ravel()[unknown].copy()
    solved = cg(system, right, x0=start, M=ichol(system, discard_threshold=1e-4), rtol=TOLERANCE, maxiter=MOST_STEPS)
    alpha.ravel()[unknown] = solved
    return np.clip(alpha, 0, 1)


def _joint_upsample(small: NDArray, alpha: F32, full: U8, radius: int = 2, epsilon: float = 1e-4) -> F32:
    """Carry alpha from a small picture to the full one along its edges: the fast guided filter, colour guide."""
    guide = small.astype(np.float32) / 255
    box = lambda a: cv2.blur(a, (2 * radius + 1, 2 * radius + 1))  # noqa: E731
    mean, mean_alpha = box(guide), box(alpha)
    products = guide[..., :, None] * guide[..., None, :]
    covariance = (
        box(products.reshape(*alpha.shape, 9)).reshape(*alpha.shape, 3, 3) - mean[..., :, None] * mean[..., None, :]
    )
    cross = box(guide * alpha[..., None]) - mean * mean_alpha[..., None]
    slope = np.linalg.solve(covariance + epsilon * np.eye(3, dtype=np.float32), cross[..., None])[..., 0]
    offset = mean_alpha - (slope * mean).sum(-1)
    size = (full.shape[1], full.shape[0])
    slope, offset = (cv2.resize(box(a), size, interpolation=cv2.INTER_LINEAR) for a in (slope, offset))
    return np.clip((slope * (full.astype(np.float32) / 255)).sum(-1) + offset, 0, 1)


def settled(rgb: U8, alpha: F32, size: float) -> F32:
    """Alpha (H, W) whose soft pixels are mixtures of the colours beside them, the person's and the background's.

    Closed-form matting is only locally linear in colour: along a sharp outline it leaves a soft band whose "foreground"
    holds some background, a halo over any other background. Where the colours inside and outside are apart and explain
    the pixel, alpha is its place between them. size: the face's height, px.
    """
    image = rgb.astype(np.float32) / 255
    inner = cv2.erode((alpha > 0.97).astype(np.uint8), disc(max(INSET * size, 1)), borderType=cv2.BORDER_REPLICATE)
    outer = cv2.erode((alpha < 0.02).astype(np.uint8), disc(max(INSET * size, 1)), borderType=cv2.BORDER_REPLICATE)
    if not inner.any() or not outer.any():
        return alpha
    own, behind = _nearest_mean(image, inner, size), _nearest_mean(image, outer, size)
    way = own - behind
    length = (way**2).sum(2)
    place = ((image - behind) * way).sum(2) / np.maximum(length, 1e-6)
    off = ((image - behind - place.clip(0, 1)[..., None] * way) ** 2).sum(2)
    trust = np.clip(length / APART**2 - 1, 0, 1) * np.exp(-off / (EXPLAINED * np.maximum(length, 1e-6)))
    trust *= np.clip(5 * alpha * (1 - alpha), 0, 1) * (inner == 0)  # a light strand inside dark hair is no gap
    return np.asarray(alpha + trust * (place.clip(0, 1) - alpha), np.float32).clip(0, 1)


def _nearest_mean(image: NDArray, known: NDArray, size: float) -> F32:
    """(H, W, 3): the colours of the known (H, W) pixels about the nearest of them."""
    sigma = max(BESIDE * size, 1.0)
    weight = cv2.GaussianBlur(known.astype(np.float32), (0, 0), sigma)
    mean = cv2.GaussianBlur(image * known[..., None], (0, 0), sigma) / np.maximum(weight, 1e-5)[..., None]
    _, label = cv2.distanceTransformWithLabels(1 - known, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    nearest = np.zeros((int(label.max()) + 1, 3), np.float32)
    nearest[label[known > 0]] = mean[known > 0]
    return np.asarray(nearest[label], np.float32)


def _foreground(rgb: U8, alpha: F32, size: float) -> F32:
    """(H, W, 3) 0..1: multi-level estimation, and the less there is of the person the more the colours just inside.

    What is estimated from a tenth of a pixel is mostly background.
    """
    from pymatting import estimate_foreground_ml

    image = rgb.astype(np.float32) / 255
    out = np.asarray(estimate_foreground_ml(image, alpha), np.float32).clip(0, 1)
    inner = cv2.erode((alpha > 0.97).astype(np.uint8), disc(1), borderType=cv2.BORDER_REPLICATE)
    if not inner.any():
        return out
    share = CLEAN * np.clip((0.97 - alpha) / 0.5, 0, 1)[..., None]
    out = out + share * (_nearest_mean(out, inner, size) - out)
    a = np.maximum(alpha, 1e-3)[..., None]
    return np.clip(out, ((image - 1 + a) / a).clip(0, 1), (image / a).clip(0, 1))  # what is left is a colour, too
