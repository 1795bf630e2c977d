"""Accents move the head a little, in time, smoothly, the same each time, and silence moves nothing."""

import numpy as np
import pytest

from drivers.idle import Idle
from drivers.prosody import FALL, LAG, RATE, RISE, Prosody, bump, octaves
from models.motion import GROUP, HEAD, NECK, A, Motion
from tests.conftest import shared_file


def syllables(times, seconds=4.0, loud=0.5):
    """A voice of 120 Hz at a low level, louder and higher at the given times."""
    t = np.arange(round(seconds * RATE)) / RATE
    accent = sum(np.exp(-(((t - at) / 0.07) ** 2)) for at in times) if times else np.zeros_like(t)
    phase = 2 * np.pi * np.cumsum(120 + 60 * accent) / RATE
    voice = sum(np.sin(k * phase) / k for k in range(1, 8))
    weak = 1 + 0.25 * np.sin(2 * np.pi * 4 * t)
    return ((0.04 * weak + loud * accent) * voice / 2).astype(np.float32)


def pitches(prosody, seconds=4.0, step=1 / 60):
    """(times, downward nod of neck and head in degrees, brows)"""
    times = np.arange(0, seconds, step)
    motions = [prosody.onto(Motion(t)) for t in times]
    nod = np.degrees([m.pose[NECK, 0] + m.pose[HEAD, 0] for m in motions])
    return times, nod, np.array([m.face[A["browInnerUp"]] for m in motions])


def heard(samples, piece=1280, **how):
    p = Prosody(**how)
    for i in range(0, len(samples), piece):
        p.push(samples[i : i + piece], i / RATE, i == 0)
    return p


def test_the_head_dips_after_each_accent_and_comes_back():
    times, nod, _ = pitches(heard(syllables([1.0, 2.5])))
    for at in (1.0, 2.5):
        near = (times > at) & (times < at + LAG + RISE + FALL)
        assert nod[near].max() > 0.3, "a nod that can be seen"
        assert at < times[near][nod[near].argmax()] < at + 0.35
    quiet = (np.abs(times - 2.1) < 0.2) | (times > 3.6)
    assert np.abs(nod[quiet]).max() == 0


def test_movements_are_small_and_smooth_however_much_is_accented():
    p = heard(syllables(list(np.arange(0.3, 11.5, 0.46)), 12.0, loud=0.9), strength=1.25)
    _, nod, brows = pitches(p, 12.0, 1 / 120)
    assert 0.8 < nod.max() < 3.0 and nod.min() >= 0 and brows.max() <= 0.35
    assert np.abs(np.diff(nod)).max() < 0.2  # degrees a 120th of a second
    assert len(p._accents) < 12 / 0.45


@pytest.mark.parametrize(
    "samples",
    [np.zeros(4 * RATE, np.float32), 0.002 * np.random.default_rng(0).standard_normal(4 * RATE).astype(np.float32)],
    ids=["digital", "noise"],
)
def test_silence_moves_nothing(samples):
    p = heard(samples)
    idle = Idle(3).motion(2.0)
    assert p.onto(idle) is idle and not p._accents


def test_an_accent_is_known_in_time_for_its_movement():
    samples, p = syllables([1.0, 1.7, 2.5, 3.2]), Prosody()
    late = []
    for i in range(0, len(samples), 1280):
        known = len(p._accents)
        p.push(samples[i : i + 1280], i / RATE, i == 0)
        late += [(i + 1280) / RATE - a.time for a in p._accents[known:]]
    assert len(late) == 4 and max(late) < 0.12, "the driver hears 120 ms ahead"


def test_it_is_the_same_however_sound_is_cut_and_differs_by_seed():
    samples = syllables([0.8, 1.5, 2.2, 3.0])
    a, b, c = heard(samples), heard(samples, piece=333), heard(samples, seed=1)
    assert a._accents == b._accents and len(a._accents) == 4
    assert [x.time for x in a._accents] == [x.time for x in c._accents] and a._accents != c._accents
    assert not pitches(heard(samples, strength=0.0))[1].any()


def test_idle_life_goes_on_below():
    p = heard(syllables([1.0]))
    idle = Idle(3).motion(1.2)
    moved = p.onto(idle)
    assert moved.pose[HEAD, 0] > idle.pose[HEAD, 0] and moved.pose[HEAD, 1] == pytest.approx(
        idle.pose[HEAD, 1], abs=0.02
    )
    np.testing.assert_array_equal(np.delete(moved.pose, [NECK, HEAD], 0), np.delete(idle.pose, [NECK, HEAD], 0))
    assert moved.weight[GROUP["arms"]] == 0


def test_what_was_cut_does_not_move():
    p = heard(syllables([1.0, 2.5]))
    p.cut(1.2)
    times, nod, _ = pitches(p)
    assert nod[times < 1.6].max() > 0 and not nod[times > 1.7].any()


def test_the_bump_rests_at_both_ends():
    age = np.linspace(-0.1, 0.7, 801)
    y = np.array([bump(a) for a in age])
    assert y.max() == pytest.approx(1, abs=1e-3) and y[age <= 0].max() == 0 and y[age >= RISE + FALL].max() == 0
    assert np.abs(np.diff(y)).max() < 0.02


def test_pitch_is_found():
    t = np.arange(640) / RATE
    for f in (90, 150, 300):
        voice = np.sum([np.sin(2 * np.pi * f * k * t) / k for k in range(1, 9)], 0).astype(np.float32)
        assert 2 ** octaves(voice) == pytest.approx(f, rel=0.03)
    assert octaves(np.random.default_rng(0).standard_normal(640).astype(np.float32)) == 0


def test_a_wrong_strength_is_refused():
    with pytest.raises(ValueError, match="strength"):
        Prosody(strength=2)


def test_real_speech_is_accented_about_once_a_second():
    from drivers.speech import load

    samples = load(shared_file("speech/LJ001-0001_en.wav"))
    p = heard(samples)
    seconds = len(samples) / RATE
    assert 0.5 < p._found / seconds < 1.6
    _, nod, _ = pitches(p, seconds)
    assert 0.4 < nod.max() < 3.0
