"""Two looks at a person that differ: which of them is believed where."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from models.main_object import main_object
from models.outline import combined, without_strays
from models.person import LEFT_ELBOW, LEFT_SHOULDER, LEFT_WRIST, Body, Person
from models.person_mask import PersonMask

F32 = NDArray[np.float32]
HEAD, TRUNK, ARM = np.s_[30:90, 80:120], np.s_[88:200, 60:140], np.s_[110:124, 140:190]
POSTER, CHAIR = np.s_[20:50, 120:150], np.s_[150:190, 150:190]


def within(part: tuple[slice, slice]) -> tuple[slice, slice]:
    """Without its rim, where two looks are mixed."""
    rows, columns = part
    return np.s_[rows.start + 3 : rows.stop - 3, columns.start + 3 : columns.stop - 3]


def person() -> Person:
    """A head of 40 px about (100, 50), whose left arm lies level from the shoulder to the right of the picture."""
    keypoints = np.zeros((33, 4), np.float32)
    keypoints[:11] = [100, 55, 0, 1]
    keypoints[7, 0], keypoints[8, 0] = 116, 84  # ears
    for k, x in ((LEFT_SHOULDER, 135), (LEFT_ELBOW, 160), (LEFT_WRIST, 185)):
        keypoints[k] = [x, 117, 0, 1]
    return Person(None, Body(keypoints, np.zeros((33, 3), np.float32), None), (), (60, 30, 190, 200))


def look(*parts: tuple[slice, slice]) -> F32:
    out = np.zeros((200, 200), np.float32)
    for part in (HEAD, TRUNK, *parts):
        out[part] = 1
    return out


def outline(coarse: F32, fine: F32, probability: F32 | None = None, rgb: NDArray | None = None) -> F32:
    mask = PersonMask(
        coarse if probability is None else probability, np.ones_like(coarse), np.zeros(coarse.shape, np.uint8)
    )
    picture = np.zeros((*coarse.shape, 3), np.uint8) if rgb is None else rgb
    return combined(picture, person(), mask, coarse, fine)


def test_an_arm_that_the_fine_look_loses_stays() -> None:
    doubtful = look(ARM) * 0.8  # the coarse look alone would not be believed
    assert outline(look(ARM), look(), doubtful)[within(ARM)].min() > 0.99


def test_an_arm_that_fades_is_whole() -> None:
    fading = look()
    fading[130:170, 80:120] = 0.6  # in the middle of the trunk
    assert outline(look(), fading)[TRUNK].min() == 1


def test_what_hangs_behind_the_head_goes() -> None:
    assert outline(look(POSTER), look())[within(POSTER)].max() < 0.01


def test_an_arm_that_the_coarse_look_misses_comes() -> None:
    assert outline(look(), look(ARM))[within(ARM)].min() > 0.99


def test_a_chair_that_the_fine_look_takes_along_goes() -> None:
    assert outline(look(), look(CHAIR))[within(CHAIR)].max() < 0.01


@pytest.mark.parametrize(("colour", "stays"), [(40, True), (200, False)])
def test_colours_tell_hair_from_a_wall(colour: int, stays: bool) -> None:
    rgb = np.full((200, 200, 3), 200, np.uint8)
    rgb[HEAD], rgb[TRUNK], rgb[POSTER] = 40, 40, colour
    found = outline(look(), look(POSTER), rgb=rgb)[within(POSTER)]
    assert found.min() > 0.99 if stays else found.max() < 0.01


def test_strays_are_dropped_and_what_is_soft_beside_the_person_stays() -> None:
    alpha = look()
    alpha[100:200, 140:142] = 0.3
    alpha[20:30, 10:20] = 0.9  # solid, but apart
    sure = np.zeros((200, 200), np.uint8)
    sure[HEAD] = 1
    kept = without_strays(alpha, sure, 40.0)
    assert (kept[TRUNK] == 1).all() and (kept[100:200, 140:142] == np.float32(0.3)).all()
    assert kept[20:30, 10:20].max() == 0


def test_the_main_object_is_found_to_the_pixel_and_only_in_its_box() -> None:
    """A sharp square on a smooth wall: no net for persons would find it, and half a pixel beside it all is clear."""
    rgb = np.full((300, 400, 3), 150, np.uint8)
    rgb[100:200, 150:250] = data.astronaut()[300:400, 60:160]
    found = main_object(rgb, (150, 100, 250, 200))
    inside = np.zeros((300, 400), bool)
    inside[100:200, 150:250] = True
    assert found.shape == (300, 400) and found.min() >= 0 and found.max() <= 1
    assert np.abs(found - inside).mean() < 0.01
    assert (found[:80] == 0).all() and (found[:, :130] == 0).all()
