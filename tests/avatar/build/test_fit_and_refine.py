"""The fitter's derivatives, and that it finds what a synthetic person was made of."""

from __future__ import annotations

import numpy as np
import pytest

from avatar.build import anatomy, fit
from avatar.build.kinematics import Anchors, left_jacobian
from avatar.build.landmarks import NET_BIAS
from avatar.build.refine import preconditioned_cg, umbrella
from models import body
from models.motion import matrix_from_axis_angle
from models.skinning import Poser
from models.tracking import Face


@pytest.fixture(scope="module")
def model() -> body.BodyModel:
    return body.load()


def numeric(f, x, step=1e-6):  # type: ignore[no-untyped-def]
    columns = [(f(x + step * e) - f(x - step * e)) / (2 * step) for e in np.eye(len(x))]
    return np.stack(columns, -1)


def test_left_jacobian_is_the_derivative_of_a_rotation() -> None:
    r = np.array([0.3, -0.8, 0.5])
    d = numeric(lambda x: matrix_from_axis_angle(x), r)
    for a in range(3):
        omega = d[:, :, a] @ matrix_from_axis_angle(r).T  # skew matrix of the angular velocity
        assert np.allclose([omega[2, 1], omega[0, 2], omega[1, 0]], left_jacobian(r)[:, a], atol=1e-6)


@pytest.mark.parametrize("kind", ["model", "mesh"])
def test_anchors_and_their_derivatives(model: body.BodyModel, kind: str) -> None:
    rng = np.random.default_rng(1)
    ids = rng.choice(len(model.v_template), 40, replace=False)
    betas = 5 if kind == "model" else 0
    if kind == "model":
        a = Anchors.of_model(model, ids, fit.POSED, betas)
    else:
        a = Anchors.of_mesh(model.skinned(), ids, fit.POSED)
    x = rng.normal(size=sum(a.sizes)) * 0.2
    p = a(x, derivatives=True)
    assert p.d_vertices is not None and p.d_joints is not None
    assert np.allclose(p.d_vertices, numeric(lambda y: a(y).vertices, x), atol=2e-5)
    assert np.allclose(p.d_joints, numeric(lambda y: a(y).joints, x), atol=2e-5)
    translation, pose, b, e = a.split(x)
    posed = Poser(model.skinned(b))(pose.astype(np.float32), e.astype(np.float32), translation.astype(np.float32))
    assert np.abs(posed[ids] - p.vertices).max() < 2e-4


def synthetic_face(model: body.BodyModel, camera, truth) -> Face:  # type: ignore[no-untyped-def]
    translation, pose, betas, expression = truth
    f = np.float32
    v = Poser(model.skinned(betas))(np.asarray(pose, f), np.asarray(expression, f), np.asarray(translation, f))
    assert model.landmarks is not None
    p = camera.project(model.landmarks.points(v.astype(np.float64), model.faces))
    depth = (p[:, 2] - p[:, 2].mean()) * camera.focal / p[:, 2].mean()
    landmarks = np.concatenate([np.column_stack([p[:, :2], depth]), np.zeros((10, 3))]).astype(np.float32)
    matrix = np.eye(4, dtype=np.float32)
    matrix[:3, :3] = matrix_from_axis_angle(pose[12] + pose[15])
    width = np.linalg.norm(landmarks[234] - landmarks[454])
    landmarks[:468, :2] += NET_BIAS @ matrix[:2, :2].T * width * [1, -1]  # as the net would see it
    return Face(landmarks, np.zeros(52, np.float32), matrix)


def test_the_fit_finds_a_synthetic_person(model: body.BodyModel) -> None:
    camera = fit.photo_camera(512, 512)
    pose = np.zeros((55, 3))
    pose[15], pose[12], pose[22] = (0.05, 0.25, 0.03), (0.02, 0.1, 0), (0.12, 0, 0)
    rng = np.random.default_rng(2)
    expression = np.zeros(len(model.expression_names))
    expression[[model.expression_names.index(f"mouthSmile{s}") for s in ("Left", "Right")]] = 0.6
    betas = np.zeros(fit.BETAS)
    betas[:10] = rng.normal(size=10) * 0.7
    face = synthetic_face(model, camera, ((0.05, -0.35, -0.75), pose, betas, expression))
    f = fit.fit(model, camera, face, None)
    assert f.error.mean() < 0.004 * f.face_width
    R = lambda p: matrix_from_axis_angle(p[[0, 12, 15]])  # noqa: E731
    found, true = (m[0] @ m[1] @ m[2] for m in (R(f.pose), R(pose)))
    off = np.degrees(np.arccos((np.trace(found.T @ true) - 1) / 2))
    assert off < 5
    assert 0.04 < f.pose[22, 0] < 0.25
    assert np.abs(f.betas).max() < 4


def test_the_nets_bias_is_even_and_small_and_comes_off() -> None:
    left, right = 263, 33  # outer corners of the eyes
    assert NET_BIAS.shape == (468, 2) and np.linalg.norm(NET_BIAS, axis=1).max() < 0.08
    assert NET_BIAS[left] == pytest.approx(NET_BIAS[right] * [-1, 1], abs=1e-6)
    seen = np.zeros((478, 3), np.float32)
    seen[234, 0], seen[454, 0] = 0, 100
    face = Face(seen, np.zeros(52, np.float32), np.eye(4, dtype=np.float32))
    way = fit.unbiased(face).landmarks[:, :2] - seen[:, :2]
    assert way[:468] == pytest.approx(NET_BIAS * [-100, 100], abs=1e-3)
    assert np.abs(way[468:]).max() == 0


def test_least_squares_stays_in_its_box() -> None:
    target = np.array([2.0, -3.0, 0.5])
    x, cost = fit.levenberg_marquardt(
        lambda x: (x - target, np.eye(3)), np.zeros(3), np.ones(3, bool), np.full(3, -1.0), np.full(3, 1.0), 20
    )
    assert np.allclose(x, [1, -1, 0.5], atol=1e-4) and cost == pytest.approx(1 + 4, rel=1e-3)


def test_conjugate_gradients_solve_a_changed_system() -> None:
    rng = np.random.default_rng(3)
    M = rng.normal(size=(30, 30))
    A = M @ M.T + 30 * np.eye(30)
    inverse = np.linalg.inv(A)
    changed = A + np.diag(np.where(np.arange(30) < 4, 50.0, 0.0))
    b = rng.normal(size=(30, 2))
    x = preconditioned_cg(lambda v: changed @ v, b, inverse @ b, lambda v: inverse @ v, 30, 1e-8)
    assert np.allclose(changed @ x, b, atol=1e-6)


def test_the_umbrella_of_a_plane_is_flat_inside() -> None:
    y, x = np.mgrid[0:5, 0:5]
    i = np.arange(25).reshape(5, 5)
    q = np.stack([i[:-1, :-1], i[:-1, 1:], i[1:, 1:], i[1:, :-1]], -1).reshape(-1, 4)
    faces = np.concatenate([q[:, [0, 1, 2]], q[:, [0, 2, 3]]])
    L = umbrella(faces, 25)
    assert np.allclose((L @ np.stack([x.ravel(), y.ravel()], 1))[i[1:-1, 1:-1].ravel()], 0)


def test_lid_skin_is_found_before_both_eyeballs(model: body.BodyModel) -> None:
    a = anatomy.of(model)
    left, right = a.over_eyeball("Left")[0], a.over_eyeball("Right")[0]
    assert len(left) > 50 and abs(len(left) - len(right)) < 0.1 * len(left)
    assert model.v_template[left, 0].min() > 0 > model.v_template[right, 0].max()
