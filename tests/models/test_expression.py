"""ARKit on the open human is exact; on a stranger's face model it is fitted, measured against the truth."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from models import body, expression, transfer
from models.body import BodyModel, BodyModelError
from models.motion import ARKIT, N_ARKIT, A
from models.open_human.skeleton import other_side
from tests.models import disguise
from tests.models.model_files import arrays, write_npz

MM = 1e-3


@pytest.fixture(scope="module", params=["with landmarks", "without landmarks"])
def stranger(request, tmp_path_factory) -> tuple[BodyModel, np.ndarray]:
    """A FLAME-format head with 45 unnamed principal components, and the open head's vertex of each of its vertices."""
    path = tmp_path_factory.mktemp("stranger") / "FLAME.npz"
    order = disguise.write(path, components=45, landmarks=request.param == "with landmarks")
    return body.load(path), order


@pytest.mark.parametrize("path", [body.OPEN_HUMAN, body.OPEN_HUMAN_HEAD])
def test_the_open_humans_map_is_exact(path: Path):
    m = expression.face_map(body.load(path))
    assert m.expression.shape == (52, 52) and m.jaw.shape == (52, 3) and m.eyes.shape == (52, 6)
    off = np.eye(52)
    off[A["jawOpen"]] = 0
    np.testing.assert_array_equal(m.expression, off)
    assert m.jaw[A["jawOpen"]].tolist() == pytest.approx([0.3613, 0, 0])
    assert np.count_nonzero(m.jaw) == 1


def test_eyes_look_where_the_name_says():
    """Positive x looks down, positive y to the person's left."""
    eyes = expression.face_map(body.load()).eyes.reshape(52, 2, 3)
    for name, (eye, axis, sign) in {
        "eyeLookUpLeft": (0, 0, -1),
        "eyeLookDownRight": (1, 0, 1),
        "eyeLookOutLeft": (0, 1, 1),
        "eyeLookInLeft": (0, 1, -1),
        "eyeLookOutRight": (1, 1, -1),
        "eyeLookInRight": (1, 1, 1),
    }.items():
        row = eyes[A[name]]
        assert np.sign(row[eye, axis]) == sign and np.count_nonzero(row) == 1
    assert not eyes[[i for i, n in enumerate(ARKIT) if not n.startswith("eyeLook")]].any()


def faces_of(model: BodyModel) -> np.ndarray:
    """(V, 3, 52) m the displacement of each coefficient at 1 through the fitted map."""
    m = expression.face_map(model)
    by_expression = np.einsum("vde,ke->vdk", model.expression_dirs, m.expression)
    return by_expression + np.einsum("vda,ka->vdk", expression._jaw_turns(model), m.jaw)


def test_a_strangers_map_imitates_the_open_human(stranger: tuple[BodyModel, np.ndarray]):
    model, order = stranger
    head = body.load(body.OPEN_HUMAN_HEAD)
    truth = disguise.SCALE * head.expression_dirs[order]
    skin = np.unique(model.faces[model.face_part == body.SKIN])
    error = np.linalg.norm(faces_of(model)[skin] - truth[skin], axis=1)
    size = np.linalg.norm(truth[skin], axis=1)
    relative = np.sqrt((error**2).sum(0) / np.maximum((size**2).sum(0), 1e-12))
    for name in (
        "jawOpen",
        "mouthSmileLeft",
        "mouthPucker",
        "browInnerUp",
        "eyeBlinkRight",
        "mouthFunnel",
        "cheekPuff",
    ):
        assert relative[A[name]] < 0.25, name
    assert np.median(relative[size.max(0) > MM]) < 0.15
    assert error.mean() < 0.2 * MM
    jaw = expression.face_map(model).jaw[A["jawOpen"]]
    assert 0.2 < jaw[0] < 0.5 and np.abs(jaw[1:]).max() < 0.03, "the jaw joint opens the mouth"


def test_left_and_right_stay_apart(stranger: tuple[BodyModel, np.ndarray]):
    model, _ = stranger
    moved = np.linalg.norm(faces_of(model), axis=1)
    left = model.v_template[:, 0] > model.joints()[1, 0] + 0.01
    right = model.v_template[:, 0] < model.joints()[1, 0] - 0.01
    for name in ("eyeBlinkLeft", "browOuterUpLeft", "noseSneerLeft"):
        for coefficient, near, far in ((name, left, right), (other_side(name), right, left)):
            k = A[coefficient]
            assert moved[near, k].max() > 2 * moved[far, k].max()


def test_landmarks_arrive_on_a_stranger(stranger: tuple[BodyModel, np.ndarray]):
    model, order = stranger
    head = body.load(body.OPEN_HUMAN_HEAD)
    complete = transfer.complete(model)
    assert complete.landmarks is not None and complete.iris is not None and head.landmarks is not None
    truth = np.full(head.v_template.shape, np.nan)
    truth[order] = model.v_template
    gap = np.linalg.norm(
        complete.landmarks.points(model.v_template, model.faces) - head.landmarks.points(truth, head.faces), axis=1
    )
    assert np.median(gap) < (0.3 if model.landmarks51 is not None else 1.2) * MM and gap.max() < 8 * MM
    assert transfer.complete(complete) is complete


@pytest.mark.parametrize("path", [body.OPEN_HUMAN, body.OPEN_HUMAN_HEAD])
def test_the_way_back_is_exact_on_the_open_human(path: Path):
    model = body.load(path)
    m = expression.face_map(model)
    rng = np.random.default_rng(0)
    c = rng.uniform(0, 1, (30, N_ARKIT)) * (rng.random((30, N_ARKIT)) < 0.3)
    for side, (a, b) in itertools.product(("Left", "Right"), (("In", "Out"), ("Up", "Down"))):
        c[:, A[f"eyeLook{b}{side}"]] *= c[:, A[f"eyeLook{a}{side}"]] == 0  # an eye looks one way at a time
    back = expression.to_arkit(model, c @ m.expression, c @ m.jaw, c @ m.eyes)
    for side, (a, b) in itertools.product(("Left", "Right"), (("In", "Out"), ("Up", "Down"))):
        assert not (c[:, A[f"eyeLook{b}{side}"]] * c[:, A[f"eyeLook{a}{side}"]]).any()
    np.testing.assert_allclose(back, c, atol=2e-3)


def test_the_way_back_from_a_strangers_components(stranger: tuple[BodyModel, np.ndarray]):
    model, _ = stranger
    m = expression.face_map(model)
    c = np.zeros((6, N_ARKIT))
    for row, names in enumerate(
        (["jawOpen"], ["mouthSmileLeft", "mouthSmileRight"], ["eyeBlinkLeft"], ["browInnerUp"], [], ["mouthPucker"])
    ):
        c[row, [A[n] for n in names]] = 0.7
    back = expression.to_arkit(model, c @ m.expression, c @ m.jaw, c @ m.eyes)
    assert ((back >= 0) & (back <= 1)).all()
    np.testing.assert_allclose(back, c, atol=0.15)
    np.testing.assert_allclose(faces_of(model) @ back.T, faces_of(model) @ c.T, atol=1.5 * MM)


def test_values_no_face_can_show_stay_in_bounds():
    model = body.load(body.OPEN_HUMAN_HEAD)
    back = expression.to_arkit(model, np.full((2, 52), [[5.0], [-5.0]]), np.zeros((2, 3)), np.zeros((2, 6)))
    assert back.min() == 0 and back.max() == 1
    assert (back[1] == 0).all()


def test_noise_is_refused(tmp_path: Path):
    model = body.load(write_npz(tmp_path / "noise.npz", arrays("flame", vertices=400)))
    with pytest.raises(BodyModelError, match=r"noise\.npz: its head does not fit"):
        expression.face_map(model)


@pytest.mark.parametrize(
    "change", [lambda v: v * 100, lambda v: v[:, [0, 2, 1]] * [1, -1, 1], lambda v: v[:, [2, 1, 0]] * [1, 1, -1]]
)
def test_a_head_of_another_unit_or_turned_another_way_is_refused(change, tmp_path: Path):
    disguise.write(tmp_path / "head.npz", components=5)
    with np.load(tmp_path / "head.npz") as z:
        data = dict(z)
    data["v_template"] = change(data["v_template"])
    with pytest.raises(BodyModelError, match=r"head\.npz: its head does not fit .* in metres, y up"):
        transfer.overlay(body.load(write_npz(tmp_path / "head.npz", data)))


def test_a_model_without_expressions_is_refused(tmp_path: Path):
    data = arrays("flame")
    data["shapedirs"] = data["shapedirs"][:, :, :10]
    with pytest.raises(BodyModelError, match="no expression directions"):
        expression.face_map(body.load(write_npz(tmp_path / "mute.npz", data)))
