"""Framing and background: which part of the photo a picture shows, and what is behind the person.

A view is a window of the photo's camera. It always has the picture's aspect; where it reaches past the photo, the
background goes on as its own mirrored, blurred image. It never reaches below the photo, where the person is cut off.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.asset import Avatar
from avatar.render.contract import YUV_FROM_RGB, YUV_OFFSET, Camera

U8 = NDArray[np.uint8]

MAX_ZOOM = 1.5  # picture pixels per photo pixel, as long as there is more of the photo to show instead
BLUR = 0.04  # of the photo's longer side: sigma of what lies beyond the photo
SEAM = 0.02  # of the photo's longer side: width over which the blur sets in
VIEWS = ("auto", "photo")


def view(avatar: Avatar, width: int, height: int, view: str = "auto") -> tuple[Camera, U8]:
    """The camera and the background (height, width, 3) RGB of a picture.

    "auto" shows the avatar's own live framing, "photo" the whole photo; both widened to the picture's aspect.
    Raises ValueError for any other view or an empty size.
    """
    if view not in VIEWS:
        raise ValueError(f"view is {view!r}, expected one of {', '.join(VIEWS)}")
    if width < 1 or height < 1:
        raise ValueError(f"picture size {width}x{height}: both sides must be at least 1")
    H, W = avatar.background.shape[:2]
    rectangle = avatar.view if view == "auto" else (0.0, 0.0, float(W), float(H))
    x, y, side = window(rectangle, W, H, width, height)
    camera = avatar.camera.window(x, y, side, width, height)
    return camera, crop(avatar.background, x, y, side, width, height)


def window(
    rectangle: tuple[float, float, float, float], photo_width: int, photo_height: int, width: int, height: int
) -> tuple[float, float, float]:
    """Left, top and width, in photo pixels, of the window for a width x height picture that shows `rectangle`.

    It holds the rectangle (x, y, w, h), but is no taller than the photo: a tall picture of a wide rectangle loses its
    sides. Over MAX_ZOOM it grows up to the photo's height. Its lower edge stays in the photo; its sides when they fit.
    """
    x, y, w, h = rectangle
    aspect = width / height
    tall = min(max(h, w / aspect), max(float(photo_height), h))
    tall = max(tall, min(height / MAX_ZOOM, float(photo_height)))
    wide = tall * aspect
    left = _inside(x + (w - wide) / 2, wide, photo_width)
    centre = y + (h - tall) / 2
    top = min(max(centre, 0.0) if tall <= photo_height else centre, photo_height - tall)
    return left, top, wide


def _inside(start: float, length: float, size: float) -> float:
    """Where a stretch starts once it is moved into 0..size; centred on it when it is longer."""
    return (size - length) / 2 if length > size else min(max(start, 0.0), size - length)


def crop(photo: U8, x: float, y: float, side: float, width: int, height: int) -> U8:
    """The window of `photo` from (x, y), `side` photo pixels wide, as (height, width, 3)."""
    H, W = photo.shape[:2]
    scale = side / width  # photo pixels per picture pixel
    pads = [int(np.ceil(max(v, 0))) + 2 for v in (-y, y + scale * height - H, -x, x + side - W)]
    beyond = any(p > 2 for p in pads)
    image = cv2.copyMakeBorder(photo, pads[0], pads[1], pads[2], pads[3], cv2.BORDER_REFLECT)
    if beyond:
        image = _blur_beyond(np.asarray(image), pads, max(W, H))
    if scale > 1:
        image = cv2.GaussianBlur(image, (0, 0), 0.5 * np.sqrt(scale * scale - 1) + 1e-3)
    half = 0.5 * scale - 0.5  # pixel centres lie at .5
    place = np.array([[scale, 0, x + pads[2] + half], [0, scale, y + pads[0] + half]])
    flags = (cv2.INTER_CUBIC if scale < 1 else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(image, place, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def _blur_beyond(image: NDArray, pads: list[int], size: int) -> NDArray:
    """Blur `image` outside the photo that lies `pads` (top, bottom, left, right) from its edges; the seam is smooth."""
    top, bottom, left, right = pads
    H, W = image.shape[:2]
    small = cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    blurred = cv2.resize(
        cv2.GaussianBlur(small, (0, 0), 0.25 * BLUR * size + 0.5), (W, H), interpolation=cv2.INTER_LINEAR
    )
    x, y = np.arange(W, dtype=np.float32), np.arange(H, dtype=np.float32)
    outside_x = np.maximum(left - x, x - (W - 1 - right)).clip(0)
    outside_y = np.maximum(top - y, y - (H - 1 - bottom)).clip(0)
    share = (np.maximum(outside_x[None], outside_y[:, None]) / max(SEAM * size, 1.0)).clip(0, 1)[..., None]
    share = share * share * (3 - 2 * share)
    return (image * (1 - share) + blurred * share + 0.5).astype(np.uint8)


def solid(colour: str, width: int, height: int) -> U8:
    """(height, width, 3) of one colour written #rrggbb. Raises ValueError for any other text."""
    try:
        if len(colour) != 7 or colour[0] != "#":
            raise ValueError
        rgb = bytes.fromhex(colour[1:])
    except ValueError:
        raise ValueError(f"{colour!r} is not a colour; write it as #rrggbb, e.g. #00b140") from None
    return np.full((height, width, 3), np.frombuffer(rgb, np.uint8))


def over(picture: NDArray, background: U8) -> U8:
    """A drawn picture (H, W, 4), colour times alpha and alpha, over background (H, W, 3) -> (H, W, 3) RGB."""
    rgb = picture[..., :3] * np.float32(255) + (1 - picture[..., 3:]) * background
    return (rgb + np.float32(0.5)).clip(0, 255).astype(np.uint8)


def rgba(picture: NDArray) -> U8:
    """A drawn picture (H, W, 4), colour times alpha and alpha -> (H, W, 4) with straight alpha, as PNG keeps it."""
    alpha = picture[..., 3:]
    colour = picture[..., :3] / np.maximum(alpha, np.float32(1e-6))
    return (np.concatenate([colour, alpha], -1) * np.float32(255) + np.float32(0.5)).clip(0, 255).astype(np.uint8)


def i420(rgb: NDArray) -> U8:
    """(H, W, 3) RGB 0..255, even sides -> (H 3 / 2, W) I420, BT.601 limited range, chroma the mean of 2 x 2 pixels."""
    H, W = rgb.shape[:2]
    if H % 2 or W % 2:
        raise ValueError(f"I420 needs even sides, not {W}x{H}")
    yuv = rgb.astype(np.float32) @ (YUV_FROM_RGB.T / 255).astype(np.float32) + YUV_OFFSET.astype(np.float32)
    chroma = yuv[..., 1:].reshape(H // 2, 2, W // 2, 2, 2).mean((1, 3))
    planes = [yuv[..., 0].ravel(), chroma[..., 0].ravel(), chroma[..., 1].ravel()]
    return (np.concatenate(planes) + np.float32(0.5)).astype(np.uint8).reshape(H * 3 // 2, W)
