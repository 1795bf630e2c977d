"""Hands go along with accents: in time, smoothly, never into the body, small where an arm is not free, home again."""

import io
import itertools
import threading
import wave
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from drivers.gesture import (
    _LEFT,
    _MIRROR,
    _RIGHT,
    AT_FACE,
    BEATS,
    FORESHORTENED,
    FREE,
    SHAPES,
    Arms,
    Gesture,
    RecordedGestures,
    Stroke,
)  # fmt: skip
from drivers.gesture_model import GestureModel
from drivers.gesture_style import STYLES
from drivers.prosody import LAG, PREPARE, RATE, RISE, VOWEL
from models import body
from models.motion import GROUP, JOINT, Motion, MotionTrack, compose_rotations, matrix_from_axis_angle
from models.skinning import Poser
from stage.life import Life
from tests.drivers.test_prosody import heard, syllables

DOWN = {"left_shoulder": (0, 0, -1.15), "right_shoulder": (0, 0, 1.15)}
BENT = DOWN | {"left_elbow": (0, -1.7, 0), "right_elbow": (0, 1.7, 0)}
RAISED = DOWN | {"right_shoulder": (-1.2, 0.2, 0.35), "right_elbow": (0, 1.9, 0)}
RESTS = {"down": DOWN, "bent": BENT, "raised": RAISED}


def rest(turns):
    pose = np.zeros((55, 3), np.float32)
    for name, turn in turns.items():
        pose[JOINT[name]] = turn
    return pose


def angles(gesture, times):
    """(times, 55) degrees between each joint and its rest."""
    start = matrix_from_axis_angle(gesture._arms.rest)
    poses = np.array([gesture.onto(Motion(t)).pose for t in times])
    turn = np.einsum("jab,tjcb->tjac", start, matrix_from_axis_angle(poses))
    return np.degrees(np.arccos(np.clip((np.trace(turn, axis1=2, axis2=3) - 1) / 2, -1, 1)))


def test_hands_rise_with_the_first_accent_and_come_home_after_the_last():
    voice = syllables([1.0, 1.6, 2.2], 8.0) * (np.arange(8 * RATE) < 3 * RATE)
    g = Gesture(Arms(rest(BENT), FREE, FREE), heard(voice.astype(np.float32)), seed=3)
    times = np.arange(0, 8, 1 / 60)
    elbow = angles(g, times)[:, [JOINT["left_elbow"], JOINT["right_elbow"]]].max(1)
    assert elbow[times < 1.0 - VOWEL - RISE - PREPARE].max() < 0.5 and elbow[times > 5.0].max() < 0.5
    assert 8 < elbow[(times > 1.3) & (times < 2.6)].max() < 25


def test_a_beat_strikes_with_the_syllable_and_a_microphone_s_soon_after():
    for live, apex in ((False, 2.6 - VOWEL), (True, 2.6 + LAG + RISE)):
        g = Gesture(Arms(rest(BENT), FREE, FREE), heard(syllables([1.0, 1.8, 2.6], 6.0), live=live), seed=1)
        times = np.arange(apex - 0.25, apex + 0.3, 1 / 240)
        wrists = angles(g, times)[:, [JOINT["left_wrist"], JOINT["right_wrist"]]]
        speed = np.abs(np.diff(wrists, axis=0)).max(1)
        still = times[:-1][(times[:-1] > apex - 0.1) & (times[:-1] < apex + 0.1)]
        assert still[speed[np.isin(times[:-1], still)].argmin()] == pytest.approx(apex, abs=0.05)
        assert speed.max() > 4 * speed[np.abs(times[:-1] - apex).argmin()]


def test_styles_choose_their_gestures_and_how_often_hands_go_along():
    def moved(name):
        voice = heard(syllables([x + d for x in np.arange(1, 60, 4) for d in (0, 0.9)], 61.0), manner=name)
        g = Gesture(Arms(rest(BENT), FREE, FREE), voice, seed=1)
        return angles(g, np.arange(0, 61, 0.1))[:, [JOINT["left_elbow"], JOINT["right_elbow"]]]

    calm, neutral, lively = (moved(name) for name in ("calm", "neutral", "lively"))
    assert calm.mean() < 0.8 * neutral.mean() < 0.8 * lively.mean()
    both = [(x > 4).all(1).sum() / max((x > 4).any(1).sum(), 1) for x in (calm, lively)]
    assert both[0] < both[1], "a calm speaker uses one hand more often"
    assert all(set(s.shapes) <= set(SHAPES) and set(s.beats) <= set(BEATS) for s in STYLES.values())


def test_movements_are_smooth_however_much_is_accented():
    g = Gesture(Arms(rest(RAISED), FREE, FREE), heard(syllables(list(np.arange(0.3, 9, 0.5)), 10.0)), 2, strength=1.5)
    turned = angles(g, np.arange(0, 14, 1 / 120))
    assert np.abs(np.diff(turned, axis=0)).max() < 1.8 and turned.max() < 45  # degrees a 120th of a second


@pytest.mark.parametrize(("kinds", "still"), [(("", "pair"), "both"), ((FREE, ""), "right"), (("", FREE), "left")])
def test_an_arm_that_is_not_free_does_not_move(kinds, still):
    g = Gesture(Arms(rest(RAISED), *kinds), heard(syllables([1.0, 1.7], 4.0)))
    motion = Motion(1.6)
    moved = g.onto(motion)
    if still == "both":
        assert moved is motion
        return
    joints = _LEFT if still == "left" else _RIGHT
    np.testing.assert_allclose(moved.pose[joints], g._arms.rest[joints], atol=1e-5)
    assert moved.weight[GROUP["arms"]] == 1


@pytest.mark.parametrize(("kind", "elbow"), [(FORESHORTENED, (0.5, 8)), (AT_FACE, (-1, 0.1))])
def test_a_foreshortened_arm_moves_a_little_from_the_elbow_on_one_at_the_face_from_the_wrist(kind, elbow):
    voice = heard(syllables([1.0, 1.7, 2.4], 5.0))
    turned = angles(Gesture(Arms(rest(BENT), kind, kind), voice, 5), np.arange(1, 4, 0.05))
    most = {j: turned[:, [JOINT[f"{s}_{j}"] for s in ("left", "right")]].max() for j in ("shoulder", "elbow")}
    assert most["shoulder"] < 0.1 and elbow[0] < most["elbow"] < elbow[1]
    assert 1 < turned[:, [JOINT["left_wrist"], JOINT["right_wrist"]]].max() < 9


def test_it_is_the_same_for_a_seed_and_nothing_at_strength_0():
    voice, arms = heard(syllables([1.0, 1.7, 2.4], 5.0)), Arms(rest(BENT), FREE, FREE)
    poses = [Gesture(arms, voice, seed).onto(Motion(1.9)).pose for seed in (1, 1, 2)]
    np.testing.assert_array_equal(poses[0], poses[1])
    assert np.abs(poses[0] - poses[2]).max() > 0.01
    motion = Motion(1.9)
    assert Gesture(arms, voice, 1, strength=0).onto(motion) is motion
    with pytest.raises(ValueError, match="strength"):
        Gesture(arms, voice, 1, strength=2)


@pytest.fixture(scope="module")
def human():
    """A pose -> how deep (m) the deepest vertex of hands and forearms lies inside trunk, head or thighs."""
    model = body.load()
    poser, size = Poser(model.skinned()), model.expression_dirs.shape[2]
    weights = model.weights
    limb = [j for j in (*_LEFT, *_RIGHT) if j >= 18]
    hands = np.flatnonzero(weights[:, limb].sum(1) > 0.9)[::7]
    others = [JOINT[n] for n in ("pelvis", "spine1", "spine2", "spine3", "neck", "head", "left_hip", "right_hip")]
    trunk = weights[:, others].sum(1) > 0.6
    faces = model.faces[trunk[model.faces].all(1)]

    def depth(pose):
        from scipy.spatial import cKDTree

        v = poser(pose, np.zeros(size, np.float32), np.zeros(3, np.float32)).astype(float)
        corners = v[faces]
        centres = corners.mean(1)
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
        away, nearest = cKDTree(centres).query(v[hands])
        behind = ((centres[nearest] - v[hands]) * normals[nearest]).sum(1)
        return float(behind[away < 0.08].max(initial=-1.0))

    return depth


@pytest.mark.parametrize("name", RESTS)
def test_no_gesture_reaches_into_the_body(name, human):
    start = rest(RESTS[name])
    assert human(start) < 0.002
    deepest = -1.0
    for shape, beat in itertools.product(SHAPES.values(), (Stroke(), *BEATS.values())):
        turn = np.float32(1.5) * (shape.pose() + beat.pose())
        turn[_RIGHT] = turn[_LEFT] * _MIRROR
        pose, j = start.copy(), [*_LEFT, *_RIGHT]
        pose[j] = compose_rotations(start[j], turn[j])
        deepest = max(deepest, human(pose))
    assert deepest < 0.002


def test_a_beat_is_not_lost_where_the_shape_would_be_past_the_arm_s_range():
    voice, reach = heard(syllables([1.0, 1.8, 2.6], 6.0)), np.zeros((55, 3, 2))
    reach[:] = np.radians([-4, 4])
    arms = Arms(rest(BENT), FREE, FREE, np.tile(np.eye(3), (55, 1, 1)), reach)
    g, times, elbow = Gesture(arms, voice, 3), np.arange(0, 5, 1 / 60), JOINT["left_elbow"]
    turn = np.degrees(np.array([g.onto(Motion(t)).pose[elbow, 1] for t in times]) - arms.rest[elbow, 1])
    assert -4 < turn.min() < -1.5, "held within the range"
    assert turn[times > 1.0].max() - turn.min() > 2.0, "and beats go the other way from there"


def test_recorded_gestures_take_arms_and_hands_alone():
    pose, weight = np.zeros((3, 55, 3), np.float32), np.ones((3, 8), np.float32)
    pose[:, JOINT["left_elbow"], 1] = -1
    track = MotionTrack(np.array([0.0, 1, 2]), pose, np.ones((3, 52), np.float32), np.zeros((3, 3), np.float32), weight)
    hands = RecordedGestures([(5.0, track)])
    before = Motion(4.0)
    assert hands.onto(before) is before
    moved = hands.onto(Motion(6.0))
    assert moved.pose[JOINT["left_elbow"], 1] == -1 and moved.weight[GROUP["arms"]] == 1
    assert not moved.face.any() and moved.weight[GROUP["head"]] == 0
    assert 0 < hands.onto(Motion(5.1)).weight[GROUP["arms"]] < 1
    hands.cut(6.0)
    assert hands.onto(Motion(6.0)).weight[GROUP["arms"]] == 0


class Model(BaseHTTPRequestHandler):
    """Answers a sentence by arms that are as far bent as it is long, in s; `bad` answers are no motion."""

    def do_POST(self) -> None:
        with wave.open(io.BytesIO(self.rfile.read(int(self.headers["Content-Length"])))) as sound:
            seconds = sound.getnframes() / sound.getframerate()
        pose = np.zeros((round(30 * seconds) + 1, 21, 3), np.float32)
        pose[:, JOINT["left_elbow"] - 1, 1] = -seconds
        out = io.BytesIO()
        np.savez(out, body_pose=pose.reshape(len(pose), -1), fps=30)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"bad" if self.path == "/bad" else out.getvalue())

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def model_url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_gesture_model_moves_the_arms_of_its_sentence(model_url, monkeypatch):
    model = GestureModel(model_url)
    life = Life(1, Arms(rest(BENT), FREE, FREE), model)
    monkeypatch.setattr(model, "ask", lambda samples, then: then(model.track(samples)))
    life.ask_for_gestures(np.zeros(2 * 16000, np.float32), 10.0)
    assert life.motion(11.0).pose[JOINT["left_elbow"], 1] == pytest.approx(-2, abs=1e-3)
    assert life.motion(13.0).pose[JOINT["left_elbow"], 1] == pytest.approx(-1.7, abs=0.1), "the bank's rest again"
    model.close()


def test_a_model_that_fails_leaves_the_bank(model_url, caplog):
    for url in (f"{model_url}/bad", "http://127.0.0.1:9/none"):
        model = GestureModel(url, timeout=2.0)
        answers: list[MotionTrack] = []
        model.ask(np.zeros(1600, np.float32), answers.append)
        model._thread.shutdown(wait=True)
        assert not answers and url in caplog.text
