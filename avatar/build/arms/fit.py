"""An arm's joints from what the trackers see of it, by Levenberg-Marquardt.

40 parameters: rotations of collar, shoulder, elbow and wrist, the thumb's three, curl and spread of the other fingers,
and the logarithms of three bone scales. Residuals are joints and finger tips alone, no vertices: in the picture from
keypoints and hand landmarks, in depth from their guesses. As an arm that bends towards the viewer and one that bends
away look alike, several starts compete.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avatar.build.fit import Fit, levenberg_marquardt
from avatar.build.kinematics import F64, left_jacobian, skew
from models.body import BodyModel
from models.motion import JOINT, matrix_from_axis_angle
from models.person import LEFT_ELBOW, LEFT_SHOULDER, LEFT_WRIST, RIGHT_ELBOW, RIGHT_SHOULDER, RIGHT_WRIST, Body, Hand

FINGERS = ("thumb", "index", "middle", "ring", "pinky")  # in the order of MediaPipe's landmarks
KEYPOINTS = {
    "left": (LEFT_SHOULDER, LEFT_ELBOW, LEFT_WRIST),
    "right": (RIGHT_SHOULDER, RIGHT_ELBOW, RIGHT_WRIST),
}

SIGMA_BODY, SIGMA_HAND = 3.0, 1.2  # % of the shoulders' width in the picture
SIGMA_BONE_DEPTH, SIGMA_HAND_DEPTH = 0.08, 0.02  # m
_SIGMA_COLLAR, _SIGMA_SHOULDER = (0.12, 0.12, 0.12), (0.8, 0.8, 0.8)  # rad
_SIGMA_ELBOW, _SIGMA_WRIST = (0.6, 1.2, 0.15), (0.25, 0.35, 0.6)
_SIGMA_THUMB, _SIGMA_CURL, _SIGMA_SPREAD, _SIGMA_SCALE = 0.35, 0.6, 0.18, 0.12
FLEX = (0.05, 2.5)  # rad the elbow bends; 0 is straight
CURL = (-0.35, 1.7)  # rad a finger joint bends
_USUAL_FLEX, _USUAL_CURL = 0.8, (0.25, 0.35, 0.25)
STARTS = tuple((flex, roll) for flex in (0.4, 1.4, 2.1) for roll in (0.0, 0.9, -0.9))
TRY, POLISH = 6, 30  # iterations of each start, and of the best

_N = 12 + 9 + 16 + 3


@dataclass(frozen=True)
class ArmFit:
    side: str
    pose: F64  # (55, 3) the body's with this arm's joints set
    places: F64  # (19, 3) world m: its joints, in the order of `chain`
    points: F64  # (3, 3) world m: shoulder, elbow, wrist
    hand: F64  # (21, 3) world m, in the order of MediaPipe's landmarks
    pixels: F64  # (3, 2) of points
    hand_pixels: F64  # (21, 2) of hand
    hand_error: F64  # (21,) px from the fitted to the seen landmarks
    scale: F64  # (3,) of upper arm, forearm, hand against the body's


def chain(side: str) -> list[int]:
    """The arm's joints, parents first: collar, shoulder, elbow, wrist, then the fingers from the thumb."""
    arm = [JOINT[f"{side}_{n}"] for n in ("collar", "shoulder", "elbow", "wrist")]
    return arm + [JOINT[f"{side}_{f}{k}"] for f in FINGERS for k in (1, 2, 3)]


def tips(model: BodyModel, side: str) -> list[int]:
    """The vertex at the end of each finger: the farthest from its last joint of those that it moves."""
    joints = model.joint_regressor @ model.v_template
    strongest = model.weights.argmax(1)
    out = []
    for finger in FINGERS:
        j = JOINT[f"{side}_{finger}3"]
        own = np.flatnonzero(strongest == j)
        before = joints[JOINT[f"{side}_{finger}2"]]
        out.append(int(own[np.linalg.norm(model.v_template[own] - before, axis=1).argmax()]))
    return out


class _Arm:
    """The residuals of one arm and their derivatives."""

    def __init__(self, model: BodyModel, fit: Fit, side: str, body: Body, hand: Hand) -> None:
        self.side, self.camera, self.pose = side, fit.camera, fit.pose
        self.sign = 1.0 if side == "left" else -1.0
        self.ids = chain(side)
        used = model.joint_regressor.any(0)
        shape = np.asarray(model.shapedirs[:, :, : len(fit.betas)], np.float64) @ fit.betas
        self.rest = (model.joint_regressor[:, used] @ (model.v_template + shape)[used]).astype(np.float64)
        t = tips(model, side)
        self.tips = model.v_template[t].astype(np.float64) + shape[t]
        self.parent_R, self.parent_p = _root(fit, model.parents, self.rest, self.ids[0])
        s, e, w = KEYPOINTS[side]
        k, world = np.asarray(body.keypoints, np.float64), np.asarray(body.world, np.float64)
        self.seen, self.elbow_weight = k[[s, e], :2], float(k[e, 3])
        self.depths = np.array([world[e, 2] - world[s, 2], world[w, 2] - world[e, 2]])  # away from the viewer
        self.hand = np.asarray(hand.landmarks, np.float64)
        self.shoulders = shoulder_width(body)
        self._priors()

    def _priors(self) -> None:
        g, n = self.sign, _N
        mean, sigma = np.zeros(n), np.zeros(n)
        low, high = np.full(n, -np.inf), np.full(n, np.inf)
        arm = (self.ids[0], self.ids[1])
        mean[:6] = self.pose[list(arm)].ravel()
        mean[7] = -_USUAL_FLEX * g
        sigma[:12] = (*_SIGMA_COLLAR, *_SIGMA_SHOULDER, *_SIGMA_ELBOW, *_SIGMA_WRIST)
        low[7], high[7] = sorted((-FLEX[1] * g, -FLEX[0] * g))
        sigma[12:21] = _SIGMA_THUMB
        for f in range(4):  # curl, spread, curl, curl
            q = 21 + 4 * f
            for c, usual in zip((0, 2, 3), _USUAL_CURL):
                mean[q + c], sigma[q + c] = -usual * g, _SIGMA_CURL
                low[q + c], high[q + c] = sorted((-CURL[1] * g, -CURL[0] * g))
            sigma[q + 1] = _SIGMA_SPREAD
        sigma[-3:] = _SIGMA_SCALE
        self.mean, self.sigma, self.low, self.high = mean, sigma, low, high

    def rotations(self, x: F64) -> F64:
        """(19, 3) axis-angles of the chain's joints."""
        out = np.zeros((len(self.ids), 3))
        out[:4] = x[:12].reshape(4, 3)
        out[4:7] = x[12:21].reshape(3, 3)
        for f in range(4):
            q, j = 21 + 4 * f, 7 + 3 * f
            out[j, 2], out[j, 1] = x[q], x[q + 1]
            out[j + 1, 2], out[j + 2, 2] = x[q + 2], x[q + 3]
        return out

    def offsets(self, x: F64) -> tuple[F64, F64]:
        """Bones at rest, scaled: (19, 3) from each joint's parent, (5, 3) from last joints to tips."""
        upper, fore, hand = np.exp(x[-3:])
        rest = self.rest[self.ids]
        bones = np.zeros((len(self.ids), 3))
        for i in range(1, len(self.ids)):
            bones[i] = rest[i] - rest[_PARENT[i]]
        bones[2] *= upper
        bones[3] *= fore
        bones[4:] *= hand
        return bones, (self.tips - rest[6::3]) * hand

    def place(self, x: F64) -> tuple[F64, F64, F64]:
        """World: rotations (19, 3, 3) and places (19, 3) of the chain's joints, tips (5, 3)."""
        R = matrix_from_axis_angle(self.rotations(x))
        bones, to_tips = self.offsets(x)
        world, at = np.empty_like(R), np.empty((len(self.ids), 3))
        world[0], at[0] = self.parent_R @ R[0], self.parent_p
        for i in range(1, len(self.ids)):
            p = _PARENT[i]
            world[i] = world[p] @ R[i]
            at[i] = at[p] + world[p] @ bones[i]
        return world, at, at[6::3] + np.einsum("fab,fb->fa", world[6::3], to_tips)

    def points(self, x: F64) -> tuple[F64, F64]:
        """(23, 3) world: the chain's joints but the collar, then the tips; and (23, 3, P) derivatives."""
        world, at, tip = self.place(x)
        points = np.concatenate([at[1:], tip])
        d = np.zeros((len(points), 3, _N))
        rotations = self.rotations(x)
        for i in range(len(self.ids)):
            parent = self.parent_R if i == 0 else world[_PARENT[i]]
            turn = -skew((points - at[i]) * _MOVED[i][:, None]) @ (parent @ left_jacobian(rotations[i]))
            for axis, column in _COLUMNS[i]:
                d[:, :, column] = turn[:, :, axis]
        d[_BEYOND_ELBOW, :, -3] = at[2] - at[1]
        d[_BEYOND_WRIST, :, -2] = at[3] - at[2]
        d[_HAND, :, -1] = points[_HAND] - at[3]
        return points, d

    def __call__(self, x: F64) -> tuple[F64, F64]:
        points, d = self.points(x)
        c = self.camera
        z = -points[:, 2]
        px = np.stack([c.focal * points[:, 0] / z + c.cx, -c.focal * points[:, 1] / z + c.cy], 1)
        k = (c.focal / z)[:, None]
        dx = k * (d[:, 0] + (points[:, 0] / z)[:, None] * d[:, 2])
        dy = k * (-d[:, 1] - (points[:, 1] / z)[:, None] * d[:, 2])
        dpx = np.stack([dx, dy], 1)
        per_px = 100 / self.shoulders
        weight = np.array([1.0, self.elbow_weight])[:, None] * per_px / SIGMA_BODY
        r = [((px[:2] - self.seen) * weight).ravel()]
        J = [(dpx[:2] * weight[:, :, None]).reshape(-1, _N)]
        bone = points[:2, 2] - points[1:3, 2] - self.depths
        r.append(bone / SIGMA_BONE_DEPTH)
        J.append((d[:2, 2] - d[1:3, 2]) / SIGMA_BONE_DEPTH)
        h = _POINTS
        weight = np.full((21, 1), per_px / SIGMA_HAND)
        weight[0] *= 2
        r.append(((px[h] - self.hand[:, :2]) * weight).ravel())
        J.append((dpx[h] * weight[:, :, None]).reshape(-1, _N))
        scale = z[2] / c.focal  # m per px at the wrist
        r.append((-(points[h, 2] - points[2, 2]) - self.hand[:, 2] * scale) / SIGMA_HAND_DEPTH)
        J.append((-(d[h, 2] - d[2, 2]) + self.hand[:, 2:] / c.focal * d[2, 2]) / SIGMA_HAND_DEPTH)
        r.append((x - self.mean) / self.sigma)
        J.append(np.diag(1 / self.sigma))
        return np.concatenate(r), np.concatenate(J)


_PARENT = [-1, 0, 1, 2, *(p for f in range(5) for p in (3, 4 + 3 * f, 5 + 3 * f))]  # within the chain
_POINTS = np.array([2, *(p for f in range(5) for p in (3 + 3 * f, 4 + 3 * f, 5 + 3 * f, 18 + f))])  # landmarks' points


def _moved() -> NDArray[np.bool_]:
    """(19, 23) does a joint of the chain carry a point (joints but the collar, then tips)?"""
    m = np.zeros((19, 23), bool)
    for point in range(23):
        i = point + 1 if point < 18 else 6 + 3 * (point - 18)
        if point >= 18:
            m[i, point] = True
        i = i if point >= 18 else _PARENT[i]
        while i >= 0:
            m[i, point] = True
            i = _PARENT[i]
    return m


_MOVED = _moved()
_BEYOND_ELBOW, _BEYOND_WRIST, _HAND = np.arange(1, 23), np.arange(2, 23), np.arange(3, 23)


def _columns() -> list[list[tuple[int, int]]]:
    """Of each joint: (axis, parameter)."""
    out = [[(a, 3 * i + a) for a in range(3)] for i in range(7)]
    for f in range(4):
        q = 21 + 4 * f
        out += [[(2, q), (1, q + 1)], [(2, q + 2)], [(2, q + 3)]]
    return out


_COLUMNS = _columns()


def shoulder_width(body: Body) -> float:
    """px; a turned body's as if it faced the viewer."""
    k, world = body.keypoints, body.world
    seen = float(np.linalg.norm(k[LEFT_SHOULDER, :2] - k[RIGHT_SHOULDER, :2]))
    d = world[LEFT_SHOULDER] - world[RIGHT_SHOULDER]
    across = float(np.hypot(d[0], d[1]) / max(float(np.linalg.norm(d)), 1e-6))
    return seen / max(across, 0.5)


def _root(fit: Fit, parents: NDArray, rest: F64, collar: int) -> tuple[F64, F64]:
    """World rotation of the collar's parent, and the collar's place."""
    path = [collar]
    while parents[path[-1]] >= 0:
        path.append(int(parents[path[-1]]))
    R = matrix_from_axis_angle(fit.pose)
    at, world = rest[path[-1]].copy(), R[path[-1]]
    for child, joint in zip(path[-2::-1], path[:0:-1]):
        at = at + world @ (rest[child] - rest[joint])
        world = world @ R[child] if child != collar else world
    return world, at + fit.translation


def fit_arm(model: BodyModel, fit: Fit, side: str, body: Body, hand: Hand) -> ArmFit:
    """The arm that best explains keypoints and hand landmarks; how well it does is for the caller to judge."""
    arm = _Arm(model, fit, side, body, hand)
    free = np.ones(_N, bool)
    best: tuple[float, F64] | None = None
    for flex, roll in STARTS:
        x = arm.mean.copy()
        x[7], x[6] = -flex * arm.sign, roll
        x, cost = levenberg_marquardt(arm, x, free, arm.low, arm.high, TRY)
        if best is None or cost < best[0]:
            best = (cost, x)
    assert best is not None
    x, _ = levenberg_marquardt(arm, best[1], free, arm.low, arm.high, POLISH)
    points, _ = arm.points(x)
    pixels = fit.camera.project(points)[:, :2]
    pose = fit.pose.copy()
    pose[arm.ids] = arm.rotations(x)
    return ArmFit(
        side, pose, arm.place(x)[1], points[:3], points[_POINTS], pixels[:3], pixels[_POINTS],
        np.linalg.norm(pixels[_POINTS] - arm.hand[:, :2], axis=1),
        np.exp(x[-3:]),
    )  # fmt: skip
