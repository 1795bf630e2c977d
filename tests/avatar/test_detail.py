"""Levels of detail: nested, closed, cheaper, and never far from the picture itself."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from avatar.render import compose
from avatar.render.cpu import Rasterizer
from avatar.render.detail import LEVELS, DetailRasterizer, thinned
from avatar.rig import Rig
from tests.avatar import synthetic


def decibels(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(219**2 / np.mean((a.astype(float) - b) ** 2)))


@pytest.fixture(scope="module")
def scene() -> tuple:
    a = synthetic.avatar(40_000, "half", 256)
    return a, Rig(a).vertices(a.neutral).copy(), compose.i420(a.background)


def test_each_share_is_part_of_the_larger_one_and_covers_the_same_area(scene: tuple) -> None:
    g = scene[0].gaussians
    numbered = type(g)(**vars(g) | {"confidence": np.arange(g.count)})  # carried along, so that they can be told apart
    parts = [thinned(numbered, share, np.zeros((g.count, 3))) for share in (0.6, 0.3, 0.1)]
    for part, share in zip(parts, (0.6, 0.3, 0.1)):
        assert part.count == pytest.approx(share * g.count, rel=0.01)
        areas = np.abs(np.linalg.det(part.shape)) / np.abs(np.linalg.det(g.shape[part.confidence]))
        np.testing.assert_allclose(areas, 1 / share, rtol=1e-3)
    for large, small in itertools.pairwise(parts):
        assert np.isin(small.confidence, large.confidence).all()


def test_what_goes_leaves_its_colour_to_what_stays_nearby(scene: tuple) -> None:
    g = scene[0].gaussians
    means = np.stack([np.arange(g.count) // 10, *np.zeros((2, g.count))], 1)
    one = type(g)(**vars(g) | {"layer": np.zeros(g.count, np.uint8), "face": np.arange(g.count, dtype=np.int32)})
    mean = thinned(one, 0.5, means).colour.mean(0)
    np.testing.assert_allclose(mean, g.colour.mean(0), atol=0.01)


def test_levels_look_alike_and_the_background_stays_sharp(scene: tuple) -> None:
    a, v, background = scene
    rng = np.random.default_rng(1)
    background = rng.integers(16, 235, background.shape, dtype=np.uint8)
    full = Rasterizer(a, 1).draw_i420(v, a.camera, background, np.empty_like(background))
    r = DetailRasterizer(a, 2)
    scores = []
    for level in range(r.levels):
        r.level = level
        out = r.draw_i420(v, a.camera, background, np.zeros_like(background))
        solid = Rasterizer(a, 1).draw(v, a.camera)[..., 3] > 0.99
        scores.append(decibels(out[:256][solid], full[:256][solid]) if level else np.inf)
        far = np.zeros((256, 256), bool)
        far[:8] = far[:, :4] = True
        far &= full[:256] == background[:256]
        assert far.any()
        np.testing.assert_array_equal(out[:256][far], background[:256][far])
        if level == 0:
            np.testing.assert_array_equal(out, full)
    assert min(scores) > 22 and scores[1] > scores[2]
    r.close()


def test_each_level_costs_less() -> None:
    big = synthetic.avatar(80_000, "half", 512)
    v = Rig(big).vertices(big.neutral).copy()
    background = compose.i420(big.background)
    r, out = DetailRasterizer(big, 1), np.empty_like(background)
    taken: list[list[float]] = [[] for _ in range(r.levels)]
    for _ in range(12):  # in turn: other work on the machine then slows all of them
        for level in range(r.levels):
            r.level = level
            start = time.process_time()
            r.draw_i420(v, big.camera, background, out)
            taken[level].append(time.process_time() - start)
    costs = [min(t) for t in taken]
    assert costs[1] < 0.9 * costs[0] and costs[2] < 0.7 * costs[1]
    r.close()


def test_sides_that_cannot_be_halved_are_drawn_whole() -> None:
    a = synthetic.avatar(3_000, "half", 126)
    background = compose.i420(a.background)
    r = DetailRasterizer(a, 1)
    r.level = len(LEVELS) - 1
    out = r.draw_i420(Rig(a).vertices(a.photo), a.camera, background, np.zeros_like(background))
    assert out.min() >= 16
    with pytest.raises(ValueError, match="level 3; there are 0 to 2"):
        r.level = 3
    with pytest.raises(ValueError, match="share is 0"):
        thinned(a.gaussians, 0, np.zeros((3_000, 3)))
