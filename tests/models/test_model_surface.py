"""Closest points on triangles, the overlay's similarity fit, and the joint regressor's weights."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.motion import matrix_from_axis_angle
from models.open_human.joints import mean_weights
from models.surface import closest_points, triangle_normals, vertex_normals
from models.transfer import similarity


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_closest_points_beat_every_other_point_of_the_mesh(seed: int):
    rng = np.random.default_rng(seed)
    vertices, faces = rng.normal(size=(12, 3)), rng.integers(0, 12, (15, 3))
    faces = faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 0] != faces[:, 2])]
    points = rng.normal(size=(6, 3)) * 1.5
    face, bary, distance = closest_points(points, vertices, faces)
    on = np.einsum("nk,nkd->nd", bary, vertices[faces[face]])
    np.testing.assert_allclose(np.linalg.norm(on - points, axis=1), distance, atol=1e-9)
    np.testing.assert_allclose(bary.sum(1), 1, atol=1e-9)
    assert bary.min() > -1e-9
    others = np.einsum("sk,fkd->fsd", rng.dirichlet([0.5] * 3, 400), vertices[faces]).reshape(-1, 3)
    assert (np.linalg.norm(others[None] - points[:, None], axis=2).min(1) >= distance - 1e-9).all()


def test_normals_choose_the_side_that_faces_alike():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [0, 1, 1.0]])
    faces = np.array([[0, 1, 2], [3, 5, 4]])  # the lower one faces up, the upper one down
    np.testing.assert_allclose(triangle_normals(vertices, faces), [[0, 0, 1], [0, 0, -1]])
    np.testing.assert_allclose(vertex_normals(vertices, faces)[0], [0, 0, 1])
    point = np.array([[0.2, 0.2, 0.9]])
    assert closest_points(point, vertices, faces)[0][0] == 1
    assert closest_points(point, vertices, faces, np.array([[0, 0, 1.0]]))[0][0] == 0
    face, _, distance = closest_points(point, vertices, faces[:1], np.array([[0, 0, -1.0]]))
    assert face[0] == -1 and np.isinf(distance[0])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.5, 2))
def test_similarity_finds_scale_turn_and_shift(seed: int, scale: float):
    rng = np.random.default_rng(seed)
    turn, shift = scale * matrix_from_axis_angle(rng.normal(size=3)), rng.normal(size=3)
    a = rng.normal(size=(20, 3))
    found, offset = similarity(a, a @ turn.T + shift, rng.uniform(0.1, 1, 20))
    np.testing.assert_allclose(found, turn, atol=1e-9)
    np.testing.assert_allclose(offset, shift, atol=1e-9)


def test_joint_weights_are_a_mean_that_hits_the_joint():
    rng = np.random.default_rng(0)
    ring = rng.normal(size=(60, 3)) * [0.05, 0.01, 0.05]
    joint = np.array([0.01, 0.001, -0.005])
    weights = mean_weights(ring, joint)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(), 1)
    np.testing.assert_allclose(ring.T @ weights, joint, atol=2e-5)
    assert (weights > 0.2 / 60).mean() > 0.7, "as even as that allows"
