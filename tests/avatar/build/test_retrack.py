"""Retracking: the photo's frame gives back the photo, a shifted frame a shifted person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import skimage.data

from avatar.build import check
from avatar.build.retrack import Retracker
from avatar.rig import Rig

if TYPE_CHECKING:
    from tests.avatar.build.conftest import Built


@pytest.fixture(scope="module")
def motions(built: Built):  # type: ignore[no-untyped-def]
    photo = skimage.data.astronaut()
    r = Retracker(built.avatar)
    first = r.motion(photo, 0.0)
    shifted = r.motion(np.roll(photo, 6, axis=1), 0.04)
    lost = r.motion(np.zeros_like(photo), 0.08)
    r.close()
    return first, shifted, lost


def test_the_photo_gives_back_the_photo(built: Built, motions) -> None:  # type: ignore[no-untyped-def]
    a = built.avatar
    rig = Rig(a)
    v = rig.vertices(rig.state(motions[0], absolute=True)).copy()
    off = a.camera.project(v)[:, :2] - a.camera.project(check.vertices(a, a.photo))[:, :2]
    skin = np.unique(a.mesh.faces[a.part == 0])
    assert np.linalg.norm(off[skin], axis=1).mean() < 0.8  # px
    assert motions[0].face_model == a.body_model["sha256"]


def test_a_shifted_frame_shifts_the_head(built: Built, motions) -> None:  # type: ignore[no-untyped-def]
    a, rig = built.avatar, Rig(built.avatar)
    eye = np.unique(a.mesh.faces[a.part == 1])
    at = [a.camera.project(rig.vertices(rig.state(m, absolute=True))[eye].copy())[:, 0].mean() for m in motions[:2]]
    assert at[1] - at[0] == pytest.approx(6, abs=1.5)


def test_a_frame_without_a_face_holds_the_last(motions) -> None:  # type: ignore[no-untyped-def]
    assert motions[2].time == 0.08
    assert np.array_equal(motions[2].pose, motions[1].pose)
