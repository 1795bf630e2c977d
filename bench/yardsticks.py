"""What our rasterizer is compared with, each in its own words in a file of its own; some only where they can be had."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from avatar.asset import Avatar
from avatar.render.contract import Camera
from bench.baseline import Baseline
from bench.opengl import OpenGlSplatter
from bench.torch_splat import TorchSplatter
from models.skinning import F32

if TYPE_CHECKING:
    from avatar.render.gpu import GpuRasterizer

U8 = NDArray[np.uint8]
SLOW = ("torch", "OpenGL on llvmpipe")  # drawn a few times only


def all_of(
    a: Avatar, vertices: F32, camera: Camera, background: U8, absent: dict[str, str]
) -> dict[str, Callable[[], object]]:
    """Name -> draws one picture. Adds to absent what those that are not there would take."""
    faces, g = a.mesh.faces, a.gaussians
    plain, with_torch = Baseline(faces, g, camera), TorchSplatter(faces, g, camera)
    ways: dict[str, Callable[[], object]] = {
        "numba baseline": lambda: plain.draw(vertices),
        "torch": lambda: with_torch.draw(vertices),
    }
    try:
        with_gl = OpenGlSplatter(faces, g, camera)
        ways["OpenGL on llvmpipe"] = lambda: with_gl.draw(vertices)
    except RuntimeError as e:
        absent["OpenGL on llvmpipe"] = str(e)
    if (rasterizer := _on_gpu(absent)) is not None:
        ways["gsplat on the GPU"] = gpu_way(rasterizer, a, camera, background)
    return ways


def gpu_way(rasterizer: GpuRasterizer, a: Avatar, camera: Camera, background: U8) -> Callable[[], object]:
    """Draws the avatar's photo from its state to I420 in host memory; posing, which the others are given, included."""
    from avatar.render.gpu import Shot

    drawn, behind = rasterizer.load(a), rasterizer.background(background)
    shot = Shot(drawn, a.photo, camera, behind, np.empty_like(background))
    return lambda: rasterizer.draw_many([shot])


def _on_gpu(absent: dict[str, str]) -> GpuRasterizer | None:
    import torch

    if not torch.cuda.is_available():
        absent["gsplat on the GPU"] = "no CUDA device answers"
    elif importlib.util.find_spec("gsplat") is None:
        absent["gsplat on the GPU"] = "install requirements/cuda.lock"
    else:
        from avatar.render.gpu import GpuError, GpuRasterizer

        try:
            return GpuRasterizer()
        except GpuError as e:
            absent["gsplat on the GPU"] = str(e)
    return None
