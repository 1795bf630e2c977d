"""Stage seed: skin that lies folded away in the photo and unrolls as lips part, mouths open and eyes close."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avatar.asset import Avatar
from avatar.build import anatomy
from avatar.build.kinematics import F64
from avatar.rig import Rig
from models.body import BodyModel
from models.motion import A, Motion

MOVES: tuple[dict[str, float], ...] = (
    {"jawOpen": 0.7},
    {"jawOpen": 1.0},
    {"jawOpen": 0.3, "mouthFunnel": 0.6, "mouthPucker": 0.4},
    {"mouthLowerDownLeft": 0.6, "mouthLowerDownRight": 0.6, "mouthUpperUpLeft": 0.6, "mouthUpperUpRight": 0.6},
    {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
)
BLINK = 4  # of MOVES
UNROLLED = 2.0  # times its area in the photo from which a triangle counts


@dataclass(frozen=True)
class Unrolled:
    moved: tuple[F64, ...]  # (V, 3) m, the union mesh in each of MOVES
    corners: F64  # (F, 3, 3) m, each triangle as large as any of MOVES makes it
    folded: NDArray[np.bool_]  # (F,) head's skin, mouth's inside included, that is much smaller in the photo


def unrolled(model: BodyModel, avatar: Avatar) -> Unrolled:
    a, rig, faces = anatomy.of(model), Rig(avatar), avatar.mesh.faces
    moved = tuple(rig.vertices(rig.state(_motion(move))).astype(np.float64) for move in MOVES)
    photo = rig.vertices(avatar.photo)[faces].astype(np.float64)
    widest, most = photo.copy(), _area(photo)
    for v in moved:
        area = _area(v[faces])
        larger = area > most
        widest[larger], most[larger] = v[faces[larger]], area[larger]
    skin = np.zeros(len(faces), bool)
    body = avatar.part == anatomy.SKIN
    skin[body] = (a.head > 0.5)[faces[body]].all(1)
    return Unrolled(moved, widest, skin & (most > UNROLLED * _area(photo)))


def _area(corners: F64) -> F64:
    return np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2


def _motion(move: dict[str, float]) -> Motion:
    motion = Motion()
    motion.weight[:6] = 1
    for name, value in move.items():
        motion.face[A[name]] = value
    return motion
