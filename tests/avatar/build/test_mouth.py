"""Lips and teeth: how a mouth opens and closes, and what it shows."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from avatar.build import anatomy, lips, neutral, observe, teeth
from avatar.build.landmarks import LIP_CORNERS, LIPS_INNER, LIPS_OUTER
from avatar.build.photo import read
from models import body
from models.expression import JAW_OPEN
from models.motion import JAW
from models.skinning import Poser


@pytest.fixture(scope="module")
def model() -> body.BodyModel:
    return body.load()


@pytest.fixture(scope="module")
def seen(nets, astronaut) -> observe.Observation:  # type: ignore[no-untyped-def]
    return observe.observe(read(astronaut))


def low_rim(model: body.BodyModel, jaw: float) -> np.ndarray:
    """(11, 2) across (of half the mouth's width) and down (of the deepest) of the lower lip's inner rim."""
    pose = np.zeros((55, 3), np.float32)
    pose[JAW, 0] = jaw
    nothing = np.zeros(model.expression_dirs.shape[2], np.float32)
    v = Poser(model.skinned())(pose, nothing, np.zeros(3, np.float32)).astype(np.float64)
    B = anatomy.of(model).landmark_matrix()
    rim, corners = B[list(lips.LOW_RIM)] @ v, B[list(LIP_CORNERS)] @ v
    down = corners[:, 1].mean() - rim[:, 1]
    return np.stack([rim[:, 0] / (np.ptp(corners[:, 0]) / 2), down / down.max()], 1)


def test_an_open_lower_lip_is_round_not_pointed(model: body.BodyModel) -> None:
    aside = lambda m: np.interp(0.6, *low_rim(m, 0.7 * JAW_OPEN)[5:].T)  # noqa: E731
    assert aside(model) < 0.62  # the model's own is near to a V, whose lip is .4 down there
    assert aside(lips.rounded(model)) > 0.7  # half an ellipse: .8


def test_rounding_keeps_model_identity(model: body.BodyModel) -> None:
    r = lips.rounded(model)
    assert r.sha256 == model.sha256 and r.v_template is model.v_template
    assert lips.rounded(model) is r


def test_a_wide_open_mouth_closes_to_lips_of_a_persons_size(model: body.BodyModel) -> None:
    """A lower lip that the fit made 1.6 times as high, because it lay tilted in the picture, gets its height back."""
    B = anatomy.of(model).landmark_matrix()
    height = lambda v: np.linalg.norm(v[17] - v[14])  # noqa: E731
    posed = model.v_template.astype(np.float64)
    rest = posed.copy()
    middle = (B[14] @ rest).ravel()
    near = lips.region(model, rest)
    below = near[rest[near, 1] < middle[1] - 1e-4]
    rest[below, 1] -= 0.6 * np.minimum(middle[1] - rest[below, 1], 0.012)
    kept = rest + lips.seal(model, rest, posed, 0.0)
    mended = rest + lips.seal(model, rest, posed, 0.25)
    true = height(B @ posed)
    assert height(B @ kept) > 1.4 * true
    assert height(B @ mended) < 1.2 * true
    for v in (kept, mended):
        assert np.linalg.norm((B @ v)[13] - (B @ v)[14]) < 5e-4


def test_a_smile_comes_and_goes_on_lips_that_touch(model: body.BodyModel) -> None:
    rest, directions = model.v_template.astype(np.float64), model.expression_dirs.astype(np.float64).copy()
    smile = model.expression_names.index("mouthSmileLeft")
    lips.keep_shut(model, rest, directions, ["mouthSmileLeft", "mouthDimpleLeft"])
    B = anatomy.of(model).landmark_matrix()
    gap = lambda d: max(np.abs((B[u] - B[l]) @ d[:, :, smile]).max() for (u, _), (l, _) in zip(lips.UPPER, lips.LOWER))  # noqa: E731
    assert gap(model.expression_dirs) > 0.0015 and gap(directions) < 0.0002
    corner = B[LIP_CORNERS[1]] @ (directions - model.expression_dirs)[:, :, smile]
    assert np.abs(corner).max() < 0.1 * np.abs(B[LIP_CORNERS[1]] @ model.expression_dirs[:, :, smile]).max()


def test_a_smile_lifts_the_corners_not_the_whole_mouth(model: body.BodyModel) -> None:
    """Over the teeth a raised upper lip would show nothing but gums."""
    rest, directions = model.v_template.astype(np.float64), model.expression_dirs.astype(np.float64).copy()
    names = [f"mouthSmile{side}" for side in ("Left", "Right")]
    columns = [model.expression_names.index(name) for name in names]
    lips.keep_shut(model, rest, directions, names)
    B = anatomy.of(model).landmark_matrix()

    def rise(d: np.ndarray) -> float:
        p = B @ d[:, :, columns].sum(2)
        return float(p[[13, 14], 1].mean() / p[list(LIP_CORNERS), 1].mean())

    assert rise(model.expression_dirs) > 0.35 and rise(directions) < 0.2


def test_a_smile_that_the_offsets_hold_is_told(model: body.BodyModel) -> None:
    smiling = [model.expression_names.index("mouthSmile" + side) for side in ("Left", "Right")]
    held = [
        neutral.smile_left(model, model.v_template + s * model.expression_dirs[:, :, smiling].sum(2))
        for s in (-0.3, 0.0, 0.25, 0.5)
    ]
    assert held[0] == 0 and held[1] < 0.08
    np.testing.assert_allclose(held[2:], (0.25, 0.5), atol=0.1)


def test_photo_teeth_are_found_where_they_are(seen: observe.Observation) -> None:
    shown = teeth.teeth_pixels(seen)
    assert shown is not None
    inside = teeth.polygon(seen, LIPS_INNER) > 0
    assert shown[~cv2.dilate(inside.astype(np.uint8), np.ones((3, 3))).astype(bool)].max() == 0
    assert 0.3 < shown[inside].mean() < 0.95


def without_a_gap(o: observe.Observation) -> observe.Observation:
    """The photo with its lips' colour between the lips."""
    _, lab, lip = teeth.inside_and_lips(o)
    mouth = cv2.dilate(teeth.polygon(o, LIPS_OUTER), np.ones((3, 3))) > 0
    lab = lab.copy()
    lab[mouth] = lip
    return replace(o, rgb=(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * 255).round().clip(0, 255).astype(np.uint8))


def test_lips_that_only_the_tracker_parts_are_joined(seen: observe.Observation) -> None:
    soft = without_a_gap(seen)
    assert teeth.teeth_pixels(soft) is None
    assert teeth.lip_gap(lips.closed_if_they_look_it(soft)) < 1e-6
    assert lips.closed_if_they_look_it(seen) is seen


def test_each_row_of_teeth_is_told_from_the_other() -> None:
    """From the lower lip up: teeth, tongue and dark, teeth. The lower ones were once taken for the upper ones' edge."""
    inside = np.ones(20, bool)
    both = np.zeros(20, bool)
    both[1:5] = both[14:19] = True
    assert teeth._edge_of_row(both, inside, 1.0) == 14
    assert teeth._edge_of_row(both[::-1], inside, 0.5) == 15  # the lower row, seen from above
    assert teeth._edge_of_row(np.r_[both[:10], np.zeros(10, bool)], inside, 1.0) is None  # the other row alone
    smile = np.r_[False, np.ones(18, bool), False]  # upper teeth down to the lower lip
    assert teeth._edge_of_row(smile, inside, 1.0) == 1
    assert teeth._edge_of_row(smile, inside, 0.5) is None


def test_crowns_have_gaps_and_gums() -> None:
    light = np.ones(3)
    at = lambda u, v: teeth.paint(np.array([[u, v]]), anatomy.UPPER_TEETH, light)[0]  # noqa: E731
    enamel, gap, gum = at(4.2, 4.0), at(8.5, 4.0), at(4.2, 12.5)
    assert gap.mean() < 0.85 * enamel.mean()
    assert gum[0] - gum[1] > 2 * (enamel[0] - enamel[1])  # redder
    assert at(26, 4.0).mean() < 0.6 * enamel.mean()  # in the cheek's shadow
    assert np.allclose(teeth.light_of(np.tile(0.5 * teeth.ENAMEL, (20, 1))), 0.5)


def test_arches_lie_behind_the_lips_and_upper_before_lower(model: body.BodyModel, seen: observe.Observation) -> None:
    v = model.v_template.astype(np.float64)
    hidden = teeth.teeth(model, without_a_gap(seen), v, v)
    assert hidden is not None and hidden.shown is None
    seam = (anatomy.of(model).landmark_matrix()[[13, 14]] @ v).mean(0)
    upper, lower = (teeth.at_neutral(a, a.points, seam) for a in (hidden.upper, hidden.lower))
    front = np.abs(hidden.upper.uv[:, 0]) < 10
    assert upper[front, 2].max() < seam[2] and lower[front, 2].max() < upper[front, 2].max()
    assert upper[front, 1].min() < seam[1] < upper[front, 1].max()
    assert lower[front, 1].max() > upper[front, 1].min()  # overbite


def test_the_mouths_lining_stays_behind_thin_lips_and_a_short_chin(model: body.BodyModel) -> None:
    """Skin below the lip that lies almost on the lining would be averaged with it: dark specks on a shut mouth."""
    a = anatomy.of(model)
    rest = model.v_template.astype(np.float64)
    inside = np.flatnonzero(a.inner_mouth)
    inside = inside[rest[inside, 2] > np.quantile(rest[inside, 2], 0.6)]
    rest[inside, 2] += 0.004  # m
    deep = inside[(neutral.adjacency(model.faces, len(rest)) @ ~a.inner_mouth)[inside] == 0]
    deep = deep[np.isfinite(neutral._clearance(model, rest, rest[deep]))]
    least = lambda: neutral._clearance(model, rest, rest[deep]).min()  # noqa: E731
    assert least() < 0.001
    neutral._place_lining(model, rest)
    assert least() > 0.95 * neutral.BEHIND
