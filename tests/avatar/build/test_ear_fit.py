"""Ears are put where the photo shows them: on the body model alone, before a camera, with ears that were moved."""

from __future__ import annotations

import numpy as np
import pytest

from avatar.build import anatomy, ear_fit, ears
from avatar.render import cpu
from avatar.render.contract import Camera
from models import body

SIDE = 400  # px
CAMERA = Camera(2.6 * SIDE, SIDE / 2, SIDE / 2, SIDE, SIDE)


def _posed(degrees: float = 0) -> tuple[body.BodyModel, np.ndarray, float]:
    """The template turned aside, and the width of its face, px."""
    model, angle = body.load(), np.radians(degrees)
    a = anatomy.of(model)
    R = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    posed = a.from_the_eyes @ R.T + [0, 0.05, -0.8]
    return model, posed, float(np.ptp(CAMERA.project(posed[a.landmark_corners.ravel()])[:, 0]))


def _with_ears(model: body.BodyModel, posed: np.ndarray, out: float, down: float, stretch: float) -> np.ndarray:
    """out, down: m."""
    moved = posed.copy()
    for side, ear in ears.vertices(model).items():
        p = moved[ear]
        middle = (p[:, 1].min() + p[:, 1].max()) / 2
        p[:, 1] = middle - down + stretch * (p[:, 1] - middle)
        p[:, 0] += out if side == "left" else -out
        moved[ear] = p
    return moved


def _photo(model: body.BodyModel, posed: np.ndarray) -> np.ndarray:
    depth, _ = cpu.zbuffer(CAMERA.project(posed), model.faces.astype(np.int32), SIDE, SIDE)
    return np.isfinite(depth)


@pytest.mark.parametrize(
    ("out", "down", "stretch"), [(0.0, 0.0, 1.0), (0.005, -0.009, 1.0), (0.0, 0.008, 1.15), (0.006, -0.008, 1.3)]
)
def test_ears_go_where_the_photo_shows_them(out: float, down: float, stretch: float) -> None:
    model, posed, width = _posed()
    person = _photo(model, _with_ears(model, posed, out, down, stretch))
    before = CAMERA.project(posed)[:, :2]
    ids, by = ear_fit.shifts(model, before, person, person, width)
    wanted = CAMERA.project(_with_ears(model, posed, out, down, stretch))[:, :2]
    off = np.linalg.norm(before[ids] + by - wanted[ids], axis=1)
    assert set(ids) == set(np.flatnonzero(ears.vertices(model)["left"] | ears.vertices(model)["right"]))
    assert np.median(off) < 0.02 * width and off.max() < 0.05 * width


def test_an_ear_that_is_turned_away_follows_the_other() -> None:
    model, posed, width = _posed(25)
    person = _photo(model, _with_ears(model, posed, 0, -0.01, 1))
    ids, by = ear_fit.shifts(model, CAMERA.project(posed)[:, :2], person, person, width)
    left, right = (np.isin(ids, np.flatnonzero(ears.vertices(model)[side])) for side in ("left", "right"))
    per_metre = CAMERA.focal / 0.8
    for side in (left, right):
        assert by[side, 1].mean() == pytest.approx(-0.01 * per_metre, abs=0.025 * width)


def test_ears_under_hair_stay_where_they_are() -> None:
    model, posed, width = _posed()
    person = _photo(model, _with_ears(model, posed, 0.01, 0, 1))
    head = anatomy.of(model).head_and_neck & ~(ears.vertices(model)["left"] | ears.vertices(model)["right"])
    bare = _photo(model, np.where(head[:, None], posed, [0, 0, -0.8]))
    ids, by = ear_fit.shifts(model, CAMERA.project(posed)[:, :2], person, bare, width)
    assert len(ids) == 0 and by.shape == (0, 2)
    wide = person | (np.abs(np.arange(SIDE) - SIDE / 2) < 0.75 * width)  # skin-coloured hair on both sides
    assert len(ear_fit.shifts(model, CAMERA.project(posed)[:, :2], wide, wide, width)[0]) == 0
