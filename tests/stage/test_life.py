"""A performance's life: attention by itself, moods of a text in time, settings at once, live and offline the same."""

import numpy as np
import pytest

from drivers.gesture import FREE, Arms
from drivers.mixer import Mixer
from drivers.mood import Mood
from drivers.text import Sentence
from models import body
from models.motion import GROUP, JOINT, A, Motion, MotionTrack
from stage.life import LISTENS_AFTER, LISTENS_ON, THINKS_AFTER, Life, at_face
from stage.performer import HEARD_AHEAD, Performer
from stage.sound import RATE
from tests.drivers.test_prosody import syllables
from tests.server.scripted import FlashPicture, LoudSpeech


class Script:
    """A reader that says sentences of one second, each in the mood that it is given."""

    def __init__(self, *moods, lips=True):
        self.moods, self.lips = moods, lips

    def voices(self):
        return []

    def read(self, text, how=None):
        if not text:
            raise ValueError("nothing")
        weight = np.zeros(8, np.float32)
        weight[GROUP["mouth"]] = 1
        still = tuple(Motion(t / 50, weight=weight) for t in range(51))
        for mood in self.moods:
            yield Sentence("a", np.full(RATE, 900, np.int16), RATE, still if self.lips else None, (), mood)

    def close(self):
        pass


def performer(*moods, life=None):
    return Performer(FlashPicture(), life or Life(1), Mixer(), LoudSpeech(), Script(*moods))


def run(p, start, seconds, live=None):
    """Media time in steps of 20 ms; the motions drawn."""
    out, motions = np.zeros((192, 128), np.uint8), []
    for k in range(round(start * 50), round((start + seconds) * 50)):
        t = k / 50
        if live is not None:
            p.push_audio(live(t), RATE)
        if p.reads:
            p.read_on()
        p.advance(t + 0.3)
        motions.append(p.frame(t, out))
        p.voice(k * 960, 960)
    return motions


def test_a_text_s_moods_come_with_their_sentences_and_go_with_the_text():
    p = performer(None, Mood("happy"), Mood("angry"))
    run(p, 0, 1)
    start = p.say("x").start
    motions = run(p, 1, 6)
    at = lambda t: motions[round((start + t - 1) * 50)].face  # noqa: E731
    assert at(0.5)[A["mouthSmileLeft"]] < 0.01
    assert at(1.7)[A["mouthSmileLeft"]] > 0.2 and at(1.7)[A["cheekSquintLeft"]] > 0.15
    assert at(2.7)[A["browDownLeft"]] > 0.5 and at(2.7)[A["mouthSmileLeft"]] < 0.05
    assert at(5.0)[A["browDownLeft"]] < 0.05


def test_an_interruption_ends_the_mood_and_the_speaker_listens():
    p = performer(Mood("angry"), Mood("angry"))
    p.say("x")
    run(p, 0, 1.5)
    p.interrupt()
    assert p.life.attention.state(1.6) == "listening" and p.life.attention.state(1.6 + LISTENS_ON) == "idle"
    assert run(p, 1.5, 1.0)[-1].face[A["browDownLeft"]] < 0.05


def test_one_who_is_asked_thinks_until_the_first_sound_comes():
    p = performer(None)
    run(p, 0, 1)
    p.life.expect(1.0)
    assert p.life.attention.state(1.0 + THINKS_AFTER + 0.01) == "thinking"
    start = p.say("x").start
    assert p.life.attention.state(start + 0.01) == "idle"


def test_an_answer_that_comes_at_once_needs_no_thought_and_one_that_fails_ends_it():
    p = performer(None)
    run(p, 0, 1)
    p.say("x")
    assert all(p.life.attention.state(t) == "idle" for t in np.arange(1, 3, 0.02))
    q = performer(None)
    with pytest.raises(ValueError, match="nothing"):
        q.say("")
    assert all(q.life.attention.state(t) == "idle" for t in np.arange(0, 3, 0.02))


def test_who_does_not_speak_into_the_open_microphone_listens():
    p = performer()
    talk = lambda t: np.full(960, 3000 if t < 1 or t > 4 else 10, np.int16)  # noqa: E731
    run(p, 0, 5, live=talk)
    states = [p.life.attention.state(t) for t in (0.9, 1.5 + LISTENS_AFTER, 3.9, 4.5)]
    assert states == ["idle", "listening", "listening", "idle"]


def test_a_state_that_was_asked_for_lasts_until_something_is_said():
    p = performer(None)
    p.life.set_state("thinking", 0.0)
    run(p, 0, 4, live=lambda t: np.zeros(960, np.int16))
    assert p.life.attention.state(4.0) == "thinking"
    start = p.say("x").start
    assert p.life.attention.state(start + 0.1) == "idle"


def test_live_and_offline_are_the_same():
    """Sound in pieces as the performer hears it, and all of it at once as a film does."""
    voice = syllables([1.0, 1.7, 2.5, 5.0], 7.0)
    live, film = (Life(5, Arms(np.zeros((55, 3), np.float32), FREE, FREE)) for _ in range(2))
    film.hear(voice, 0.0, True)
    fed = 0
    for t in np.arange(0, 7, 1 / 30):
        until = round((t + 0.4 + HEARD_AHEAD) * 16000) // 1280 * 1280
        while fed < min(until, len(voice)):
            live.hear(voice[fed : fed + 1280], fed / 16000, fed == 0)
            fed += 1280
        a, b = live.motion(t), film.motion(t)
        np.testing.assert_array_equal(a.pose, b.pose)
        np.testing.assert_array_equal(a.face, b.face)


def test_strengths_act_at_once_and_0_is_still():
    life = Life(2, Arms(np.zeros((55, 3), np.float32), FREE, FREE))
    life.hear(syllables([1.0, 1.5], 4.0), 0.0, True)
    life.set_gestures(0)
    life.set_liveliness(0)
    a, b = life.motion(1.2), life.motion(2.9)
    assert not np.abs(a.pose - b.pose).max() and a.face.max() < 0.02
    life.set_gestures(1.5)
    assert np.abs(life.motion(1.7).pose - a.pose).max() > 0.05
    for wrong in (-0.1, 1.6, float("nan")):
        with pytest.raises(ValueError, match="strength"):
            life.set_gestures(wrong)
        with pytest.raises(ValueError, match="liveliness"):
            life.set_liveliness(wrong)


def test_recorded_lips_are_spoken_lips():
    """A film's lips come as a track: the mood is under them, and over them nothing is lost."""
    weight = np.zeros((2, 8), np.float32)
    weight[:, GROUP["mouth"]] = 1
    face = np.zeros((2, 52), np.float32)
    face[:, A["jawOpen"]] = 0.4
    lips = MotionTrack(
        np.array([0.0, 5.0]), np.zeros((2, 55, 3), np.float32), face, np.zeros((2, 3), np.float32), weight
    )
    p = performer()
    p.drive(lips, lips=True)
    p.life.moods.set(Mood("happy"), -1.0)
    shown = p.motion(1.0).face
    assert shown[A["jawOpen"]] == pytest.approx(0.4, abs=0.05) and shown[A["mouthSmileLeft"]] > 0.2


@pytest.mark.parametrize(("bent", "near"), [(0.6, False), (2.9, True)])
def test_a_hand_at_the_face_is_told(bent, near):
    """As on a photo of somebody who telephones: a beat of that arm would cover the face."""
    pose, mesh = np.zeros((55, 3), np.float32), body.load().skinned()
    pose[JOINT["left_shoulder"]], pose[JOINT["left_elbow"]] = (0, 0, -0.6), (0, 0, bent)
    assert at_face(pose, mesh.joints, mesh.parents, "left") == near
    assert not at_face(pose, mesh.joints, mesh.parents, "right")
