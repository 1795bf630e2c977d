"""Which photos are refused, which only warned about: the demo's photo, cropped, covered and changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from avatar.build import builder, suitability
from avatar.build.observe import framing_of, scaled, view_of, working_scale
from avatar.build.photo import Refused, read
from models.tracking import Person, Tracker
from tests.conftest import shared_file


@pytest.fixture(scope="module")
def seen(nets: None) -> tuple[np.ndarray, Person]:
    rgb = skimage.data.astronaut()
    with Tracker() as tracker:
        return rgb, tracker.track(rgb)[0]


def with_landmarks(person: Person, landmarks: np.ndarray) -> Person:
    assert person.face is not None
    return replace(person, face=replace(person.face, landmarks=landmarks.astype(np.float32)))


def test_the_demo_photo_passes_without_a_word(seen) -> None:  # type: ignore[no-untyped-def]
    rgb, person = seen
    chosen, warnings = suitability.choose(rgb, [person])
    assert chosen is person and warnings == []


def test_nobody_and_no_face(seen) -> None:  # type: ignore[no-untyped-def]
    rgb, person = seen
    with pytest.raises(Refused, match="no person"):
        suitability.choose(rgb, [])
    with pytest.raises(Refused, match="no face"):
        suitability.choose(rgb, [replace(person, face=None)])


def test_a_face_cut_off_by_the_border(seen) -> None:  # type: ignore[no-untyped-def]
    rgb, person = seen
    x = int(person.face.landmarks[1, 0])
    moved = person.face.landmarks - np.array([x, 0, 0])
    with pytest.raises(Refused, match="cut off"):
        suitability.choose(rgb[:, x:], [with_landmarks(person, moved)])


def test_a_small_face_warns_and_a_tiny_one_is_refused(seen) -> None:  # type: ignore[no-untyped-def]
    rgb, person = seen
    _, warnings = suitability.choose(rgb, [with_landmarks(person, person.face.landmarks * 0.6)])
    assert any("pixels wide" in w for w in warnings)
    with pytest.raises(Refused, match="pixels wide"):
        suitability.choose(rgb, [with_landmarks(person, person.face.landmarks * 0.3)])


def test_turned_away(seen) -> None:  # type: ignore[no-untyped-def]
    rgb, person = seen
    for degrees, refused in ((30, False), (60, True)):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        matrix = np.eye(4, dtype=np.float32)
        matrix[:3, :3] = [[c, 0, s], [0, 1, 0], [-s, 0, c]]
        turned = replace(person, face=replace(person.face, matrix=matrix))
        if refused:
            with pytest.raises(Refused, match="turned away by 60 degrees"):
                suitability.choose(rgb, [turned])
        else:
            assert any("turned by 30 degrees" in w for w in suitability.choose(rgb, [turned])[1])


def test_eyes_larger_than_life_warn(seen) -> None:  # type: ignore[no-untyped-def]
    """As cartoons have them, and small children."""
    rgb, person = seen
    drawn = person.face.landmarks.copy()
    for first in (468, 473):
        iris = slice(first, first + 5)
        drawn[iris] += 0.15 * (drawn[iris] - drawn[first])
    _, warnings = suitability.choose(rgb, [with_landmarks(person, drawn)])
    assert len(warnings) == 1 and "drawn or painted" in warnings[0]


def test_a_face_without_colour_warns(seen) -> None:  # type: ignore[no-untyped-def]
    rgb, person = seen
    marble = cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    _, warnings = suitability.choose(marble, [person])
    assert len(warnings) == 1 and "statue" in warnings[0]


@pytest.mark.parametrize("name", ["lp_s7_cartoon_boy.jpg", "st_anime_girl.png"])
def test_cartoons_warn(nets: None, name: str) -> None:
    rgb = np.asarray(read(shared_file(f"photos/{name}")).rgb)
    with Tracker() as tracker:
        _, warnings = suitability.choose(rgb, tracker.track(rgb))
    assert any("drawn or painted" in w for w in warnings)


def test_lying_on_the_side(seen) -> None:  # type: ignore[no-untyped-def]
    rgb, person = seen
    for degrees, refused in ((40, False), (85, True)):
        centre = person.face.landmarks[1]
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        turned = (person.face.landmarks - centre) @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) + centre
        if refused:
            with pytest.raises(Refused, match="upright"):
                suitability.choose(rgb, [with_landmarks(person, turned)])
        else:
            assert any("tilted" in w for w in suitability.choose(rgb, [with_landmarks(person, turned)])[1])


def test_closed_eyes(seen) -> None:  # type: ignore[no-untyped-def]
    rgb, person = seen
    p = person.face.landmarks.copy()
    for ring in (suitability.RIGHT_EYE_RING, suitability.LEFT_EYE_RING):
        for i in range(1, 8):
            p[ring[i]] = p[ring[16 - i]]
    with pytest.raises(Refused, match="eyes are closed"):
        suitability.choose(rgb, [with_landmarks(person, p)])


def test_dark_and_blurred(seen) -> None:  # type: ignore[no-untyped-def]
    rgb, person = seen
    assert any("dark" in w for w in suitability.choose((rgb * 0.18).astype(np.uint8), [person])[1])
    with pytest.raises(Refused, match="too dark"):
        suitability.choose((rgb * 0.03).astype(np.uint8), [person])
    blurred = cv2.GaussianBlur(rgb, (0, 0), 3)
    assert any("blurred" in w for w in suitability.choose(blurred, [person])[1])


def test_two_people(seen) -> None:  # type: ignore[no-untyped-def]
    rgb, person = seen
    assert person.face is not None
    beside = replace(with_landmarks(person, person.face.landmarks * 0.9), box=(450.0, 0.0, 900.0, 300.0))
    chosen, warnings = suitability.choose(rgb, [person, beside])
    assert chosen is person and any("2 people" in w for w in warnings)
    with pytest.raises(Refused, match="overlap"):
        suitability.choose(rgb, [person, with_landmarks(person, person.face.landmarks * 0.98)])


def test_a_hand_before_the_face(seen) -> None:  # type: ignore[no-untyped-def]
    from models.tracking import Hand

    rgb, person = seen
    centre = np.repeat(person.face.landmarks[1:2], 21, 0)
    _, warnings = suitability.choose(rgb, [replace(person, hands=(Hand("left", centre, centre),))])
    assert any("hand" in w for w in warnings)


def test_framing_and_view_lie_in_the_picture(seen) -> None:  # type: ignore[no-untyped-def]
    rgb, person = seen
    alpha = np.ones(rgb.shape[:2], np.float32)
    assert framing_of(person, rgb.shape) in ("bust", "half")
    assert framing_of(replace(person, body=None), rgb.shape) == "head"
    for framing in ("head", "bust", "half", "full"):
        x0, y0, w, h = view_of(framing, person, alpha)
        assert x0 >= 0 and y0 >= 0 and x0 + w <= 512 + 1e-6 and y0 + h <= 512 + 1e-6 and min(w, h) > 50


def test_a_working_picture_is_never_enlarged(seen) -> None:  # type: ignore[no-untyped-def]
    rgb, person = seen
    assert working_scale(person, rgb.shape) == 1
    large = scaled(person, 4.0)
    k = working_scale(large, (2048, 2048, 3))
    assert 0.25 <= k < 0.5
    again = scaled(large, 0.25).face
    assert again is not None and np.allclose(again.landmarks, person.face.landmarks, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "said"),
    [("noperson_cat.png", "no person|no face"), ("wh_obama_partial_left.jpg", "cut off|no face|no person")],
)
def test_real_photos_that_cannot_become_avatars(nets: None, name: str, said: str) -> None:
    path: Path = shared_file(f"photos/{name}")
    with pytest.raises(Refused, match=said):
        builder.build(path)
