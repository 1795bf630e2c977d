"""Ears that hair covers.

Hair that hangs before an ear, or from the head's far side down past where it must be, hides it wholly. Left in place a
turn would bring it out through the hair, bare. So it is taken off, and the scalp goes on over its place (scalp.py).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatar.build import anatomy
from avatar.build.kinematics import F64
from avatar.build.observe import Observation
from avatar.build.parts import HAIR, Parts, hair_coloured
from avatar.render import cpu
from models.body import BodyModel

# The template's ears, in the side view: metres back from and up from the eyes.
MIDDLE, HALF = (0.078, -0.025), (0.0245, 0.035)
ASIDE = 0.045  # m from the head's middle
BEFORE = 0.006  # m behind the depth buffer that still counts as seen
TELLING = 0.15  # share of an ear that has to be seen to be judged by itself
COVERED = 0.85  # share of it that is hair
CERTAIN = 0.9  # alpha
EAR, NECK = (0.0, 0.06, 0.012), (0.06, 0.1, 0.012)  # m below the eyes: heights at which hair is looked for beside both
WIDE = 0.25  # of the face's width that is looked at beside the head's contour
LEAST, LEAST_BELOW = 0.05, 0.08  # of the face's width that has to be there, beside the ear and below it
MOSTLY = 0.5  # share of what is there that is hair
ROOM, ALONG = 2, 0.75  # heights of the ear with something beside them, and the share of those where that is hair
HANGS = 0.5  # share of the neck's heights that have hair beside them


def vertices(model: BodyModel) -> dict[str, NDArray[np.bool_]]:
    """(V,) of the left and the right ear."""
    a = anatomy.of(model)
    d = a.from_the_eyes
    off = ((-d[:, 2] - MIDDLE[0]) / HALF[0]) ** 2 + ((d[:, 1] - MIDDLE[1]) / HALF[1]) ** 2
    on = (off < 1) & a.skin & ~a.inner_mouth & (a.head > 0.5)
    return {side: on & (sign * d[:, 0] > ASIDE) for side, sign in (("left", 1), ("right", -1))}


def covered(model: BodyModel, o: Observation, posed: F64, parts: Parts) -> NDArray[np.bool_]:
    """(V,) vertices of the ears that hair covers. posed (V, 3) m: the body in the photo."""
    H, W = o.alpha.shape
    points = o.camera.project(posed)
    depth, _ = cpu.zbuffer(points, model.faces[model.face_part == anatomy.SKIN].astype(np.int32), W, H)
    q = np.floor(points[:, :2]).astype(int)
    x, y = q.clip(0, [W - 1, H - 1]).T
    seen = ((q >= 0) & (q < [W, H])).all(1) & (depth[y, x] > points[:, 2] - BEFORE) & (o.alpha[y, x] > 0.5)
    out = np.zeros(len(posed), bool)
    ears = vertices(model)
    both = ears["left"] | ears["right"]
    for side, ear in ears.items():
        shown = ear & seen
        if shown.sum() > TELLING * ear.sum():
            hidden = (parts.probability[y[shown], x[shown], HAIR] > 0.5).mean() > COVERED
        else:
            hidden = _hangs_beside(model, o, points[:, :2], parts, both, 1 if side == "left" else -1)
        out |= ear & hidden
    return out


def _hangs_beside(
    model: BodyModel, o: Observation, pixels: F64, parts: Parts, ears: NDArray[np.bool_], sign: int
) -> bool:
    """Whether hair hangs down past the ear that lies behind the head's contour to the picture's right (sign 1) or left
    (-1). pixels (V, 2); ears (V,) are no part of the contour."""
    a = anatomy.of(model)
    contour, height = pixels[a.head_and_neck & ~ears], a.from_the_eyes[a.head_and_neck & ~ears, 1]
    person = o.alpha > CERTAIN
    hair = person & (hair_coloured(o, parts) | (parts.probability[..., HAIR] > 0.5))
    across = np.arange(o.alpha.shape[1]) + 0.5

    def beside(low: float, least: float) -> float:
        """Share of what is there that is hair; -1 where nothing is."""
        ring = contour[np.abs(height + low) < 0.01]
        y = int(ring[:, 1].mean()) if len(ring) else -1
        if not 0 <= y < len(hair):
            return -1.0
        away = sign * across - (sign * ring[:, 0]).max()
        row = (away > 0) & (away < WIDE * o.face_width)
        wide = int(person[y, row].sum())
        return float(hair[y, row].sum() / wide) if wide > least * o.face_width else -1.0

    ear = np.array([beside(low, LEAST) for low in np.arange(*EAR)])
    neck = np.array([beside(low, LEAST_BELOW) for low in np.arange(*NECK)])
    room = ear >= 0
    over = room.sum() >= ROOM and (ear[room] > MOSTLY).mean() >= ALONG
    return bool(over and (neck > MOSTLY).mean() >= HANGS)
