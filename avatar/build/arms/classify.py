"""Which arms can move, from what is seen of them. In doubt an arm is static: at rest it looks as good either way."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.build.arms.fit import KEYPOINTS, ArmFit, fit_arm, shoulder_width
from avatar.build.fit import Fit
from avatar.build.observe import Observation
from avatar.limbs import FORESHORTENED, FREE, OUT_OF_VIEW, PAIR, SIDES
from models.body import BodyModel
from models.person import FACE_OVAL, LEFT_HAND, RIGHT_HAND, Body

MOVING = (FREE, FORESHORTENED)

ELBOW_SEEN, WRIST_SEEN = 0.5, 0.6  # visibility from which a keypoint counts
INSIDE = 0.01  # of the picture's shorter side that a wrist keeps from the border
TOUCHING_ARMS = 0.28  # of the shoulders' width, from a wrist to the other forearm
TOUCHING_HANDS, TOUCHING_GUESSES = 0.06, 0.15  # from hand to hand, where both are found and where not
FACE_REACH = 1.08  # how much the face's oval is grown within which a hand is held against it
WORST_HAND = 0.03  # of the shoulders' width, mean error of the fitted hand
DEPTH_KEPT = 0.5  # of a free arm's depth before its shoulder
HAND_BEFORE = 0.06  # m that the hand of a foreshortened arm is put before its elbow
FLAT = 0.7  # length of the forearm in the picture, of its length in space, under which it points at the viewer


@dataclass(frozen=True)
class Arm:
    side: str
    kind: str  # FREE, FORESHORTENED, PAIR or OUT_OF_VIEW
    why: str  # for a report
    fit: ArmFit | None = None  # of arms that move


def classify(model: BodyModel, o: Observation, fit: Fit) -> tuple[Arm, Arm]:
    """The left and the right arm."""
    body = o.person.body
    if body is None:
        return Arm("left", OUT_OF_VIEW, "no body was found"), Arm("right", OUT_OF_VIEW, "no body was found")
    touching = _touching(o, body)
    arms = []
    for side in SIDES:
        kind, why = (PAIR, touching) if touching else _seen(o, body, side)
        arm = Arm(side, kind, why)
        arms.append(_fitted(model, o, fit, body, side) if kind == FREE else arm)
    return arms[0], arms[1]


def _touching(o: Observation, body: Body) -> str:
    """How the two arms belong together, or nothing."""
    width = shoulder_width(body)
    k = body.keypoints
    (_, le, lw), (_, re, rw) = KEYPOINTS["left"], KEYPOINTS["right"]
    away = min(_to_segment(k[lw, :2], k[re, :2], k[rw, :2]), _to_segment(k[rw, :2], k[le, :2], k[lw, :2])) / width
    if away < TOUCHING_ARMS:
        return f"a wrist is {away:.2f} shoulder widths from the other forearm"
    left, right = o.person.hand("left"), o.person.hand("right")
    if left is not None and right is not None:
        d = _nearest(left.landmarks, right.landmarks) / width
        least = TOUCHING_HANDS
    else:  # of hands that hide each other the net finds one; the body's few points are less exact
        d, least = _nearest(k[list(LEFT_HAND)], k[list(RIGHT_HAND)]) / width, TOUCHING_GUESSES
    return f"the hands are {d:.2f} shoulder widths apart" if d < least else ""


def _nearest(a: NDArray, b: NDArray) -> float:
    return float(np.linalg.norm(a[:, None, :2] - b[None, :, :2], axis=-1).min())


def _seen(o: Observation, body: Body, side: str) -> tuple[str, str]:
    """FREE where enough of the arm is seen to fit it."""
    _, elbow, wrist = KEYPOINTS[side]
    H, W = o.alpha.shape
    for name, point, least in (("elbow", elbow, ELBOW_SEEN), ("wrist", wrist, WRIST_SEEN)):
        if not body.visible(point, o.alpha.shape, least):
            return OUT_OF_VIEW, f"the {name} is not seen"
    x, y = body.keypoints[wrist, :2]
    margin = INSIDE * min(H, W)
    if not (margin < x < W - margin and margin < y < H - margin):
        return OUT_OF_VIEW, "the wrist is at the picture's border"
    hand = o.person.hand(side)
    if hand is None:
        return OUT_OF_VIEW, "no hand was found"
    if hand.cut(o.alpha.shape) > 0:
        return OUT_OF_VIEW, "the hand is cut by the picture's border"
    q = hand.landmarks[:, :2].astype(int)
    if np.median(o.alpha[q[:, 1].clip(0, H - 1), q[:, 0].clip(0, W - 1)]) < 0.5:
        return OUT_OF_VIEW, "the hand is not in the matte"
    oval = o.landmarks[list(FACE_OVAL)]
    oval = cv2.convexHull(((oval - oval.mean(0)) * FACE_REACH + oval.mean(0)).astype(np.float32))
    if any(cv2.pointPolygonTest(oval, (float(a), float(b)), False) > 0 for a, b in hand.landmarks[:, :2]):
        return PAIR, "the hand is held against the face"
    return FREE, "elbow, wrist and hand are seen"


def _fitted(model: BodyModel, o: Observation, fit: Fit, body: Body, side: str) -> Arm:
    """The arm fitted and judged by how it lies to the picture."""
    hand = o.person.hand(side)
    assert hand is not None
    arm = fit_arm(model, fit, side, body, hand)
    error = float(arm.hand_error.mean()) / shoulder_width(body)
    if not np.isfinite(arm.points).all() or error > WORST_HAND:
        return Arm(side, OUT_OF_VIEW, f"no arm fits what is seen: the hand is {100 * error:.1f} % off")
    bone = arm.points[2] - arm.points[1]
    flat = float(np.linalg.norm(bone[:2]) / np.linalg.norm(bone))
    why = f"{100 * flat:.0f} % of the forearm's length shows"
    kind = FREE if flat >= FLAT else FORESHORTENED
    return Arm(side, kind, why, _nearer_the_trunk(arm, kind))


def _nearer_the_trunk(arm: ArmFit, kind: str) -> ArmFit:
    """The same picture of the arm, but less far before the trunk: then a turn of the torso parts them less, and the
    hand, whose depth is a guess that comes out too near and too small, gets about its size. The elbow that a
    foreshortened hand swings about stays as far behind it as it was."""
    shoulder, elbow, wrist = -arm.points[:, 2]
    if kind == FREE:
        elbow_to, wrist_to = (shoulder + DEPTH_KEPT * (z - shoulder) for z in (elbow, wrist))
    else:
        elbow_to, wrist_to = elbow, elbow - HAND_BEFORE
    of_elbow, of_hand = elbow_to / elbow, wrist_to / wrist
    points, places = arm.points.copy(), arm.places.copy()
    points[1] *= of_elbow
    points[2] *= of_hand
    places[2] *= of_elbow if kind == FREE else (wrist_to + max(elbow - wrist, HAND_BEFORE)) / elbow
    places[3:] *= of_hand
    return replace(arm, points=points, places=places, hand=arm.hand * of_hand)


def _to_segment(p: NDArray, a: NDArray, b: NDArray) -> float:
    d = b - a
    t = np.clip(((p - a) @ d) / (d @ d + 1e-9), 0, 1)
    return float(np.linalg.norm(p - a - t * d))
