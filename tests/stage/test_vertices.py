"""LVE and FDD: do they say what they are defined to, and does the driver speak to a face of the truth's topology?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models import body
from models.motion import ARKIT, A
from stage.evaluate import vertices

FACES = np.zeros((50, len(ARKIT)), np.float32)
FACES[:, A["jawOpen"]] = 0.3 * np.sin(np.linspace(0, np.pi, 50)) ** 2


def silent(sound: Path) -> np.ndarray:
    raise AssertionError(f"{sound} was not to be heard")


def test_lip_vertex_error_is_the_worst_lip_vertex_squared() -> None:
    truth = np.zeros((4, 10, 3))
    predicted = truth.copy()
    predicted[:, 3, 1] = 0.002
    predicted[:, 4, 1] = 0.001
    predicted[:, 9, 1] = 1.0  # no lip
    lip = np.array([2, 3, 4])
    assert vertices.lip_vertex_error(truth, predicted, lip) == pytest.approx(4e-6)
    predicted[:2] = 0
    assert vertices.lip_vertex_error(truth, predicted, lip) == pytest.approx(2e-6)
    with pytest.raises(ValueError, match="two tracks of the same"):
        vertices.lip_vertex_error(truth, predicted[:3], lip)


def test_upper_face_dynamics_deviation_is_positive_where_the_prediction_is_stiff() -> None:
    still = np.random.default_rng(0).normal(size=(6, 3))
    way = np.abs(np.sin(np.arange(50)))[:, None, None] * np.array([0.0, 0.01, 0.0])
    lively = still + way
    upper = np.array([0, 1, 2])
    assert vertices.upper_face_dynamics_deviation(lively, lively, still, upper) == 0
    half = vertices.upper_face_dynamics_deviation(lively, still + way / 2, still, upper)
    assert half == pytest.approx(np.abs(way[:, 0, 1]).std() / 2)
    assert vertices.upper_face_dynamics_deviation(still + way / 2, lively, still, upper) == pytest.approx(-half)


def test_a_folder_of_vertex_tracks_is_read(tmp_path: Path) -> None:
    for part in ("truth", "predicted", "still"):
        (tmp_path / part).mkdir()
    truth = np.zeros((5, 8, 3))
    np.save(tmp_path / "truth" / "a.npy", truth)
    np.save(tmp_path / "predicted" / "a.npy", truth[:4] + np.array([0, 0.001, 0]))
    np.save(tmp_path / "still" / "a.npy", truth[0])
    (tmp_path / "lips.txt").write_text("1\n2\n")
    (tmp_path / "upper.txt").write_text("5\n")
    f = vertices.of_folder(tmp_path, silent)
    assert f["LVE m2"] == pytest.approx(1e-6) and f["FDD m"] == pytest.approx(0) and f["tracks"] == 1


def spoken_folder(folder: Path, fps: float, size: float) -> Path:
    """A sentence of a person whose mouth opens `size` times as far as FACES, as a track of vertices, and its sound."""
    head = body.load(body.OPEN_HUMAN_HEAD)
    still = head.v_template + np.array([0.1, 0, 0])  # a person elsewhere
    for part in ("truth", "sound", "still"):
        (folder / part).mkdir()
    np.save(folder / "truth" / "a.npy", still + vertices.ways(head, vertices.at_rate(size * FACES, fps)))
    np.save(folder / "still" / "a.npy", still)
    (folder / "sound" / "a.wav").touch()
    moved = np.linalg.norm(vertices.ways(head, FACES[25:26])[0], axis=1)
    np.savetxt(folder / "lips.txt", np.argsort(-moved)[:20], "%d")
    np.savetxt(folder / "upper.txt", np.flatnonzero(moved < 1e-6)[:20], "%d")
    return folder


def test_what_is_not_predicted_is_spoken(tmp_path: Path) -> None:
    (tmp_path / "same").mkdir()
    (tmp_path / "other").mkdir()
    heard = []

    def speak(sound: Path) -> np.ndarray:
        heard.append(sound.name)
        return FACES

    same = vertices.of_folder(spoken_folder(tmp_path / "same", 60.0, 1.0), speak)
    assert same["LVE m2"] == pytest.approx(0, abs=1e-12) and same["FDD m"] == pytest.approx(0, abs=1e-9)
    other = vertices.of_folder(spoken_folder(tmp_path / "other", 25.0, 0.5), speak, fps=25.0)
    assert 1e-6 < other["LVE m2"] < 1e-3 and heard == ["a.wav", "a.wav"]


def test_what_is_absent_or_of_another_topology_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"lips\.txt: absent"):
        vertices.of_folder(tmp_path, silent)
    folder = spoken_folder(tmp_path, 25.0, 1.0)
    (folder / "sound" / "a.wav").unlink()
    with pytest.raises(ValueError, match=r"a\.npy: absent, and so is .*a\.wav"):
        vertices.of_folder(folder, silent)
    (folder / "sound" / "a.wav").touch()
    for part in ("truth", "still"):
        np.save(folder / part / "a.npy", np.load(folder / part / "a.npy")[..., :99, :])
    with pytest.raises(ValueError, match="vertices, the truth of a has 99"):
        vertices.of_folder(folder, lambda sound: FACES)
    np.save(folder / "truth" / "a.npy", np.zeros((4, 5)))
    with pytest.raises(ValueError, match="wanted 3 axes"):
        vertices.of_folder(folder, silent)
