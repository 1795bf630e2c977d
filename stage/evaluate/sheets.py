"""Contact sheets and side-by-side films: what a person looks at beside the figures."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from stage.evaluate.metrics import U8
from stage.film import FilmWriter, probe, sound_begins

TILE = 300  # px high


def tile(picture: U8, text: str = "", height: int = TILE) -> U8:
    """At one height, with a label."""
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    out = np.ascontiguousarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))
    for colour, thick in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(out, text, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, thick, cv2.LINE_AA)
    return np.asarray(out, np.uint8)


def grid(rows: Sequence[Sequence[U8]]) -> U8:
    """Rows of tiles, one column below the other; what tiles leave free is black."""
    rows = [row for row in rows if len(row)]
    columns = range(max(len(row) for row in rows))
    widths = [max(row[k].shape[1] for row in rows if k < len(row)) for k in columns]
    strips = []
    for row in rows:
        filled = [
            np.pad(t, ((0, 0), ((w - t.shape[1]) // 2, -((t.shape[1] - w) // 2)), (0, 0))) for t, w in zip(row, widths)
        ]
        strips.append(np.hstack(filled))
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


class Film:
    """Pictures side by side, frame after frame, with the sound of the film they come from; nothing without a path.

    Raises ValueError for a suffix that is no film's.
    """

    def __init__(self, path: Path | None, fps: Fraction, height: int, sound: Path | None = None) -> None:
        self.path, self._fps, self._height, self._sound = path, fps, height, sound
        self._writer: FilmWriter | None = None

    def add(self, *pictures: tuple[U8, str], time: float | None = None) -> None:
        """Pictures (h, w, 3) with their labels; those of the first frame set the film's size, others are fitted in.

        time: s of the frame in the film it comes from; None: evenly spaced.
        """
        if self.path is None:
            return
        strip = np.hstack([tile(p, text, self._height) for p, text in pictures])
        if self._writer is None:
            size = (strip.shape[1] // 2 * 2, self._height // 2 * 2)
            self._size = size
            self._first = time or 0.0
            delay = sound_begins(self._sound) - self._first if self._sound and probe(self._sound)[1] else 0.0
            self._writer = FilmWriter(self.path, *size, self._fps, self._sound, delay=delay)
        planes = np.asarray(cv2.cvtColor(_fitted(strip, *self._size), cv2.COLOR_RGB2YUV_I420), np.uint8)
        self._writer.write(planes, None if time is None else time - self._first)

    def __enter__(self) -> Film:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.__exit__(kind, error, trace)


def _fitted(picture: U8, width: int, height: int) -> U8:
    """The whole picture, as large as it goes, in the middle of black."""
    k = min(width / picture.shape[1], height / picture.shape[0])
    w, h = min(max(1, round(picture.shape[1] * k)), width), min(max(1, round(picture.shape[0] * k)), height)
    x, y = (width - w) // 2, (height - h) // 2
    small = np.asarray(cv2.resize(picture, (w, h), interpolation=cv2.INTER_AREA), np.uint8)
    return np.pad(small, ((y, height - h - y), (x, width - w - x), (0, 0)))
