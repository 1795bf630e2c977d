"""Eyes: what of a photo turns with an eyeball, and what stays before it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from avatar.build import anatomy, eyes, glint, lids, observe
from avatar.build.landmarks import LEFT_EYE_RING, RIGHT_EYE_RING
from avatar.build.parts import plain_face
from avatar.build.photo import read
from avatar.render import cpu
from avatar.rig import Rig
from models.motion import A, Motion
from stage.evaluate.leaks import Stand

if TYPE_CHECKING:
    from tests.avatar.build.conftest import Built


@pytest.fixture(scope="module")
def seen(nets, astronaut) -> observe.Observation:  # type: ignore[no-untyped-def]
    return observe.observe(read(astronaut))


def drawn(o: observe.Observation, side: str, spots: list[tuple[float, float, float]]) -> observe.Observation:
    """The photo with an eye that is white with a dark iris, on it spots (x, y in iris radii, lightness)."""
    p = o.landmarks[list(eyes.IRIS[side])].astype(np.float64)
    radius = np.linalg.norm(p[1:] - p[0], axis=1).mean()
    picture = o.foreground.copy()
    cv2.fillPoly(picture, [o.landmarks[list(glint.RING[side])].round().astype(np.int32)], (0.7, 0.7, 0.7))
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]] + 0.5
    picture[np.hypot(x - p[0, 0], y - p[0, 1]) < radius] = 0.2
    for dx, dy, light in spots:
        q = np.floor(p[0] + radius * np.array([dx, dy])).astype(int)
        picture[q[1], q[0]] = light
    return replace(o, foreground=picture)


def test_a_highlight_is_found_where_it_is(seen: observe.Observation) -> None:
    o = drawn(seen, "Left", [(0.2, -0.2, 0.9)])
    (found,) = glint.find(o, "Left")
    p = o.landmarks[list(eyes.IRIS["Left"])].astype(np.float64)
    radius = np.linalg.norm(p[1:] - p[0], axis=1).mean()
    brightest = np.argwhere(found.share == 1)[0, ::-1] + 0.5
    assert np.abs(brightest - p[0] - radius * np.array([0.2, -0.2])).max() < 1


def test_a_plain_iris_and_faint_flecks_have_none(seen: observe.Observation) -> None:
    assert glint.find(drawn(seen, "Left", []), "Left") == []
    assert glint.find(drawn(seen, "Left", [(0.2, -0.2, 0.4)]), "Left") == []


def test_highlights_follow_half_a_gaze_and_lashes_none(built: Built) -> None:
    """The demo's eyes shine, and their corners lie in the shadow of lashes."""
    a, rig = built.avatar, Rig(built.avatar)
    motion = Motion()
    motion.weight[:6] = 1
    still = rig.vertices(rig.state(motion)).copy()
    motion.face[[A["eyeLookOutLeft"], A["eyeLookInRight"]]] = 0.87
    way = np.linalg.norm(rig.vertices(rig.state(motion)) - still, axis=1)
    front = [np.unique(a.mesh.faces[a.part == p]) for p in (anatomy.LEFT_EYE, anatomy.RIGHT_EYE)]
    iris = max(way[f].max() for f in front)
    over = np.unique(a.mesh.faces[a.part == anatomy.OVERLAY])
    shares = way[over] / iris
    assert iris > 0.003  # m
    assert (shares < 0.02).any() and ((shares > 0.3) & (shares < 0.6)).any() and (shares < 0.6).all()


def test_each_side_of_the_white_has_its_own_light() -> None:
    rng = np.random.default_rng(0)
    angles = np.stack([rng.uniform(-0.85, 0.85, 400), rng.uniform(-0.1, 0.1, 400)], 1)
    light = np.where(angles[:, 0] > 0, 0.8, 0.5)
    colours = np.where(np.linalg.norm(angles, axis=1) < 0.4, 0.1, light)[:, None] * np.ones(3)
    brush = eyes.paint(angles, colours, 0.4, np.full(3, 0.6))
    assert brush.told
    assert brush(np.array([[-0.8, 0.0]])).mean() < 0.55 < 0.65 < brush(np.array([[0.8, 0.0]])).mean()
    assert not eyes.paint(angles[:3], colours[:3], 0.4, np.full(3, 0.6)).told


def test_what_a_glance_brings_out_of_a_corner_is_not_in_its_shade() -> None:
    """The photo's corners lie in shade; painted on the ball it came into the middle of the eye, a tenth darker."""
    x = np.linspace(-0.85, 0.85, 400)
    angles = np.stack([x, 0 * x], 1)
    shade = 1 - 0.2 * np.clip((np.abs(x) - 0.45) / 0.5, 0, 1)
    colours = (np.where(np.abs(x) < 0.4, 0.1, 0.7) * shade)[:, None] * np.ones(3)
    brush = eyes.paint(angles, colours, 0.4, np.full(3, 0.6))
    front, uncovered = (brush(np.array([[side * at, 0.0] for side in (-1, 1)])).mean() for at in (0.5, 0.8))
    assert uncovered > 0.99 * front and abs(front - 0.7) < 0.05


def test_a_lid_goes_on_from_the_skin_beside_it_and_is_lit_in_its_middle() -> None:
    y, x = np.mgrid[-20:21, -20:21] * 0.001
    points = np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], 1)
    far = np.hypot(points[:, 0], points[:, 1])
    known = points[far > 0.008]
    colours = np.where(known[:, :1] < 0, [0.4, 0.3, 0.2], [0.6, 0.5, 0.4])
    lit = np.full((3, 3), 0.8)
    beside, other, middle = lids._going_on(np.array([[-0.0082, 0, 0], [0.0082, 0, 0], [0, 0, 0]]), known, colours, lit)
    assert np.allclose(beside, [0.4, 0.3, 0.2], atol=0.06) and np.allclose(other, [0.6, 0.5, 0.4], atol=0.06)
    own = np.array([0.5, 0.4, 0.3])
    assert np.allclose(middle, own + lids.OWN * (0.8 - own), atol=0.03)


def test_a_lid_has_the_hue_of_skin_that_is_as_light(seen: observe.Observation) -> None:
    """Greyed by what lies about the eyes it gets the face's own chroma back, at whatever light."""
    o = seen
    lab = cv2.cvtColor(o.foreground.astype(np.float32).clip(0, 1), cv2.COLOR_RGB2LAB)
    skin = lab[plain_face(o.landmarks.astype(np.float64), o.alpha.shape) & (o.alpha > 0.9)]
    lights = np.quantile(skin[:, 0], [0.2, 0.5, 0.8]).astype(np.float32)
    grey = np.stack([lights, np.full(3, 2), np.full(3, 2)], 1).astype(np.float32)
    paint = cv2.cvtColor(grey[None], cv2.COLOR_LAB2RGB)[0].astype(np.float64)
    out = cv2.cvtColor(lids._with_the_faces_hue(o, paint)[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0]
    for light, lid in zip(lights, out):
        own = np.median(skin[np.abs(skin[:, 0] - light) < lids.TONE], 0)
        assert abs(lid[0] - light) < 1
        assert np.linalg.norm(lid[1:] - own[1:]) < 0.4 * np.linalg.norm(grey[0, 1:] - own[1:])


def test_a_closed_lid_is_not_a_patch_of_another_colour(built: Built) -> None:
    """As light as the skin around, within what its own shade makes."""
    a = built.avatar
    motion = Motion()
    motion.weight[:] = 1
    motion.face[[A["eyeBlinkLeft"], A["eyeBlinkRight"]]] = 1
    rig, stand = Rig(a), Stand(a)
    picture = cpu.draw(rig.vertices(rig.state(motion)), a.mesh.faces, a.occluder, a.gaussians, stand.camera)
    lab = cv2.cvtColor(picture[..., :3].clip(0, 1), cv2.COLOR_RGB2LAB)
    p = stand.landmarks(rig.vertices(a.neutral))
    for ring in (RIGHT_EYE_RING, LEFT_EYE_RING):
        eye = p[list(ring), :2]
        mask = lambda grow: lids._hull(eye, grow, lab.shape[:2]) > 0  # noqa: B023, E731
        lid, around = lab[mask(0.9)], lab[mask(2.6) & ~mask(1.6)]
        lit = np.median(around[around[:, 0] > np.quantile(around[:, 0], 0.6)], 0)
        away = np.median(lid, 0) - lit
        assert abs(away[0]) < 12.5 and np.hypot(*away[1:]) < 8
