"""The performer: lips and sound on one clock, whoever speaks, and silence when it is told to stop."""

import threading
import time

import numpy as np
import pytest

from models.motion import GROUP, A, Motion, MotionTrack
from stage.performer import BEHIND, Performer
from stage.sound import RATE, SoundError
from tests.server.scripted import FlashPicture, LoudSpeech, Still, TopLayer, clicks, scripted_performer

FRAME = 1 / 100  # s, fine steps for measuring


def perform(p: Performer, seconds: float, start: float = 0.0, live: np.ndarray | None = None, rate: int = RATE):
    """Run media time in 10 ms steps; returns (times, mouth open 0..1, loud or not) of each step."""
    out = np.zeros((p.picture.height * 3 // 2, p.picture.width), np.uint8)
    rows, chunk = [], round(rate * FRAME)
    for k in range(round(seconds / FRAME)):
        t = start + k * FRAME
        if live is not None:
            p.push_audio(live[k * chunk : (k + 1) * chunk], rate)
        p.advance(t + 0.3)
        motion = p.frame(t, out)
        sound = p.voice(round(t * RATE), round(FRAME * RATE))
        rows.append((t, motion.face[A["jawOpen"]], np.abs(sound.astype(int)).max() > 3000))
    return np.array(rows).T


def onsets(times: np.ndarray, on: np.ndarray) -> np.ndarray:
    on = on > 0.5
    return times[1:][on[1:] & ~on[:-1]]


def test_a_file_is_heard_and_seen_at_once() -> None:
    p = scripted_performer()
    u = p.speak(clicks(3.0), RATE)
    assert u.seconds == pytest.approx(3.0) and u.start <= 0.2
    t, mouth, loud = perform(p, 3.5)
    heard, seen = onsets(t, loud), onsets(t, mouth)
    assert len(heard) == 3 == len(seen)
    np.testing.assert_allclose(heard, u.start + np.array([0.5, 1.5, 2.5]), atol=0.011)
    assert np.abs(heard - seen).max() <= 0.021  # the net's frames are 20 ms


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_a_microphone_is_heard_after_the_delay_with_lips_in_step(rate: int) -> None:
    p = scripted_performer()
    t, mouth, loud = perform(p, 3.5, live=clicks(3.5, rate=rate), rate=rate)
    heard, seen = onsets(t, loud), onsets(t, mouth)
    assert len(heard) == 3 == len(seen)
    np.testing.assert_allclose(heard, np.array([0.5, 1.5, 2.5]) + p.delay, atol=0.021)
    assert np.abs(heard - seen).max() <= 0.021


@pytest.mark.parametrize("ppm", [-300, -200, 200, 300])
def test_ten_minutes_of_a_microphone_whose_clock_is_off(ppm: float) -> None:
    """Chunks as a network brings them, late by up to some 20 ms: the buffer neither grows nor runs dry, no seam."""
    p = scripted_performer()
    random, n, rate = np.random.default_rng(4), 960, RATE * (1 + ppm * 1e-6)
    due, sent, ahead, heard = 0.0, 0, [], []
    for k in range(600 * 50):
        while due <= k * 0.02:
            wave = 8000 * np.sin(2 * np.pi * 440 * (sent + np.arange(n)) / RATE)
            p.push_audio(wave.astype(np.int16), RATE)
            sent += n
            due = max(due, (sent + n) / rate + abs(random.normal(0, 0.008)))
        ahead.append((p._voice.end - p._voice.playhead) / RATE - p.delay)
        heard.append(p.voice(k * 960, 960))
    assert min(ahead[500:]) > -0.07 and max(ahead[500:]) < 0.07, "uncorrected, it would be 0.12 to 0.18 s off"
    assert abs(np.mean(ahead[-1500:]) - np.mean(ahead[500:2000])) < 0.015
    sound = np.concatenate(heard)[RATE:].astype(float)
    assert np.abs(np.diff(sound)).max() < 480, "a tone of 440 Hz moves 461 a sample; a seam would jump"


def test_an_interruption_silences_voice_and_lips() -> None:
    p = scripted_performer()
    p.speak(np.full(5 * RATE, 0.5, np.float32), RATE)
    _, mouth, loud = perform(p, 1.0)
    assert loud[-1] and mouth[-1] == 1 and p.speaking(1.0)
    assert p.interrupt() == 1 == p.epoch
    t, mouth, loud = perform(p, 1.0, start=1.0)
    assert t[loud > 0].max(initial=1.0) <= 1.03
    assert t[mouth > 0.05].max(initial=1.0) <= 1.05
    assert not p.speaking(1.1)


def test_after_an_interruption_it_speaks_again_in_step() -> None:
    p = scripted_performer()
    p.speak(np.full(5 * RATE, 0.5, np.float32), RATE)
    perform(p, 1.0)
    p.interrupt()
    u = p.speak(clicks(1.0), RATE)
    assert 1.0 <= u.start <= 1.2
    t, mouth, loud = perform(p, 1.5, start=1.0)
    np.testing.assert_allclose(onsets(t, loud)[-1:], u.start + 0.5, atol=0.011)
    np.testing.assert_allclose(onsets(t, mouth)[-1:], u.start + 0.5, atol=0.031)


def test_motions_in_the_net_during_an_interruption_are_dropped() -> None:
    p = scripted_performer()

    class Slow(LoudSpeech):
        entered, go_on = threading.Event(), threading.Event()

        def push(self, samples: np.ndarray) -> list[Motion]:
            self.entered.set()
            self.go_on.wait(5)
            return super().push(samples)

    slow = Slow()
    p = Performer(FlashPicture(), Still(), TopLayer(), slow)
    p.speak(np.full(RATE, 0.5, np.float32), RATE)
    thread = threading.Thread(target=p.advance, args=(0.3,))
    thread.start()
    assert slow.entered.wait(5)
    p.interrupt()
    slow.go_on.set()
    thread.join(5)
    _, mouth, loud = perform(p, 1.0)
    assert not loud.any() and not mouth.any()


def test_utterances_queue() -> None:
    p = scripted_performer()
    first, second = p.speak(clicks(1.0), RATE), p.speak(clicks(1.0), RATE)
    assert second.id == first.id + 1 and second.start == pytest.approx(first.start + 1.0)
    t, mouth, loud = perform(p, 2.4)
    assert len(onsets(t, loud)) == 2 == len(onsets(t, mouth))


def test_a_fast_microphone_does_not_pile_up_delay() -> None:
    p = scripted_performer()
    for k in range(1000):  # 10 s of media time, fed 5 % too fast with silence
        p.push_audio(np.zeros(504, np.int16), RATE)
        p.voice(k * 480, 480)
    assert p._voice.end - p._voice.playhead < RATE * (p.delay + 0.2)


def test_a_stalled_microphone_starts_again_with_the_delay() -> None:
    p = scripted_performer()
    p.push_audio(np.full(4800, 0.5, np.float32), RATE)
    p.voice(0, 2 * RATE)
    p.push_audio(np.full(4800, 0.5, np.float32), RATE)
    assert p._voice.end == 2 * RATE + round(p.delay * RATE) + 4800


class Busy(LoudSpeech):
    """On a machine that gives it less time than it takes, until it is relieved."""

    def __init__(self) -> None:
        super().__init__()
        self.relieved, self.heard = False, 0

    def relieve(self) -> None:
        self.relieved = True

    def push(self, samples: np.ndarray) -> list[Motion]:
        self.heard += len(samples)
        return super().push(samples)


def late(p: Performer, net: Busy, seconds: float, pace: float) -> np.ndarray:
    """As `perform` with a microphone, where the net hears `pace` s of sound in a second until it is relieved."""
    out, sound = np.zeros((p.picture.height * 3 // 2, p.picture.width), np.uint8), clicks(seconds)
    rows, free = [], 0.0
    for k in range(round(seconds / FRAME)):
        t = k * FRAME
        p.push_audio(sound[k * 480 : (k + 1) * 480], RATE)
        while p.wants(t + 0.3) and (net.relieved or free <= t):
            before = net.heard
            p._advance_one()
            free += (net.heard - before) / 16000 / pace
        free = free if p.wants(t + 0.3) else max(free, t)
        motion, heard = p.frame(t, out), p.voice(round(t * RATE), 480)
        rows.append((t, motion.face[A["jawOpen"]], np.abs(heard.astype(int)).max() > 3000))
    return np.array(rows).T


def test_a_net_that_comes_too_late_is_relieved_and_the_lips_are_in_step_again() -> None:
    net = Busy()
    p = Performer(FlashPicture(), Still(), TopLayer(), net)
    t, mouth, loud = late(p, net, 8.0, pace=0.6)
    assert net.relieved
    heard, seen = onsets(t, loud), onsets(t, mouth)
    assert len(heard) >= 7 and np.abs(heard[-5:, None] - seen[None]).min(1).max() <= 0.021


def test_a_net_that_is_always_too_slow_never_shows_the_past() -> None:
    """It leaves out what has been shown: now and then the lips are in step, and they are never seconds behind."""

    class Unaware(Busy):
        relieve = None  # type: ignore[assignment]

    net = Unaware()
    p = Performer(FlashPicture(), Still(), TopLayer(), net)
    t, mouth, loud = late(p, net, 30.0, pace=0.8)
    heard, seen = t[loud > 0], t[mouth > 0.5]
    assert len(seen) > len(heard) / 3
    assert np.abs(seen[:, None] - heard[None]).min(1).max() < BEHIND


def test_without_speech_it_idles_and_says_so() -> None:
    p = Performer(FlashPicture(), Still(), TopLayer(), None)
    assert not p.can_speak
    with pytest.raises(SoundError, match="cannot speak"):
        p.speak(clicks(1.0), RATE)
    perform(p, 0.1)


def test_speak_refuses_nothing_and_too_much() -> None:
    p = scripted_performer()
    with pytest.raises(SoundError, match="empty"):
        p.speak(np.zeros(0, np.int16), RATE)
    with pytest.raises(SoundError, match="waiting"):
        p.speak(np.zeros(601 * RATE, np.int16), RATE)


def test_a_recorded_track_lies_over_speech_and_idle() -> None:
    p = scripted_performer()
    m = Motion(0.0)
    m.face[A["mouthPucker"]], m.weight[GROUP["mouth"]] = 0.7, 1
    p.drive(MotionTrack.of([m]))
    assert p.motion(0.5).face[A["mouthPucker"]] == pytest.approx(0.7)
    p.drive(None)
    assert p.motion(0.6).face[A["mouthPucker"]] == 0


def test_the_frame_is_drawn_into_the_given_buffer() -> None:
    p = scripted_performer(64, 32)
    out = np.zeros((48, 64), np.uint8)
    began = time.perf_counter()
    p.frame(0.0, out)
    assert out[16:32].min() > 0 and out[32:].mean() == 128 and time.perf_counter() - began < 1
