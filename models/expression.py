"""ARKit's 52 coefficients on a face model: expression, jaw and eye rotations per coefficient, and the way back.

The open human carries ARKit's own shapes, so its map is exact: jawOpen turns the jaw joint (its expression direction
stays unused, or the mouth would open twice), eyeLook* turn the eyeballs while the lids follow in the expression. For a
SMPL-X or FLAME file with components of its own, the open human's shapes are laid over its head and fitted by ridge
regression.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models import body as bodies
from models import transfer
from models.body import BodyModel
from models.motion import ARKIT, N_ARKIT, A
from models.skinning import F32, Poser

JAW_OPEN = 0.3613  # rad about x at jawOpen = 1: the turn of the lower teeth in the artist's shape
# rad at 1. MediaPipe's irises move 5.8 mm sideways per unit (228 glances in six videos): .5 rad on a real eye, .37 on
# the open human's large eyeballs (radius 16 mm), which is what a viewer sees
EYE_LOOK = {"Up": 0.3, "Down": 0.3, "In": 0.4, "Out": 0.4}
RIDGE = 1e-3  # of the mean energy of an expression component
JAW_RIDGE = 1e-2  # of the jaw's: it turns rather than the expression imitates it
SWEEPS = 300  # of coordinate descent in the way back


@dataclass(frozen=True)
class FaceMap:
    """ARKit coefficients -> a face model: x = coefficients @ matrix."""

    expression: F32  # (52, E)
    jaw: F32  # (52, 3) rad
    eyes: F32  # (52, 6) rad, left then right


@functools.lru_cache(maxsize=4)
def face_map(body: BodyModel) -> FaceMap:
    """The map of ARKit coefficients onto a body model; a few seconds for a model without ARKit's shapes.

    Raises BodyModelError when the model has no expressions or its head does not fit the open human's.
    """
    if body.expression_dirs.shape[2] == 0:
        raise bodies.BodyModelError(f"{body.path}: has no expression directions, so it cannot show a face")
    if body.is_arkit:
        expression = np.zeros((N_ARKIT, len(body.expression_names)), np.float32)
        for e, name in enumerate(body.expression_names):
            if name in A and name != "jawOpen":
                expression[A[name], e] = 1
        jaw = np.zeros((N_ARKIT, 3), np.float32)
        jaw[A["jawOpen"], 0] = JAW_OPEN
    else:
        expression, jaw = _fitted(body)
    return FaceMap(expression, jaw, eye_turns())


def eye_turns() -> F32:
    """(52, 6) axis-angle of the left and the right eye per coefficient; in every model y is up and z ahead."""
    eyes = np.zeros((N_ARKIT, 6), np.float32)
    for name in ARKIT:
        if name.startswith("eyeLook"):
            side = 0 if name.endswith("Left") else 1
            way = name.removeprefix("eyeLook").removesuffix("Left").removesuffix("Right")
            axis = 0 if way in ("Up", "Down") else 1
            sign = {"Up": -1, "Down": 1, "Out": 1 - 2 * side, "In": 2 * side - 1}[way]
            eyes[A[name], 3 * side + axis] = sign * EYE_LOOK[way]
    return eyes


def to_arkit(
    body: BodyModel,
    expression: NDArray,  # (T, E)
    jaw: NDArray,  # (T, 3) axis-angle of the jaw joint
    eyes: NDArray,  # (T, 6) axis-angle of the left and right eye
) -> F32:
    """(T, 52) coefficients in 0..1 whose face is closest to a track recorded in the model's own parameters.

    Bounded least squares over the vertices' motion; where the components are ARKit's, over the coefficients.
    """
    m = face_map(body)
    gram = _gram(body)
    face = np.concatenate([m.expression, m.jaw], axis=1).astype(np.float64)
    gaze = m.eyes.astype(np.float64)
    wanted = np.concatenate([expression, jaw], axis=1).astype(np.float64)
    per_radian = gram[-3, -3]  # the jaw's lever, so that both parts weigh alike
    hessian = face @ gram @ face.T + per_radian * gaze @ gaze.T
    right = wanted @ gram @ face.T + per_radian * np.asarray(eyes, np.float64) @ gaze.T
    return _bounded(hessian + 1e-6 * np.trace(hessian) / N_ARKIT * np.eye(N_ARKIT), right)


def _bounded(hessian: NDArray, right: NDArray) -> F32:
    """argmin x H x / 2 - b x over 0 <= x <= 1 for each row b of `right` (T, 52), by coordinate descent."""
    x = np.zeros_like(right)
    for _ in range(SWEEPS):
        before = x.copy()
        for k in range(len(hessian)):
            x[:, k] = np.clip(x[:, k] + (right[:, k] - x @ hessian[:, k]) / hessian[k, k], 0, 1)
        if np.abs(x - before).max(initial=0) < 1e-5:
            break
    return x.astype(np.float32)


@functools.lru_cache(maxsize=4)
def _gram(body: BodyModel) -> NDArray[np.float64]:
    """(E + 3, E + 3) how alike two parameters' faces are: expression components, then jaw turns about x, y and z."""
    E = body.expression_dirs.shape[2]
    if body.is_arkit:
        return np.diag(np.concatenate([np.ones(E), np.full(3, JAW_OPEN**-2)]))
    basis = np.concatenate([body.expression_dirs, _jaw_turns(body)], axis=2).reshape(-1, E + 3).astype(np.float64)
    return basis.T @ basis


def _jaw_turns(body: BodyModel) -> NDArray[np.float64]:
    """(V, 3, 3) m per rad: how the mesh moves with the jaw's turn about each axis, taken at JAW_OPEN."""
    poser = Poser(body.skinned())
    J, E = len(body.joint_names), body.expression_dirs.shape[2]
    jaw = body.joint_names.index("jaw")
    still, nothing = np.zeros(E, np.float32), np.zeros(3, np.float32)
    moved = []
    for axis in range(3):
        pose = np.zeros((J, 3), np.float32)
        pose[jaw, axis] = JAW_OPEN
        moved.append((poser(pose, still, nothing).astype(np.float64) - body.v_template) / JAW_OPEN)
    return np.stack(moved, axis=2)


def _fitted(body: BodyModel) -> tuple[F32, F32]:
    """Expression (52, E) and jaw (52, 3) that imitate the open human's shapes on this model's head."""
    o = transfer.overlay(body)
    order = [o.source.expression_names.index(name) for name in ARKIT]
    wanted = o.displacements(o.source.expression_dirs[:, :, order]).reshape(-1, N_ARKIT)
    E = body.expression_dirs.shape[2]
    basis = (
        np.concatenate([body.expression_dirs, _jaw_turns(body)], axis=2)[o.skin].reshape(-1, E + 3).astype(np.float64)
    )
    gram, right = basis.T @ basis, basis.T @ wanted
    energy = np.diag(gram)
    ridge = np.concatenate([np.full(E, RIDGE * energy[:E].mean()), np.full(3, RIDGE * JAW_RIDGE * energy[E:].mean())])
    with_jaw = np.linalg.solve(gram + np.diag(ridge), right)
    without = np.linalg.solve((gram + np.diag(ridge))[:E, :E], right[:E])
    opens = np.array([name.startswith("jaw") for name in ARKIT])
    expression = np.where(opens, with_jaw[:E], without)
    jaw = np.where(opens, with_jaw[E:], 0.0)
    return expression.T.astype(np.float32), jaw.T.astype(np.float32)
