"""Any sound file becomes mono samples, or an error that says what is wrong."""

import io
import wave

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.speech.audio import AudioError, clean, load, resample
from tests.conftest import shared_file as shared


def tone(rate, seconds=1.0, hertz=440.0):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


def wav_bytes(samples, rate, width=2):
    """PCM wav of (n,) or (n, channels) in -1..1."""
    samples = np.asarray(samples)
    out = io.BytesIO()
    with wave.open(out, "wb") as f:
        f.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        f.setsampwidth(width)
        f.setframerate(rate)
        whole = np.round(samples.reshape(-1) * (2 ** (8 * width - 1) - 1)).astype("<i4")
        if width == 1:
            f.writeframes((whole + 128).astype(np.uint8).tobytes())
        else:
            f.writeframes(whole.view(np.uint8).reshape(-1, 4)[:, :width].tobytes())
    return out.getvalue()


def encoded(samples, rate, container, codec):
    out = io.BytesIO()
    with av.open(out, "w", format=container) as c:
        stream = c.add_stream(codec, rate=rate)
        frame = av.AudioFrame.from_ndarray(samples.astype(np.float32)[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            c.mux(packet)
    return out.getvalue()


def pitch(samples, rate):
    return np.abs(np.fft.rfft(samples * np.hanning(len(samples)))).argmax() * rate / len(samples)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_every_rate_and_width_keeps_pitch_length_and_level(rate, width):
    x = load(wav_bytes(tone(rate), rate, width))
    assert x.dtype == np.float32 and abs(len(x) - 16000) <= 16
    assert pitch(x, 16000) == pytest.approx(440, abs=2)
    assert np.abs(x[2000:-2000]).max() == pytest.approx(0.5, abs=0.02)


def test_stereo_is_averaged():
    left = tone(16000)
    x = load(wav_bytes(np.stack([left, np.zeros_like(left)], 1), 16000))
    assert np.abs(x).max() == pytest.approx(0.25, abs=0.01)


def test_an_mp3_named_wav_is_read_by_what_it_is(tmp_path):
    path = tmp_path / "voice.wav"
    path.write_bytes(encoded(tone(44100, 2.0), 44100, "mp3", "libmp3lame"))
    assert pitch(load(path), 16000) == pytest.approx(440, abs=3)


def test_playing_rate_is_a_choice():
    assert abs(len(load(wav_bytes(tone(16000), 16000), 48000)) - 48000) <= 48


def test_an_hour_is_decoded_whole():
    hour = wav_bytes(np.zeros(8000 * 3600, np.float32), 8000, 1)
    assert abs(len(load(hour, 8000)) - 8000 * 3600) < 8000


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "zero bytes"),
        (b"RIFF\x24\x00\x00\x00WAVE", "not a sound file"),
        (b"hello, this is a letter and no sound at all\n" * 50, "not a sound file"),
        (wav_bytes(np.zeros(0), 16000), "holds no samples"),
    ],
)
def test_what_is_no_sound_is_named(data, words):
    with pytest.raises(AudioError, match=words):
        load(data)


def test_files_that_are_not_there_or_empty_or_silent_pictures(tmp_path):
    empty = tmp_path / "empty.wav"
    empty.touch()
    with pytest.raises(AudioError, match=r"nowhere\.wav: no such file"):
        load(tmp_path / "nowhere.wav")
    with pytest.raises(AudioError, match="not a file"):
        load(tmp_path)
    with pytest.raises(AudioError, match=r"empty\.wav: the file is empty"):
        load(empty)
    film = tmp_path / "film.mp4"
    with av.open(str(film), "w") as c:
        stream = c.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            c.mux(packet)
    with pytest.raises(AudioError, match="holds no sound"):
        load(film)


def test_a_sound_that_breaks_off_keeps_its_beginning():
    whole = encoded(tone(44100, 3.0), 44100, "mp3", "libmp3lame")
    assert 16000 < len(load(whole[: len(whole) // 2])) < 2 * 16000


def test_too_long_is_refused():
    with pytest.raises(AudioError, match=r"longer than the 0\.5 s"):
        load(wav_bytes(tone(16000), 16000), max_seconds=0.5)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400), st.sampled_from([b"", b"RIFF", b"fLaC", b"OggS", b"ID3\x04", b"\xff\xfb\x90\x00"]))
def test_any_bytes_give_samples_or_an_audio_error(data, magic):
    try:
        x = load(magic + data)
    except AudioError:
        return
    assert len(x) and np.isfinite(x).all()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_wav_gives_finite_samples_or_an_audio_error(data):
    raw = bytearray(wav_bytes(tone(8000, 0.05), 8000))
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        x = load(bytes(raw[: data.draw(st.integers(0, len(raw)))]))
    except AudioError:
        return
    assert np.isfinite(x).all() and np.abs(x).max() <= 1


def test_clean_mends_what_is_not_finite_and_scales_integers():
    x = clean(np.array([0.5, np.nan, np.inf, -np.inf, 3.0, -3.0]))
    assert x.tolist() == [0.5, 0, 0, 0, 1, -1]
    assert clean(np.array([-32768, 16384], np.int16)).tolist() == [-1.0, 0.5]
    assert clean(np.array([0, 128, 192], np.uint8)).tolist() == [-1.0, 0.0, 0.5]
    assert clean(np.ones((100, 2), np.float32) * [1, 0]).tolist() == [0.5] * 100
    for bad in (np.zeros((2, 2, 2)), np.zeros(3, complex), np.array(["a"]), np.zeros((9, 100))):
        with pytest.raises(AudioError, match="expected"):
            clean(bad)


def test_resample_keeps_pitch_and_refuses_no_rate():
    assert pitch(resample(tone(44100), 44100), 16000) == pytest.approx(440, abs=2)
    assert len(resample(np.zeros(0), 8000)) == 0
    for rate in (0, -1, 10**7):
        with pytest.raises(AudioError, match="sample rate"):
            resample(tone(8000), rate)


@pytest.mark.parametrize(
    "name", ["st_german_24bit48k.wav", "jfk_en.flac", "aiortc_demo-instruct_en_8k_73s.wav", "st_radio31_en.wav"]
)
def test_real_recordings_sound_alike_at_both_rates(name):
    path = shared(f"speech/{name}")
    net, play = load(path), load(path, 48000)
    assert abs(len(net) / 16000 - len(play) / 48000) < 0.01
    assert 0.01 < net.std() < 0.5
