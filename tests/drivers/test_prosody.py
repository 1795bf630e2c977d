"""Accents move the head a little, in time, smoothly, the same each time, and silence moves nothing."""

import numpy as np
import pytest

from drivers.gesture_style import STYLES, style
from drivers.idle import Idle
from drivers.prosody import FALL, LAG, PREPARE, RATE, RISE, SLOW, VOWEL, Prosody, bump, octaves
from models.motion import GROUP, HEAD, JOINT, NECK, A, Motion
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


def heard(samples, piece=1280, live=False, manner="neutral", **how):
    p = Prosody(**how)
    p.style = style(manner)
    for i in range(0, len(samples), piece):
        p.push(samples[i : i + piece], i / RATE, i == 0, i + piece >= len(samples), live)
    return p


@pytest.mark.parametrize(("live", "apex"), [(False, -VOWEL), (True, LAG + RISE)])
def test_the_head_dips_on_each_accent_and_comes_back(live, apex):
    times, nod, _ = pitches(heard(syllables([1.0, 2.5]), live=live))
    for at in (1.0, 2.5):
        near = np.abs(times - at) < RISE + FALL
        assert nod[near].max() > 0.05, "a nod, or a hint of one"
        assert times[near][nod[near].argmax()] == pytest.approx(at + apex, abs=0.05)
    quiet = (np.abs(times - 1.9) < 0.15) | (times > 3.6)
    assert np.abs(nod[quiet]).max() == 0


def test_of_syllables_that_are_known_the_strongest_is_accented():
    weak, strong = syllables([1.0], loud=0.15), syllables([1.35], loud=0.6)
    (accent,) = heard(weak + strong).accents
    assert accent.peak == pytest.approx(1.35, abs=0.04)
    assert heard(weak + strong, live=True).accents[0].peak == pytest.approx(1.0, abs=0.04), "what follows is not known"


def test_nothing_moves_before_what_was_not_known():
    samples = syllables([0.1])
    p = Prosody()
    p.push(samples, 5.0, True, True)
    (accent,) = p.accents
    assert accent.time == accent.raised == 5.0
    p.push(samples, 5.0 + len(samples) / RATE, True, True)
    assert p.accents[1].time < 5.0 + len(samples) / RATE, "a sentence that follows without a gap is known ahead"
    assert p.accents[1].raised == pytest.approx(p.accents[1].time - PREPARE)


def test_a_long_speech_is_accented_from_its_beginning():
    p = heard(syllables(list(np.arange(0.5, 59, 0.8)), 60.0))
    assert len(p.accents) > 60 and p.accents[0].time < 2
    assert pitches(p, 4.0)[1].max() > 0.1


def test_styles_differ_in_how_often_and_how_much():
    samples = syllables(list(np.arange(0.3, 19.5, 0.5)), 20.0)
    found = {name: heard(samples, manner=name) for name in STYLES}
    often = [len(found[name].accents) for name in ("calm", "neutral", "lively")]
    assert often[0] < 0.7 * often[1] and often[1] <= often[2]
    nod = [np.mean([a.nod for a in found[name].accents]) for name in ("calm", "neutral", "lively")]
    assert nod[0] < 0.8 * nod[1] and nod[1] < 0.9 * nod[2]
    with pytest.raises(ValueError, match="calm, neutral, lively"):
        style("wild")


def test_the_trunk_leans_into_accents_and_the_face_stays():
    p = heard(syllables([1.0, 1.6, 2.4]), seed=5)
    times = np.arange(0, 5, 1 / 60)
    poses = np.degrees([p.onto(Motion(t)).pose for t in times])
    trunk = poses[:, JOINT["spine2"]] + poses[:, JOINT["spine3"]]
    assert 0.2 < trunk[:, 0].max() < 1.3 and trunk[:, 0].min() >= 0 and 0.1 < np.abs(trunk[:, 1:]).max() < 2
    assert not trunk[times > 2.4 + SLOW * (RISE + FALL)].any()
    turned = np.abs(trunk[:, 1] + poses[:, NECK, 1]).max()
    assert turned < 0.75 * np.abs(trunk[:, 1]).max()


def test_movements_are_small_and_smooth_however_much_is_accented():
    p = heard(syllables(list(np.arange(0.3, 11.5, 0.46)), 12.0, loud=0.9), strength=1.25)
    _, nod, brows = pitches(p, 12.0, 1 / 120)
    assert 0.8 < nod.max() < 3.0 and nod.min() >= 0 and brows.max() <= 0.35
    assert np.abs(np.diff(nod)).max() < 0.25  # degrees a 120th of a second
    assert len(p.accents) < 12 / 0.45


@pytest.mark.parametrize(
    "samples",
    [np.zeros(4 * RATE, np.float32), 0.002 * np.random.default_rng(0).standard_normal(4 * RATE).astype(np.float32)],
    ids=["digital", "noise"],
)
def test_silence_moves_nothing(samples):
    p = heard(samples)
    idle = Idle(3).motion(2.0)
    assert p.onto(idle) is idle and not p.accents


def test_an_accent_is_known_in_time_for_its_movement():
    samples, p = syllables([1.0, 1.7, 2.5, 3.2]), Prosody()
    late = []
    for i in range(0, len(samples), 320):
        known = len(p.accents)
        p.push(samples[i : i + 320], i / RATE, i == 0, live=True)
        late += [(i + 320) / RATE - a.time for a in p.accents[known:]]
    assert len(late) == 4 and max(late) < 0.11, "a microphone is heard 200 ms after it was recorded"


def test_it_is_the_same_however_sound_is_cut_and_differs_by_seed():
    samples = syllables([0.8, 1.5, 2.2, 3.0])
    a, b, c = heard(samples), heard(samples, piece=333), heard(samples, seed=1)
    assert a.accents == b.accents and len(a.accents) == 4
    assert [x.time for x in a.accents] == [x.time for x in c.accents] and a.accents != c.accents
    assert not pitches(heard(samples, strength=0.0))[1].any()


def test_idle_life_goes_on_below():
    p = heard(syllables([1.0]))
    idle = Idle(3).motion(1.2)
    moved = p.onto(idle)
    assert moved.pose[HEAD, 0] > idle.pose[HEAD, 0] and moved.pose[HEAD, 1] == pytest.approx(
        idle.pose[HEAD, 1], abs=0.02
    )
    others = np.delete(np.arange(55), [NECK, HEAD, JOINT["spine2"], JOINT["spine3"]])
    np.testing.assert_array_equal(moved.pose[others], idle.pose[others])
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
