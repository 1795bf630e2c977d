"""Moods show, come and go softly, and leave the lips their closures."""

import numpy as np
import pytest

from avatar.build.landmarks import LIP_PAIRS
from drivers import mood
from drivers.mood import MOODS, Mood, Moods
from drivers.speech.articulation import SHAPES
from drivers.speech.solver import sealed
from drivers.speech.visemes import PP
from models import body, expression
from models.motion import GROUP, HEAD, JAW, A, Motion
from models.skinning import Poser

STRENGTHS = (0.25, 0.5, 0.75, 1.0)


@pytest.fixture(scope="module")
def aperture():
    """(52,) coefficients -> mm between the lips of the open human, along the vertical; below 0 they overlap."""
    model = body.load()
    poser, to_face = Poser(model.skinned()), expression.face_map(model)

    def measure(face: np.ndarray) -> float:
        face = face.clip(0)  # its neutral holds nothing that could be taken away
        pose = np.zeros((55, 3), np.float32)
        pose[JAW] = face @ to_face.jaw
        vertices = poser(pose, (face @ to_face.expression).astype(np.float32), np.zeros(3, np.float32))
        assert model.landmarks is not None
        points = model.landmarks.points(vertices.astype(float), model.faces)
        return 1000 * max(points[upper, 1] - points[lower, 1] for upper, lower in LIP_PAIRS)

    return measure


@pytest.mark.parametrize("name", MOODS)
def test_p_b_and_m_are_shut_in_every_mood(name, aperture):
    closures = [sealed(np.zeros(52, np.float32), 1.0), SHAPES[PP], sealed(SHAPES[PP + 11].copy(), 1.0)]
    for strength in STRENGTHS:
        look = mood.look(Mood(name, strength))[:-3]
        assert max(aperture(mood.spoken(face, look)) for face in closures) < 1.0


@pytest.mark.parametrize("name", [n for n in MOODS if n != "neutral"])
def test_a_mood_moves_what_it_is_known_by(name, aperture):
    face = mood.look(Mood(name))[:-3]
    assert face.max() >= 0.3 and np.abs(face - 2 * mood.look(Mood(name, 0.5))[:-3]).max() < 1e-6
    opening = aperture(face)
    assert (opening > 4) if name == "surprised" else (opening < 1), "only surprise opens a mouth that rests"


def test_vowels_keep_their_opening_and_round_ones_their_shape(aperture):
    for name in MOODS:
        look = mood.look(Mood(name))[:-3]
        for viseme in SHAPES[10:]:
            assert aperture(mood.spoken(viseme, look)) > 0.6 * aperture(viseme)
    smiling = mood.spoken(SHAPES[14], mood.look(Mood("happy"))[:-3])
    assert smiling[A["mouthSmileLeft"]] < 0.15 and smiling[A["mouthPucker"]] == SHAPES[14][A["mouthPucker"]]


def test_a_mood_comes_and_goes_without_a_jump():
    moods = Moods()
    moods.set(Mood("happy"), 1.0)
    moods.ask(Mood("angry"), 2.0)
    moods.ask(Mood("sad", 0.5), 2.2)
    moods.ask(None, 3.5)
    times = np.arange(0, 6, 0.01)
    looks = np.array([moods.at(t) for t in times])
    np.testing.assert_array_equal(looks[90], mood.look(mood.NEUTRAL))
    assert np.abs(np.diff(looks, axis=0)).max() < 0.05
    np.testing.assert_allclose(looks[190], mood.look(Mood("happy")), atol=1e-6)
    np.testing.assert_allclose(looks[300], mood.look(Mood("sad", 0.5)), atol=1e-6)
    np.testing.assert_allclose(looks[-1], mood.look(Mood("happy")), atol=1e-6)


def test_an_interruption_takes_back_what_was_asked_for():
    moods = Moods()
    moods.ask(Mood("angry"), 1.0)
    moods.ask(Mood("sad"), 5.0)
    moods.cut(3.0)
    neutral = mood.look(mood.NEUTRAL)
    assert not np.array_equal(moods.at(2.9), neutral)
    for time in (4.0, 9.0):
        np.testing.assert_array_equal(moods.at(time), neutral)


def test_the_first_of_many_changes_are_remembered():
    moods = Moods()
    for k in range(200):
        moods.ask(Mood("happy" if k % 2 else "sad"), 3.0 * k)
    np.testing.assert_allclose(moods.at(2.0), mood.look(Mood("sad")), atol=1e-6)
    np.testing.assert_allclose(moods.at(5.0), mood.look(Mood("happy")), atol=1e-6)


def test_a_smile_that_the_photo_left_goes_but_for_the_happy():
    smile = A["mouthSmileLeft"]
    for name in MOODS:
        look = mood.look(Mood(name))[:-3]
        assert look[smile] > 0.5 if name == "happy" else look[smile] < -0.5
        if name != "happy":
            assert mood.spoken(SHAPES[12], look)[smile] < 0, "nor does it come back with an ee"
    assert mood.look(mood.NEUTRAL)[smile] > mood.look(Mood("sad"))[smile] == -1, "a face at rest may be friendly"


def test_a_quiet_face_shows_all_of_a_mood_and_still_blinks():
    shut = Motion(0.0, weight=np.ones(8, np.float32))
    shut.face[A["eyeBlinkLeft"]] = 1
    shown = mood.onto(shut, mood.look(Mood("sad")))
    assert shown.face[A["browInnerUp"]] == pytest.approx(0.8) and shown.face[A["eyeBlinkLeft"]] == 1
    assert shown.pose[HEAD, 0] > 0.02 and shown.weight[GROUP["brows"]] == 1


@pytest.mark.parametrize("wrong", [("jolly", 1.0), ("happy", 1.2), ("happy", float("nan"))])
def test_an_unknown_mood_is_refused(wrong):
    with pytest.raises(ValueError, match="mood"):
        Mood(*wrong)
