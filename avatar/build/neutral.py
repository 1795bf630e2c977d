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

from avatar.build import anatomy, lids, lips
from avatar.build.kinematics import F64
from avatar.build.landmarks import LIP_CORNERS, LIP_PAIRS
from avatar.build.refine import adjacency
from avatar.render import cpu
from models.body import BodyModel

KEPT_SMILE = 0.35  # of the photo's open-mouthed smile
KEPT_CLOSED = 0.7  # of a smile with closed lips, which is neutral enough
OPEN_LIPS = 0.015  # of the face's width
LEAST_APERTURE = 0.2  # of an eye's width: narrower eyes of the photo are opened
TONGUE_TOP, TONGUE_FLAT = -0.008, 0.5  # m above the lips' seam: under the teeth's edges; of the model's height
BEHIND = 0.0025  # m that teeth and tongue stay behind closed lips: a millimetre more than their layers' tolerance
PIXEL = 0.0003  # m of the depth map that tells

USUAL_LIFT, SMILE_LIFT = 0.01, 0.12  # of the mouth's width: corners above the middle at rest, and by a whole smile
MOST_SMILE = 0.6  # that is believed to be left in the neutral face

_SMILING = ("mouthSmile", "mouthDimple", "mouthStretch")  # of closed lips
_SMILE = ("mouthSmile", "mouthDimple", "mouthStretch", "mouthUpperUp", "cheekSquint", "noseSneer")
LIDS = ("eyeBlink", "eyeSquint", "eyeWide")


@dataclass(frozen=True)
class Neutral:
    rest: F64  # (V, 3) m neutral body vertices at rest, expression included
    expression: F64  # (E,) of the neutral state
    directions: F64  # (V, 3, E) the model's expression directions with this person's blink
    lip_gap: float  # m, largest distance of a pair of inner lip points
    lid_gap: float  # m, the same of the lids at eyeBlink 1


def neutral(
    model: BodyModel, photo: F64, posed: F64, expression: F64, apertures: dict[str, float], opening: float
) -> Neutral:
    """photo (V, 3) m: body vertices at rest with the photo's expression (E,) in them; posed (V, 3) m: as in
    the photo; apertures of the eyes by side;
    opening: between the lips, of the face's width."""
    open_lips = opening > OPEN_LIPS
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
    rest += lips.seal(model, rest, posed, opening)
    lip_gap = _largest_gap(model, rest, LIP_PAIRS)
    lid_gap = 0.0
    _place_lining(model, rest)
    _place_tongue(model, rest)
    of_lids = np.array([n.startswith(LIDS) for n in names])
    for side in ("Left", "Right"):
        rest += lids.clear_of_eyeball(model, rest, side)
        closed = lids.closed(model, rest, directions, target, side)
        directions[:, :, names.index("eyeBlink" + side)] = closed - rest
        lid_gap = max(lid_gap, _largest_gap(model, closed, anatomy.LID_PAIRS[side]))
    lips.keep_shut(model, rest, directions, [n for n in names if n.startswith(_SMILING)])
    held = np.where(of_lids, 0.0, target)
    smiling = model.expression_dirs @ np.where([n.startswith(_SMILE) for n in names], held, 0.0)
    left = smile_left(model, rest - smiling)
    held[[names.index("mouthSmile" + side) for side in ("Left", "Right")]] += left
    return Neutral(rest, held, directions, lip_gap, lid_gap)


def smile_left(model: BodyModel, rest: F64) -> float:
    """How much of a smile (V, 3) m at rest holds that no coefficient tells of, as it sits in the offsets: by how much
    more than usual the lips' corners are above their middle. The face keeps it, but knows of it and can drop it."""
    p = anatomy.of(model).landmark_matrix() @ rest
    corners = p[list(LIP_CORNERS)]
    lift = (corners.mean(0) - p[[13, 14]].mean(0))[1] / np.linalg.norm(corners[1] - corners[0])
    return float(np.clip((lift - USUAL_LIFT) / SMILE_LIFT, 0, MOST_SMILE))


def _place_tongue(model: BodyModel, rest: F64) -> None:
    """The tongue flat in the jaw, below the lower teeth's edges; in place. The photo's offsets moved it."""
    a = anatomy.of(model)
    seam = (a.landmark_matrix()[[13, 14]] @ rest)[:, 1].mean()
    inside = a.of_part(anatomy.TONGUE)
    if inside.any():
        top = rest[inside, 1].max()
        rest[inside, 1] = seam + TONGUE_TOP + TONGUE_FLAT * (rest[inside, 1] - top)
        rest[inside, 2] -= behind_lips(model, rest, rest[inside])


def _place_lining(model: BodyModel, rest: F64) -> None:
    """The mouth's lining, but for what turns in at the lips, behind the closed face; in place. Under thin lips and a
    short chin it would come through."""
    a = anatomy.of(model)
    inside = np.flatnonzero(np.asarray((adjacency(model.faces, len(rest)) @ ~a.inner_mouth) == 0) & a.inner_mouth)
    clear = _clearance(model, rest, rest[inside])
    rest[inside, 2] -= np.where(np.isfinite(clear), np.maximum(BEHIND - clear, 0), 0)


def behind_lips(model: BodyModel, rest: F64, points: F64) -> float:
    """How far (m, >= 0) points (n, 3) at rest must go back as one so that they lie behind the closed face (V, 3)."""
    clear = _clearance(model, rest, points)
    clear = clear[np.isfinite(clear)]
    return max(BEHIND - float(np.min(clear)), 0.0) if len(clear) else 0.0


def _clearance(model: BodyModel, rest: F64, points: F64) -> F64:
    """(n,) m that points (n, 3) at rest lie behind the face (V, 3) as seen from the front; -inf beside it."""
    a = anatomy.of(model)
    faces = model.faces[(model.face_part == anatomy.SKIN) & (a.head > 0.5)[model.faces].all(1)]
    faces = faces[~a.inner_mouth[faces].any(1)]
    low, high = points[:, :2].min(0) - 0.002, points[:, :2].max(0) + 0.002
    size = np.ceil((high - low) / PIXEL).astype(int)
    front = 1.0  # m; an orthographic view: nearer is a smaller depth
    flat = np.concatenate([(rest[:, :2] - low) / PIXEL, front - rest[:, 2:]], 1)
    depth, _ = cpu.zbuffer(flat, np.ascontiguousarray(faces), int(size[0]), int(size[1]))
    q = np.floor((points[:, :2] - low) / PIXEL).astype(int)
    return np.asarray(front - points[:, 2] - depth[q[:, 1], q[:, 0]])


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
