"""Which pixels are hair, skin and cloth: on the demo's photo, and on a made-up person with bare temples."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

import avatar.build.fit as fitting
from avatar.build import anatomy, observe, parts, refine
from avatar.build.landmarks import OVAL
from avatar.build.parts import CLOTH, HAIR, SKIN, Parts
from avatar.render import cpu
from models import body
from models.motion import Motion
from stage.evaluate.people import HAIR as HAIR_PART
from tests.avatar.build import made_up

if TYPE_CHECKING:
    from tests.avatar.build.conftest import Person

NOBODY = 255


def test_hair_skin_and_cloth_of_the_photo_are_told_apart(person: Person) -> None:
    o = person.o
    p = o.landmarks[:468]
    up = (p[10] - p[152]) / np.linalg.norm(p[10] - p[152])
    height = float(np.linalg.norm(p[10] - p[152]))
    at = lambda q: person.parts.at(np.asarray(q, float)[None])[0]  # noqa: E731
    assert at(p[10] + 0.3 * height * up)[HAIR] > 0.8  # the crown
    assert at(p[50])[SKIN] > 0.8 and at(p[280])[SKIN] > 0.8  # the cheeks
    assert at(p[152] - 0.5 * height * up)[CLOTH] > 0.8  # the suit under the chin


@pytest.fixture(scope="module")
def thin_haired() -> tuple[observe.Observation, fitting.Fit, np.ndarray]:
    """A made-up person whose temples are bare up to the head's outline; (H, W) what their pixels are."""
    s = made_up.scene({}, seed=0, aside=0)
    posed, camera = s.human.posed(Motion()), s.human.camera
    _, ids = cpu.zbuffer(camera.project(posed.vertices), posed.faces, camera.width, camera.height)
    o = made_up.observed(s)
    part = np.where(ids >= 0, posed.part[ids], NOBODY).astype(np.uint8)
    small = cv2.resize(part, o.alpha.shape[::-1], interpolation=cv2.INTER_NEAREST)
    return o, fitting.fit(body.load(), o.camera, o.face, None), np.asarray(small)


def _rows_of_the_temples(o: observe.Observation) -> slice:
    """From the eyes to four tenths of the face's height over them."""
    eyes, height = o.landmarks[[33, 263], 1].mean(), np.ptp(o.landmarks[:468, 1])
    return slice(int(eyes - 0.4 * height), int(eyes))


def test_a_light_collar_at_the_jaw_is_cloth_and_a_light_spot_on_the_cheek_is_not(person: Person) -> None:
    """The landmarks' oval takes a little of a collar in."""
    o = person.o
    p, chin = o.landmarks[list(OVAL)].astype(np.float64), o.landmarks[152]
    grown = lambda by: parts._filled(p, by, o.alpha.shape)  # noqa: E731
    yy, xx = np.mgrid[: o.alpha.shape[0], : o.alpha.shape[1]]
    low = (yy > chin[1] - 0.25 * o.face_width) & (xx > chin[0])
    rim, spot = grown(1.1) & ~grown(0.9) & low, np.hypot(xx - o.landmarks[36, 0], yy - o.landmarks[36, 1]) < 6
    white = np.where((rim | (low & ~grown(1.0)) | spot)[..., None], [0.85, 0.9, 1.0], o.foreground).astype(np.float32)
    found = parts.find(person.model, replace(o, foreground=white), person.vertices).probability
    band = grown(1.0) & ~grown(0.93) & low & (o.alpha > 0.95)
    assert (person.parts.probability[band][:, CLOTH] > 0.5).mean() == 0
    assert (found[band][:, CLOTH] > 0.5).mean() > 0.7
    assert found[spot][:, CLOTH].max() == 0


def test_bare_temples_are_skin_up_to_thin_hair_behind_them(thin_haired) -> None:  # type: ignore[no-untyped-def]
    """What the outline beside a temple shows is not taken for what hair looks like."""
    o, fit, part = thin_haired
    found = parts.find(body.load(), o, fitting.posed(body.load(), fit))
    rows = _rows_of_the_temples(o)
    bare = (part == anatomy.SKIN)[rows] & (o.alpha[rows] > 0.98)
    oval = np.zeros(part.shape, np.uint8)
    cv2.fillConvexPoly(oval, cv2.convexHull(o.landmarks[list(OVAL)].astype(np.int32)), 1)
    beside = bare & (oval[rows] == 0)
    assert beside.sum() > 500
    assert (found.probability[rows][beside][:, HAIR] > 0.5).mean() < 0.12
    hair = (part == HAIR_PART)[rows] & (o.alpha[rows] > 0.98)
    assert (found.probability[rows][hair][:, HAIR] > 0.5).mean() > 0.6


def test_a_temples_contour_takes_in_no_hair(thin_haired) -> None:  # type: ignore[no-untyped-def]
    """The skull's side, seen edge-on, would smear a few pixels of hair over a temple that turns into view."""
    o, fit, part = thin_haired
    model = body.load()
    hair = cv2.morphologyEx((part == HAIR_PART).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3))) > 0
    temple = model.faces[anatomy.of(model).temples[model.faces].all(1)]

    def taken(vertices: np.ndarray) -> int:
        depth, _ = cpu.zbuffer(o.camera.project(vertices), temple, o.camera.width, o.camera.height)
        return int((np.isfinite(depth) & hair).sum())

    before = refine.refine(model, fit, o.landmarks, o.alpha).vertices
    told = Parts(hair.astype(np.float32)[..., None] * np.array([1, 0, 0], np.float32), np.zeros(3))
    after = refine.refine(model, fit, o.landmarks, o.alpha, told).vertices
    assert taken(after) < 0.5 * taken(before)
