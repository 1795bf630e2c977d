"""The mouth's part of the leaks: does it seal, what shows inside it, what do the teeth hang on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.build.landmarks import LIPS_OUTER
from avatar.render import cpu
from models.motion import HEAD, matrix_from_axis_angle
from stage.evaluate.protocol import LEAKS

if TYPE_CHECKING:
    from avatar.asset import State
    from stage.evaluate.leaks import Stand

INNER_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)  # a ring
CORNERS = (78, 308)
UPPER_TEETH, LOWER_TEETH, CARD = 4, 5, 21  # of Avatar.part
MOUTH_SIDE = 1.6  # of the mouth's width: the looked-at square
MOUTH_PX = 200  # its side where holes are looked for
SHAPES: tuple[dict[str, float], ...] = (  # of speech and a laugh: what folds lips keep comes out
    {"jawOpen": 0.7}, {"jawOpen": 0.3, "mouthFunnel": 0.5, "mouthPucker": 0.4}, {"mouthFunnel": 0.9},
    {"jawOpen": 0.25, "mouthSmileLeft": 0.8, "mouthSmileRight": 0.8, "mouthUpperUpLeft": 0.3, "mouthUpperUpRight": 0.3},
)  # fmt: skip


def figures(stand: Stand) -> dict[str, float]:
    """lip_gap, mouth_holes, skin_in_mouth, teeth_slip_mm."""
    return {
        "lip_gap": lip_gap(stand), "mouth_holes": holes(stand), "skin_in_mouth": skin_inside(stand),
        "teeth_slip_mm": teeth_slip(stand) * 1e3,
    }  # fmt: skip


def box(stand: Stand, vertices: NDArray[np.float32]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a square about the mouth."""
    p = stand.landmarks(vertices)[list(INNER_LIPS), :2]
    half = MOUTH_SIDE * float(np.ptp(p[:, 0])) / 2
    (x, y), (W, H) = p.mean(0), (stand.camera.width, stand.camera.height)
    return max(int(x - half), 0), max(int(y - half), 0), min(int(x + half) + 1, W), min(int(y + half) + 1, H)


def lip_gap(stand: Stand) -> float:
    """Mean height, over the mouth's width, of what the neutral face shows between its lips; of that width."""
    from stage.evaluate.leaks import classes

    vertices = stand.vertices(stand.avatar.neutral)
    x0, y0, x1, y1 = box(stand, vertices)
    inside = classes(stand, vertices)[y0:y1, x0:x1, 0] > 0.5
    corners = stand.landmarks(vertices)[list(CORNERS), :2]
    width = float(np.linalg.norm(corners[0] - corners[1]))
    return float(inside.sum()) / width**2


def holes(stand: Stand) -> float:
    """Share of the lips and what they enclose that hides what is behind but is next to nothing itself; worst of
    SHAPES."""
    a, worst = stand.avatar, 0.0
    for shape in SHAPES:
        vertices = stand.vertices(stand.face(True, **shape))
        p = stand.landmarks(vertices)[list(LIPS_OUTER), :2]
        half = MOUTH_SIDE * float(np.ptp(p[:, 0])) / 2
        corner = p.mean(0) - half
        camera = stand.camera.window(float(corner[0]), float(corner[1]), 2 * half, MOUTH_PX, MOUTH_PX)
        lips = np.zeros((MOUTH_PX, MOUTH_PX), np.uint8)
        cv2.fillPoly(lips, [((p - corner) * MOUTH_PX / (2 * half)).round().astype(np.int32)], 1)
        w = cpu.weights(vertices, a.mesh.faces, a.occluder, a.gaussians, camera)
        worst = max(worst, float((w.hit & (w.alpha < LEAKS["hole_alpha"]))[lips > 0].mean()))
    return worst


def skin_inside(stand: Stand) -> float:
    """Share of the open mouth's inside, away from the lips' edge, that shows skin or lip."""
    from stage.evaluate.leaks import classes, interior

    vertices = stand.vertices(stand.face(jawOpen=LEAKS["jaw_open"]))
    ring = stand.landmarks(vertices)[list(INNER_LIPS), :2]
    mask = np.zeros((stand.camera.height, stand.camera.width), np.uint8)
    cv2.fillPoly(mask, [ring.round().astype(np.int32)], 1)
    inside = interior(mask > 0)
    if not inside.any():
        return 1.0  # a mouth that does not open
    return float((classes(stand, vertices)[inside][:, 1] > 0.5).mean())


def teeth_slip(stand: Stand) -> float:
    """m: the farthest way of upper teeth and mouth card against the skull while the jaw opens, and of any tooth when
    the lower lip alone goes down."""
    a = stand.avatar
    of = lambda *parts: np.unique(a.mesh.faces[np.isin(a.part, parts)])  # noqa: E731
    still, opened, lip = (stand.face(), stand.face(jawOpen=1.0), lip_alone(stand))
    upper, every = of(UPPER_TEETH, CARD), of(UPPER_TEETH, LOWER_TEETH, CARD)
    slips = [_way(stand, still, opened, upper), _way(stand, still, lip, every)]
    return max(slips)


def lip_alone(stand: Stand) -> State:
    """The lower lip drawn down, the jaw closed."""
    return stand.face(jaw=False, mouthLowerDownLeft=1.0, mouthLowerDownRight=1.0)


def _way(stand: Stand, first, second, vertices: NDArray) -> float:  # type: ignore[no-untyped-def]
    """m, largest; both states have the same head, so the world's frame will do as the skull's."""
    assert np.allclose(matrix_from_axis_angle(first.pose[HEAD]), matrix_from_axis_angle(second.pose[HEAD]))
    if not len(vertices):
        return 0.0
    way = stand.vertices(second)[vertices] - stand.vertices(first)[vertices]
    return float(np.linalg.norm(way, axis=1).max())
