"""avatar/build/spacing.py, and the outline that its lattices draw."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.spatial import cKDTree

from avatar.build import check, observe, seed, spacing
from avatar.build.photo import read
from avatar.render import contract
from tests.avatar.build.conftest import Built


@pytest.fixture(scope="module")
def seen(built: Built) -> observe.Observation:
    return observe.observe(read(built.photo))


def exact(o: observe.Observation) -> np.ndarray:
    """(H, W, 4) a picture that misses nothing: what it adds to the background is what the photo has more."""
    back = o.background / 255
    alpha = o.alpha[..., None]
    return np.concatenate([o.rgb / 255 - (1 - alpha) * back, alpha], 2).astype(np.float32)


def test_the_mattes_edge_eyes_and_lips_are_fine(seen: observe.Observation) -> None:
    wanted = spacing.by_detail(seen)
    assert set(np.unique(wanted)) <= {np.float32(v) for v in spacing.LEVELS}
    soft = (seen.alpha > spacing.SOFT[0]) & (seen.alpha < spacing.SOFT[1])
    assert wanted[soft].max() <= np.float32(spacing.FINE)
    x, y = seen.landmarks[[13, 14, 468, 473]].astype(int).T
    assert wanted[y, x].max() <= np.float32(spacing.FINE)


def test_it_becomes_finer_only_where_a_lattice_missed_the_photo(seen: observe.Observation) -> None:
    before = spacing.by_detail(seen)
    drawn = exact(seen)
    far = cv2.erode((seen.alpha > 0.99).astype(np.uint8), np.ones((41, 41)))
    y, x = np.argwhere((far > 0) & (before >= spacing.TRUNK))[0]
    drawn[y - 6 : y + 7, x - 6 : x + 7, :3] += 0.2
    after = spacing.by_error(seen, drawn, before)
    assert (after <= before).all()
    assert after[y, x] < before[y, x]
    away = np.ones(before.shape, bool)
    away[y - 20 : y + 21, x - 20 : x + 21] = False
    soft = cv2.dilate(((seen.alpha > 0.02) & (seen.alpha < 0.98)).astype(np.uint8), np.ones((9, 9))) > 0
    same = away & ~soft & (seen.alpha > 0.99)
    assert (after[same] == before[same]).mean() > 0.95


def test_what_is_left_bare_gets_the_finest_lattice(seen: observe.Observation) -> None:
    drawn = exact(seen)
    y, x = np.argwhere(cv2.erode((seen.alpha > 0.99).astype(np.uint8), np.ones((21, 21))) > 0)[0]
    drawn[y, x] *= 0.5
    assert spacing.by_error(seen, drawn, spacing.by_detail(seen))[y, x] == np.float32(spacing.FINEST)


def test_no_lattice_leaves_a_gap(seen: observe.Observation) -> None:
    """A strip narrower than its lattice's spacing holds no point of it; what shines through there is the background."""
    wanted = np.full(seen.alpha.shape, spacing.FINE, np.float32)
    wanted[:, ::11] = wanted[:, 1::11] = wanted[::13] = spacing.LEVELS[0]
    person = cv2.erode((seen.alpha > 0.99).astype(np.uint8), np.ones((9, 9))) > 0
    scale = 1.5
    pixels, steps = seed._lattice(seen, np.zeros(person.shape, int), wanted, scale)
    y, x = np.nonzero(person)
    centres = np.stack([x, y], 1) + 0.5
    distance, nearest = cKDTree(pixels).query(centres, 12)
    weight = np.exp(-((distance / (seed.SEEN_SIGMA * steps[nearest])) ** 2) / 2).sum(1)
    assert weight.min() > contract.OPEN_FULL / 2  # .005 without the points in the gaps, 1.0 and more inside a lattice
    assert len(pixels) < 1.1 * sum(_alone(seen, wanted, level, scale) for level in spacing.LEVELS)


def _alone(seen: observe.Observation, wanted: np.ndarray, level: float, scale: float) -> float:
    """How many points a lattice of a level has on average on the part of the person that is its own."""
    area = ((wanted == np.float32(level)) & (seen.alpha > 0.03)).sum()
    return float(area / (0.866 * (level * scale) ** 2))


def test_the_outline_is_redrawn_over_white_too(built: Built, seen: observe.Observation) -> None:
    """Over the photo's background a wrong alpha hardly shows; over another it is a halo or a ragged edge."""
    drawn = check.draw(built.avatar, built.avatar.photo)
    alpha = seen.alpha[..., None]
    wanted = seen.foreground * alpha + 1 - alpha
    near = cv2.dilate((seen.alpha > 0.02).astype(np.uint8), np.ones((9, 9))) > 0
    off = (drawn[..., :3] + 1 - drawn[..., 3:] - wanted)[near]
    assert -10 * np.log10((off**2).mean()) > 33  # 30.6 before skin and scalp ended inside the matte's soft edge
    assert np.abs(drawn[..., 3] - seen.alpha)[near].mean() < 0.0035
