"""Contact sheets and side-by-side films: what a person looks at beside the figures."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from stage.evaluate.metrics import U8
from stage.film import FilmWriter

TILE = 300  # px high


def tile(picture: U8, text: str = "", height: int = TILE) -> U8:
    """At one height, with a label."""
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    out = np.ascontiguousarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))
    for colour, thick in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(out, text, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, thick, cv2.LINE_AA)
    return np.asarray(out, np.uint8)


def grid(rows: Sequence[Sequence[U8]]) -> U8:
    """Rows of tiles; shorter rows are filled with black."""
    strips = [np.hstack(list(row)) for row in rows if len(row)]
    width = max(s.shape[1] for s in strips)
    return np.vstack([np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0))) for s in strips])


def write(path: Path, picture: U8) -> None:
    """Raises ValueError where the file cannot be written."""
    try:
        written = cv2.imwrite(str(path), picture[..., ::-1])
    except cv2.error:
        written = False
    if not written:
        raise ValueError(f"{path}: the sheet could not be written; use a .jpg or .png name in a folder that exists")


def write_film(path: Path, frames: Sequence[U8], fps: int) -> None:
    """RGB frames of one size. Raises ValueError for a suffix that is no film's."""
    height, width = (n - n % 2 for n in frames[0].shape[:2])
    with FilmWriter(path, width, height, Fraction(fps)) as film:
        for frame in frames:
            planes = cv2.cvtColor(np.ascontiguousarray(frame[:height, :width]), cv2.COLOR_RGB2YUV_I420)
            film.write(np.asarray(planes, np.uint8))
