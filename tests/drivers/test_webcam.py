"""A tracked face drives: the head turns relative to its neutral, rest is taken out, jitter is calmed, loss fades."""

from types import SimpleNamespace

import numpy as np
import pytest

from drivers.one_euro import OneEuro
from drivers.webcam import CALIBRATION, FaceToMotion
from models.motion import (
    GROUP,
    HEAD,
    N_ARKIT,
    NECK,
    A,
    axis_angle_from_matrix,
    compose_rotations,
    matrix_from_axis_angle,
)

FPS = 30


def seen(turn=(0, 0, 0), scale=1.0, **scores):
    """A face turned by axis-angle `turn` from the camera's axis."""
    matrix = np.eye(4, dtype=np.float32)
    matrix[:3, :3] = scale * matrix_from_axis_angle(np.array(turn, float))
    matrix[:3, 3] = (1, 2, -40)
    blendshapes = np.zeros(N_ARKIT, np.float32)
    for name, value in scores.items():
        blendshapes[A[name]] = value
    return SimpleNamespace(matrix=matrix, blendshapes=blendshapes, landmarks=np.zeros((478, 3), np.float32))


def total(m):
    return compose_rotations(m.pose[HEAD], m.pose[NECK])


def play(driver, face, seconds, start=0.0):
    for i in range(round(seconds * FPS)):
        m = driver.motion(face, start + i / FPS)
    return m


def test_the_head_turns_relative_to_where_it_was_at_first():
    driver, slouch = FaceToMotion(), np.array([0.3, -0.2, 0.1])
    assert np.abs(total(play(driver, seen(slouch), 1.2))).max() < 1e-4
    assert driver.calibrated
    turn = matrix_from_axis_angle(np.array([0, 0.4, 0])) @ matrix_from_axis_angle(slouch)
    m = play(driver, seen(axis_angle_from_matrix(turn), scale=1.3), 2.0, 1.2)
    assert np.allclose(total(m), [0, 0.4, 0], atol=0.01)
    assert np.linalg.norm(m.pose[NECK]) < np.linalg.norm(m.pose[HEAD])


def test_a_glance_aside_while_calibrating_is_not_straight_ahead():
    driver = FaceToMotion()
    for i in range(round(1.2 * FPS)):
        driver.motion(seen((0, 0.35 * i / FPS, 0)), i / FPS)
    assert driver.calibrated
    assert abs(total(play(driver, seen(), 2.0, 1.2))[1]) < 0.09  # rad; their mean is .17


def test_a_given_neutral_counts_at_once():
    driver = FaceToMotion(np.eye(3), np.zeros(N_ARKIT))
    assert driver.calibrated
    assert np.allclose(total(driver.motion(seen((0, 0.3, 0)), 0.0)), [0, 0.3, 0], atol=1e-5)
    with pytest.raises(ValueError, match="both"):
        FaceToMotion(np.eye(3))
    with pytest.raises(ValueError, match="shapes"):
        FaceToMotion(np.eye(4), np.zeros(N_ARKIT))


def test_rest_is_taken_out_and_the_ends_stay():
    driver = FaceToMotion()
    m = play(driver, seen(browDownLeft=0.3, mouthSmileLeft=0.1, eyeLookOutLeft=0.2), CALIBRATION + 0.5)
    assert m.face[A["browDownLeft"]] == pytest.approx(0, abs=1e-6)
    assert m.face[A["eyeLookOutLeft"]] == pytest.approx(0.2, abs=1e-3)  # gaze is absolute
    m = play(driver, seen(browDownLeft=1.0, jawOpen=0.5), 1.5, CALIBRATION + 0.5)
    assert m.face[A["browDownLeft"]] == pytest.approx(1, abs=0.01)
    assert m.face[A["jawOpen"]] == pytest.approx(0.5, abs=0.01)


def test_an_expression_held_while_calibrating_is_no_rest():
    m = play(FaceToMotion(), seen(mouthSmileLeft=0.8), CALIBRATION + 0.5)
    assert m.face[A["mouthSmileLeft"]] == pytest.approx(0.8, abs=0.01)


def test_a_mouth_opens_as_far_as_its_landmarks_whatever_the_scores_say():
    def parted(gap, **scores):
        face = seen(**scores)
        face.landmarks[[33, 263], 0] = -45, 45
        face.landmarks[14, 1] = gap
        return face

    jaw = lambda face: FaceToMotion(np.eye(3), np.zeros(N_ARKIT)).motion(face, 0.0).face[A["jawOpen"]]  # noqa: E731
    assert jaw(parted(1.5)) == 0  # shut lips, as trackers see them
    assert jaw(parted(13)) == pytest.approx(0.28, abs=0.02)
    assert jaw(parted(13, jawOpen=0.4)) == pytest.approx(0.4)
    lifted = jaw(parted(13, mouthUpperUpLeft=0.9, mouthUpperUpRight=0.9))
    assert lifted == pytest.approx(0.28 - 0.9 * 0.054 / 0.42, abs=0.02)
    assert jaw(seen(jawOpen=0.3)) == pytest.approx(0.3)  # no landmarks


def test_trembling_is_calmed_and_a_blink_is_not_missed():
    rng, driver = np.random.default_rng(0), FaceToMotion(np.eye(3), np.zeros(N_ARKIT))
    raw = 0.3 + rng.normal(0, 0.03, 120)
    jaw = [driver.motion(seen((0, x / 10, 0), jawOpen=x), i / FPS).face[A["jawOpen"]] for i, x in enumerate(raw)]
    assert np.std(np.diff(jaw[20:])) < 0.5 * np.std(np.diff(raw[20:]))
    lids = [0, 0, 0.5, 1, 1, 0.5, 0, 0]
    shown = [driver.motion(seen(eyeBlinkLeft=x), 5 + i / FPS).face[A["eyeBlinkLeft"]] for i, x in enumerate(lids)]
    assert max(shown) > 0.85


def test_a_profile_is_trusted_less():
    weight = [FaceToMotion(np.eye(3), np.zeros(N_ARKIT)).motion(seen((0, a, 0)), 0).weight for a in (0, 0.9, 1.3)]
    mouth = [w[GROUP["mouth"]] for w in weight]
    assert mouth[0] == 1 > mouth[1] > mouth[2] == 0
    assert weight[1][GROUP["head"]] >= mouth[1] and not weight[0][GROUP["torso"]]


def test_a_lost_face_is_held_and_fades():
    driver = FaceToMotion()
    assert not driver.motion(None, 0.0).weight.any()
    play(driver, seen(jawOpen=0.4), 1.5)
    held, fading, gone = (driver.motion(None, 1.5 + t) for t in (0.1, 0.5, 1.5))
    assert held.weight[GROUP["mouth"]] == 1 > fading.weight[GROUP["mouth"]] > 0 == gone.weight.max()
    assert held.face[A["jawOpen"]] > 0.3


def test_broken_numbers_count_as_no_face():
    driver = FaceToMotion()
    broken = seen(jawOpen=0.4)
    broken.blendshapes[3] = np.nan
    assert not driver.motion(broken, 0.0).weight.any()


def test_the_filter_follows_a_step_and_ignores_time_that_stands_still():
    f = OneEuro(1.0, 1.0)
    assert f(np.zeros(2), 0.0).tolist() == [0, 0]
    values = [f(np.ones(2), t) for t in np.arange(1, 60) / 30]
    assert values[-1] == pytest.approx(1, abs=0.01) and np.all(np.diff([v[0] for v in values]) > 0)
    assert np.array_equal(f(np.full(2, 9.0), 59 / 30), values[-1])
