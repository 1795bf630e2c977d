"""Lips: a round opening instead of the model's pointed one, and how thick a wide open mouth's lips are when closed."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as sl
from numpy.typing import NDArray

from avatar.build import anatomy, teeth
from avatar.build.kinematics import F64
from avatar.build.landmarks import LIP_CORNERS, LIPS_OUTER
from avatar.build.observe import Observation
from avatar.build.refine import umbrella
from models.body import BodyModel
from models.expression import JAW_OPEN
from models.motion import JAW
from models.skinning import Poser

RADIUS = 0.055  # m around the lips that a correction may move
SEALED, MEET, SMOOTH, FIRM = 100.0, 30.0, 3.0, 0.003  # weights of rows, of smoothness, of staying
LOWER = ((95, 146), (88, 91), (178, 181), (87, 84), (14, 17), (317, 314), (402, 405), (318, 321), (324, 375))
UPPER = ((191, 185), (80, 40), (81, 39), (82, 37), (13, 0), (312, 267), (311, 269), (310, 270), (415, 409))
BELOW = ((146, 43), (91, 106), (181, 182), (84, 83), (17, 18), (314, 313), (405, 406), (321, 335), (375, 273))
LOW_RIM = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
ROUND = 0.7  # of the way from the model's opening to half an ellipse
ROUNDED = (("mouthFunnel", 0.8),)  # expressions that point the opening too, and the value at which that is judged
JAW_SINE = 9 * (JAW - 1) + 7  # of R - I, flattened: sin of the jaw's turn
MIDDLES = ((82, 13, 312), (87, 14, 317))  # of the upper and the lower inner rim
MIDDLE = 0.15  # of the corners' rise, that of a smiling mouth's middle
OPEN_FROM, OPEN_TO = 0.03, 0.12  # of the face's width between the lips: how far their thickness is doubted
LOWER_TO_UPPER, LEAST_UPPER = 1.35, 0.005  # thickness of closed lips; m
PARTED = 0.02  # of the face's width
SAME_COLOUR = np.array([10.0, 6.0, 6.0])  # CIE Lab


def closed_if_they_look_it(o: Observation) -> Observation:
    """The observation with its inner lip landmarks joined where these stand apart but the photo shows lip between them:
    on small or soft faces the tracker sees an open mouth in a shadow."""
    if teeth.lip_gap(o) < PARTED or teeth.teeth_pixels(o) is not None:
        return o
    inside, lab, lip = teeth.inside_and_lips(o)
    if not inside.any() or (np.abs(np.median(lab[inside], 0) - lip) > SAME_COLOUR).any():
        return o
    landmarks = o.face.landmarks.copy()
    for (u, _), (l, _) in zip(UPPER, LOWER, strict=True):
        landmarks[[u, l]] = landmarks[[u, l]].mean(0)
    return replace(o, person=replace(o.person, face=replace(o.face, landmarks=landmarks)))


def keep_shut(model: BodyModel, rest: F64, directions: F64, names: Sequence[str]) -> None:
    """Make expressions, such as a smile, move the inner rims of the lips together; in place, (V, 3, E) m.

    The lips are sealed in the neutral face. Without this, taking away the smile it holds would part them again. Nor do
    the lips' middles follow their corners up by more than MIDDLE: the model's smile lifts a closed mouth over the
    teeth, and a raised upper lip would bare gums alone."""
    B = anatomy.of(model).landmark_matrix()
    inner = (B[[u for u, _ in UPPER]] - B[[l for l, _ in LOWER]]).tocsr()
    columns = [model.expression_names.index(name) for name in names]
    now = directions[:, :, columns]
    apart = np.einsum("nv,vce->nce", inner.toarray(), now)
    middle = (B[list(MIDDLES[0])] + B[list(MIDDLES[1])]) / 2
    lift = np.einsum("nv,vce->nce", middle.toarray(), now)
    most = MIDDLE * np.einsum("nv,ve->ne", B[list(LIP_CORNERS)].toarray(), now[:, 1]).mean(0)
    lower = np.zeros_like(lift)
    lower[:, 1] = np.minimum(np.maximum(most, 0) - lift[:, 1], 0)
    rows = sp.vstack([inner, middle]).tocsr()
    weight = np.repeat([SEALED, MEET], [len(UPPER), len(MIDDLES[0])])
    target = np.concatenate([-apart, lower]).reshape(rows.shape[0], -1)
    moved = displacement(model, rest, rows, target, weight, region(model, rest))
    directions[:, :, columns] += moved.reshape(len(rest), 3, -1)


def displacement(
    model: BodyModel, vertices: F64, rows: sp.csr_matrix, target: F64, weight: NDArray, region: NDArray
) -> F64:
    """(V, c) displacement, zero outside `region`: rows (n, V) @ displacement -> target (n, c), smooth between."""
    V = len(vertices)
    grown = np.zeros(V, bool)
    grown[region] = True
    faces = model.faces[grown[model.faces].any(1)]
    ids = np.unique(faces)
    local = np.full(V, -1)
    local[ids] = np.arange(len(ids))
    L = umbrella(local[faces], len(ids))[:, local[region]]
    R = rows[:, region]
    N = SMOOTH * (L.T @ L) + FIRM * sp.eye(len(region)) + R.T @ sp.diags(weight) @ R
    out = np.zeros((V, target.shape[1]))
    out[region] = sl.splu(N.tocsc()).solve(R.T @ (weight[:, None] * target))
    return out


def region(model: BodyModel, vertices: F64) -> NDArray[np.int64]:
    a = anatomy.of(model)
    centre = (a.landmark_matrix()[list(LIPS_OUTER)] @ vertices).mean(0)
    return np.flatnonzero((np.linalg.norm(vertices - centre, axis=1) < RADIUS) & a.skin & (a.head > 0.5))


@functools.lru_cache(maxsize=2)
def rounded(model: BodyModel) -> BodyModel:
    """The model with a lower lip that hangs in a curve when jaw or lips open; the model's hangs from three points.

    A model without the jaw's corrective or ARKit's shapes is returned as it is.
    """
    column = np.flatnonzero(model.pose_feature == JAW_SINE)
    if not model.is_arkit or model.landmarks is None or not len(column):
        return model
    pose = np.zeros((len(model.joint_names), 3), np.float32)
    pose[JAW, 0] = JAW_OPEN
    posedirs = np.asarray(model.posedirs, np.float32).copy()
    posedirs[:, :, column[0]] += _rounding(model, pose, {}) / np.sin(JAW_OPEN)
    directions = model.expression_dirs.copy()
    for name, value in ROUNDED:
        directions[:, :, model.expression_names.index(name)] += _rounding(model, 0 * pose, {name: value}) / value
    return replace(model, posedirs=posedirs, expression_dirs=directions)


def _rounding(model: BodyModel, pose: NDArray, face: dict[str, float]) -> F64:
    """(V, 3) what the lower lip must move for its rim to be round in this pose and expression."""
    expression = np.zeros(len(model.expression_names), np.float32)
    for name, value in face.items():
        expression[model.expression_names.index(name)] = value
    posed = Poser(model.skinned())(pose, expression, np.zeros(3, np.float32)).astype(np.float64)
    B = anatomy.of(model).landmark_matrix()
    rim = B[list(LOW_RIM)] @ posed
    corners = B[list(LIP_CORNERS)] @ posed
    level = corners[:, 1].mean()
    deepest = rim[:, 1].min() - level
    across = np.abs(rim[:, 0] / (np.ptp(corners[:, 0]) / 2)).clip(0, 1)
    drop = ROUND * (deepest * np.sqrt(1 - across**2) - (rim[:, 1] - level))
    drop[[0, -1]] = 0
    inner = [i for i in LOW_RIM[1:-1]]
    outer = [o for i in inner for n, o in LOWER if n == i]
    rows = sp.vstack([B[inner], B[outer], B[list(LIP_CORNERS)], B[[u for u, _ in UPPER]]]).tocsr()
    target = np.zeros((rows.shape[0], 3))
    target[: 2 * len(inner), 1] = np.concatenate([drop[1:-1], drop[1:-1]])
    rest = model.v_template.astype(np.float64)
    return displacement(model, rest, rows, target, np.full(len(target), MEET), region(model, rest))


def seal(model: BodyModel, rest: F64, posed: F64, opening: float) -> F64:
    """(V, 3) the correction that makes the inner rims of the lips meet and keeps the lips as thick as they are.

    rest (V, 3) m has the neutral's expression; posed (V, 3) m is the photo's. With an opening (of the face's width)
    the lower lip's depth is a guess, and with it its height once the jaw has closed: then neither the lip nor the skin
    below may become higher than they are in the picture, nor the lip thicker than goes with the upper one.
    """
    B = anatomy.of(model).landmark_matrix()
    span = lambda pairs: (B[[o for _, o in pairs]] - B[[i for i, _ in pairs]]).tocsr()  # noqa: E731
    inner = (B[[u for u, _ in UPPER]] - B[[l for l, _ in LOWER]]).tocsr()
    size = lambda rows, v: np.linalg.norm(rows @ v, axis=1)  # noqa: E731
    lower, upper, below = span(LOWER), span(UPPER), span(BELOW)
    corners = span((LIP_CORNERS,))
    usual = size(corners, rest) / size(corners, model.v_template)
    drawn = posed[:, :2]
    doubt = np.clip((opening - OPEN_FROM) / (OPEN_TO - OPEN_FROM), 0, 1)
    most_lower = np.minimum(size(lower, drawn), LOWER_TO_UPPER * np.maximum(size(upper, rest), LEAST_UPPER))
    most = np.concatenate([most_lower, usual * size(upper, model.v_template), size(below, drawn)])
    thick = sp.vstack([lower, upper, below]).tocsr()
    now = thick @ rest
    scale = np.minimum(most / np.linalg.norm(now, axis=1), 1) ** doubt
    rows = sp.vstack([inner, thick]).tocsr()
    target = np.concatenate([-(inner @ rest), (scale - 1)[:, None] * now])
    weight = np.full(len(target), MEET * doubt)
    weight[: len(LOWER)] = SEALED
    return displacement(model, rest, rows, target, weight, region(model, rest))
