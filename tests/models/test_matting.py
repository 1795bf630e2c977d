"""Matting against composites whose alpha is known, and what must hold of mattes and backgrounds of any photo."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from models import matting
from models.person import Person
from models.tracking import Tracker
from tests.conftest import shared_file as shared

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]


@pytest.fixture(scope="module")
def tracker() -> Iterator[Tracker]:
    with Tracker() as tracker:
        yield tracker


@pytest.fixture(scope="module")
def woman(tracker: Tracker) -> Person:
    return tracker.track(data.astronaut())[0]


@pytest.fixture(scope="module")
def cut(woman: Person) -> matting.Matte:
    return matting.matte(data.astronaut(), woman)


def over(matte: matting.Matte, alpha: NDArray, background: NDArray) -> U8:
    """A composite, uint8; background (H, W, 3) 0..1."""
    picture = matte.foreground * alpha[..., None] + background * (1 - alpha[..., None])
    return np.round(255 * picture).clip(0, 255).astype(np.uint8)


def background_of(image: NDArray, blur: float) -> NDArray[np.float64]:
    resized = cv2.resize(image, (512, 512), interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(resized, (0, 0), blur).astype(np.float64) / 255


# --- the solver on synthetic alpha


def strands(size: int = 160) -> tuple[NDArray, NDArray]:
    """(alpha, trimap): a disc with thin curved strands that leave it, as hair does."""
    scale = 4
    canvas = np.zeros((size * scale, size * scale), np.uint8)
    centre = size * scale // 2
    cv2.circle(canvas, (centre, centre), size * scale // 5, 255, -1)
    rng = np.random.default_rng(3)
    for angle in np.linspace(0, 2 * np.pi, 48, endpoint=False):
        t = np.linspace(0.16, 0.34, 20) * size * scale
        bend = angle + rng.uniform(-0.3, 0.3) * (t / t[-1]) ** 2
        points = np.stack([centre + t * np.cos(bend), centre + t * np.sin(bend)], 1)
        cv2.polylines(canvas, [np.round(points).astype(np.int32)], False, 255, thickness=int(rng.integers(3, 7)))
    alpha = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA) / 255
    y, x = np.mgrid[:size, :size]
    radius = np.hypot(x + 0.5 - size / 2, y + 0.5 - size / 2) / size
    return alpha, np.select([radius < 0.17, radius > 0.38], [1.0, 0.0], 0.5)


def test_closed_form_finds_strands() -> None:
    alpha, trimap = strands()
    y, x = np.mgrid[:160, :160] / 160
    hair = np.stack([0.25 + 0.1 * x, 0.15 + 0.05 * y, 0.1 + 0 * x], -1)
    wall = np.stack([0.5 + 0.3 * y, 0.6 + 0.2 * x, 0.7 + 0.1 * x * y], -1)
    picture = hair * alpha[..., None] + wall * (1 - alpha[..., None])
    solved = matting.closed_form(picture, trimap, np.full_like(alpha, 0.5))
    unknown = trimap == 0.5
    error = np.abs(solved - alpha)[unknown].mean()
    assert error < 0.02
    assert error < 0.1 * np.abs(0.5 - alpha)[unknown].mean()
    assert (solved[trimap == 1] == 1).all() and (solved[trimap == 0] == 0).all()


def test_closed_form_follows_the_prior_where_colour_is_silent() -> None:
    trimap = np.full((40, 40), 0.5)
    trimap[:5], trimap[-5:] = 1, 0
    grey = np.full((40, 40, 3), 0.5)
    likely, unlikely = (matting.closed_form(grey, trimap, np.full((40, 40), p)) for p in (0.95, 0.05))
    assert (likely - unlikely)[10:30].min() > 0.08
    silent = matting.closed_form(grey, trimap, np.full((40, 40), 0.5))
    assert np.abs(np.diff(silent[5:35].mean(1))).max() < 0.1  # an even slope from one to the other


def test_closed_form_without_unknowns_is_the_trimap() -> None:
    trimap = np.zeros((8, 8))
    trimap[2:6] = 1
    assert (matting.closed_form(np.random.default_rng(0).random((8, 8, 3)), trimap, trimap) == trimap).all()


# --- the astronaut


def test_matte_of_the_astronaut(cut: matting.Matte) -> None:
    alpha = cut.alpha
    assert alpha.shape == (512, 512) and alpha.dtype == np.float32 and cut.foreground.shape == (512, 512, 3)
    assert alpha.min() >= 0 and alpha.max() <= 1 and cut.foreground.min() >= 0 and cut.foreground.max() <= 1
    for name, (x, y) in {"face": (223, 117), "hair": (225, 40), "suit": (150, 400), "helmet": (400, 430)}.items():
        assert alpha[y - 3 : y + 4, x - 3 : x + 4].min() > 0.97, name
    for name, (x, y) in {"flag": (30, 120), "wall": (330, 60), "shuttle": (415, 130), "corner": (500, 300)}.items():
        assert alpha[y - 3 : y + 4, x - 3 : x + 4].max() < 0.02, name
    soft = (alpha > 0.05) & (alpha < 0.95)
    assert 0.003 < soft.mean() < 0.04  # an edge, and no fog
    _, labels = cv2.connectedComponents((alpha > 0.3).astype(np.uint8))
    assert np.bincount(labels[labels > 0]).max() > 0.999 * (labels > 0).sum()  # in one piece


def test_matte_explains_the_photo(cut: matting.Matte) -> None:
    """Foreground and background estimates composited by alpha give the photo back, at the edge too."""
    photo = data.astronaut() / 255
    edge = (cut.alpha > 0.02) & (cut.alpha < 0.98)
    residual = photo - cut.foreground * cut.alpha[..., None]  # what is left for the background, at most 1 - alpha
    assert (np.abs(photo - cut.foreground)[cut.alpha > 0.99]).mean() < 0.01
    assert np.percentile(residual[edge], 1) > -0.05
    assert np.percentile(residual[edge] - (1 - cut.alpha[edge])[:, None], 99) < 0.05


@pytest.mark.parametrize(("name", "blur", "limit"), [("coffee", 3.0, 0.02), ("rocket", 6.0, 0.035)])
def test_matte_of_a_known_composite(tracker: Tracker, cut: matting.Matte, name: str, blur: float, limit: float) -> None:
    """Put the woman before another wall by a known alpha; cut her out again from the picture alone."""
    picture = over(cut, cut.alpha, background_of(getattr(data, name)(), blur))
    again = matting.matte(picture, tracker.track(picture)[0]).alpha
    head = np.s_[:190, 120:330]
    assert np.abs(again - cut.alpha)[head].mean() < limit
    both, either = ((again > 0.5) & (cut.alpha > 0.5)).sum(), ((again > 0.5) | (cut.alpha > 0.5)).sum()
    assert both / either > 0.93


def test_strands_of_hair_are_found(tracker: Tracker, cut: matting.Matte) -> None:
    """Hair drawn by a known alpha beyond the outline of the segmentation comes back as hair."""
    scale = 4
    canvas = np.zeros((512 * scale, 512 * scale), np.uint8)
    rng = np.random.default_rng(5)
    for angle in np.linspace(-np.pi, 0, 40):  # over the crown, about the head's middle
        t = np.linspace(58, 88, 16)
        bend = angle + rng.uniform(-0.25, 0.25) * ((t - 58) / 30) ** 2
        points = np.stack([226 + t * np.cos(bend), 92 + t * np.sin(bend)], 1) * scale
        cv2.polylines(canvas, [np.round(points).astype(np.int32)], False, 255, thickness=int(rng.integers(4, 9)))
    drawn = cv2.resize(canvas, (512, 512), interpolation=cv2.INTER_AREA) / 255
    alpha = np.maximum(cut.alpha, drawn)
    hairy = matting.Matte(
        alpha.astype(np.float32), np.where(drawn[..., None] > cut.alpha[..., None], [0.33, 0.25, 0.13], cut.foreground)
    )
    wall = np.full((512, 512, 3), 0.75) + np.linspace(-0.1, 0.1, 512)[:, None, None]
    picture = over(hairy, alpha, wall)
    found = matting.matte(picture, tracker.track(picture)[0]).alpha
    zone = np.zeros((512, 512), bool)
    zone[5:90, 130:325] = True
    zone &= cut.alpha < 0.02
    assert np.abs(found - alpha)[zone].mean() < 0.06
    assert np.corrcoef(found[zone], alpha[zone])[0, 1] > 0.8


def test_matte_is_the_same_at_twice_the_size(tracker: Tracker, cut: matting.Matte) -> None:
    large = cv2.resize(data.astronaut(), (1024, 1024), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    alpha = matting.matte(large, tracker.track(large)[0]).alpha
    assert alpha.shape == (1024, 1024)
    small = cv2.resize(alpha, (512, 512), interpolation=cv2.INTER_AREA)
    assert np.abs(small - cut.alpha).mean() < 0.015


def test_somebody_beside_is_not_cut_out_too(tracker: Tracker) -> None:
    bust = data.astronaut()[:400, 90:350]
    picture = np.hstack([bust, bust])  # shoulder to shoulder
    persons = tracker.track(picture)
    assert len(persons) == 2
    for person, others in ((persons[0], persons[1:]), (persons[1], persons[:1])):
        alpha = matting.matte(picture, person, others=others).alpha
        assert person.face is not None and others[0].face is not None
        mine, theirs = person.face.centre.round().astype(int), others[0].face.centre.round().astype(int)
        assert alpha[mine[1], mine[0]] == 1
        assert alpha[theirs[1] - 40 : theirs[1] + 40, theirs[0] - 30 : theirs[0] + 30].max() < 0.05


def test_where_nets_see_nobody_the_landmarks_say_where_to_look(woman: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matting, "_alpha", lambda rgb, known: np.zeros(rgb.shape[:2], np.float32))
    alpha = matting.matte(data.astronaut(), woman).alpha
    assert woman.face is not None
    x, y = woman.face.centre.astype(int)
    assert alpha[y, x] == 1


def test_a_given_alpha_is_taken(woman: Person, cut: matting.Matte) -> None:
    photo = data.astronaut()
    given = np.round(255 * cut.alpha).astype(np.uint8)
    photo[given == 0] = [255, 0, 255]  # what lies under alpha 0 means nothing
    matte = matting.matte(photo, woman, given_alpha=given)
    assert np.abs(matte.alpha - cut.alpha).max() <= 0.5 / 255 + 1e-6
    near = (cv2.dilate(given, np.ones((9, 9), np.uint8)) > 0) & (given == 0)
    magenta = np.abs(matte.foreground - [1, 0, 1]).max(-1) < 0.2
    assert not magenta[near].any()
    with pytest.raises(ValueError, match=r"shape \(10, 10\)"):
        matting.matte(photo, woman, given_alpha=np.zeros((10, 10), np.uint8))


def test_nothing_to_cut_out_is_told() -> None:
    with pytest.raises(ValueError, match="neither face nor body"):
        matting.matte(data.astronaut(), Person(None, None, (), (0, 0, 10, 10)))


# --- filling


def test_push_pull_keeps_what_is_known_and_fills_smoothly() -> None:
    y, x = np.mgrid[:90, :130].astype(np.float32)
    image = np.stack([x / 130, y / 90, 0.5 + 0 * x], -1)
    known = (np.hypot(x - 60, y - 45) > 25).astype(np.float32)
    filled = matting.push_pull(image, known)
    assert np.abs(filled - image)[known == 1].max() < 1e-6
    assert np.abs(filled - image)[known == 0].mean() < 0.03 and np.abs(filled - image).max() < 0.15
    assert (matting.push_pull(image, np.zeros((90, 130))) == 0).all()


def test_background_holds_nothing_of_the_person_and_keeps_its_grain() -> None:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:300, :400].astype(np.float32)
    wall = np.stack([0.3 + x / 2000, 0.5 + y / 2000, 0.6 + 0 * x], -1) + 0.02 * rng.standard_normal((300, 400, 3))
    alpha = np.clip((80 - np.hypot(x - 200, y - 150)) / 6 + 0.5, 0, 1)
    picture = (1 - alpha[..., None]) * wall + alpha[..., None] * [1.0, 0.0, 0.0]
    filled = matting.inpaint_background(picture.clip(0, 1).astype(np.float32), alpha)
    assert filled.shape == picture.shape and filled.dtype == np.float32
    hole = alpha > 0.5
    smooth = cv2.GaussianBlur(filled, (0, 0), 6)
    truth = cv2.GaussianBlur(wall, (0, 0), 6)
    assert np.abs(smooth - truth)[hole].max() < 0.06  # no red leaks
    fine = filled - cv2.GaussianBlur(filled, (0, 0), 1.2)
    assert 0.6 < fine[hole].std() / fine[alpha == 0].std() < 1.5
    far = np.hypot(x - 200, y - 150) > 130
    assert np.abs(filled - picture.clip(0, 1))[far].max() < 1e-6


def test_background_stays_as_photographed_beside_the_matte() -> None:
    """Stripes that run up to the person go on unbroken: no fringe of fill around a head at rest."""
    y, x = np.mgrid[:300, :400].astype(np.float32)
    stripes = np.repeat((0.5 + 0.4 * np.sin((x + y) / 6))[..., None], 3, 2)
    alpha = (np.hypot(x - 200, y - 150) < 80).astype(np.float32)
    picture = np.where(alpha[..., None] > 0, [1.0, 0.0, 0.0], stripes).astype(np.float32)
    filled = matting.inpaint_background(picture, alpha)
    away = np.hypot(x - 200, y - 150) - 80
    assert np.abs(filled - stripes)[away > 5].max() < 0.05
    assert np.abs(filled - stripes)[(away > 1) & (away <= 5)].mean() < 0.12


def test_background_of_a_picture_that_is_all_person() -> None:
    filled = matting.inpaint_background(data.astronaut(), np.ones((512, 512), np.float32))
    assert filled.shape == (512, 512, 3) and np.isfinite(filled).all() and np.ptp(filled[..., 0]) == 0


# --- shared photos: points that are the person's, points that are not (px)

PHOTOS = {
    "wh_obama_official_halfbody.jpg": (
        [(450, 200), (450, 60), (150, 900), (700, 900), (450, 700)],
        [(60, 300), (850, 300), (300, 150), (620, 100), (60, 700)],
    ),
    "flux_man_0056.png": (  # between thumb, sleeve and arm the wall is seen
        [(517, 200), (517, 60), (140, 760), (790, 760), (517, 700)],
        [(300, 200), (60, 500), (940, 900), (165, 670)],
    ),
    "lp_d8_glasses_curly.jpg": (
        [(365, 320), (365, 120), (240, 200), (360, 600)],
        [(60, 200), (660, 200), (120, 450), (365, 20)],
    ),
    "hagrid_none_00c84257.jpg": (  # between head and raised arm the wall is seen
        [(138, 235), (190, 190), (280, 242), (120, 400)],
        [(200, 40), (340, 400), (30, 200), (215, 245)],
    ),
}


@pytest.mark.parametrize("name", PHOTOS)
def test_shared_photo(tracker: Tracker, name: str) -> None:
    picture = cv2.imread(str(shared(f"photos/{name}")))
    assert picture is not None
    rgb = np.ascontiguousarray(picture[..., ::-1]).astype(np.uint8)
    persons = tracker.track(rgb)
    alpha = matting.matte(rgb, persons[0], others=persons[1:]).alpha
    own, others = PHOTOS[name]
    assert [p for p in own if alpha[p[1], p[0]] < 0.9] == []
    assert [p for p in others if alpha[p[1], p[0]] > 0.25] == []
