"""From the photo's face to a neutral one of the same person: lips sealed, lids open, gaze ahead, and lids that close.

What the fit could not explain by expression sits in the offsets, photo expression included. So the neutral face takes
the photo's offsets, the fitted expression without what opens the mouth, and a smooth correction that makes the rims of
the lips meet. The difference to the photo is the avatar's correction basis 0. A second correction turns the model's
eyeBlink into this person's: at 1 the rims of the lids meet, outside the eyeball.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as sl
from numpy.typing import NDArray

from avatar.build import anatomy
from avatar.build.kinematics import F64
from avatar.build.landmarks import LIP_PAIRS, LIPS_OUTER
from avatar.build.refine import umbrella
from avatar.render import cpu
from models.body import BodyModel

KEPT_SMILE = 0.35  # of the photo's open-mouthed smile
KEPT_CLOSED = 0.7  # of a smile with closed lips, which is neutral enough
OPEN_LIPS = 0.015  # of the face's width
MOUTH_RADIUS, LID_RADIUS = 0.055, 0.02  # m around the lips or an eye that a correction may move
MEET = 30.0  # weight of a pair's meeting against smoothness
SMOOTH, FIRM = 3.0, 0.003
LEAST_APERTURE = 0.2  # of an eye's width: narrower eyes of the photo are opened
UPPER_EDGE, LOWER_EDGE, TONGUE_TOP = -0.0028, -0.0012, -0.0075  # m above the lips' seam: an opening mouth shows the
# edges of the upper teeth first, the tongue last
BEHIND = 0.0015  # m that teeth and tongue stay behind closed lips
PIXEL = 0.0003  # m of the depth map that tells
UPPER_LID_SHARE = 0.85  # of the way that is the upper lid's in a blink

_SMILE = ("mouthSmile", "mouthDimple", "mouthStretch", "mouthUpperUp", "cheekSquint", "noseSneer")
LIDS = ("eyeBlink", "eyeSquint", "eyeWide")


@dataclass(frozen=True)
class Neutral:
    rest: F64  # (V, 3) m neutral body vertices at rest, expression included
    expression: F64  # (E,) of the neutral state
    directions: F64  # (V, 3, E) the model's expression directions with this person's blink
    lip_gap: float  # m, largest distance of a pair of inner lip points
    lid_gap: float  # m, the same of the lids at eyeBlink 1


def neutral(model: BodyModel, photo: F64, expression: F64, apertures: dict[str, float], open_lips: bool) -> Neutral:
    """photo (V, 3) m: body vertices at rest with the photo's expression (E,) in them; apertures of the eyes by side."""
    names = model.expression_names
    kept = np.array([_kept(n, open_lips) for n in names])
    target = expression * kept
    for side, opening in apertures.items():
        if opening < LEAST_APERTURE:
            share = opening / LEAST_APERTURE
            for lid in ("eyeBlink", "eyeSquint"):
                target[names.index(lid + side)] *= share
    directions = model.expression_dirs.astype(np.float64).copy()
    rest = photo + directions @ (target - expression)
    rest += _seal(model, rest)
    lip_gap = _largest_gap(model, rest, LIP_PAIRS)
    lid_gap = 0.0
    _place_teeth(model, rest)
    lids = np.array([n.startswith(LIDS) for n in names])
    for side in ("Left", "Right"):
        rest += _clear_of_eyeball(model, rest, side)
        closed = _closed(model, rest, directions, target, side)
        directions[:, :, names.index("eyeBlink" + side)] = closed - rest
        lid_gap = max(lid_gap, _largest_gap(model, closed, anatomy.LID_PAIRS[side]))
    return Neutral(rest, np.where(lids, 0.0, target), directions, lip_gap, lid_gap)


def _place_teeth(model: BodyModel, rest: F64) -> None:
    """Teeth and tongue where they belong behind sealed lips; in place. The photo's offsets moved them with the lips."""
    a = anatomy.of(model)
    seam = (a.landmark_matrix()[[13, 14]] @ rest)[:, 1].mean()
    edges = (
        (anatomy.UPPER_TEETH, np.min, UPPER_EDGE),
        (anatomy.LOWER_TEETH, np.max, LOWER_EDGE),
        (anatomy.TONGUE, np.max, TONGUE_TOP),
    )
    for part, edge, height in edges:
        inside = a.of_part(part)
        front = inside & (rest[:, 2] > np.quantile(rest[inside, 2], 0.7))  # the incisors, the tongue's tip
        rest[inside, 1] += seam + height - edge(rest[front, 1])
        rest[inside, 2] -= behind_lips(model, rest, rest[inside])


def behind_lips(model: BodyModel, rest: F64, points: F64) -> float:
    """How far (m, >= 0) points (n, 3) at rest must go back as one so that they lie behind the closed face (V, 3)."""
    a = anatomy.of(model)
    faces = model.faces[(model.face_part == anatomy.SKIN) & (a.head > 0.5)[model.faces].all(1)]
    faces = faces[~a.inner_mouth[faces].any(1)]
    low, high = points[:, :2].min(0) - 0.002, points[:, :2].max(0) + 0.002
    size = np.ceil((high - low) / PIXEL).astype(int)
    front = 1.0  # m; an orthographic view from the front: nearer is a smaller depth
    flat = np.concatenate([(rest[:, :2] - low) / PIXEL, front - rest[:, 2:]], 1)
    depth, _ = cpu.zbuffer(flat, np.ascontiguousarray(faces), int(size[0]), int(size[1]))
    q = np.floor((points[:, :2] - low) / PIXEL).astype(int)
    clear: F64 = front - points[:, 2] - depth[q[:, 1], q[:, 0]]  # -inf where there is no face in front: outside it
    clear = clear[np.isfinite(clear)]
    return max(BEHIND - float(np.min(clear)), 0.0) if len(clear) else 0.0


def _kept(name: str, open_lips: bool) -> float:
    if name.startswith(_SMILE):
        return KEPT_SMILE if open_lips else KEPT_CLOSED
    if name.startswith("mouth") or name.startswith("jaw"):
        return 0.0 if open_lips else 1.0
    return 1.0


def _pair_matrix(model: BodyModel, pairs) -> sp.csr_matrix:  # type: ignore[no-untyped-def]
    """(n, V) upper minus lower landmark."""
    B = anatomy.of(model).landmark_matrix()
    return (B[[u for u, _ in pairs]] - B[[l for _, l in pairs]]).tocsr()


def _largest_gap(model: BodyModel, rest: F64, pairs) -> float:  # type: ignore[no-untyped-def]
    return float(np.linalg.norm(_pair_matrix(model, pairs) @ rest, axis=1).max())


def _region(model: BodyModel, rest: F64, centre: F64, radius: float) -> NDArray[np.int64]:
    a = anatomy.of(model)
    return np.flatnonzero((np.linalg.norm(rest - centre, axis=1) < radius) & a.skin & (a.head > 0.5))


def _smooth_correction(model: BodyModel, region: NDArray, rows: sp.csr_matrix, target: F64, weight: NDArray) -> F64:
    """(V, 3) displacement, zero outside `region`: rows (n, V) @ displacement -> target (n, 3), smooth between."""
    V = len(model.v_template)
    grown = np.zeros(V, bool)
    grown[region] = True
    faces = model.faces[grown[model.faces].any(1)]
    ids = np.unique(faces)
    local = np.full(V, -1)
    local[ids] = np.arange(len(ids))
    L = umbrella(local[faces], len(ids))
    inner = local[region]
    L = L[:, inner]
    R = rows[:, region]
    N = SMOOTH * (L.T @ L) + FIRM * sp.eye(len(region)) + R.T @ sp.diags(weight) @ R
    out = np.zeros((V, 3))
    out[region] = sl.splu(N.tocsc()).solve(R.T @ (weight[:, None] * target))
    return out


def _seal(model: BodyModel, rest: F64) -> F64:
    """The correction that makes the inner rims of the lips meet."""
    B = anatomy.of(model).landmark_matrix()
    centre = (B[list(LIPS_OUTER)] @ rest).mean(0)
    rows = _pair_matrix(model, LIP_PAIRS)
    return _smooth_correction(
        model, _region(model, rest, centre, MOUTH_RADIUS), rows, -(rows @ rest), np.full(len(LIP_PAIRS), MEET)
    )


def _eyeball(model: BodyModel, rest: F64, side: str) -> tuple[F64, float]:
    """Centre and radius (m) of an eyeball at rest."""
    return anatomy.sphere(rest[anatomy.of(model).of_part(anatomy.LEFT_EYE if side == "Left" else anatomy.RIGHT_EYE)])


def _clear_of_eyeball(model: BodyModel, rest: F64, side: str) -> F64:
    """The correction that lifts lid skin in front of the eyeball out of it."""
    centre, radius = _eyeball(model, rest, side)
    ids, clearance = anatomy.of(model).over_eyeball(side)
    away = rest[ids] - centre
    distance = np.linalg.norm(away, axis=1)
    out = np.zeros_like(rest)
    out[ids] = away * np.maximum((radius + clearance) / distance - 1, 0)[:, None]
    return out


def _closed(model: BodyModel, rest: F64, directions: F64, expression: F64, side: str) -> F64:
    """(V, 3) the face with this eye closed: the model's blink, corrected until the lids' rims meet."""
    names = model.expression_names
    blink = np.zeros(len(names))
    blink[names.index("eyeBlink" + side)] = 1 - expression[names.index("eyeBlink" + side)]
    for lid in ("eyeSquint", "eyeWide"):
        blink[names.index(lid + side)] = -expression[names.index(lid + side)]
    closed = rest + directions @ blink
    centre, _ = _eyeball(model, rest, side)
    pairs = anatomy.LID_PAIRS[side]
    B = anatomy.of(model).landmark_matrix()
    region = _region(model, rest, centre, LID_RADIUS)
    for _ in range(2):
        upper, lower = B[[u for u, _ in pairs]], B[[l for _, l in pairs]]
        gap = (lower - upper) @ closed
        rows = sp.vstack([upper, lower]).tocsr()
        target = np.concatenate([gap * UPPER_LID_SHARE, -gap * (1 - UPPER_LID_SHARE)])
        closed = closed + _smooth_correction(model, region, rows, target, np.full(len(target), MEET))
        closed = closed + _clear_of_eyeball(model, closed, side)
    return closed
