"""Stage fit: landmarks -> camera, shape, pose and expression, by Levenberg-Marquardt on about 1,100 anchor vertices.

Residuals are in units of their own standard deviation, so priors and data weigh against each other as probabilities do.
468 correlated landmarks are no 468 measurements: a deviation of 2 % of the face's width keeps them from overpowering
the priors (with .8 % betas ran to 9), and the offsets of the next stage remove what remains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from avatar.build.kinematics import F64, Anchors
from avatar.build.landmarks import LANDMARK_WEIGHT, NET_BIAS
from avatar.render.contract import Camera
from models.body import BodyModel
from models.motion import JOINT, axis_angle_from_matrix
from models.skinning import Poser
from models.tracking import Body, Face

FOCAL = 1.1  # of the photo's longer side: about 49 degrees, where nothing is known of the lens
FACE_WIDTH = 0.148  # m, a first guess that the depth starts from
BETAS = 30
SIGMA_LANDMARK = 2.0  # % of face width
SIGMA_DEPTH = 25.0  # % of face width: MediaPipe's z is a guess from a network
SIGMA_EXPRESSION = 0.35
SIGMA_MOUTH = 0.8  # of an open mouth: what expression does not explain stays in the neutral face
OPEN_LIPS = 0.015  # of the face's width
JAW_RANGE = (-0.03, 0.45)  # rad

_HEAD = ("pelvis", "neck", "head", "jaw")
_ARMS = ("left_collar", "right_collar", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow")
POSED = tuple(JOINT[n] for n in (*_HEAD, *_ARMS))
_SIGMA_POSE = np.array(
    [(0.25, 0.5, 0.15), (0.2, 0.25, 0.15), (0.2, 0.3, 0.15), (0.15, 0.03, 0.01), (0.15, 0.15, 0.15), (0.15, 0.15, 0.15),
     (0.5, 0.5, 0.6), (0.5, 0.5, 0.6), (0.3, 0.6, 0.3), (0.3, 0.6, 0.3)]
)  # fmt: skip
_MEAN_POSE = np.zeros((len(POSED), 3))
_MEAN_POSE[6:10] = [(0, 0, -1.15), (0, 0, 1.15), (0, -0.25, 0), (0, 0.25, 0)]  # arms hanging
_KEYPOINTS = (  # BlazePose point, joint, sigma in % of face width
    (11, "left_shoulder", 1.3), (12, "right_shoulder", 1.3), (13, "left_elbow", 2.0), (14, "right_elbow", 2.0),
    (15, "left_wrist", 2.7), (16, "right_wrist", 2.7),
)  # fmt: skip
_LEFT_SHOULDER, _RIGHT_SHOULDER = JOINT["left_shoulder"], JOINT["right_shoulder"]


def expression_not_fitted(names: tuple[str, ...]) -> NDArray[np.bool_]:
    """(E,) the jaw and the eyes are joints, and a photo seldom shows a tongue."""
    out = ("eyeLook", "tongueOut", "jaw")
    return np.array([n.startswith(out) for n in names], bool)


@dataclass(frozen=True)
class Fit:
    camera: Camera
    betas: F64  # (BETAS,)
    pose: F64  # (55, 3) axis-angle
    translation: F64  # (3,) m
    expression: F64  # (E,)
    error: F64  # (468,) px between the fitted and the seen landmarks
    face_width: float  # px


def photo_camera(width: int, height: int, focal: float | None = None) -> Camera:
    """focal: of the longer side, where it is known."""
    return Camera((focal or FOCAL) * max(width, height), width / 2, height / 2, width, height)


class LandmarkFit:
    """The residuals of a photo or a video frame, and their derivatives by every parameter of `anchors`."""

    def __init__(
        self, anchors: Anchors, on_mesh: sp.csr_matrix, camera: Camera, keypoints: tuple[tuple[int, str, float], ...]
    ):
        """on_mesh (468, n): landmarks of anchors. keypoints: BlazePose point, joint, sigma in % of face width."""
        self.anchors, self.on_mesh, self.camera, self.points = anchors, on_mesh, camera, keypoints
        size = sum(anchors.sizes)
        self.pose_at, self.betas_at, self.expression_at = np.cumsum(anchors.sizes[:3])
        self.mean, self.sigma = np.zeros(size), np.full(size, 1e3)
        self.low, self.high = np.full(size, -np.inf), np.full(size, np.inf)
        self.low[self.expression_at :], self.high[self.expression_at :] = -0.1, 1.0
        self.x = self.mean.copy()
        self.keypoint_bias = np.zeros((len(keypoints), 2))  # px that a keypoint lies off its joint

    def rotation(self, joint: str) -> slice:
        """Where a posed joint's axis-angle is among the parameters."""
        i = int(self.pose_at) + 3 * self.anchors.posed.index(JOINT[joint])
        return slice(i, i + 3)

    def observe(self, face: Face, body: Body | None) -> None:
        """Take a frame's landmarks; the parameters stay."""
        self.landmarks = np.asarray(face.landmarks[:468], np.float64)
        self.face_width = float(np.ptp(self.landmarks[:, 0]))
        self.keypoints = None if body is None else np.asarray(body.keypoints, np.float64)
        self.world = None if body is None else np.asarray(body.world, np.float64)

    def _project(self, points: F64, derivative: F64) -> tuple[F64, F64]:
        """World points (n, 3) and their (n, 3, P) -> pixels (n, 2) and (n, 2, P)."""
        c = self.camera
        x, y, z = points[:, 0], -points[:, 1], -points[:, 2]
        pixels = np.stack([c.focal * x / z + c.cx, c.focal * y / z + c.cy], 1)
        k = (c.focal / z)[:, None]
        dz = -derivative[:, 2]
        dx = k * (derivative[:, 0] - (x / z)[:, None] * dz)
        dy = k * (-derivative[:, 1] - (y / z)[:, None] * dz)
        return pixels, np.stack([dx, dy], 1)

    def residuals(self, x: F64) -> tuple[F64, F64]:
        """All residuals (R,) and their Jacobian (R, P)."""
        pose = self.anchors(x, derivatives=True)
        assert pose.d_vertices is not None and pose.d_joints is not None
        P = len(x)
        points = self.on_mesh @ pose.vertices
        d_points = (self.on_mesh @ pose.d_vertices.reshape(-1, 3 * P)).reshape(468, 3, P)
        pixels, d_pixels = self._project(points, d_points)
        per_px = 100 / self.face_width
        w = (LANDMARK_WEIGHT * per_px / SIGMA_LANDMARK)[:, None]
        r = [((pixels - self.landmarks[:, :2]) * w).ravel()]
        J = [(d_pixels * w[:, :, None]).reshape(-1, P)]
        scale = self.camera.focal / -points[:, 2].mean()  # m -> px at the face's depth
        depth = (points[:, 2] - points[:, 2].mean()) * -scale - (self.landmarks[:, 2] - self.landmarks[:, 2].mean())
        r.append(depth * per_px / SIGMA_DEPTH)
        J.append((d_points[:, 2] - d_points[:, 2].mean(0)) * (-scale * per_px / SIGMA_DEPTH))
        if self.keypoints is not None:
            self._add_body(pose.joints, pose.d_joints, per_px, r, J)
        r.append((x - self.mean) / self.sigma)
        J.append(np.diag(1 / self.sigma))
        return np.concatenate(r), np.concatenate(J)

    def _add_body(self, joints: F64, d_joints: F64, per_px: float, r: list[F64], J: list[F64]) -> None:
        assert self.keypoints is not None and self.world is not None
        seen = np.where(self.keypoints[:, 3] > 0.5, self.keypoints[:, 3], 0)
        index = [JOINT[name] for _, name, _ in self.points]
        pixels, d_pixels = self._project(joints[index], d_joints[index])
        for i, (point, _, sigma) in enumerate(self.points):
            w = per_px / sigma * seen[point]
            r.append((pixels[i] + self.keypoint_bias[i] - self.keypoints[point, :2]) * w)
            J.append(d_pixels[i] * w)
        both = min(
            seen[11], seen[12]
        )  # torso yaw from the shoulders' depth difference (world z points away from the viewer)
        turn = -(joints[_LEFT_SHOULDER, 2] - joints[_RIGHT_SHOULDER, 2]) - (self.world[11, 2] - self.world[12, 2])
        r.append(np.array([turn / 0.04 * both]))
        J.append(-(d_joints[_LEFT_SHOULDER, 2] - d_joints[_RIGHT_SHOULDER, 2])[None] / 0.04 * both)

    def solve(self, free: NDArray[np.bool_], iterations: int) -> float:
        """Move the free parameters downhill; the cost reached."""
        self.x, cost = levenberg_marquardt(self.residuals, self.x, free, self.low, self.high, iterations)
        return cost

    def error(self) -> F64:
        """(468,) px from the fitted to the seen landmarks."""
        points = self.on_mesh @ self.anchors(self.x).vertices
        return np.linalg.norm(self.camera.project(points)[:, :2] - self.landmarks[:, :2], axis=1)


def levenberg_marquardt(
    residuals: Callable[[F64], tuple[F64, F64]], x: F64, free: NDArray[np.bool_], low: F64, high: F64, iterations: int
) -> tuple[F64, float]:
    """Least squares in a box: parameters at a bound that the gradient pushes against wait. Returns (x, cost)."""
    damping = 1e-3
    x = np.clip(x, low, high)
    r, J = residuals(x)
    cost = float(r @ r)
    for _ in range(iterations):
        g = J.T @ r
        held = ((x <= low) & (g > 0)) | ((x >= high) & (g < 0))
        active = np.flatnonzero(free & ~held)
        A = J[:, active].T @ J[:, active]
        for _ in range(6):
            y = x.copy()
            y[active] -= np.linalg.solve(A + damping * np.diag(np.diag(A) + 1e-9), g[active])
            y = np.clip(y, low, high)
            r_new, J_new = residuals(y)
            new = float(r_new @ r_new)
            if new < cost:
                break
            damping *= 8
        else:
            break
        done = cost - new < 1e-4 * cost
        x, r, J, cost, damping = y, r_new, J_new, new, max(damping / 6, 1e-6)
        if done:
            break
    return x, cost


def lips_apart(face: Face) -> bool:
    """Whether the photo shows an open mouth."""
    p = face.landmarks
    gap = np.linalg.norm(p[13, :2] - p[14, :2])
    return bool(gap > OPEN_LIPS * np.ptp(p[:468, 0]))


def anchor_landmarks(model: BodyModel) -> tuple[NDArray, sp.csr_matrix]:
    """The vertices that carry MediaPipe's landmarks (n,), and the landmarks of them (468, n)."""
    if model.landmarks is None:
        raise ValueError(f"{model.path}: has no MediaPipe landmarks (mp468_faces_idx); the builder needs them")
    ids, column = np.unique(model.faces[model.landmarks.faces_idx], return_inverse=True)
    rows = np.repeat(np.arange(468), 3)
    return ids, sp.csr_matrix((model.landmarks.bary.ravel(), (rows, column.ravel())), shape=(468, len(ids)))


def _start(f: LandmarkFit, face: Face) -> None:
    """Put the head where the landmarks are, turned as MediaPipe's head matrix says."""
    turn = axis_angle_from_matrix(np.asarray(face.matrix)[:3, :3])
    f.x = f.mean.copy()
    for name, share in (("neck", 0.4), ("head", 0.6)):
        f.x[f.rotation(name)] = turn * share
    height = np.ptp(f.landmarks[:, 1])  # a turned face is narrow, not far away
    c = f.camera
    depth = c.focal * FACE_WIDTH / max(f.face_width, 0.75 * height)
    centre = f.landmarks[:, :2].mean(0)
    at = np.array([(centre[0] - c.cx) * depth / c.focal, -(centre[1] - c.cy) * depth / c.focal, -depth])
    f.x[:3] = at - (f.on_mesh @ f.anchors(f.x).vertices).mean(0)


def unbiased(face: Face) -> Face:
    """The face with its landmarks where the body model has them: what the net always sees elsewhere is taken off."""
    p = face.landmarks.astype(np.float64)
    width = np.linalg.norm(p[234, :3] - p[454, :3])  # however the head is turned
    bias = NET_BIAS @ np.asarray(face.matrix, np.float64)[:2, :2].T * width
    landmarks = face.landmarks.copy()
    landmarks[:468, :2] -= bias * [1, -1]
    return replace(face, landmarks=landmarks)


def fit(model: BodyModel, camera: Camera, face: Face, body: Body | None) -> Fit:
    """The photo's person in the body model: place, then pose, then shape, then expression."""
    ids, on_mesh = anchor_landmarks(model)
    f = LandmarkFit(Anchors.of_model(model, ids, POSED, BETAS), on_mesh, camera, _KEYPOINTS)
    face = unbiased(face)
    f.observe(face, body)
    b, e = int(f.betas_at), int(f.expression_at)
    f.mean[3:b] = _MEAN_POSE.ravel()
    f.sigma[3:b], f.sigma[b:e], f.sigma[e:] = _SIGMA_POSE.ravel(), 1.0, SIGMA_EXPRESSION
    f.low[f.rotation("jaw")][0], f.high[f.rotation("jaw")][0] = JAW_RANGE
    if lips_apart(face):
        f.sigma[e:][[n.startswith("mouth") for n in model.expression_names]] = SIGMA_MOUTH
    _start(f, face)
    free = np.zeros(len(f.x), bool)
    free[:6] = True  # translation and root
    f.solve(free, 8)
    free[:b] = True
    f.solve(free, 8)
    free[b:e] = True
    f.solve(free, 6)
    free[e:] = ~expression_not_fitted(model.expression_names)
    f.solve(free, 14)
    translation, pose, betas, expression = f.anchors.split(f.x)
    return Fit(camera, betas, pose, translation, expression, f.error(), f.face_width)


def posed(model: BodyModel, fit: Fit) -> F64:
    """(V, 3) m: the body as fitted, in the photo's pose."""
    pose, expression, move = (np.asarray(a, np.float32) for a in (fit.pose, fit.expression, fit.translation))
    return Poser(model.skinned(fit.betas))(pose, expression, move).astype(np.float64)
