"""Body models: files of strangers are read safely or refused in words; posing equals the reference package."""

from __future__ import annotations

import io
import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest

from models import body
from models.body import BodyModelError
from models.motion import JOINT
from models.skinning import Poser
from tests.models.model_files import arrays, write_licensed_pickle, write_npz


def test_the_open_human_is_the_default():
    model = body.load()
    assert model.path == body.OPEN_HUMAN and model.kind == "smplx"
    assert model.licence.startswith("CC0")
    assert len(model.sha256) == 64 and model.is_arkit
    assert model.landmarks is not None and model.landmarks.faces_idx.shape == (468,)
    assert body.load() is model, "one copy is shared"
    with pytest.raises(ValueError):
        model.v_template[0] = 0


@pytest.mark.parametrize("kind", ["smplx", "flame"])
def test_npz_of_either_format(kind: str, tmp_path: Path):
    data = arrays(kind)
    model = body.load(write_npz(tmp_path / "m.npz", data))
    assert model.kind == kind and model.parents[0] == -1
    np.testing.assert_allclose(model.v_template, data["v_template"], atol=1e-6)
    assert model.shapedirs.shape == (200, 3, 300) and model.expression_dirs.shape == (200, 3, 100)
    assert not model.is_arkit and model.landmarks is None
    assert model.joint_names[list(model.motion_joints).index(JOINT["jaw"])] == "jaw"


def test_a_full_size_smplx_file_loads(tmp_path: Path):
    data = arrays("smplx", vertices=10475, directions=20)
    data["posedirs"] = np.zeros((10475, 3, 486), np.float16)
    data["posedirs"][:, :, 7] = 0.01
    model = body.load(write_npz(tmp_path / "m.npz", data))
    assert model.shapedirs.shape[2] == 10 and model.expression_dirs.shape[2] == 10, (
        "files of 20 directions hold 10 and 10"
    )
    assert model.posedirs.shape[2] == 1 and model.pose_feature.tolist() == [7]


def test_eyeballs_are_found_by_what_they_follow(tmp_path: Path):
    data = arrays("flame")
    data["weights"][:30] = np.eye(5)[3]
    data["f"][:5] = [0, 1, 2]
    assert (body.load(write_npz(tmp_path / "m.npz", data)).face_part[:5] == body.LEFT_EYEBALL).all()


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_licensed_pickles_with_chumpy_and_sparse_arrays(protocol: int, tmp_path: Path):
    data = arrays("flame")
    model = body.load(write_licensed_pickle(tmp_path / "flame.pkl", data, protocol))
    np.testing.assert_allclose(model.joint_regressor, data["J_regressor"], atol=1e-7)
    np.testing.assert_allclose(model.expression_dirs, data["shapedirs"][:, :, 300:], atol=1e-7)


def test_a_pickle_of_numpy_arrays_in_protocol_5(tmp_path: Path):
    path = tmp_path / "flame.pkl"
    path.write_bytes(pickle.dumps(arrays("flame"), protocol=5))
    assert body.load(path).kind == "flame"


def test_flames_landmarks_are_read_from_the_file_beside_it(tmp_path: Path):
    path = write_licensed_pickle(tmp_path / "flame.pkl", arrays("flame"))
    marks = {"lmk_face_idx": np.arange(51, dtype=np.uint32), "lmk_b_coords": np.full((51, 3), 1 / 3)}
    (tmp_path / "flame_static_embedding.pkl").write_bytes(pickle.dumps(marks, protocol=2))
    model = body.load(path)
    assert model.landmarks51 is not None and model.landmarks51.faces_idx.tolist() == list(range(51))


class _Evil:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (os.system, ("touch {mark}",)),
        (eval, ("open('{mark}', 'w')",)),
        (Path.touch, (Path("{mark}"),)),
        (getattr, ("", "join")),
    ],
)
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(function, arguments, tmp_path: Path):
    mark = tmp_path / "executed"
    filled = tuple(type(a)(str(a).format(mark=mark)) for a in arguments)
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps(arrays("flame") | {"extra": _Evil(function, *filled)}, protocol=2))
    with pytest.raises(BodyModelError, match=r"refuses to load \S+\.\w+.*arrays only"):
        body.load(path)
    assert not mark.exists()


def test_arrays_of_objects_are_refused(tmp_path: Path):
    path = tmp_path / "objects.pkl"
    path.write_bytes(pickle.dumps(arrays("flame") | {"v_template": np.array([{}, []], object)}, protocol=2))
    with pytest.raises(BodyModelError, match="only numbers"):
        body.load(path)
    with pytest.raises(BodyModelError, match="Python objects"):
        body.load(write_npz(tmp_path / "o.npz", arrays("flame") | {"v_template": np.array([{}, []], object)}))


def test_objects_in_entries_nobody_asked_for_do_not_matter(tmp_path: Path):
    data = arrays("smplx") | {"part2num": np.array({"head": 1}, object)}  # as licensed SMPL-X files have
    assert body.load(write_npz(tmp_path / "m.npz", data)).kind == "smplx"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("weights"), "no array 'weights'"),
        (lambda d: d.update(v_template=d["v_template"][:, :2]), r"v_template .* expected numbers of shape \('n', 3\)"),
        (lambda d: d["v_template"].__setitem__((3, 1), np.nan), "v_template holds values that are not finite"),
        (lambda d: d["shapedirs"].__setitem__((3, 1, 350), np.inf), "shapedirs holds values that are not finite"),
        (lambda d: d["f"].__setitem__((0, 0), 200), "f points outside 0..199"),
        (lambda d: d.update(posedirs=d["posedirs"][:, :, :9]), "posedirs .* expected"),
        (lambda d: d["weights"].__imul__(2), "weights must be positive and sum to 1"),
        (lambda d: d.update(kintree_table=d["kintree_table"][:, :4]), "has 4 joints"),
        (lambda d: d["kintree_table"].__setitem__((0, 1), 3), "parent before the joint"),
        (lambda d: d.update(mirror=np.zeros(7, np.int32)), "mirror .* expected"),
        (lambda d: d.update(mp468_faces_idx=np.full(468, 1 << 20)), "mp468_faces_idx points outside"),
    ],
)
def test_what_is_wrong_is_named(change, message: str, tmp_path: Path):
    data = arrays("flame")
    change(data)
    with pytest.raises(BodyModelError, match=message) as error:
        body.load(write_npz(tmp_path / "bad.npz", data))
    assert "bad.npz" in str(error.value)


@pytest.mark.parametrize(
    "content", [b"", b"<html>sign in</html>", b"PK\x03\x04 cut off", pickle.dumps([1, 2]), b"\x80\x02}q"]
)
@pytest.mark.parametrize("name", ["m.npz", "m.pkl"])
def test_files_that_are_no_models(content: bytes, name: str, tmp_path: Path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BodyModelError, match=name):
        body.load(path)
    with pytest.raises(BodyModelError, match="cannot be read"):
        body.load(tmp_path / "absent.npz")


def test_a_truncated_model_is_refused(tmp_path: Path):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays("flame"))
    path = tmp_path / "cut.npz"
    path.write_bytes(buffer.getvalue()[: buffer.tell() // 2])
    with pytest.raises(BodyModelError, match=r"cut\.npz"):
        body.load(path)


def test_offsets_move_vertices_but_not_joints():
    model = body.load()
    offsets = np.zeros_like(model.v_template)
    offsets[5] = [0, 0.01, 0]
    plain, moved = model.skinned([0.5]), model.skinned([0.5], offsets)
    np.testing.assert_allclose(moved.vertices - plain.vertices, offsets, atol=1e-7)
    np.testing.assert_array_equal(moved.joints, plain.joints)
    with pytest.raises(BodyModelError, match="betas given"):
        model.skinned(np.zeros(301))


# ---- parity with the reference package (an optional extra: its licence is for non-commercial research) ----


def _reference(package, path: Path, kind: str, betas: int, expressions: int):
    keywords = {"num_betas": betas, "num_expression_coeffs": expressions, "ext": "npz"}
    if kind == "flame":
        return package.FLAME(str(path), use_face_contour=False, **keywords)
    return package.SMPLX(str(path), use_pca=False, flat_hand_mean=True, **keywords)


def _reference_vertices(model, kind: str, pose: np.ndarray, betas: np.ndarray, expression: np.ndarray) -> np.ndarray:
    torch = pytest.importorskip("torch")
    t = lambda x: torch.tensor(np.asarray(x, np.float32).reshape(1, -1))  # noqa: E731
    if kind == "flame":
        parts = dict(zip(("global_orient", "neck_pose", "jaw_pose", "leye_pose", "reye_pose"), map(t, pose)))
    else:
        parts = {"global_orient": pose[0], "body_pose": pose[1:22], "jaw_pose": pose[22], "leye_pose": pose[23]}
        parts |= {"reye_pose": pose[24], "left_hand_pose": pose[25:40], "right_hand_pose": pose[40:55]}
        parts = {k: t(v) for k, v in parts.items()}
    with torch.no_grad():
        return model(betas=t(betas), expression=t(expression), **parts).vertices[0].numpy()


def _flame_folder(tmp_path: Path, source: Path) -> Path:
    """The reference package wants a landmark pickle beside a FLAME file."""
    (tmp_path / "FLAME_NEUTRAL.npz").write_bytes(source.read_bytes())
    marks = {"lmk_face_idx": np.zeros(51, np.int64), "lmk_b_coords": np.full((51, 3), 1 / 3)}
    (tmp_path / "flame_static_embedding.pkl").write_bytes(pickle.dumps(marks, protocol=2))
    return tmp_path


@pytest.mark.parametrize("kind", ["smplx", "flame"])
@pytest.mark.parametrize("origin", ["open human", "random"])
def test_posed_vertices_equal_the_reference_package_within_50_micrometres(kind: str, origin: str, tmp_path: Path):
    package = pytest.importorskip("smplx", reason="smplx is an optional extra (pip install talkshot[smplx])")
    if origin == "open human":
        path = body.OPEN_HUMAN if kind == "smplx" else body.OPEN_HUMAN_HEAD
    else:  # smplx wants its own vertex count for its named vertices
        path = write_npz(tmp_path / "random.npz", arrays(kind, 10475 if kind == "smplx" else 5023, 20))
    model = body.load(path)
    E = model.expression_dirs.shape[2]
    where = path if kind == "smplx" else _flame_folder(tmp_path, path)
    reference = _reference(package, where, kind, 10, E)
    rng = np.random.default_rng(4)
    for _ in range(4):
        betas = rng.normal(0, 1, 10).astype(np.float32)
        pose = rng.normal(0, 0.4, (len(model.parents), 3)).astype(np.float32)
        expression = np.asarray(rng.uniform(0, 1, E), np.float32)
        ours = Poser(model.skinned(betas))(pose, expression, np.zeros(3, np.float32))
        theirs = _reference_vertices(reference, kind, pose, betas, expression)
        assert np.abs(ours - theirs).max() < 5e-5


def test_a_frame_of_the_open_human_costs_little(record_property):
    """The bound is 3 ms on one core; what is asserted is the ratio to a dense product, the time is reported."""
    model = body.load()
    poser = Poser(model.skinned())
    rng = np.random.default_rng(0)
    pose = rng.normal(0, 0.2, (55, 3)).astype(np.float32)
    expression, nothing = rng.uniform(0, 1, 52).astype(np.float32), np.zeros(3, np.float32)
    blend = model.weights @ np.zeros((55, 12), np.float32)

    def median_ms(work) -> float:
        times = []
        for _ in range(15):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        return float(np.median(times)) * 1e3

    poser(pose, expression, nothing)
    ours = median_ms(lambda: poser(pose, expression, nothing))
    dense = median_ms(lambda: np.matmul(model.weights, np.zeros((55, 12), np.float32), out=blend))
    record_property("frame_ms", ours)
    print(
        f"\none frame of {len(model.v_template)} vertices: {ours:.2f} ms (a dense weight product alone: {dense:.2f} ms)"
    )
    assert ours < 3 * max(dense, 1.0)
