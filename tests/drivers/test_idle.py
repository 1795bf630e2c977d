"""A person at rest: a function of seed and time, blinking at a human rate, never jerking."""

import numpy as np
import pytest

from drivers.idle import Idle, Style, blink_at, saccade_time
from models.motion import ARKIT, GROUP, HEAD, JOINT, JOINT_GROUP, NECK, A

RATE = 60
MINUTES = 5


@pytest.fixture(scope="module")
def film():
    """(face (T, 52), pose (T, 55, 3)) of five minutes at 60 Hz."""
    idle = Idle(3)
    motions = [idle.motion(t / RATE) for t in range(MINUTES * 60 * RATE)]
    return np.stack([m.face for m in motions]), np.stack([m.pose for m in motions])


def blinks(closure):
    shut = closure > 0.7
    return np.flatnonzero(shut[1:] & ~shut[:-1])


def test_any_moment_is_the_same_however_it_is_reached():
    forward, back = Idle(5), Idle(5)
    times = [0.0, 0.017, 3.3, 77.7, 1e5, -4.0]
    one = [forward.motion(t) for t in times]
    other = [back.motion(t) for t in reversed(times)][::-1]
    for a, b in zip(one, other):
        assert np.array_equal(a.face, b.face) and np.array_equal(a.pose, b.pose)
    assert not np.array_equal(Idle(6).motion(77.7).pose, one[3].pose)


def test_blinks_come_as_often_as_a_persons_and_irregularly(film):
    starts = blinks(film[0][:, A["eyeBlinkLeft"]])
    assert 12 <= len(starts) / MINUTES <= 20
    gaps = np.diff(starts) / RATE
    assert gaps.std() > 1.5 and gaps.max() < 30
    assert 0.02 < (gaps < 0.5).mean() < 0.25  # double blinks


def test_a_blink_shuts_faster_than_it_opens_and_both_eyes_together(film):
    face = film[0]
    assert np.array_equal(face[:, A["eyeBlinkLeft"]] > 0.9, face[:, A["eyeBlinkRight"]] > 0.9)
    curve = np.array([blink_at(t, 0.08, 0.2) for t in np.arange(0, 0.5, 0.001)])
    peak = np.flatnonzero(curve == 1)
    assert curve[0] == 0 and curve[-1] == 0
    assert peak[0] < 0.5 * (len(np.flatnonzero(curve)) - peak[-1])


def test_the_eyes_jump_and_rest(film):
    yaw = 0.5 * (film[0][:, A["eyeLookOutLeft"]] - film[0][:, A["eyeLookInLeft"]])  # rad
    speed = np.abs(np.diff(yaw)) * RATE
    assert np.median(speed) < 0.02 < 1.0 < speed.max()
    assert np.degrees(np.abs(yaw)).max() < 16
    assert (np.abs(np.degrees(yaw)) < 4).mean() > 0.7  # mostly with the viewer
    assert saccade_time(np.radians(10)) == pytest.approx(0.043)


def test_both_eyes_look_the_same_way_but_for_vergence(film):
    f = film[0]
    left = f[:, A["eyeLookOutLeft"]] - f[:, A["eyeLookInLeft"]]
    right = f[:, A["eyeLookInRight"]] - f[:, A["eyeLookOutRight"]]
    assert np.degrees(np.abs(left - right) * 0.5).max() < 1.0
    assert np.corrcoef(left, right)[0, 1] > 0.97


def test_head_and_chest_move_a_little_and_smoothly(film):
    head = np.degrees(film[1][:, HEAD] + film[1][:, NECK])
    assert 0.3 < head.std(0).max() < 3 and np.abs(head).max() < 8
    assert np.abs(np.diff(head, 2, axis=0)).max() * RATE**2 < 200  # degrees/s^2: no jerk
    chest = film[1][:, JOINT["spine3"], 0]
    spectrum = np.abs(np.fft.rfft(chest - chest.mean()))
    breaths = np.fft.rfftfreq(len(chest), 1 / RATE)[spectrum.argmax()] * 60
    assert 11 < breaths < 17


def test_it_says_mouth_closed_lids_gaze_head_and_torso_and_leaves_the_limbs_alone(film):
    m = Idle().motion(12.3)
    said = {g for g in GROUP if m.weight[GROUP[g]]}
    assert said == {"mouth", "lids", "gaze", "head", "torso"}
    assert not film[0][:, [i for i, n in enumerate(ARKIT) if not n.startswith("eye")]].any()
    moving = set(JOINT_GROUP[film[1].any((0, 2))])
    assert moving == {GROUP["head"], GROUP["torso"]}
    assert film[0].min() >= 0 and film[0].max() <= 1


def test_style_switches_parts_off():
    still = Idle(1, Style(blinks_per_minute=0, gaze=0, head=0, breath=0, stance=0))
    for t in np.arange(0, 60, 0.37):
        m = still.motion(t)
        assert not m.pose.any() and m.face.max() < 0.01


def test_a_time_that_is_none_is_refused():
    with pytest.raises(ValueError, match="finite"):
        Idle().motion(float("nan"))
