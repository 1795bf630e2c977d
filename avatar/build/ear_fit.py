"""Where the photo shows the ears: no landmark tells, but bare ears stand out from the head's contour.

Row by row both are looked at alike: how far the model's ear, and the photo's skin, stand out beyond the contour of
the model's head without ears. Of shifts and stretches the one counts that makes both profiles overlap most. Otherwise
an ear of the photo lies half on the cheek, and a turn shows two.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.build import anatomy, ears
from avatar.build.kinematics import F64
from models.body import BodyModel

# Of the face's width.
STANDS_OUT = 0.02  # by which an ear is told from the contour
ABOVE, BELOW = 0.12, 0.08  # the model's ear that is looked at
INSIDE = 0.03  # that skin has to be seen inside the contour, as hair may cover it
DOWN = np.linspace(-0.12, 0.12, 25)
OUT = np.linspace(-0.04, 0.1, 15)
STRETCH = (0.85, 1.0, 1.15, 1.3)
ALIKE, SURE = 0.65, 0.85  # overlap of the profiles, of what either covers: an ear is found from the first, moved the
# whole way from the second
STAYS, KEEPS = 0.5, 0.15  # overlap that has to be gained for a face's width downwards, and for e times the height
LEAST = 0.4  # of the ear's height where its rim has to be seen
APART = 0.06  # by which both ears' shifts downwards may differ


@dataclass(frozen=True)
class Move:
    """Of one ear, px: aside in x, down, stretched in height about its middle; overlap that it makes."""

    out: float
    down: float
    stretch: float
    alike: float

    @property
    def sure(self) -> float:
        return min((self.alike - ALIKE) / (SURE - ALIKE), 1.0)


def shifts(
    model: BodyModel, at: F64, person: NDArray[np.bool_], bare: NDArray[np.bool_], face_width: float
) -> tuple[NDArray[np.int64], F64]:
    """Vertices of the ears (n,) and by how much they are to be moved (n, 2), px. at (V, 2) px; person, bare (H, W):
    pixels of the person, and of those bare skin's. None where neither ear is seen."""
    both = ears.vertices(model)
    moves = {side: _move(model, at, person, bare, face_width, both, side) for side in both}
    known = [m for m in moves.values() if m is not None]
    if not known:
        return np.zeros(0, np.int64), np.zeros((0, 2))
    best = max(known, key=lambda m: m.alike)
    known = [m for m in known if abs(m.down - best.down) <= APART * face_width]
    down, grown = (
        best.sure * float(np.mean(x)) for x in zip(*((m.down, m.stretch - 1) for m in known))
    )  # heads are even
    ids, by = [], []
    for side, ear in both.items():
        v, m = np.flatnonzero(ear), moves[side]
        out = m.sure * m.out if m is not None and m in known else 0.0
        middle = (at[v, 1].min() + at[v, 1].max()) / 2
        ids.append(v)
        by.append(np.stack([np.full(len(v), out), down + grown * (at[v, 1] - middle)], 1))
    return np.concatenate(ids), np.concatenate(by)


def _move(
    model: BodyModel, at: F64, person: NDArray[np.bool_], bare: NDArray[np.bool_], face_width: float,
    both: dict[str, NDArray[np.bool_]], side: str,
) -> Move | None:  # fmt: skip
    """None where the photo shows no ear."""
    sign = 1 if side == "left" else -1  # a person's left is the picture's right
    head = anatomy.of(model).head_and_neck & ~(both["left"] | both["right"])
    contour = _outermost(_filled(model, at, head, bare.shape), sign)
    drawn = np.nan_to_num(_outermost(_filled(model, at, both[side], bare.shape), sign) - contour).clip(0)
    rows = np.flatnonzero(drawn > STANDS_OUT * face_width)
    if len(rows) == 0:
        return None
    low, high = rows[0] - ABOVE * face_width, rows[-1] + BELOW * face_width
    rim, covered = _skin_rim(person, bare, contour, sign, face_width)
    y = np.arange(max(round(low), 0), min(round(high), len(bare)))
    y = y[np.isfinite(rim[y])]
    seen = (rim - contour)[y].clip(0)
    if ((seen > STANDS_OUT * face_width) & ~covered[y]).sum() < LEAST * len(rows):
        return None
    best = _most_alike(drawn / face_width, y, seen / face_width, covered[y], (rows[0] + rows[-1]) / 2, face_width)
    found = best.alike > ALIKE and best.out < OUT[-1]  # it is no ear that stands out so far
    return Move(sign * best.out * face_width, best.down * face_width, best.stretch, best.alike) if found else None


def _most_alike(
    drawn: F64, rows: NDArray[np.int64], seen: F64, covered: NDArray[np.bool_], middle: float, face_width: float
) -> Move:
    """Of the model's ear, that stands out by drawn (H,), about its middle row, to where the photo's does, by seen (n,)
    in its rows (n,), or more where those are covered. Lengths, the move's too, in face widths."""
    best = Move(0, 0, 1, 0)
    for down, out, stretch in product(DOWN, OUT, STRETCH):
        moved = np.interp(middle + (rows - middle - down * face_width) / stretch, np.arange(len(drawn)), drawn)
        moved = np.where(moved > 0, moved + out, 0).clip(0)
        there = np.where(covered, np.maximum(seen, moved), seen)  # hair begins there, and may lie over the ear
        alike = float(np.minimum(moved, there).sum() / max(np.maximum(moved, there).sum(), 1e-6))
        alike -= STAYS * abs(down) + KEEPS * abs(float(np.log(stretch)))
        if alike > best.alike:
            best = Move(out, down, stretch, alike)
    return best


def _filled(model: BodyModel, at: F64, region: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """(H, W) what the triangles of a region (V,) cover."""
    mask = np.zeros(shape, np.uint8)
    for corners in np.round(at[model.faces[region[model.faces].all(1)]]).astype(np.int32):
        cv2.fillConvexPoly(mask, corners, 1)
    return mask > 0


def _outermost(mask: NDArray[np.bool_], sign: int) -> F64:
    """(H,) the largest sign * x of each row; nan where it is empty."""
    x = np.where(mask, sign * (np.arange(mask.shape[1]) + 0.5), -np.inf).max(1)
    return np.where(np.isfinite(x), x, np.nan)


def _skin_rim(
    person: NDArray[np.bool_], bare: NDArray[np.bool_], contour: F64, sign: int, face_width: float
) -> tuple[F64, NDArray[np.bool_]]:
    """(H,) where the skin that is seen just inside the contour ends outside, nan where none is; (H,) whether more of
    the person follows there."""
    out, covered = np.full(len(contour), np.nan), np.zeros(len(contour), bool)
    inside = max(round(INSIDE * face_width), 1)
    for y in np.flatnonzero(np.isfinite(contour)):
        skin, all_of_it = (row[y] if sign > 0 else row[y, ::-1] for row in (bare, person))
        edge = round(contour[y]) if sign > 0 else round(contour[y]) + len(skin)
        if inside <= edge < len(skin) and skin[edge - inside : edge].mean() > 0.5:
            gone = np.flatnonzero(~skin[edge:])
            end = edge + int(gone[0]) if len(gone) else len(skin)
            out[y] = contour[y] + end - edge
            covered[y] = all_of_it[end : end + inside].mean() > 0.5 if end < len(skin) else True
    return out, covered
