"""The skinning kernels against the equations of SMPL written out plainly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.motion import matrix_from_axis_angle
from models.skinning import Poser, SkinnedMesh, SparseDirections


def random_mesh(seed: int, V: int = 40, J: int = 6, E: int = 5) -> tuple[SkinnedMesh, dict]:
    rng = np.random.default_rng(seed)
    parents = np.array([-1, *(rng.integers(0, j) for j in range(1, J))], np.int32)
    weights = np.zeros((V, J))
    for row in weights:
        row[rng.choice(J, 3, replace=False)] = rng.dirichlet(np.ones(3))
    index = np.argsort(-weights, axis=1)[:, :4]
    dense = {
        "weights": weights,
        "expression": rng.normal(0, 0.01, (V, 3, E)) * (rng.random((V, 1, E)) < 0.3),
        "posedirs": rng.normal(0, 0.01, (V, 3, 9 * (J - 1))),
    }
    mesh = SkinnedMesh(
        rng.normal(0, 0.3, (V, 3)).astype(np.float32),
        np.zeros((0, 3), np.int32),
        rng.normal(0, 0.3, (J, 3)).astype(np.float32),
        parents,
        index.astype(np.uint8),
        np.take_along_axis(weights, index, 1).astype(np.float32),
        SparseDirections.from_dense(dense["expression"]),
        np.arange(9 * (J - 1), dtype=np.int32),
        SparseDirections.from_dense(dense["posedirs"]),
    )
    return mesh, dense


def smpl(
    mesh: SkinnedMesh, dense: dict, pose: np.ndarray, expression: np.ndarray, translation: np.ndarray
) -> np.ndarray:
    """Loper et al. 2015, equations 2 to 10, vertex by vertex."""
    local = matrix_from_axis_angle(pose)
    world = np.zeros((len(pose), 4, 4))
    for j, p in enumerate(mesh.parents):
        step = np.eye(4)
        step[:3, :3], step[:3, 3] = local[j], mesh.joints[j] - (mesh.joints[p] if p >= 0 else 0)
        world[j] = step if p < 0 else world[p] @ step
    feature = (local[1:] - np.eye(3)).ravel()
    rest = mesh.vertices + dense["expression"] @ expression + dense["posedirs"] @ feature
    out = np.zeros_like(rest)
    for v, point in enumerate(rest):
        for j, w in enumerate(dense["weights"][v]):
            out[v] += w * (world[j][:3, :3] @ (point - mesh.joints[j]) + world[j][:3, 3])
    return out + translation


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 3.1))
def test_posing_is_smpls_equations(seed: int, angle: float):
    mesh, dense = random_mesh(seed)
    rng = np.random.default_rng(seed)
    pose = rng.normal(size=(6, 3))
    pose = (pose / np.linalg.norm(pose, axis=1, keepdims=True) * angle).astype(np.float32)
    expression, translation = rng.normal(size=5).astype(np.float32), rng.normal(size=3).astype(np.float32)
    posed = Poser(mesh)(pose, expression, translation)
    np.testing.assert_allclose(posed, smpl(mesh, dense, pose, expression, translation), atol=5e-6)


def test_the_rest_pose_changes_nothing():
    mesh, _ = random_mesh(1)
    posed = Poser(mesh)(np.zeros((6, 3), np.float32), np.zeros(5, np.float32), np.zeros(3, np.float32))
    np.testing.assert_allclose(posed, mesh.vertices, atol=1e-7)


def test_a_turn_of_the_root_turns_everything_rigidly():
    mesh, _ = random_mesh(2)
    pose = np.zeros((6, 3), np.float32)
    pose[0] = [0.3, -1.1, 0.4]
    posed = Poser(mesh)(pose, np.zeros(5, np.float32), np.zeros(3, np.float32))
    R = matrix_from_axis_angle(pose[0])
    np.testing.assert_allclose(posed, (mesh.vertices - mesh.joints[0]) @ R.T + mesh.joints[0], atol=1e-6)


def test_extra_directions_and_an_own_buffer():
    mesh, _ = random_mesh(3)
    offset = np.full((40, 3, 1), 0.01, np.float32)
    poser = Poser(mesh)
    still = (np.zeros((6, 3), np.float32), np.zeros(5, np.float32), np.zeros(3, np.float32))
    own = np.empty_like(mesh.vertices)
    moved = poser(*still, (np.full(1, 2, np.float32), SparseDirections.from_dense(offset)), out=own)
    assert moved is own
    np.testing.assert_allclose(own, mesh.vertices + 0.02, atol=1e-6)
    assert poser(*still) is poser(*still), "without a buffer it reuses its own"


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 6), st.integers(1, 30))
def test_sparse_directions_round_trip(seed: int, count: int, vertices: int):
    rng = np.random.default_rng(seed)
    dense = (rng.normal(size=(vertices, 3, count)) * (rng.random((vertices, 1, count)) < 0.4)).astype(np.float32)
    sparse = SparseDirections.from_dense(dense)
    assert sparse.count == count
    np.testing.assert_array_equal(sparse.to_dense(vertices), dense)


def test_displacements_under_epsilon_are_dropped():
    dense = np.zeros((4, 3, 1), np.float32)
    dense[1, 0, 0], dense[2, 1, 0] = 5e-7, 2e-6
    assert SparseDirections.from_dense(dense).vertex.tolist() == [2]
    assert SparseDirections.from_dense(dense, epsilon=0).vertex.tolist() == [1, 2]
    with pytest.raises(IndexError):
        SparseDirections.from_dense(np.zeros((4, 3)))
