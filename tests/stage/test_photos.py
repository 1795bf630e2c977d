"""The table over photos: what it accepts, what it marks, what it measures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from stage.evaluate import photos
from stage.evaluate.photos import Row
from stage.evaluate.protocol import PHOTOS
from stage.film import count_frames


def test_a_row_holds_only_with_everything() -> None:
    good = Row("a", None, "bust", 34.0, 0.97, 0.85, 0.95)
    assert good.holds and good.share == pytest.approx(0.895, abs=1e-3)
    for bad in (
        Row("a", "no face"),
        Row("a", None, "bust", 32.9, 0.97, 0.85, 0.95),
        Row("a", None, "bust", 34.0, 0.95, 0.85, 0.95),
        Row("a", None, "bust", 34.0, 0.97, 0.7, 0.95),
        Row("a", None, "bust", 34.0, 0.97, None, None),
    ):
        assert not bad.holds
    text = photos.table([good, Row("b.jpg", "no face was found")])
    assert "1 of 2 hold" in text and "! b.jpg" in text and "refused: no face was found" in text


def test_jitter_moves_the_picture_a_little_and_always_the_same() -> None:
    photo = np.asarray(skimage.data.astronaut())
    first, again = (photos.jittered(photo, np.array([220.0, 110.0])) for _ in range(2))
    assert len(first) == PHOTOS["jitter"]["copies"]
    for a, b in zip(first, again):
        assert np.array_equal(a, b) and 1 < np.abs(a.astype(int) - photo).mean() < 60


def test_the_demo_photo_stays_the_person_and_a_wall_is_refused(tmp_path: Path) -> None:
    portrait, wall = tmp_path / "astronaut.png", tmp_path / "wall.png"
    Image.fromarray(skimage.data.astronaut()).save(portrait)
    Image.fromarray(np.full((200, 200, 3), 127, np.uint8)).save(wall)
    rows = photos.evaluate([portrait, wall], tmp_path / "sheet.jpg", tmp_path / "film.mp4")
    assert rows[0].share is not None and rows[0].jitter is not None and rows[0].psnr is not None
    assert rows[0].share > 0.8 and 0.8 < rows[0].jitter <= 1 and rows[0].psnr > 32
    assert rows[1].refused and not rows[1].holds
    assert (tmp_path / "sheet.jpg").stat().st_size > 10_000
    assert count_frames(tmp_path / "film.mp4") == PHOTOS["frames"]
