"""Stage check: how well the avatar redraws its photo, and whether it has holes when it turns."""

from __future__ import annotations

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


def likeness(avatar: Avatar, rgb: NDArray[np.uint8], alpha: NDArray[np.float32], camera: Camera) -> tuple[float, float]:
    """PSNR (dB) and SSIM of the photo state over the background against the photo, inside the matte; at `camera`'s size."""
    drawn = cpu.draw(vertices(avatar, avatar.photo), avatar.mesh.faces, avatar.occluder, avatar.gaussians, camera)
    size = (camera.width, camera.height)
    resize = lambda a: a if a.shape[1::-1] == size else cv2.resize(a, size, interpolation=cv2.INTER_AREA)  # noqa: E731
    photo = resize(rgb).astype(np.float64) / 255
    picture = drawn[..., :3] + (1 - drawn[..., 3:]) * (resize(avatar.background) / 255.0)
    picture = np.round(picture.clip(0, 1) * 255) / 255
    inside = resize(alpha) > 0.5
    error = float(((picture - photo)[inside] ** 2).mean())
    _, similar = structural_similarity(photo, picture, channel_axis=2, data_range=1.0, full=True)
    return -10 * float(np.log10(max(error, 1e-10))), float(similar[inside].mean())


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
    drawn = cpu.draw(vertices(avatar, avatar.neutral), avatar.mesh.faces, avatar.occluder, avatar.gaussians, camera)
    back = cv2.resize(
        avatar.background[y0 : y0 + h, x0 : x0 + w], (camera.width, camera.height), interpolation=cv2.INTER_AREA
    )
    picture = drawn[..., :3] * 255 + (1 - drawn[..., 3:]) * back
    return picture.round().clip(0, 255).astype(np.uint8)
