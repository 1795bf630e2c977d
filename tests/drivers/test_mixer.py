"""Layers cover each other by group, rotations turn, and nothing jumps."""

from typing import Any

import numpy as np
import pytest

from drivers.idle import Idle
from drivers.mixer import FADE, Mixer, blend
from models.motion import GROUP, GROUPS, HEAD, JOINT, A, Motion, axis_angle_from_matrix, matrix_from_axis_angle


def layer(time=0.0, face=None, head=(0, 0, 0), epoch=0, **weights):
    m = Motion(time=time, epoch=epoch)
    for name, value in (face or {}).items():
        m.face[A[name]] = value
    m.pose[HEAD] = head
    for group, w in weights.items():
        m.weight[GROUP[group]] = w
    return m


def angle(a, b):
    """rad between two rotations"""
    d = matrix_from_axis_angle(a).T @ matrix_from_axis_angle(b)
    return np.linalg.norm(axis_angle_from_matrix(d))


def test_blink_and_gaze_of_idle_live_on_under_a_talking_mouth():
    idle = Idle(3)
    for t in np.arange(0, 20, 0.1):
        below = idle.motion(t)
        out = Mixer().mix(t, [below, layer(t, {"jawOpen": 0.4, "eyeBlinkLeft": 0.9}, mouth=1)])
        assert out.face[A["jawOpen"]] == pytest.approx(0.4)
        assert out.face[A["eyeBlinkLeft"]] == pytest.approx(below.face[A["eyeBlinkLeft"]])
        assert np.allclose(out.pose, below.pose)


def test_a_later_layer_covers_by_its_weight():
    a, b = layer(face={"jawOpen": 0.2}, mouth=1), layer(face={"jawOpen": 0.8}, mouth=0.25)
    out = blend(0, [a, b])
    assert out.face[A["jawOpen"]] == pytest.approx(0.35) and out.weight[GROUP["mouth"]] == 1


def test_what_only_one_layer_says_is_kept_whole_at_its_weight():
    out = blend(0, [layer(face={"browInnerUp": 0.6}, brows=0.5), layer(mouth=1)])
    assert out.face[A["browInnerUp"]] == pytest.approx(0.6) and out.weight[GROUP["brows"]] == pytest.approx(0.5)
    assert out.weight[GROUP["arms"]] == 0


def test_weights_of_two_half_layers_join():
    out = blend(0, [layer(mouth=0.5), layer(mouth=0.5)])
    assert out.weight[GROUP["mouth"]] == pytest.approx(0.75)


def test_rotations_are_interpolated_by_the_shortest_arc():
    a, b = layer(head=(0, 1.2, 0)), layer(head=(1.0, 0, 0))
    a.weight[GROUP["head"]], b.weight[GROUP["head"]] = 1, 0.5
    out = blend(0, [a, b]).pose[HEAD]
    assert angle(a.pose[HEAD], out) == pytest.approx(angle(out, b.pose[HEAD]), abs=1e-4)
    assert angle(a.pose[HEAD], out) + angle(out, b.pose[HEAD]) == pytest.approx(
        angle(a.pose[HEAD], b.pose[HEAD]), abs=1e-4
    )


def test_a_layer_that_comes_or_goes_never_jumps_and_is_settled_soon():
    mixer, dt = Mixer(), 1 / 60
    rest = lambda t: layer(t, mouth=1, head=(0, 0, 0))  # noqa: E731
    faces = []
    for i in range(120):
        t = i * dt
        layers = [rest(t)]
        if 30 <= i < 75:
            cam = layer(t, {"jawOpen": 0.8}, head=(0, 0.5, 0), mouth=1)
            cam.weight[GROUP["head"]] = 1
            layers.append(cam)
        layers[0].weight[GROUP["head"]] = 1
        out = mixer.mix(t, layers)
        faces.append((out.face[A["jawOpen"]], out.pose[HEAD][1]))
    jaw, yaw = np.array(faces).T
    assert np.abs(np.diff(jaw)).max() < 0.15 and np.abs(np.diff(yaw)).max() < 0.1
    after = 30 + round(FADE / dt)
    assert jaw[29] == 0 and jaw[after] > 0.8 * 0.94 and yaw[after] > 0.5 * 0.94
    assert jaw[74] == pytest.approx(0.8) and jaw[-1] < 0.01 and jaw.max() <= 0.8 + 1e-6


def test_steady_layers_are_not_delayed():
    mixer = Mixer()
    for i in range(50):
        out = mixer.mix(i / 50, [layer(i / 50, {"jawOpen": (i % 7) / 7}, mouth=1)])
        assert out.face[A["jawOpen"]] == pytest.approx((i % 7) / 7)


def test_a_new_epoch_closes_the_mouth_smoothly():
    mixer = Mixer()
    mixer.mix(0.0, [layer(0.0, {"jawOpen": 0.8}, mouth=1)])
    jaw = [mixer.mix(t, [layer(t, epoch=1, mouth=1)]).face[A["jawOpen"]] for t in np.arange(0.02, 0.3, 0.02)]
    assert jaw[0] > 0.5 and np.all(np.diff(jaw) < 0) and jaw[7] < 0.05


def test_seeking_starts_afresh():
    mixer = Mixer()
    mixer.mix(5.0, [layer(5.0, {"jawOpen": 0.8}, mouth=1)])
    assert mixer.mix(1.0, [layer(1.0)]).face[A["jawOpen"]] == 0
    mixer.mix(1.1, [layer(1.1, {"jawOpen": 0.8}, mouth=1)])
    assert mixer.mix(9.0, [layer(9.0, mouth=1)]).face[A["jawOpen"]] == 0


def test_limits_hold_for_head_and_torso():
    limits: dict[str, Any] = {
        "head": ((-0.1, 0.1), (-0.2, 0.2), (0, 0)),
        "left_elbow": ((0, 0), (0, 0), (0, 0)),
        "translation": (1,),
    }
    m = layer(head=(1, -1, 1), arms=1)
    m.weight[GROUP["head"]] = 1
    m.pose[JOINT["left_elbow"]] = 1
    out = Mixer(limits).mix(0, [m])
    assert np.allclose(out.pose[HEAD], [0.1, -0.2, 0]) and np.allclose(out.pose[JOINT["left_elbow"]], 1)
    bad: Any
    for bad in ({"head": ((0, 1),)}, {"head": ((1, 0), (0, 0), (0, 0))}):
        with pytest.raises(ValueError, match="limits of head"):
            Mixer(bad)


def test_no_layers_say_nothing_and_broken_numbers_do_no_harm():
    assert not Mixer().mix(0, []).weight.any()
    m = layer(mouth=1)
    m.face[:] = np.nan
    m.weight[GROUP["head"]] = np.nan
    m.pose[HEAD] = np.inf
    out = Mixer().mix(0, [Idle().motion(0), m])
    assert np.isfinite(out.face).all() and np.isfinite(out.weight).all() and np.isfinite(out.pose).all()


def test_the_uppermost_face_decides_about_a_recorded_expression():
    recorded = layer(mouth=1, brows=1, lids=1, gaze=1)
    recorded.expression, recorded.face_model = np.ones(10, np.float32), "abc"
    assert blend(0, [layer(mouth=1), recorded]).face_model == "abc"
    assert blend(0, [recorded, layer(mouth=1)]).expression is None


def test_the_layers_are_left_as_they_were():
    a, b = layer(face={"jawOpen": 0.3}, mouth=1), layer(face={"jawOpen": 0.6}, mouth=1)
    Mixer().mix(0, [a, b])
    assert a.face[A["jawOpen"]] == pytest.approx(0.3) and len(a.weight) == len(GROUPS)
