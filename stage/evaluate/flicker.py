"""The flicker part of the leaks: does the texture crawl over the surface while the head turns slowly?

The mesh says exactly where each spot of the surface goes from one frame to the next. A picture that is painted on the
surface goes along with it; what does not is crawl, and an eye that follows the turn sees it shimmer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.render import cpu
from avatar.render.contract import TOLERANCE, Camera
from models.motion import HEAD, JAW, LEFT_EYE, RIGHT_EYE
from stage.evaluate.protocol import LEAKS

if TYPE_CHECKING:
    from stage.evaluate.leaks import Stand

F32 = NDArray[np.float32]
SKULL = (HEAD, JAW, LEFT_EYE, RIGHT_EYE)


@dataclass(frozen=True)
class Surface:
    """The occluder of one moment before a camera."""

    vertices: F32  # (V, 3) m, world
    depth: F32  # (H, W) m, inf beside it
    triangle: NDArray[np.int32]  # (H, W) row of the occluder's faces, -1 beside it


def flicker(stand: Stand) -> float:
    """Mean absolute residual, of 255, between each frame and the next one carried back by the mesh's motion.

    The neutral's head turns by flicker_steps steps of flicker_step_deg. A pixel counts where the nearest triangle hangs
    mostly on the skull, is nearest in the next frame as well, and lies `interior` px inside all such pixels. Both
    frames are first smoothed by flicker_sigma px, so that carrying back (Lanczos) adds little of its own.
    """
    turns = (np.arange(LEAKS["flicker_steps"] + 1) * LEAKS["flicker_step_deg"]).tolist()
    return float(np.mean([difference[mask].mean() for difference, mask in residuals(stand, turns) if mask.any()]))


def residuals(stand: Stand, yaws: list[float]) -> list[tuple[F32, NDArray[np.bool_]]]:
    """Between neighbouring yaws (degrees): the difference (H, W), of 255, mean of the channels; what counts of it."""
    from stage.evaluate.leaks import interior

    faces = stand.avatar.mesh.faces[stand.avatar.occluder]
    head = on_the_skull(stand)[faces].mean(1) > 0.5
    out: list[tuple[F32, NDArray[np.bool_]]] = []
    before: tuple[Surface, F32] | None = None
    for yaw in yaws:
        vertices = stand.vertices(stand.turned(yaw))
        drawn = stand.draw(vertices)
        white = drawn[..., :3] * 255 + (1 - drawn[..., 3:]) * np.float32(255)
        smooth = np.asarray(cv2.GaussianBlur(white, (0, 0), LEAKS["flicker_sigma"]), np.float32)
        now = surface(vertices, faces, stand.camera)
        if before is not None:
            target, same = flow(before[0], now, faces, stand.camera)
            at = target - np.float32(0.5)
            carried = cv2.remap(smooth, at[..., 0], at[..., 1], cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT)
            counts = interior(same & head[before[0].triangle])
            out.append((np.abs(carried - before[1]).mean(2), counts))
        before = now, smooth
    return out


def on_the_skull(stand: Stand) -> F32:
    """(V,) share of each vertex's weight that the skull, the jaw and the eyes have."""
    mesh = stand.avatar.mesh
    return np.asarray((mesh.joint_weight * np.isin(mesh.joint_index, SKULL)).sum(1), np.float32)


def surface(vertices: F32, faces: NDArray[np.int32], camera: Camera) -> Surface:
    depth, triangle = cpu.zbuffer(camera.project(vertices.astype(np.float64)), faces, camera.width, camera.height)
    return Surface(vertices, depth, triangle)


def flow(a: Surface, b: Surface, faces: NDArray[np.int32], camera: Camera) -> tuple[F32, NDArray[np.bool_]]:
    """(H, W, 2) px where the spot of a's surface at each pixel lies in b, and (H, W) where it is nearest there, too."""
    H, W = a.depth.shape
    on = np.nonzero(a.triangle >= 0)
    corners = faces[a.triangle[on]]  # (n, 3)
    before = camera.camera_from_world(a.vertices.astype(np.float64))
    x, y = ((i + 0.5 - c) / camera.focal for i, c in ((on[1], camera.cx), (on[0], camera.cy)))
    rays = np.stack([x, y, np.ones_like(x)], 1)
    share = np.linalg.solve(before[corners].transpose(0, 2, 1), rays[..., None])[..., 0]  # perspective-correct
    share /= share.sum(1, keepdims=True)
    there = camera.project(np.einsum("nk,nkd->nd", share, b.vertices.astype(np.float64)[corners]))
    target = np.stack(np.meshgrid(np.arange(W) + 0.5, np.arange(H) + 0.5), -1).astype(np.float32)
    target[on] = there[:, :2]
    column, row = np.floor(there[:, :2]).astype(int).clip(0, [W - 1, H - 1]).T
    same = np.zeros((H, W), bool)
    same[on] = np.abs(b.depth[row, column] - there[:, 2]) < TOLERANCE.max()
    return target, same
