"""Motion on disk and in time, and the arithmetic of rotations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from models.motion import (
    ARKIT,
    FACE_GROUP,
    GROUP,
    GROUPS,
    JAW,
    JOINT,
    JOINT_GROUP,
    JOINTS,
    N_ARKIT,
    N_JOINTS,
    Motion,
    MotionTrack,
    axis_angle_from_matrix,
    compose_rotations,
    interpolate_rotations,
    matrix_from_axis_angle,
)  # fmt: skip

turns = arrays(np.float64, (5, 3), elements=st.floats(-3, 3))


def random_track(seed: int, length: int, expression: int | None = None) -> MotionTrack:
    rng = np.random.default_rng(seed)
    f = lambda *shape: np.asarray(rng.uniform(-1, 1, shape), np.float32)  # noqa: E731
    own = None if expression is None else f(length, expression)
    time = np.cumsum(rng.uniform(0.01, 0.05, length))
    weight = abs(f(length, len(GROUPS)))
    pose, face = f(length, N_JOINTS, 3), abs(f(length, N_ARKIT))
    return MotionTrack(time, pose, face, f(length, 3), weight, own, "" if own is None else "ab" * 32)


def test_the_names_are_those_of_the_formats():
    assert len(JOINTS) == N_JOINTS == 55 and len(set(JOINTS)) == 55
    assert len(ARKIT) == N_ARKIT == 52 and sorted(ARKIT) == list(ARKIT)
    assert (JOINT["pelvis"], JOINT["head"], JAW, JOINT["left_index1"], JOINT["right_thumb3"]) == (0, 15, 22, 25, 54)


def test_every_joint_and_coefficient_has_its_group():
    group = lambda name: GROUPS[JOINT_GROUP[JOINT[name]]]  # noqa: E731
    assert [group(n) for n in ("pelvis", "neck", "head", "jaw", "left_wrist", "right_thumb1")] == [
        "torso", "head", "head", "mouth", "arms", "hands",
    ]  # fmt: skip
    face = {name: GROUPS[g] for name, g in zip(ARKIT, FACE_GROUP)}
    assert face["eyeLookInLeft"] == "gaze" and face["eyeBlinkRight"] == "lids" and face["browInnerUp"] == "brows"
    assert face["jawOpen"] == face["cheekPuff"] == face["tongueOut"] == "mouth"


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.sampled_from([None, 1, 50]))
def test_a_track_survives_the_disk(tmp_path_factory, seed: int, length: int, expression: int | None):
    track = random_track(seed, length, expression)
    path = tmp_path_factory.mktemp("motion") / "m.npz"
    track.save(path)
    back = MotionTrack.load(path)
    np.testing.assert_array_equal(back.time, track.time)
    for name in ("pose", "face", "translation", "weight"):
        np.testing.assert_array_equal(getattr(back, name), getattr(track, name))
    assert back.face_model == track.face_model
    if expression is None:
        assert back.expression is None
    else:
        np.testing.assert_array_equal(back.expression, track.expression)
    assert [p.name for p in path.parent.iterdir()] == ["m.npz"], "no temporary file stays"


def test_a_failed_save_leaves_nothing(tmp_path: Path):
    track = random_track(0, 3)

    class Unwritable(np.ndarray):
        def __reduce_ex__(self, protocol):
            raise RuntimeError("no")

    track.face = np.empty(3, object).view(Unwritable)  # type: ignore[assignment]
    with pytest.raises(RuntimeError):
        track.save(tmp_path / "m.npz")
    assert list(tmp_path.iterdir()) == []


def test_any_npz_with_smplx_names_is_a_motion(tmp_path: Path):
    path = tmp_path / "amass.npz"
    np.savez(path, body_pose=np.full((4, 63), 0.1), jaw_pose=np.zeros((4, 3)), fps=np.array(50.0))
    track = MotionTrack.load(path)
    np.testing.assert_allclose(track.time, [0, 0.02, 0.04, 0.06])
    assert track.pose[0, 1, 0] == np.float32(0.1) and (track.pose[:, 0] == 0).all()
    assert (track.weight[:, [GROUP["arms"], GROUP["mouth"]]] == 1).all()
    assert (track.weight[:, [GROUP["hands"], GROUP["lids"]]] == 0).all(), "what is not in the file says nothing"


@pytest.mark.parametrize(
    ("arrays_", "message"),
    [
        ({"other": np.zeros(3)}, "holds none of"),
        ({"face": np.zeros((3, 51))}, r"face has shape \(3, 51\), expected \(3, 52\)"),
        ({"face": np.zeros((3, 52)), "jaw_pose": np.zeros((4, 3))}, "face has 3 moments"),
        ({"face": np.full((3, 52), np.nan)}, "face holds values that are not finite"),
        ({"face": np.full((3, 52), "x")}, "face is not numeric"),
        ({"face": np.zeros((3, 52)), "time": np.array([0, 2, 1.0])}, "time must rise"),
        ({"face": np.zeros((0, 52))}, "no moments"),
        ({"face": np.array([{}], object)}, "not a motion npz"),
    ],
)
def test_bad_files_are_refused_by_name(arrays_: dict, message: str, tmp_path: Path):
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays_)
    with pytest.raises(ValueError, match=message) as error:
        MotionTrack.load(path)
    assert "bad.npz" in str(error.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"time,face\n0,0\n"])
def test_files_of_another_kind_are_refused(content: bytes, tmp_path: Path):
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a motion npz"):
        MotionTrack.load(path)


def test_motions_stack_and_come_back():
    motions = [random_track(s, 1)[0] for s in range(3)]
    for k, m in enumerate(motions):
        m.time = float(k)
    track = MotionTrack.of(motions)
    assert len(track) == 3
    np.testing.assert_array_equal(track[1].pose, motions[1].pose)
    with pytest.raises(ValueError, match="at least one"):
        MotionTrack.of([])
    with pytest.raises(ValueError, match="mix several"):
        MotionTrack.of([Motion(face_model="a"), Motion(face_model="b")])


def test_time_between_moments_and_beyond_the_ends():
    track = random_track(5, 4)
    np.testing.assert_array_equal(track.at(track.time[0] - 1).pose, track.pose[0])
    np.testing.assert_array_equal(track.at(track.time[-1] + 1).face, track.face[-1])
    middle = track.at(float(track.time[1:3].mean()))
    np.testing.assert_allclose(middle.face, track.face[1:3].mean(0), atol=1e-5)
    np.testing.assert_allclose(middle.pose, interpolate_rotations(track.pose[1], track.pose[2], 0.5), atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(turns)
def test_axis_angle_and_matrix_are_inverse(r: np.ndarray):
    matrix = matrix_from_axis_angle(r)
    np.testing.assert_allclose(matrix, Rotation.from_rotvec(r).as_matrix(), atol=1e-9)
    back = axis_angle_from_matrix(matrix)
    assert (np.linalg.norm(back, axis=1) <= np.pi + 1e-9).all()
    np.testing.assert_allclose(matrix_from_axis_angle(back), matrix, atol=1e-7)


def test_half_turns_about_any_axis():
    for axis in np.random.default_rng(0).normal(size=(50, 3)):
        matrix = matrix_from_axis_angle(axis / np.linalg.norm(axis) * np.pi)
        np.testing.assert_allclose(matrix_from_axis_angle(axis_angle_from_matrix(matrix)), matrix, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(turns, turns)
def test_rotations_compose(a: np.ndarray, b: np.ndarray):
    both = matrix_from_axis_angle(compose_rotations(a, b))
    np.testing.assert_allclose(both, matrix_from_axis_angle(b) @ matrix_from_axis_angle(a), atol=1e-5)
    np.testing.assert_allclose(compose_rotations(a, -a), 0, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(turns, turns, st.floats(0, 1))
def test_interpolation_keeps_to_the_shortest_arc(a: np.ndarray, b: np.ndarray, t: float):
    between = interpolate_rotations(a, b, t)
    angle = lambda x, y: (Rotation.from_rotvec(x) * Rotation.from_rotvec(y).inv()).magnitude()  # noqa: E731
    whole = angle(b, a)
    np.testing.assert_allclose(angle(between, a), t * whole, atol=1e-4)
    np.testing.assert_allclose(angle(b, between), (1 - t) * whole, atol=1e-4)
