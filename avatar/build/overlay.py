"""What lies over an eyeball without being part of it: small meshes just below its surface, and Gaussians on them.

The ball lets through what is less than its layer's tolerance behind it, while lids, which lie before it, do not. Such
Gaussians are averaged with the ball's own, so that several at a place outweigh them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from avatar.asset import Avatar
from avatar.build import anatomy, eyes
from avatar.build.kinematics import F64
from avatar.build.mesh import UnionMesh
from avatar.build.seed import Seeds
from avatar.render.contract import LAYER, Camera
from models.motion import HEAD, LEFT_EYE, RIGHT_EYE
from models.skinning import Poser, SkinnedMesh

BALL = {"Left": (anatomy.LEFT_EYE, LEFT_EYE), "Right": (anatomy.RIGHT_EYE, RIGHT_EYE)}
BELOW = 0.0011  # m behind the ball's surface
STEEPEST = 0.8  # of the ball's radius from its middle: further out its surface is seen too steeply


@dataclass(frozen=True)
class Spots:
    """Gaussians on an overlay's triangles."""

    face: NDArray[np.int64]  # (n,) of the overlay
    bary: F64  # (n, 2)
    shape: F64  # (n, 2, 2)
    pixel: F64  # (n, 2) whose colours they take
    step: F64  # (n,) px to their neighbours


def ball_of(union: UnionMesh, side: str) -> eyes.Ball:
    return eyes.sphere(union.posed[np.unique(union.skin.faces[union.part == BALL[side][0]])])


def below_surface(ball: eyes.Ball, pixels: F64, c: Camera) -> F64:
    """(n, 3) world points that pixels (n, 2) show, BELOW the ball's surface."""
    middle = c.project(ball.centre[None])[0, :2]
    radius = STEEPEST * ball.radius * c.focal / -ball.centre[2]
    off = pixels - middle
    held = middle + off * np.minimum(1, radius / np.maximum(np.linalg.norm(off, axis=1), 1e-9))[:, None]
    front = np.stack([ball.centre + ball.radius * eyes.direction(ball, p, c) for p in held])
    z = BELOW - front[:, 2]
    return np.stack([(pixels[:, 0] - c.cx) / c.focal * z, -(pixels[:, 1] - c.cy) / c.focal * z, -z], 1)


def added(
    avatar: Avatar, union: UnionMesh, seeds: Seeds, side: str, turns: float, posed: F64, faces: NDArray, spots: Spots
) -> tuple[Avatar, UnionMesh, Seeds]:
    """All three with an overlay of one eye: vertices (n, 3) m as in the photo, triangles (m, 3) of them, what lies on
    these. turns: its share of the eye's turn, the rest is the head's."""
    eye = BALL[side][1]
    poser, photo = Poser(avatar.mesh), avatar.photo
    poser(photo.pose, photo.expression, photo.translation, (photo.correction, avatar.correction))
    T = (1 - turns) * poser.transforms[HEAD].astype(np.float64) + turns * poser.transforms[eye]
    rest = np.linalg.solve(T[:, :3], (posed - photo.translation - T[:, 3]).T).T
    first = len(union.part)
    part = np.concatenate([union.part, np.full(len(faces), anatomy.OVERLAY, np.uint8)])
    occluder = np.concatenate([union.occluder, np.zeros(len(faces), bool)])
    skin = _with_mesh(union.skin, rest, faces, eye, turns)
    union = replace(union, skin=skin, posed=np.concatenate([union.posed, posed]), part=part, occluder=occluder)
    mesh = _with_mesh(avatar.mesh, rest, faces, eye, turns)
    return replace(avatar, mesh=mesh, part=part, occluder=occluder), union, _with_spots(seeds, first, spots)


def _with_mesh(skin: SkinnedMesh, rest: F64, faces: NDArray, eye: int, turns: float) -> SkinnedMesh:
    index = np.zeros((len(rest), skin.joint_index.shape[1]), np.uint8)
    weight = np.zeros(index.shape, np.float32)
    index[:, :2], weight[:, :2] = (HEAD, eye), (1 - turns, turns)
    return replace(
        skin, vertices=np.concatenate([skin.vertices, rest.astype(np.float32)]),
        faces=np.concatenate([skin.faces, (faces + len(skin.vertices)).astype(np.int32)]),
        joint_index=np.concatenate([skin.joint_index, index]),
        joint_weight=np.concatenate([skin.joint_weight, weight]),
    )  # fmt: skip


def _with_spots(s: Seeds, first: int, spots: Spots) -> Seeds:
    n = len(spots.face)
    more = Seeds(
        spots.face + first, spots.bary, spots.shape, np.ones(n), np.full(n, LAYER["eyes"], np.uint8), spots.pixel,
        np.ones(n, bool), spots.step, np.ones(n, bool), np.zeros(n, bool),
    )  # fmt: skip
    return Seeds(*(np.concatenate([getattr(s, f.name), getattr(more, f.name)]) for f in fields(Seeds)))
