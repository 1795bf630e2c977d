"""Sound files in, mono samples out; chunks of any rate resampled without seams."""

import contextlib
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stage.sound import RATE, ClockKeeper, Decimator, Resampler, SoundError, load, to_int16
from tests.conftest import write_float_wav

SPEECH = Path(__file__).resolve().parents[3] / "shared" / "testdata" / "speech"


def tone(hz: float, seconds: float, rate: int) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def loudest_hz(x: np.ndarray, rate: int) -> float:
    return float(np.abs(np.fft.rfft(x * np.hanning(len(x)))).argmax() * rate / len(x))


def write_wav(path: Path, samples: np.ndarray, rate: int, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as w:
        w.setnchannels(channels)
        w.setsampwidth(2)
        w.setframerate(rate)
        w.writeframes(np.repeat(to_int16(samples)[:, None], channels, 1).tobytes())
    return path


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (22050, 2), (44100, 1), (48000, 2)])
def test_load_keeps_length_and_pitch(tmp_path: Path, rate: int, channels: int) -> None:
    path = write_wav(tmp_path / "a.wav", tone(440, 1.5, rate), rate, channels)
    for source in (path, path.read_bytes()):
        x = load(source)
        assert x.dtype == np.int16 and abs(len(x) / RATE - 1.5) < 0.01
        assert abs(loudest_hz(x.astype(float), RATE) - 440) < 2
        assert abs(np.abs(x).max() / 32767 - 0.5) < 0.03


@pytest.mark.parametrize("name", ["jfk_en.flac", "st_german_24bit48k.wav", "aiortc_demo-instruct_en_8k_73s.wav"])
def test_load_real_speech(name: str) -> None:
    path = SPEECH / name
    if not path.exists():
        pytest.skip(f"{path} is absent")
    x = load(path)
    assert len(x) > 2 * RATE and np.abs(x.astype(int)).max() > 1000


def test_samples_that_are_no_numbers_are_silence(tmp_path: Path) -> None:
    samples = tone(440, 1, RATE)
    samples[9000:30000], samples[40000] = np.nan, np.inf
    write_float_wav(tmp_path / "a.wav", samples, RATE)
    x = load(tmp_path / "a.wav").astype(int)
    assert not x[9000:30000].any() and x[40000] == 0
    assert np.abs(x[:9000]).max() == pytest.approx(16384, rel=0.02)


@pytest.mark.parametrize("junk", [b"", b"RIFF", b"not a sound at all" * 50, b"\x89PNG\r\n\x1a\n" + bytes(100)])
def test_load_refuses_what_is_no_sound(junk: bytes) -> None:
    with pytest.raises(SoundError):
        load(junk)


def test_load_refuses_what_is_too_long(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", tone(440, 2, 8000), 8000)
    with pytest.raises(SoundError, match="longer than 1 s"):
        load(path, max_seconds=1)


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=400))
def test_load_of_garbage_is_a_sound_error_or_sound(data: bytes) -> None:
    with contextlib.suppress(SoundError):
        assert load(data).dtype == np.int16


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_resampler_in_chunks_equals_at_once(rate: int) -> None:
    x = to_int16(tone(300, 1.0, rate))
    once = Resampler(rate)
    whole = np.concatenate([once.push(x), once.flush()])
    chunked = Resampler(rate)
    parts = [chunked.push(p) for p in np.array_split(x, 37)]
    joined = np.concatenate([*parts, chunked.flush()])
    assert abs(len(whole) - RATE) <= 2
    assert np.array_equal(whole, joined)


def test_resampler_refuses_a_senseless_rate() -> None:
    with pytest.raises(SoundError, match="out of range"):
        Resampler(100)


def test_to_int16_clips_and_silences_what_is_not_finite() -> None:
    x = to_int16(np.array([2.0, -2.0, np.nan, np.inf, 0.5]))
    assert x.tolist() == [32767, -32767, 0, 32767, 16384]


def test_decimator_in_chunks_equals_at_once_and_keeps_the_passband() -> None:
    x = to_int16(tone(1000, 1.0, RATE))
    whole = Decimator().push(x)
    chunked = Decimator()
    joined = np.concatenate([chunked.push(p) for p in np.array_split(x, 53)])
    assert len(whole) == RATE // 3
    np.testing.assert_allclose(whole, joined, atol=1e-6)
    assert abs(np.abs(whole[200:]).max() - 0.5) < 0.01


def test_decimator_rejects_what_would_alias() -> None:
    y = Decimator().push(to_int16(tone(12_000, 0.5, RATE)))
    assert np.abs(y[100:]).max() < 0.5 * 10 ** (-40 / 20)


def test_a_microphone_on_time_is_heard_unchanged_and_all_of_it():
    x = np.round(16000 * tone(1000, 2.0, RATE)).astype(np.int16)
    keeper, sizes = ClockKeeper(), [0, 1, 2, 3, 957, 960, 1920, 50_000, 42_157]
    parts, at = [], 0
    for n in sizes:
        parts.append(keeper.push(x[at : at + n], 0.02))
        at += n
    y = np.concatenate(parts)
    assert len(x) - 3 <= len(y) <= len(x) and keeper.pace == 0
    np.testing.assert_array_equal(y[2:], x[: len(y) - 2])


def test_a_stall_is_not_taken_for_the_pace():
    keeper, chunk = ClockKeeper(), np.zeros(960, np.int16)
    for _ in range(500):
        keeper.push(chunk, 0.01)
    keeper.push(chunk, 0.3)
    assert keeper.pace == 0


@pytest.mark.parametrize("lead", [0.05, -0.05])
def test_a_lead_is_worked_off_slower_than_is_heard(lead):
    keeper, chunk, ahead = ClockKeeper(), np.zeros(960, np.int16), 0.0
    for k in range(4000):
        n = len(keeper.push(chunk, ahead + lead * min(max(k - 500, 0) / 500, 1)))
        ahead += (n - 960) / RATE
        assert abs(keeper.pace) <= ClockKeeper.MOST
    assert abs(ahead + lead) < 0.005
