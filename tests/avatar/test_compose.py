"""Framing and background."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar.asset import Avatar
from avatar.render import compose, cpu, reference
from avatar.render.contract import Camera
from avatar.rig import Rig
from tests.avatar import synthetic

sizes = st.integers(16, 2000)


def pictured(photo_width: int, photo_height: int, view: tuple[float, float, float, float]) -> Avatar:
    """An avatar whose photo is a smooth gradient with red rising to the right and green to the bottom."""
    y, x = np.mgrid[0:photo_height, 0:photo_width]
    photo = np.stack([255 * x / photo_width, 255 * y / photo_height, 0 * x + 80], -1).astype(np.uint8)
    camera = Camera(1.2 * photo_width, photo_width / 2, photo_height / 2, photo_width, photo_height)
    return replace(synthetic.tiny(), background=photo, camera=camera, view=view)


@given(sizes, sizes, st.floats(0, 1), st.floats(0, 1), st.floats(0.05, 1), st.floats(0.05, 1), sizes, sizes)
def test_a_window_obeys_its_rules(
    W: int, H: int, fx: float, fy: float, fw: float, fh: float, width: int, height: int
) -> None:
    w, h = W * fw, H * fh
    x, y = (W - w) * fx, (H - h) * fy
    left, top, side = compose.window((x, y, w, h), W, H, width, height)
    tall = side * height / width
    assert width / side <= compose.MAX_ZOOM + 1e-6 or tall >= H - 1e-6  # a frame of blur is worse than a soft picture
    assert top + tall <= H + 1e-6  # never below the photo, where the person is cut off
    if tall <= H:
        assert top >= -1e-6
        assert top <= y + 1e-6
        assert top + tall >= y + h - 1e-6 or tall < h
    if side <= W:
        assert left >= -1e-6
        assert left + side <= W + 1e-6
    else:
        assert left == pytest.approx((W - side) / 2)
    if tall < H - 1e-6:  # room was left: the whole rectangle is shown
        assert side >= w - 1e-6
        assert tall >= h - 1e-6


def test_the_camera_and_the_background_show_the_same_window() -> None:
    """A point of the photo's colours lies where the camera puts the same point."""
    a = pictured(400, 600, (60.0, 40.0, 200.0, 300.0))
    for width, height, view in ((256, 256, "auto"), (300, 200, "auto"), (200, 300, "photo"), (120, 300, "auto")):
        camera, background = compose.view(a, width, height, view)
        assert background.shape == (height, width, 3)
        assert (camera.width, camera.height) == (width, height)
        scale = a.camera.focal / camera.focal
        for px, py in ((width * 0.5, height * 0.3), (width * 0.55, height * 0.8)):
            x = (px - camera.cx) * scale + a.camera.cx
            y = (py - camera.cy) * scale + a.camera.cy
            red, green = background[int(py), int(px), :2]
            assert abs(red - 255 * x / 400) < 2.5
            assert abs(green - 255 * y / 600) < 2.5


def test_the_photo_at_its_own_size_is_untouched() -> None:
    a = pictured(400, 600, (0.0, 0.0, 400.0, 600.0))
    camera, background = compose.view(a, 400, 600, "photo")
    assert camera == a.camera
    np.testing.assert_array_equal(background, a.background)


def test_a_wide_picture_of_a_portrait_goes_on_blurred() -> None:
    a = pictured(400, 600, (0.0, 0.0, 400.0, 600.0))
    rng = np.random.default_rng(0)
    a = replace(a, background=rng.integers(0, 255, a.background.shape, np.uint8))
    camera, background = compose.view(a, 1280, 600, "photo")
    assert camera.focal == pytest.approx(a.camera.focal)
    inside, outside = background[:, 442:838], np.concatenate([background[:, :380], background[:, 900:]], 1)
    np.testing.assert_array_equal(inside, a.background[:, 2:398])
    assert outside.std() < 0.25 * inside.std()
    assert abs(float(outside.mean()) - float(inside.mean())) < 6


def test_a_shrunk_background_does_not_alias() -> None:
    a = pictured(800, 800, (0.0, 0.0, 800.0, 800.0))
    stripes = np.where(np.arange(800) % 2, 255, 0).astype(np.uint8)
    a = replace(a, background=np.repeat(np.repeat(stripes[None, :, None], 800, 0), 3, 2))
    assert compose.view(a, 130, 130, "photo")[1][10:-10, 10:-10].std() < 6


def test_a_wrong_view_is_refused() -> None:
    a = pictured(100, 100, (0.0, 0.0, 100.0, 100.0))
    with pytest.raises(ValueError, match="auto, photo"):
        compose.view(a, 64, 64, "side")
    with pytest.raises(ValueError, match="0x64"):
        compose.view(a, 0, 64)


def test_colours_are_read_or_refused() -> None:
    assert compose.solid("#00b140", 4, 2).tolist() == [[[0, 177, 64]] * 4] * 2
    for text in ("00b140", "#00b14", "#00b14g", "green", "", "#00 b14"):
        with pytest.raises(ValueError, match="#rrggbb"):
            compose.solid(text, 4, 2)


def test_over_and_straight_alpha_agree_with_the_rule() -> None:
    a = synthetic.tiny()
    picture = cpu.Rasterizer(a, 1).draw(Rig(a).vertices(a.photo), a.camera)
    background = compose.solid("#20c040", 48, 48)
    want = reference.over(picture.astype(np.float64), background / 255) * 255
    assert np.abs(compose.over(picture, background) - want).max() <= 0.51
    straight = compose.rgba(picture)
    alpha = straight[..., 3:] / 255
    again = straight[..., :3] * alpha + background * (1 - alpha)
    assert np.abs(again - want).max() < 2
    assert straight[0, 0].tolist() == [0, 0, 0, 0]


def test_i420_is_bt601_limited_range_with_mean_chroma() -> None:
    for rgb, yuv in (
        ((0, 0, 0), (16, 128, 128)), ((255, 255, 255), (235, 128, 128)), ((255, 0, 0), (81, 90, 240)),
        ((0, 255, 0), (145, 54, 34)), ((0, 0, 255), (41, 240, 110)),
    ):  # fmt: skip
        out = compose.i420(np.full((4, 6, 3), rgb, np.uint8))
        assert out.shape == (6, 6)
        assert (out[:4] == yuv[0]).all()
        assert (out.reshape(-1)[24:30] == yuv[1]).all()
        assert (out.reshape(-1)[30:] == yuv[2]).all()
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.integers(0, 255, (64, 64, 3), np.uint8), (0, 0), 4)
    back = cv2.cvtColor(compose.i420(picture), cv2.COLOR_YUV2RGB_I420)
    assert np.abs(back.astype(int) - picture).mean() < 3
    np.testing.assert_allclose(cpu.yuv_from_rgb(picture / 255)[..., 0], compose.i420(picture)[:64], atol=0.51)
    mixed = np.zeros((2, 2, 3), np.uint8)
    mixed[0, 0] = (255, 0, 0)
    assert compose.i420(mixed).reshape(-1)[5] == round(128 + (240 - 128) / 4)
    with pytest.raises(ValueError, match="even"):
        compose.i420(np.zeros((3, 4, 3), np.uint8))
