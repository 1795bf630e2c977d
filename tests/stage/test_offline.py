"""Films driven by films: what happens in the one happens at the same time in the other."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from models.motion import GROUP, GROUPS, A, Motion
from stage import film, offline
from tests.conftest import write_wav

SHUT, OPEN = 40, 200  # grey
AT = 1.5  # s, of the sound: then it clicks and the picture turns bright


def uneven(path: Path, late: float) -> Path:
    """A film of some 15 frames and then 60; its picture begins `late` s after its sound (negative: before)."""
    times = np.concatenate([np.arange(late, AT - 0.01, 0.1), np.arange(AT, 3.0, 0.025)])
    click = np.zeros(48_000, np.int16)
    click[round(AT * 16_000) :][:800] = 20_000 * np.sin(np.arange(800))
    write_wav(path.with_suffix(".wav"), click, 16_000)
    with film.FilmWriter(path, 64, 64, film.Fraction(25), path.with_suffix(".wav"), delay=-late) as writer:
        for t in times:
            writer.write(np.full((96, 64), OPEN if t >= AT else SHUT, np.uint8), t - late)
    return path


@pytest.fixture
def bright_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tracker for which a bright frame is an open mouth."""
    weight = np.zeros(len(GROUPS), np.float32)
    weight[GROUP["mouth"]] = 1

    def tracked(*_: object) -> Callable[[np.ndarray, float], Motion]:
        def motion(rgb: np.ndarray, seconds: float) -> Motion:
            face = np.zeros(52, np.float32)
            face[A["jawOpen"]] = 0.7 * (rgb.mean() > (SHUT + OPEN) / 2)
            return Motion(seconds, face=face, weight=weight)

        return motion

    monkeypatch.setattr(offline, "_tracked", tracked)
    monkeypatch.setattr(offline, "_reenacted", tracked)


def opens_and_clicks(path: Path) -> tuple[float, float]:
    """s: when the picture changes most, when the sound is heard."""
    frames = list(film.read_frames(path))
    change = [np.abs(b.astype(int) - a).mean() for (_, a), (_, b) in pairwise(frames)]
    with av.open(str(path)) as container:
        heard = list(container.decode(audio=0))
    samples = np.concatenate([f.to_ndarray()[0] for f in heard])
    click = np.flatnonzero(np.abs(samples) > 0.1)[0] / film.SOUND_RATE + float(heard[0].time or 0)
    return frames[int(np.argmax(change)) + 1][0], click


@pytest.mark.usefixtures("bright_is_open")
@pytest.mark.parametrize("reenact", [False, True])
@pytest.mark.parametrize("late", [0.0, 0.4, -0.4])
def test_a_mouth_opens_with_its_sound(tmp_path: Path, demo_avatar_path: Path, reenact: bool, late: float) -> None:
    source, out = uneven(tmp_path / "source.mp4", late), tmp_path / "out.mp4"
    options = offline.Options(size=(128, 128), reenact=reenact, liveliness=0.0)
    result = offline.render(demo_avatar_path, source, out, options)
    opened, clicked = opens_and_clicks(out)
    assert result.fps == 40  # as most of the film's frames
    assert clicked == pytest.approx(AT - late, abs=0.03)
    assert opened == pytest.approx(clicked, abs=0.09)
    if reenact:
        times = [[t for t, _ in film.read_frames(p)] for p in (source, out)]
        assert times[1] == pytest.approx(times[0], abs=0.002)
