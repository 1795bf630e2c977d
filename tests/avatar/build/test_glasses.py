"""Glasses are found, taken off the face, and moved by the head alone."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from avatar.build import glasses, observe
from avatar.build.landmarks import LEFT_EYE_RING, RIGHT_EYE_RING
from avatar.build.photo import read
from models.motion import HEAD


@pytest.fixture(scope="module")
def bare(nets, astronaut) -> observe.Observation:  # type: ignore[no-untyped-def]
    return observe.observe(read(astronaut))


@pytest.fixture(scope="module")
def worn(bare: observe.Observation) -> tuple[observe.Observation, np.ndarray]:
    """The photo with dark round glasses drawn on it, and where (H, W) these are."""
    drawn: np.ndarray = np.zeros(bare.alpha.shape, np.uint8)
    centres = [bare.landmarks[list(r)].mean(0) for r in (RIGHT_EYE_RING, LEFT_EYE_RING)]
    radius = 0.37 * np.linalg.norm(centres[1] - centres[0])
    thick = max(round(0.02 * bare.face_width), 1)
    centres = [c + np.array([0, 0.25 * radius]) for c in centres]
    for c in centres:
        cv2.circle(drawn, tuple(c.round().astype(int).tolist()), round(float(radius)), 1, thick)
    ends = [centres[0] + np.array([radius, 0]), centres[1] - np.array([radius, 0])]
    first, last = (tuple(e.round().astype(int).tolist()) for e in ends)
    cv2.line(drawn, first, last, 1, thick)
    on = drawn > 0
    rgb = np.where(on[..., None], np.uint8(25), bare.rgb)
    return replace(bare, rgb=rgb, foreground=(rgb / 255).astype(np.float32)), on


def test_a_bare_face_wears_none(bare: observe.Observation) -> None:
    assert glasses.find(bare) is None


def test_a_frame_is_found_where_it_is(worn) -> None:  # type: ignore[no-untyped-def]
    o, on = worn
    found = glasses.find(o)
    assert found is not None
    frame = found.frame > glasses.PRESENT
    assert (frame & on).sum() > 0.8 * on.sum()
    near = cv2.dilate(on.astype(np.uint8), np.ones((7, 7))) > 0
    assert (frame & ~near).sum() < 0.4 * on.sum()


def test_the_face_below_is_skin_again(bare: observe.Observation, worn) -> None:  # type: ignore[no-untyped-def]
    o, on = worn
    found = glasses.find(o)
    assert found is not None
    off = glasses.taken_off(o.rgb, found).astype(float)
    error = np.abs(off - bare.rgb)[on].mean()
    assert error < 0.2 * np.abs(o.rgb.astype(float) - bare.rgb)[on].mean()
    untouched = found.frame < 0.01
    untouched &= cv2.dilate((found.frame > 0.05).astype(np.uint8), np.ones((9, 9))) == 0
    assert (off == o.rgb)[untouched].all()


def test_the_frame_hangs_on_the_head_before_the_face(worn) -> None:  # type: ignore[no-untyped-def]
    o, _ = worn
    found = glasses.find(o)
    assert found is not None
    depth = np.full(o.alpha.shape, 0.6)
    depth += 0.02 * np.linspace(-1, 1, depth.shape[1])[None] ** 2
    s = glasses.sheet(o, found, depth)
    assert (s.weights[:, HEAD] == 1).all() and s.weights.sum() == len(s.vertices)
    p = o.camera.project(s.vertices)
    q = np.floor(p[:, :2]).astype(int).clip(0, np.array(depth.shape[::-1]) - 1)
    assert (p[:, 2] < depth[q[:, 1], q[:, 0]] - 0.9 * glasses.BEFORE).all()
    covered = np.zeros(depth.shape, bool)
    covered[q[:, 1], q[:, 0]] = True
    assert covered[found.frame > 0.6].mean() > 0.85


def test_skin_that_looks_like_skin_is_no_frame(worn) -> None:  # type: ignore[no-untyped-def]
    """On the sheet it would stand still while the lid below it closes."""
    o, on = worn
    wide = glasses.Glasses(np.asarray(cv2.dilate(on.astype(np.float32), np.ones((9, 9))), np.float32))
    narrow = glasses._narrowed(o, wide).frame > glasses.PRESENT
    assert narrow[on].mean() > 0.9
    assert narrow.sum() < 0.75 * (wide.frame > glasses.PRESENT).sum()
