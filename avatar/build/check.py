"""Stage check: how well the avatar redraws its photo, and whether it has holes when it turns."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from avatar.asset import Avatar, State
from avatar.build.prune import turned
from avatar.render import cpu
from avatar.render.contract import Camera
from models.skinning import Poser

YAWS = (-20, -10, 0, 10, 20)  # degrees
LEAST_WEIGHT = 0.2  # an occluder pixel with less is a hole


def vertices(avatar: Avatar, state: State) -> NDArray[np.float32]:
    """(V, 3) world m."""
    return Poser(avatar.mesh)(
        state.pose, state.expression, state.translation, (state.correction, avatar.correction)
    ).copy()


def draw(avatar: Avatar, state: State, camera: Camera | None = None) -> NDArray[np.float32]:
    """(H, W, 4) RGB times alpha, and alpha; by the avatar's own camera unless another is given."""
    return cpu.draw(
        vertices(avatar, state), avatar.mesh.faces, avatar.occluder, avatar.gaussians, camera or avatar.camera
    )


def likeness(avatar: Avatar, rgb: NDArray[np.uint8], alpha: NDArray[np.float32], camera: Camera) -> tuple[float, float]:
    """PSNR (dB) and SSIM of the photo state over the background against the photo, inside the matte, in `camera`."""
    drawn = draw(avatar, avatar.photo, camera)
    size = (camera.width, camera.height)
    photo = resized(rgb, size).astype(np.float64) / 255
    picture = drawn[..., :3] + (1 - drawn[..., 3:]) * (resized(avatar.background, size) / 255.0)
    picture = np.round(picture.clip(0, 1) * 255) / 255
    inside = resized(alpha, size) > 0.5
    error = float(((picture - photo)[inside] ** 2).mean())
    _, similar = structural_similarity(photo, picture, channel_axis=2, data_range=1.0, full=True)
    return -10 * float(np.log10(max(error, 1e-10))), float(similar[inside].mean())


def likeness_of_view(
    avatar: Avatar, rgb: NDArray[np.uint8], alpha: NDArray[np.float32], long_side: int
) -> tuple[float, float]:
    """The same in the default view, its longer side at long_side px."""
    x0, y0, w, h = (round(v) for v in avatar.view)
    k = long_side / max(w, h)
    camera = avatar.camera.window(x0, y0, w, round(w * k), round(h * k))
    crop = lambda a: a[y0 : y0 + h, x0 : x0 + w]  # noqa: E731
    return likeness(replace(avatar, background=crop(avatar.background)), crop(rgb), crop(alpha), camera)


def resized(picture: NDArray, size: tuple[int, int]) -> NDArray:
    """(h, w[, c]) at (width, height): averaged when it shrinks, cubic when it grows."""
    if picture.shape[1::-1] == size:
        return picture
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if size[0] < picture.shape[1] else cv2.INTER_CUBIC)


def holes(avatar: Avatar) -> dict[int, float]:
    """Share of the occluder's pixels with next to no weight, by yaw in degrees."""
    out = {}
    for yaw in YAWS:
        allowed = {n: tuple((-np.pi, np.pi) for _ in range(3)) for n in ("neck", "head")}
        pose = turned(avatar.neutral.pose, allowed, 0, np.radians(yaw) / (2 * np.pi))
        state = State(
            pose.astype(np.float32), avatar.neutral.translation, avatar.neutral.expression, avatar.neutral.correction
        )
        v = vertices(avatar, state)
        out[yaw] = hole_share(v, avatar)
    return out


def hole_share(v: NDArray[np.float32], avatar: Avatar) -> float:
    w = cpu.weights(v, avatar.mesh.faces, avatar.occluder, avatar.gaussians, avatar.camera)
    hit = w.hit
    return float((w.alpha[hit] < LEAST_WEIGHT).mean()) if hit.any() else 1.0


def preview(avatar: Avatar, side: int = 320) -> NDArray[np.uint8]:
    """(h, w, 3) sRGB: the neutral state in the default view over the background."""
    x0, y0, w, h = (round(v) for v in avatar.view)
    k = side / max(w, h)
    camera = avatar.camera.window(x0, y0, w, round(w * k), round(h * k))
    drawn = draw(avatar, avatar.neutral, camera)
    back = cv2.resize(
        avatar.background[y0 : y0 + h, x0 : x0 + w], (camera.width, camera.height), interpolation=cv2.INTER_AREA
    )
    picture = drawn[..., :3] * 255 + (1 - drawn[..., 3:]) * back
    return picture.round().clip(0, 255).astype(np.uint8)
