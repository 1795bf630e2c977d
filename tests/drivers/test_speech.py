"""The speech driver as a stream: timely, the same live and offline, shut in silence, sealed on p, b and m."""

import itertools
import pickle
import time
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
import torch

from drivers import speech
from drivers.speech import ears
from drivers.speech.articulation import aperture
from drivers.speech.audio import AudioError, load
from drivers.speech.driver import RELIEF, Settings, SpeechDriver, track
from drivers.speech.features import HOP, LOOKAHEAD, StreamingFeatures
from drivers.speech.head import CLOSURE, OUTPUTS, Head
from drivers.speech.mel import MelEncoder
from drivers.speech.ring import Ring
from drivers.speech.solver import SEAL_ON
from drivers.speech.training.augmentation import not_speech
from drivers.speech.training.fit import Net, Shape
from drivers.speech.vad import VoiceDetector
from drivers.speech.visemes import N_VISEMES, PP
from models.motion import GROUP, GROUPS, JAW, A
from tests.conftest import shared_file as shared

RATE = 16000


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def jfk():
    """ "And so my fellow Americans", 2.6 s with what goes before and after it."""
    return load(shared("speech/jfk_en.flac"))[: int(2.6 * RATE)]


def faces(motions):
    return np.stack([m.face for m in motions])


def chunks(samples, sizes):
    sizes = itertools.cycle(sizes)
    while len(samples):
        n = next(sizes)
        yield samples[:n]
        samples = samples[n:]


@pytest.fixture(scope="module")
def spoken(jfk):
    """(driver, motions) of the whole clip."""
    driver = SpeechDriver()
    return driver, driver.push(jfk) + driver.flush()


def test_fifty_motions_a_second_for_the_mouth_alone(spoken, jfk):
    _, motions = spoken
    times = np.array([m.time for m in motions])
    assert np.allclose(times, np.arange(len(times)) / 50) and abs(times[-1] - len(jfk) / RATE) <= 0.02
    for m in motions:
        assert m.weight[GROUP["mouth"]] == 1 and m.weight.sum() == 1 and len(m.weight) == len(GROUPS)
        assert not m.pose[JAW].any() and not m.pose.any()


def test_the_lips_meet_on_my_and_americans_and_part_on_the_vowels(spoken):
    gap = aperture(faces(spoken[1]))
    at = lambda a, b: gap[round(a * 50) : round(b * 50)]  # noqa: E731
    assert at(0.93, 1.07).min() == 0  # my
    assert at(1.62, 1.80).min() == 0  # Americans
    assert at(0.30, 0.50).max() > 0.4  # and
    assert at(1.08, 1.25).max() > 0.4  # my
    assert at(0.0, 0.2).max() < 0.02  # nobody speaks yet


def test_so_is_round_and_my_is_not(spoken):
    f = faces(spoken[1])
    assert f[round(0.8 * 50), A["mouthFunnel"]] > f[round(1.15 * 50), A["mouthFunnel"]] + 0.15


@pytest.mark.parametrize("sizes", [[160], [512, 1, 3000], [20000], [1280], [1279, 2]])
def test_how_the_sound_is_cut_changes_nothing(jfk, spoken, sizes):
    driver = SpeechDriver()
    motions = [m for c in chunks(jfk, sizes) for m in driver.push(c)] + driver.flush()
    assert [m.time for m in motions] == [m.time for m in spoken[1]]
    assert np.array_equal(faces(motions), faces(spoken[1]))


def test_a_track_is_the_same_stream(jfk, spoken):
    offline = track(jfk, RATE)
    assert np.array_equal(offline.face, faces(spoken[1]))
    assert np.array_equal(offline.time, [m.time for m in spoken[1]])


@pytest.mark.parametrize(("hop", "lookahead"), [(0.08, 0.04), (0.04, 0.04), (0.08, 0.0)])
def test_no_motion_depends_on_sound_after_its_latency_or_comes_later(jfk, hop, lookahead):
    driver = SpeechDriver(Settings(window=1.0, hop=hop, lookahead=lookahead))
    assert driver.latency == pytest.approx(hop + lookahead)
    cut = int(1.23 * RATE)
    changed = jfk.copy()
    changed[cut:] = np.random.default_rng(0).normal(0, 0.3, len(jfk) - cut)
    one = driver.push(jfk)
    driver.reset()
    other = driver.push(changed)
    before = [m.time <= cut / RATE - driver.latency for m in one]
    assert sum(before) > 40
    assert np.array_equal(faces(one)[before], faces(other)[before])
    assert not np.array_equal(faces(one), faces(other))
    driver.reset()
    arrived, out = 0, 0
    for piece in chunks(jfk, [333]):
        arrived += len(piece)
        out += len(driver.push(piece))
        due = np.arange(len(one)) / 50 <= arrived / RATE - driver.latency - 1e-9
        assert out >= due.sum()


def test_reset_forgets_and_counts_epochs(jfk, spoken):
    driver = SpeechDriver()
    assert {m.epoch for m in driver.push(jfk[:20000])} == {0}
    driver.reset()
    again = driver.push(jfk) + driver.flush()
    assert {m.epoch for m in again} == {1} and again[0].time == 0
    assert np.array_equal(faces(again), faces(spoken[1]))
    driver.reset(7)
    assert driver.push(np.zeros(RATE))[0].epoch == 7


def test_drivers_that_take_turns_do_not_disturb_each_other(jfk, spoken):
    a, b = SpeechDriver(), SpeechDriver()
    out = []
    for piece in chunks(jfk, [4000]):
        out += a.push(piece)
        b.push(-0.5 * piece[::-1])
    assert np.array_equal(faces(out), faces(spoken[1])[: len(out)])


@pytest.mark.parametrize("seed", range(8))
def test_noise_hum_breath_and_typing_leave_the_mouth_shut(seed):
    u = not_speech(np.random.default_rng(seed), 5.0)
    assert aperture(track(u.samples).face).max() < 0.02, u.name


def test_a_pause_is_shut_and_speech_after_it_is_not(jfk):
    gap = aperture(track(np.concatenate([jfk, np.zeros(RATE, np.float32), jfk])).face)
    assert gap[round(2.75 * 50) : round(3.75 * 50)].max() == 0
    assert gap[round(3.9 * 50) : round(4.2 * 50)].max() > 0.4


def test_a_voice_in_noise_still_moves_the_mouth(jfk):
    noise = np.random.default_rng(0).normal(0, 0.01, len(jfk)).astype(np.float32)
    clean, noisy = (aperture(track(x).face) for x in (jfk, jfk + noise))
    assert np.corrcoef(clean, noisy)[0, 1] > 0.85


def test_the_encoder_rests_while_nobody_speaks():
    driver = SpeechDriver()
    heard = 10 // HOP * HOP - LOOKAHEAD  # s: whole hops, but for the lookahead
    assert len(driver.push(np.zeros(10 * RATE))) == round(heard * 50)
    assert driver._features.encoded == 0 and not driver.speaking


def test_what_is_not_finite_is_silence_to_the_driver(jfk):
    broken = jfk.copy()
    broken[10000:10050] = np.nan
    broken[20000] = np.inf
    face = track(broken).face
    assert np.isfinite(face).all() and aperture(face).max() > 0.4


def test_other_rates_and_integers_are_heard_alike(jfk, spoken):
    gap = aperture(faces(spoken[1]))
    slow = aperture(track(speech.resample(jfk, 16000, 8000), 8000).face)
    whole = aperture(track((jfk * 32767).astype(np.int16)).face)
    n = min(len(gap), len(slow))
    assert np.corrcoef(gap[:n], slow[:n])[0, 1] > 0.85 and np.abs(gap - whole).max() < 0.05


def test_an_empty_sound_is_refused():
    with pytest.raises(AudioError, match="no samples"):
        track(np.zeros(0))


def test_nothing_pushed_gives_nothing():
    driver = SpeechDriver()
    assert driver.push(np.zeros(0)) == []
    assert len(driver.flush()) <= 1


# ---- parts ----------------------------------------------------------------------------------------------------------


def test_the_ring_gives_any_window_it_holds_and_silence_before_the_beginning():
    ring, rng = Ring(1000), np.random.default_rng(0)
    x = rng.normal(size=5000).astype(np.float32)
    pushed = 0
    for n in rng.integers(0, 300, 30):
        ring.push(x[pushed : pushed + n])
        pushed += n
        expected = np.concatenate([np.zeros(1000, np.float32), x[:pushed]])
        assert np.array_equal(ring.window(pushed, 1000), expected[-1000:])
        assert np.array_equal(ring.window(pushed - 50, 100), expected[-150:-50])
    with pytest.raises(ValueError, match="not held"):
        ring.window(pushed + 1, 10)
    with pytest.raises(ValueError, match="into a ring"):
        ring.push(np.zeros(1001, np.float32))


class Counting:
    """An encoder whose features are the number of the frame's first sample, if samples count up."""

    def features(self, window):
        return window[::320, None]


def test_every_frame_is_handed_out_once_with_its_lookahead():
    stream = StreamingFeatures(Counting(), window=1.0, hop=0.08, lookahead=0.04)
    numbers = np.arange(16000 * 2, dtype=np.float32)
    final = []
    while len(numbers):
        piece, numbers = np.split(numbers, [min(stream.room(), 700)])
        hop = stream.push(piece)
        if hop:
            assert hop.final == 4 and len(hop.features) == 6
            assert stream.ring.count == (hop.first + 6) * 320
            final += [(hop.first + i, f[0]) for i, f in enumerate(hop.features[:4]) if hop.first + i >= 0]
    assert [f for f, _ in final] == list(range(len(final)))
    assert all(value == 320 * f for f, value in final)


def test_settings_that_cannot_work_are_refused():
    for window, hop, lookahead, words in (
        (0.1, 0.08, 0.04, "two hops"),
        (2.0, 0.0, 0.04, "holds a frame"),
        (2.0, 0.08, -0.04, "not negative"),
    ):
        with pytest.raises(ValueError, match=words):
            StreamingFeatures(Counting(), window, hop, lookahead)
    with pytest.raises(ValueError, match="no more than 50"):
        StreamingFeatures(Counting(), 1.0).hear_with(Counting(), 2.0, 0)


def test_the_voice_detector_hears_speech_and_not_noise(jfk):
    voice = VoiceDetector()
    for piece in chunks(jfk, [777]):
        voice.push(piece)
    assert voice.highest(0.5, 2.0) > 0.9 and voice.highest(0.0, 0.2) < 0.5
    assert voice.highest(50, 60) == 0
    voice.reset()
    voice.push(np.random.default_rng(0).normal(0, 0.05, 2 * RATE).astype(np.float32))
    assert voice.highest(0, 2) < 0.3


def test_a_head_survives_saving_and_a_wrong_file_is_named(tmp_path):
    rng = np.random.default_rng(0)
    mean, sd = rng.normal(size=384), rng.uniform(0.5, 2, 384)
    net = Net(384, Shape(projection=16, hidden=32, past=3, ahead=2)).eval()
    layers = [t.detach().numpy() for layer in (net.w0, net.w1, net.w2) for t in (layer.weight, layer.bias)]
    head = Head.of(mean, sd, layers, 3, 2)
    x = rng.normal(size=(10, 384)).astype(np.float32)
    with torch.no_grad():
        wanted = net(torch.from_numpy(((x - mean) / sd).astype(np.float32))[None])[0].numpy()
    assert head.logits(x).shape == (7, 19) and np.allclose(head.logits(x)[:5], wanted, atol=1e-4)
    assert np.allclose(head.logits(np.concatenate([x, x[-1:]]))[:6], head.logits(x)[:6], atol=1e-4)
    heard = head(x)
    assert np.allclose(heard.visemes.sum(1), 1, atol=1e-5)
    head.save(tmp_path / "head.npz")
    again = Head.load(tmp_path / "head.npz")
    assert np.allclose(again.logits(x), head.logits(x), atol=0.02) and again.seal is None
    replace(head, seal=0.25).save(tmp_path / "head.npz")
    assert Head.load(tmp_path / "head.npz").seal == 0.25
    np.savez(tmp_path / "other.npz", w1=layers[2])
    (tmp_path / "text.npz").write_text("no head")
    for name in ("other.npz", "text.npz", "none.npz"):
        with pytest.raises(ValueError, match=name):
            Head.load(tmp_path / name)


def test_a_closure_is_heard_by_both_outputs_and_counts_from_the_seal():
    zero = np.zeros((1, 1), np.float32)
    head = Head(zero, zero[0], zero, zero[0], np.zeros((OUTPUTS, 1), np.float32), np.zeros(OUTPUTS, np.float32), 0, 0)

    def closure(own, viseme):
        """Of a head that hears PP with the probability `viseme` and the closure itself with `own`."""
        b2 = np.zeros(OUTPUTS, np.float32)
        b2[PP], b2[CLOSURE] = np.log(viseme / (1 - viseme) * (N_VISEMES - 1)), np.log(own / (1 - own))
        return float(replace(head, b2=b2, seal=0.25)(zero).closure[0])

    assert closure(0.25, 0.25) == pytest.approx(SEAL_ON) and closure(0.125, 0.5) == pytest.approx(SEAL_ON)
    assert closure(0.9, 0.05) < SEAL_ON < closure(0.9, 0.1)
    assert replace(head, seal=0.25).evidence(SEAL_ON) == pytest.approx(0.25)


@pytest.mark.parametrize("name", ["tiny.en", "mel"])
def test_the_committed_heads_are_small_and_have_cards(name):
    path = ears.head_path(name)
    assert path.stat().st_size < 1_000_000
    card = path.with_suffix(".md").read_text()
    assert all(word in card for word in ("Licence", "Data", "Test"))


# ---- which model listens --------------------------------------------------------------------------------------------


class Slow:
    """An ear that takes its time."""

    def __init__(self, seconds):
        self.seconds = seconds

    def cost(self):
        return self.seconds


@pytest.mark.parametrize(("costs", "chosen"), [((0.01, 0.001), 0), ((0.06, 0.001), 1), ((0.06, 0.05), 1)])
def test_the_best_ear_that_fits_the_measured_budget_is_chosen(costs, chosen):
    candidates = [Slow(c) for c in costs]
    opened = iter(candidates)
    ear, cost = ears.choose([lambda: cast(ears.Ear, next(opened))] * 2, budget=0.04)
    assert cast(Slow, ear) is candidates[chosen] and cost == costs[chosen] and len(list(opened)) == 1 - chosen


def test_a_slow_encoder_is_measured_as_slow():
    class Heavy(MelEncoder):
        def features(self, window):
            time.sleep(0.03)
            return super().features(window)

    light = ears.open_ear("mel")
    assert ears.Ear("heavy", Heavy(), light.head, light.window).cost() > 0.03 + 0.5 * light.cost()


def test_a_head_of_another_encoder_is_refused():
    with pytest.raises(ValueError, match="its head hears 384"):
        ears.Ear("mixed", MelEncoder(), Head.load())


def test_the_small_network_speaks_without_whisper(jfk):
    motions = SpeechDriver(Settings(model="mel")).push(jfk)
    gap = aperture(faces(motions))
    assert gap[: round(0.2 * 50)].max() < 0.02 < 0.3 < gap.max()
    assert SpeechDriver(Settings(model="mel")).latency == pytest.approx(0.12)


def test_a_driver_that_comes_too_late_hears_with_less_for_a_while(jfk, monkeypatch):
    monkeypatch.setattr(ears, "measured", lambda: ears.open_ear("tiny.en"))
    driver, silence = SpeechDriver(Settings(model=ears.AUTO)), np.zeros(round(RELIEF * RATE), np.float32)
    first, rest = np.split(jfk, [round(0.8 * RATE)])
    motions = driver.push(first)
    encoded = driver._features.encoder
    driver.relieve()
    assert driver.ear is ears.least() and driver._features.encoder is not encoded
    motions += driver.push(rest) + driver.flush()
    assert [round(50 * m.time) for m in motions] == list(range(len(motions))), "no motion is lost, none comes twice"
    assert aperture(faces(motions))[45:].max() > 0.3
    driver.push(silence[: len(silence) // 2])
    assert driver.ear is ears.least()
    driver.push(silence)
    assert driver.ear is ears.measured()
    driver.relieve()
    driver.push(silence[: RATE + len(silence)])
    assert driver.ear is ears.least(), "the second time it lasts longer"


def test_a_model_asked_for_by_name_is_kept():
    driver = SpeechDriver(Settings(model="tiny.en"))
    driver.relieve()
    assert driver.ear is ears.open_ear("tiny.en")


def test_a_checkpoint_that_is_none_is_named(tmp_path):
    (tmp_path / "no.pt").write_bytes(b"nothing")
    for name, words in (("no.pt", "not a checkpoint"), ("none.pt", "no such file")):
        with pytest.raises(ValueError, match=words):
            speech.create(str(tmp_path / name))


class Puppet:
    """A user's own model."""

    rate, latency, speaking = 16000, 0.1, False

    def push(self, samples):
        return []

    def flush(self):
        return []

    def reset(self, epoch=None):
        pass


def test_a_users_own_model_takes_the_same_place(monkeypatch):
    assert isinstance(speech.create(f"{__name__}:Puppet"), Puppet)
    with pytest.raises(ValueError, match=r"write it as package\.module:factory"):
        speech.create("no_such_package:thing")
    with pytest.raises(ValueError, match="has no rate"):
        speech.create(f"{__name__}:Position")
    with pytest.raises(ValueError, match="no such file"):
        speech.create("tiny")


class Position:
    pass


# ---- bad input ------------------------------------------------------------------------------------------------------


def test_a_clipped_voice_still_moves_the_mouth(jfk):
    clean, clipped = (aperture(track(x).face) for x in (jfk, np.clip(20 * jfk, -1, 1)))
    assert np.corrcoef(clean, clipped)[0, 1] > 0.7 and clipped.max() > 0.4


def test_silence_is_a_shut_mouth():
    assert aperture(track(np.zeros(2 * RATE)).face).max() == 0


def test_ten_minutes_neither_drift_nor_grow():
    """Of near silence, so that the encoder rests; speech itself is measured by `evaluate speech`."""
    driver = SpeechDriver(Settings(model="mel"))
    noise = np.random.default_rng(0).normal(0, 1e-4, 60 * RATE).astype(np.float32)
    last, count = 0.0, 0
    for minute in range(10):
        motions = driver.push(noise)
        count += len(motions)
        last = motions[-1].time
        if minute == 1:
            held = sum(len(pickle.dumps(v)) for v in vars(driver._solver).values()) + driver._voice._pending.nbytes
    assert last == pytest.approx(600 - LOOKAHEAD - 0.02) and count == round((last + 0.02) * 50)
    assert (
        sum(len(pickle.dumps(v)) for v in vars(driver._solver).values()) + driver._voice._pending.nbytes <= 1.5 * held
    )
