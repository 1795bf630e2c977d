"""models/crop.py: pictures reduced by one factor."""

from __future__ import annotations

import numpy as np

from models.crop import to_width


def test_a_tall_pictures_foot_stays_where_its_camera_has_it() -> None:
    """1280 x 720 at 434 px is 771.6 px high: stretched to 772 or 771 the foot would lie up to .6 px off."""
    rows = np.tile((np.arange(1280, dtype=np.float32) + 0.5)[:, None], (1, 720))
    for height in (771, 772):
        small = to_width(rows, 434, height)
        assert small.shape == (height, 434)
        wanted = (np.arange(height) + 0.5) * 720 / 434
        assert np.abs(small[:-1, 0] - wanted[:-1]).max() < 0.1


def test_rows_that_lack_below_repeat_the_last() -> None:
    picture = np.arange(24, dtype=np.float32).reshape(4, 6)
    small = to_width(picture, 3, 3)
    assert small.shape == (3, 3)
    assert (small[2] == small[1]).all()
