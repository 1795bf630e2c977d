"""Films: written whole or not at all, with the sound of another file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from stage import film
from tests.conftest import voice_like, write_float_wav, write_wav


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "sound.wav"
    write_wav(path, (voice_like(2.0) * 20_000).astype(np.int16), 16_000)
    return path


def grey(value: int, width: int = 64, height: int = 64) -> np.ndarray:
    planes = np.full((height * 3 // 2, width), 128, np.uint8)
    planes[:height] = value
    return planes


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".webm", ".mkv"])
def test_picture_and_sound_last_equally_long(tmp_path: Path, sound: Path, suffix: str) -> None:
    out = tmp_path / f"film{suffix}"
    with film.FilmWriter(out, 64, 64, Fraction(25), sound) as writer:
        for k in range(50):
            writer.write(grey(16 + 4 * k))
    with av.open(str(out)) as container:
        luma = [frame.to_ndarray(format="gray")[32, 32] for frame in container.decode(video=0)]
        container.seek(0)
        heard = sum(frame.samples for frame in container.decode(audio=0)) / film.SOUND_RATE
    assert len(luma) == 50
    assert luma[-1] > luma[0] + 150  # the frames came in order
    assert abs(heard - 2.0) < 0.1


def test_a_sound_whose_samples_are_no_numbers_is_silent_there(tmp_path: Path) -> None:
    samples = voice_like(1.0)
    samples[4000:] = np.nan
    write_float_wav(tmp_path / "broken.wav", samples, 16_000)
    with film.FilmWriter(tmp_path / "film.mp4", 64, 64, Fraction(25), tmp_path / "broken.wav") as writer:
        for _ in range(25):
            writer.write(grey(99))
    with av.open(str(tmp_path / "film.mp4")) as container:
        heard = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    assert np.isfinite(heard).all() and heard[:10000].std() > 0.01 and np.abs(heard[20000:]).max() < 1e-3


def test_an_empty_file_is_named_as_empty(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    with pytest.raises(ValueError, match=r"empty\.wav: the file is empty"):
        film.probe(tmp_path / "empty.wav")


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_alpha_survives(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"film{suffix}"
    picture = np.zeros((64, 64, 4), np.uint8)
    picture[:, :32] = (200, 40, 40, 255)
    with film.FilmWriter(out, 64, 64, Fraction(25), None, alpha=True) as writer:
        for _ in range(5):
            writer.write(picture)
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        decoder = av.CodecContext.create("libvpx-vp9", "r") if suffix == ".webm" else stream.codec_context
        frames = [f for packet in container.demux(stream) for f in decoder.decode(packet)]
    alpha = frames[0].to_ndarray(format="rgba")[..., 3]
    assert alpha[:, :28].min() > 240 and alpha[:, 36:].max() < 16


def test_nothing_half_written_stays(tmp_path: Path) -> None:
    out = tmp_path / "film.mp4"
    with pytest.raises(RuntimeError, match="interrupted"), film.FilmWriter(out, 64, 64, Fraction(25)) as writer:
        writer.write(grey(100))
        raise RuntimeError("interrupted")
    assert list(tmp_path.iterdir()) == []


def test_unknown_film_type_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"film\.gif: films end in \.mp4"):
        film.FilmWriter(tmp_path / "film.gif", 64, 64, Fraction(25))


def test_a_file_that_is_no_film_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("not a film at all")
    with pytest.raises(ValueError, match=r"notes\.mp4: not a sound or video file"):
        film.probe(path)


def test_frames_come_with_their_time_and_shape(tmp_path: Path) -> None:
    out = tmp_path / "film.mp4"
    with film.FilmWriter(out, 64, 32, Fraction(25)) as writer:
        for _ in range(3):
            writer.write(grey(100, 64, 32))
    frames = list(film.read_frames(out))
    assert [rgb.shape for _, rgb in frames] == [(32, 64, 3)] * 3
    assert [time for time, _ in frames] == pytest.approx([0, 0.04, 0.08])


@pytest.mark.parametrize("delay", [0.3, -0.3])
def test_the_sound_begins_where_it_is_told_to(tmp_path: Path, delay: float) -> None:
    out, click = tmp_path / "film.mp4", np.zeros(16_000, np.int16)
    click[8000:8800] = 20_000 * np.sin(np.arange(800))  # .5 s into the sound
    write_wav(tmp_path / "click.wav", click, 16_000)
    with film.FilmWriter(out, 64, 64, Fraction(25), tmp_path / "click.wav", delay=delay) as writer:
        for _ in range(40):
            writer.write(grey(90))
    with av.open(str(out)) as container:
        frames = list(container.decode(audio=0))
    heard = np.concatenate([f.to_ndarray()[0] for f in frames])
    began = np.flatnonzero(np.abs(heard) > 0.1)[0] / film.SOUND_RATE + float(frames[0].time or 0)
    assert began == pytest.approx(0.5 + delay, abs=0.03)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_frames_keep_the_uneven_times_they_are_given(tmp_path: Path, suffix: str) -> None:
    out, times = tmp_path / f"film{suffix}", [0.0, 0.05, 0.2, 0.23, 0.6]
    with film.FilmWriter(out, 64, 64, Fraction(25)) as writer:
        for k, time in enumerate(times):
            writer.write(grey(40 + 20 * k), time)
    read = list(film.read_frames(out))
    assert [t for t, _ in read] == pytest.approx(times, abs=0.002)


def test_times_of_frames_rise_even_where_a_container_says_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "film.mp4"
    with film.FilmWriter(out, 64, 64, Fraction(25)) as writer:
        for _ in range(4):
            writer.write(grey(100))
    monkeypatch.setattr(av.VideoFrame, "time", property(lambda frame: 0.5), raising=False)
    times = [t for t, _ in film.read_frames(out)]
    assert times[0] == 0.5 and np.diff(times).min() > 0
