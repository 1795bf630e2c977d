"""Which pixels of the person are hair, skin or cloth, told from where they lie and from the colours that are sure.

No net: sure samples come from the landmarks (skin: the face), from above them (hair) and from the fitted body (cloth);
every other pixel goes to the class whose samples are nearest in colour and place. "Hair" is whatever covers the skull:
a cap, a scarf, a bald crown.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from avatar.build import anatomy
from avatar.build.kinematics import F64
from avatar.build.landmarks import LEFT_EYE, LIPS_OUTER, OVAL, RIGHT_EYE
from avatar.build.observe import Observation
from avatar.render import cpu
from models.body import BodyModel

HAIR, SKIN, CLOTH = range(3)
F32 = NDArray[np.float32]

FACE = 56.0  # px, the face's width at which classes are told
CERTAIN = 0.95  # alpha from which a pixel may be a sample
MOST_SAMPLES = 1200  # of a class
COLOUR_UNIT = 14.0  # distance in CIE Lab that counts as much as PLACE_UNIT
PLACE_UNIT = 0.45  # of the face's width
SKIN_CHROMA, SKIN_LIGHT = 13.0, 30.0  # distances in CIE Lab from the face's median within which a colour may be skin's
OUTLINE = (1.0, 5.0)  # px inside the matte's edge where the crown is surely hair
SURE_HAIR = 0.7  # probability
SOLID = 0.9  # alpha from which a pixel has the person's colour
FEW = 20  # pixels that tell no class' colour
INNER, COLLAR_LIGHT = 0.85, 8.0  # of the oval, within it there is no cloth; CIE L of a collar over the face's
SHOULDERS = 0.35  # face heights under the chin where cloth may begin
BROW_MARGIN, CROWN_MARGIN = 0.12, 0.45  # face heights over the eyes where hair may begin, and where it surely has


@dataclass(frozen=True)
class Parts:
    """Of one photo."""

    probability: F32  # (H, W, 3) hair, skin, cloth; sums to 1 on the person, and is continued beyond
    skin_tone: NDArray[np.float64]  # (3,) median RGB 0..1 of the face

    @property
    def hair(self) -> NDArray[np.bool_]:
        """(H, W) what surely is no face."""
        return self.probability[..., HAIR] > SURE_HAIR

    @property
    def bare(self) -> NDArray[np.bool_]:
        """(H, W) what is likelier skin than anything else."""
        return np.asarray(self.probability[..., SKIN] > 0.5)

    def at(self, pixels: F64) -> F64:
        """(N, 3) at pixels (N, 2)."""
        H, W = self.probability.shape[:2]
        q = np.floor(pixels).astype(int).clip(0, [W - 1, H - 1])
        return self.probability[q[:, 1], q[:, 0]].astype(np.float64)


def find(model: BodyModel, o: Observation, vertices: F64) -> Parts:
    """vertices (V, 3) m: the body as posed in the photo."""
    k = min(1.0, FACE / o.face_width)
    size = (max(round(o.rgb.shape[1] * k), 8), max(round(o.rgb.shape[0] * k), 8))
    small = cv2.resize(o.foreground, size, interpolation=cv2.INTER_AREA)
    alpha = cv2.resize(o.alpha, size, interpolation=cv2.INTER_AREA)
    lab = np.asarray(cv2.cvtColor(small.astype(np.float32).clip(0, 1), cv2.COLOR_RGB2LAB), np.float32)
    p = o.landmarks[:468].astype(np.float64) * k
    safe = cv2.erode((alpha > CERTAIN).astype(np.uint8), np.ones((3, 3)), borderType=cv2.BORDER_REPLICATE) > 0
    face = plain_face(p, alpha.shape) & safe
    median = np.median(lab[face], 0) if face.any() else np.median(lab[safe], 0)
    away = np.abs(lab - median)
    like_skin = (np.hypot(away[..., 1], away[..., 2]) < SKIN_CHROMA) & (away[..., 0] < SKIN_LIGHT)
    oval = _filled(p[list(OVAL)], 1.04, alpha.shape)
    over = lambda margin: _above_the_face(p, alpha.shape, margin) & ~oval & safe  # noqa: E731
    hair = _hair(lab, over(BROW_MARGIN), over(CROWN_MARGIN), face & like_skin, alpha)
    cloth = _under_the_collar(model, o, vertices, p, k, alpha.shape) & safe & ~like_skin
    cloth &= ~_like(lab, hair) | ~_near(p, alpha.shape)
    probability = _vote(lab, alpha > 0.02, [hair, face & like_skin, cloth], o.face_width * k)
    light = (lab[..., 0] - median[0] > COLLAR_LIGHT) & ~like_skin & ~_filled(p[list(OVAL)], INNER, alpha.shape)
    probability[oval & ~light, CLOTH] = 0
    full = cv2.resize(probability, (o.rgb.shape[1], o.rgb.shape[0]), interpolation=cv2.INTER_LINEAR)
    tone = np.median(small[face], 0) if face.any() else np.full(3, 0.5)
    return Parts(full / np.maximum(full.sum(2, keepdims=True), 1e-6), tone.astype(np.float64))


def hair_coloured(o: Observation, parts: Parts) -> NDArray[np.bool_]:
    """(H, W) pixels whose colour is nearer to the hair's than to the skin's or the cloth's, wherever they lie."""
    lab = np.asarray(cv2.cvtColor(o.foreground.astype(np.float32).clip(0, 1), cv2.COLOR_RGB2LAB), np.float64)
    away = np.full((3, *o.alpha.shape), np.inf)
    for k in (HAIR, SKIN, CLOTH):
        sure = (parts.probability[..., k] > SURE_HAIR) & (o.alpha > SOLID)
        if sure.sum() >= FEW:
            away[k] = np.linalg.norm(lab - np.median(lab[sure], 0), axis=2)
    return np.asarray(away.argmin(0) == HAIR) & np.isfinite(away[HAIR])


def _vote(lab: F32, person: NDArray[np.bool_], samples: list[NDArray[np.bool_]], face: float) -> F32:
    """(h, w, 3): nearness to the samples of each class, in colour and place; where there is no person the nearest."""
    feature = lambda q: np.hstack([lab[q[:, 0], q[:, 1]] / COLOUR_UNIT, q / (PLACE_UNIT * face)])  # noqa: E731
    where = np.argwhere(person)
    at = feature(where)
    near = np.zeros((len(where), len(samples)))
    for i, mask in enumerate(samples):
        known = np.argwhere(mask)
        if len(known) >= 8:
            known = known[:: len(known) // MOST_SAMPLES + 1]
            near[:, i] = 1 / (cKDTree(feature(known)).query(at, k=4, eps=0.3)[0].mean(1) ** 2 + 0.02) ** 2
    near += 1e-9
    out = np.zeros((*person.shape, len(samples)), np.float32)
    out[person] = near / near.sum(1, keepdims=True)
    weight = cv2.GaussianBlur(person.astype(np.float32), (0, 0), 0.8)
    out = cv2.GaussianBlur(out, (0, 0), 0.8) / np.maximum(weight, 1e-6)[..., None]
    _, label = cv2.distanceTransformWithLabels(
        (~person).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = np.zeros((int(label.max()) + 1, len(samples)), np.float32)
    nearest[label[person]] = out[person]
    return np.asarray(np.where(person[..., None], out, nearest[label]), np.float32)


def _filled(ring: F64, grow: float, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The convex hull of points (n, 2), grown about their mean."""
    mask = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(((ring - ring.mean(0)) * grow + ring.mean(0)).astype(np.int32)), 1)
    return mask > 0


def plain_face(p: F64, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Inside the face's oval, without eyes, brows and lips."""
    mask = _filled(p[list(OVAL)], 0.9, shape)
    for ring, grow in ((RIGHT_EYE, 2.0), (LEFT_EYE, 2.0), (LIPS_OUTER, 1.2)):
        mask &= ~_filled(p[list(ring)], grow, shape)
    return mask


def _frame(p: F64) -> tuple[F64, F64, F64, float]:
    """The face's centre between the eyes, its directions up and across, and its height, px."""
    eyes = (p[33] + p[263]) / 2
    down = p[152] - p[10]
    height = float(np.linalg.norm(down))
    up = -down / max(height, 1e-6)
    return eyes, up, np.array([-up[1], up[0]]), height


def _hair(lab: F32, zone: NDArray, crown: NDArray, skin: NDArray, alpha: NDArray) -> NDArray[np.bool_]:
    """What in the zone over the face has the colours of the crown's outline, not the face's: fair hair is like skin.

    The outline beside the temples may be skin with thin hair behind it."""
    depth = cv2.distanceTransform(np.pad(alpha > 0.5, 1, mode="edge").astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    edge = (depth > OUTLINE[0]) & (depth < OUTLINE[1])
    rim = crown & edge if (crown & edge).sum() >= 20 else zone & edge  # a picture may cut the crown off
    if rim.sum() < 20 or skin.sum() < 20:
        return rim
    near = lambda mask: cKDTree(lab[mask][:: int(mask.sum()) // MOST_SAMPLES + 1]).query(lab[zone], k=5)[0].mean(1)  # noqa: E731
    out = np.zeros_like(zone)
    out[zone] = near(rim) < near(skin)
    return np.asarray(cv2.medianBlur(out.astype(np.uint8), 3) > 0) & zone


def _above_the_face(p: F64, shape: tuple[int, ...], margin: float) -> NDArray[np.bool_]:
    """About the head, `margin` face heights over the eyes and on."""
    eyes, up, across, height = _frame(p)
    yy, xx = np.mgrid[: shape[0], : shape[1]] + 0.5
    d = np.stack([xx, yy], -1) - eyes
    high, beside = d @ up, np.abs(d @ across)
    return np.asarray((high > margin * height) & (beside < 0.9 * height) & (high < 1.3 * height))


def _under_the_collar(
    model: BodyModel, o: Observation, vertices: F64, p: F64, k: float, shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Where the fitted trunk and arms lie, and everything well under the chin."""
    _, up, _, height = _frame(p)
    yy, xx = np.mgrid[: shape[0], : shape[1]] + 0.5
    below = -((np.stack([xx, yy], -1) - p[152]) @ up)
    a = anatomy.of(model)
    trunk = (a.head + a.neck < 0.15)[model.faces].all(1) & (model.face_part == anatomy.SKIN)
    camera = o.camera.window(0, 0, o.camera.width, shape[1], shape[0])
    _, ids = cpu.zbuffer(camera.project(vertices), model.faces[trunk], shape[1], shape[0])
    return np.asarray(((ids >= 0) & (below > 0.1 * height)) | (below > SHOULDERS * height))


def _near(p: F64, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Where hair may hang: not farther under the chin than a face's height."""
    _, up, _, height = _frame(p)
    yy, xx = np.mgrid[: shape[0], : shape[1]] + 0.5
    return np.asarray(-((np.stack([xx, yy], -1) - p[152]) @ up) < height)


def _like(lab: F32, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(h, w): colours that pass for those under `mask`."""
    if mask.sum() < 20:
        return np.zeros(mask.shape, bool)
    x = lab[mask].astype(np.float64)
    inverse = np.linalg.inv(np.cov(x.T) + 9 * np.eye(3))
    d = lab - x.mean(0)
    return np.asarray(np.einsum("hwi,ij,hwj->hw", d, inverse, d) < 6)
