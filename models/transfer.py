"""From the open human to another model's mesh: where each of its points lies there, by landmarks and nearest surface.

A SMPL-X or FLAME file that a user drops in has neither MediaPipe landmarks nor ARKit shapes. Here the open human's head
is laid over that model's head (similarity, then a smooth warp), so that both can be read off it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from models import body
from models.body import SKIN, BodyModel, BodyModelError, Landmarks
from models.motion import HEAD, JAW, LEFT_EYE, NECK, RIGHT_EYE
from models.surface import closest_points, vertex_normals

F64 = NDArray[np.float64]
ANCHOR_JOINTS = (NECK, HEAD, JAW, LEFT_EYE, RIGHT_EYE)
STIFFNESS = (30.0, 10.0, 3.0, 1.0, 0.3, 0.3)  # of the smooth warp, falling
ROUNDS = 12  # of pose and identity
LARGEST_RATIO, LARGEST_TURN = 2.0, 35.0  # of a head to the open human's; degrees
NOISE = 0.002  # m, what a standard deviation of identity is weighed against
FAR = 0.02  # m, a surface further away than this is another surface
NEAR = 0.004  # m, shapes carry over fully up to here and fade out towards FAR


@dataclass(frozen=True)
class Overlay:
    """The open human's head laid over a model's head."""

    source: BodyModel  # the open human's head, FLAME format
    target: BodyModel
    warped: F64  # (Vs, 3) m, the source's vertices on the target
    rotation: F64  # (3, 3) scaled, of source displacements to target displacements
    skin: NDArray[np.int64]  # target vertices of skin that lie near the warped head
    face: NDArray[np.int32]  # (n,) for each of `skin` the source triangle it lies on
    bary: F64  # (n, 3)
    fade: F64  # (n,) 1 on the overlay, 0 far from it

    def displacements(self, directions: NDArray) -> F64:
        """Source displacement fields (Vs, 3, K) as seen on the target's `skin` (n, 3, K)."""
        at = np.asarray(directions, np.float64)[self.source.faces[self.face]]
        moved = np.einsum("nc,ncdk->ndk", self.bary, at)
        return np.einsum("ed,ndk->nek", self.rotation, moved) * self.fade[:, None, None]


def overlay(target: BodyModel, source: BodyModel | None = None) -> Overlay:
    """Lay the open human's head over `target`'s. Raises BodyModelError when the two heads do not meet."""
    source = source or body.load(body.OPEN_HUMAN_HEAD)
    skin = _head_skin(target)
    triangles = target.faces[(target.face_part == SKIN) & np.isin(target.faces, skin).all(1)]
    own_skin = np.unique(source.faces[source.face_part == SKIN])
    _check_place(target, _coarse(source, target)[0])
    moving, scale_rotation = _fit_identity(source, target, own_skin, triangles)
    moving = _to_landmarks(source, target, moving)
    for stiffness in STIFFNESS:
        _, goal, weight = _pull(moving, source, own_skin, target.v_template, triangles)
        moving = _smooth_step(source.faces, moving, own_skin, goal, weight, stiffness)
    distance, _, _ = _pull(moving, source, own_skin, target.v_template, triangles)
    if np.median(distance) > NEAR:
        raise BodyModelError(
            f"{target.path}: its head does not fit the open human's (median gap {np.median(distance) * 1e3:.1f} mm); "
            "a human head in metres, y up, z forward is needed"
        )
    return _settle(source, target, moving, scale_rotation, skin)


def complete(target: BodyModel) -> BodyModel:
    """The model with MediaPipe landmarks and irises, taken from the open human where the file has none."""
    if target.landmarks is not None and target.iris is not None:
        return target
    o = overlay(target)
    skin = np.flatnonzero(target.face_part == SKIN)
    eyes = np.flatnonzero(np.isin(target.face_part, (body.LEFT_EYEBALL, body.RIGHT_EYEBALL)))
    landmarks = _carry(o, o.source.landmarks, skin)
    iris = _carry(o, o.source.iris, eyes) if len(eyes) else None
    return dataclasses.replace(target, landmarks=landmarks, iris=iris)


def _carry(o: Overlay, landmarks: Landmarks | None, triangles: NDArray) -> Landmarks | None:
    if landmarks is None:
        return None
    points = landmarks.points(o.warped, o.source.faces)
    normals = vertex_normals(o.warped, o.source.faces)
    facing = landmarks.points(normals, o.source.faces)
    face, bary, distance = closest_points(points, o.target.v_template, o.target.faces[triangles], facing)
    lost = ~np.isfinite(distance)
    if lost.any():
        face[lost], bary[lost], _ = closest_points(points[lost], o.target.v_template, o.target.faces[triangles])
    return Landmarks(triangles[face].astype(np.int32), bary.astype(np.float32))


def _head_skin(model: BodyModel) -> NDArray[np.int64]:
    """Skin vertices that follow the head, the jaw or the neck."""
    columns = [i for i, name in enumerate(model.joint_names) if name in ("neck", "head", "jaw")]
    follows = model.weights[:, columns].sum(1) > 0.5
    skin = np.zeros(len(follows), bool)
    skin[model.faces[model.face_part == SKIN]] = True
    found = np.flatnonzero(follows & skin)
    if len(found) < 100:
        raise BodyModelError(f"{model.path}: only {len(found)} vertices of skin follow its head; is it a face model?")
    return found


def _anchors(model: BodyModel, mediapipe: bool, static: bool) -> F64:
    """(n, 3) points both models have: joints, and the landmarks asked for."""
    rows = [list(model.motion_joints).index(j) for j in ANCHOR_JOINTS]
    points = [model.joints()[rows]]
    for wanted, landmarks in ((mediapipe, model.landmarks), (static, model.landmarks51)):
        if wanted and landmarks is not None:
            points.append(landmarks.points(model.v_template, model.faces))
    return np.concatenate(points).astype(np.float64)


def _common(source: BodyModel, target: BodyModel) -> tuple[bool, bool]:
    mediapipe = source.landmarks is not None and target.landmarks is not None
    return mediapipe, not mediapipe and source.landmarks51 is not None and target.landmarks51 is not None


def _check_place(target: BodyModel, rotation: F64) -> None:
    """Raises BodyModelError for a head of another unit, turned another way, or no head at all."""
    scale = np.cbrt(np.linalg.det(rotation))
    angle = np.degrees(np.arccos(np.clip((np.trace(rotation / scale) - 1) / 2, -1, 1)))
    if not (LARGEST_RATIO**-1 < scale < LARGEST_RATIO and angle < LARGEST_TURN):
        raise BodyModelError(
            f"{target.path}: its head does not fit the open human's ({scale:.2g} times the size, turned {angle:.0f} "
            "degrees); a human head in metres, y up, z forward is needed"
        )


def _fit_identity(source: BodyModel, target: BodyModel, own: NDArray, triangles: NDArray) -> tuple[F64, F64]:
    """The source in the target's place and as alike as its shape space allows: vertices (Vs, 3), scaled rotation."""
    rotation, shift = _coarse(source, target)
    shape = source.shapedirs.astype(np.float64)
    betas = np.zeros(shape.shape[2])
    shared = _shared_landmarks(source, target)
    for _ in range(ROUNDS):
        rest = source.v_template + shape @ betas
        moving = rest @ rotation.T + shift
        _, goal, weight = _pull(moving, source, own, target.v_template, triangles)
        picked = scipy.sparse.csr_matrix((np.ones(len(own)), (np.arange(len(own)), own)), (len(own), len(rest)))
        if shared is not None:  # landmarks weigh as much as all of the surface
            marks, there = shared
            picked = scipy.sparse.vstack([picked, marks])
            goal = np.concatenate([goal, there])
            weight = np.concatenate([weight, np.full(len(there), len(own) / len(there))])
        rotation, shift = similarity(picked @ rest, goal, weight)
        seen = (picked @ (shape.transpose(0, 2, 1) @ rotation.T).reshape(len(rest), -1)).reshape(len(goal), -1, 3)
        jacobian = seen.transpose(0, 2, 1).reshape(-1, len(betas)) / NOISE
        w = np.repeat(weight, 3) / weight.sum() * len(betas)
        left = (goal - (picked @ source.v_template.astype(np.float64)) @ rotation.T - shift).ravel() / NOISE
        betas = np.linalg.solve(jacobian.T @ (w[:, None] * jacobian) + np.eye(len(betas)), jacobian.T @ (w * left))
    return (source.v_template + shape @ betas) @ rotation.T + shift, rotation


def _shared_landmarks(source: BodyModel, target: BodyModel) -> tuple[scipy.sparse.csr_matrix, F64] | None:
    """A matrix that picks the source's landmarks, and where they are on the target; None if no set is shared."""
    mediapipe, static = _common(source, target)
    if not mediapipe and not static:
        return None
    here, there = (m.landmarks if mediapipe else m.landmarks51 for m in (source, target))
    assert here is not None and there is not None
    rows = np.repeat(np.arange(len(here.bary)), 3)
    picked = (here.bary.ravel().astype(np.float64), (rows, source.faces[here.faces_idx].ravel()))
    shape = (len(here.bary), len(source.v_template))
    return scipy.sparse.csr_matrix(picked, shape), there.points(target.v_template.astype(np.float64), target.faces)


def _coarse(source: BodyModel, target: BodyModel) -> tuple[F64, F64]:
    """Scaled rotation and shift by what both models name: eyes, jaw, head, neck, landmarks."""
    which = _common(source, target)
    a, b = _anchors(source, *which), _anchors(target, *which)
    return similarity(a, b, np.ones(len(a)))


def similarity(a: F64, b: F64, weight: F64) -> tuple[F64, F64]:
    """The scaled rotation R and shift t that bring a (n, 3) closest to b: a R^T + t (Umeyama 1991)."""
    w = weight / weight.sum()
    ma, mb = w @ a, w @ b
    u, s, vt = np.linalg.svd((b - mb).T @ ((a - ma) * w[:, None]))
    sign = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    scale = (s * sign).sum() / (w @ ((a - ma) ** 2).sum(1))
    rotation = scale * (u * sign) @ vt
    return rotation, mb - rotation @ ma


def _pull(moving: F64, source: BodyModel, own: NDArray, vertices: NDArray, triangles: NDArray) -> tuple[F64, F64, F64]:
    """For the source's skin: distance to, point on and trust in the target's nearest surface that faces alike."""
    normals = vertex_normals(moving, source.faces)[own]
    face, bary, distance = closest_points(moving[own], vertices, triangles, normals)
    goal = np.einsum("nk,nkd->nd", bary, np.asarray(vertices, np.float64)[triangles[face]])
    weight = np.where(distance < FAR, 1.0, 0.0)
    return (
        np.where(np.isfinite(distance), distance, FAR),
        np.where(weight[:, None] > 0, goal, moving[own]),
        weight + 1e-6,
    )


def _to_landmarks(source: BodyModel, target: BodyModel, moving: F64) -> F64:
    """Bend the source so that shared face landmarks coincide, e.g. upper lip on upper lip."""
    shared = _shared_landmarks(source, target)
    if shared is None:
        return moving
    a, b = shared[0] @ moving, shared[1]
    a, first = np.unique(a.round(7), axis=0, return_index=True)
    return moving + RBFInterpolator(a, b[first] - a, kernel="thin_plate_spline", smoothing=1e-7, degree=1)(moving)


def _smooth_step(faces: NDArray, moving: F64, own: NDArray, goal: F64, weight: F64, stiffness: float) -> F64:
    """Move towards the goals while neighbours move alike: min w |x - goal|^2 + stiffness |L d|^2."""
    V = len(moving)
    i = np.concatenate([faces[:, [0, 1, 2]].ravel(), faces[:, [1, 2, 0]].ravel()])
    j = np.concatenate([faces[:, [1, 2, 0]].ravel(), faces[:, [0, 1, 2]].ravel()])
    adjacency = scipy.sparse.csr_matrix((np.ones(len(i)), (i, j)), (V, V)).astype(bool).astype(float)
    degree = np.asarray(adjacency.sum(1)).ravel()
    laplacian = scipy.sparse.eye(V) - scipy.sparse.diags(1 / np.maximum(degree, 1)) @ adjacency
    pull = np.zeros(V)
    pull[own] = weight
    system = scipy.sparse.diags(pull + 1e-6) + stiffness * laplacian.T @ laplacian
    right = np.zeros((V, 3))
    right[own] = weight[:, None] * (goal - moving[own])
    return moving + scipy.sparse.linalg.splu(system.tocsc()).solve(right)


def _settle(source: BodyModel, target: BodyModel, warped: F64, rotation: F64, skin: NDArray) -> Overlay:
    """Find the target's skin on the warped source."""
    own = np.flatnonzero(source.face_part == SKIN)
    normals = vertex_normals(target.v_template, target.faces)[skin]
    face, bary, distance = closest_points(target.v_template[skin], warped, source.faces[own], normals)
    near = distance < FAR
    fade = np.clip((FAR - distance[near]) / (FAR - NEAR), 0, 1)
    return Overlay(source, target, warped, rotation, skin[near], own[face[near]].astype(np.int32), bary[near], fade)
