"""Who listens looks, nods and blinks less; who thinks looks away; both begin and end softly."""

import numpy as np
import pytest

from drivers.attention import AVERSION, FADE, Attention
from drivers.idle import Idle
from models.motion import HEAD, NECK, A


def gaze(motion):
    """(yaw to the left, pitch up) in coefficients, of the left eye."""
    f = motion.face
    return np.array([f[A["eyeLookOutLeft"]] - f[A["eyeLookInLeft"]], f[A["eyeLookUpLeft"]] - f[A["eyeLookDownLeft"]]])


def test_a_listener_looks_blinks_less_and_nods():
    attention = Attention(4)
    attention.set("listening", 0.0)
    still, listener = Idle(4), Idle(4, attention=attention)
    times = np.arange(1, 120, 1 / 60)
    away = [np.array([gaze(i.motion(t)) for t in times]) for i in (still, listener)]
    assert np.abs(away[1]).mean() < 0.6 * np.abs(away[0]).mean()
    shut = [np.array([i.motion(t).face[A["eyeBlinkLeft"]] > 0.8 for t in times]) for i in (still, listener)]
    blinks = [(s[1:] & ~s[:-1]).sum() for s in shut]
    assert 0.25 * blinks[0] < blinks[1] < 0.9 * blinks[0]
    dips = np.degrees([attention.at(t).nod for t in times])
    begun = (dips[1:] > 0) & (dips[:-1] == 0)
    assert 10 < begun.sum() < 60 and 1.5 < dips.max() <= 3.3


def test_one_who_thinks_looks_away_at_once_and_comes_back():
    attention = Attention(2)
    attention.set("thinking", 10.0)
    attention.set("idle", 14.0)
    idle, usual = Idle(2, attention=attention), Idle(2)
    for t in np.arange(10.3, 13.9, 0.1):
        assert np.abs(gaze(idle.motion(t))).max() > 0.12, "4 degrees at least"
    assert idle.motion(12.0).face[A["browDownLeft"]] > 0.1
    for t in (9.9, 14.0 + FADE + 0.01, 20.0):
        np.testing.assert_array_equal(idle.motion(t).face, usual.motion(t).face)


def test_states_begin_and_end_softly():
    attention = Attention(1)
    for t, state in ((1.0, "listening"), (3.0, "thinking"), (5.3, "idle"), (6.0, "thinking"), (6.1, "idle")):
        attention.set(state, t)
    idle = Idle(1, attention=attention)
    heads = np.array([idle.motion(t).pose[[NECK, HEAD]].ravel() for t in np.arange(0, 9, 1 / 120)])
    assert np.degrees(np.abs(np.diff(heads, axis=0)).max()) < 0.35


def test_the_past_does_not_change_with_what_is_set_later():
    a, b = Attention(3), Attention(3)
    a.set("listening", 1.0)
    b.set("listening", 1.0)
    b.set("thinking", 4.0)
    early = [[i.motion(t).pose for t in np.arange(0, 4, 0.1)] for i in (Idle(3, attention=a), Idle(3, attention=b))]
    np.testing.assert_array_equal(early[0], early[1])
    assert a.at(4.0 + AVERSION) != b.at(4.0 + AVERSION)


def test_a_change_drops_those_that_were_to_come():
    attention = Attention()
    attention.set("thinking", 5.0)
    attention.set("idle", 4.9)
    assert attention.state(6.0) == "idle" and attention.at(6.0).thinking == 0


def test_an_unknown_state_is_refused():
    with pytest.raises(ValueError, match="bored"):
        Attention().set("bored", 0.0)
