"""The depth pre-pass (rule 1) on a torch device: a Triton kernel where it runs, plain torch elsewhere.

Depth is kept inverted (1/z, 0 where nothing is), as on the CPU: linear on the screen, and for positive floats the
order of their bits is their own, so that an integer maximum finds the nearest triangle whatever the order of threads.
"""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor

from avatar.render.contract import NEAR

SLACK = 2e-6  # barycentric; float32 rounding must not open a crack between neighbours
TRITON = importlib.util.find_spec("triton") is not None


def to_screen(camera_points: Tensor, intrinsics: Tensor) -> Tensor:
    """(B, V, 3) camera space, (B, 3) focal, cx, cy -> (B, V, 3) pixel x, pixel y, 1/z (0: too near)."""
    focal, cx, cy = intrinsics[:, :, None].unbind(1)
    x, y, z = camera_points.unbind(-1)
    inverse = torch.where(z >= NEAR, 1 / z.clamp_min(NEAR), 0.0)
    return torch.stack([focal * x * inverse + cx, focal * y * inverse + cy, inverse], -1)


def draw(screen: Tensor, triangles: Tensor, width: int, height: int) -> Tensor:
    """screen (B, V, 3) of `to_screen`, triangles (T, 3) int64 -> inverse depth (B, H, W) at pixel centres, else 0."""
    if screen.is_cuda and TRITON:
        from avatar.render import gpu_kernels

        return gpu_kernels.draw_depth(screen, triangles, width, height, SLACK)
    return draw_plain(screen, triangles, width, height)


def draw_plain(screen: Tensor, triangles: Tensor, width: int, height: int) -> Tensor:
    """The same by a list of every pixel in every triangle's box: slow, memory-hungry, on any device."""
    depth = screen.new_zeros(len(screen), height * width)
    for b, points in enumerate(screen):
        corner = points[triangles]  # (T, 3, 3)
        size = torch.tensor([width - 1, height - 1], device=screen.device)
        low = torch.ceil(corner[:, :, :2].amin(1) - 0.5).clamp_min(0)
        high = torch.minimum(torch.floor(corner[:, :, :2].amax(1) - 0.5), size)
        drawn = (low <= high).all(1) & (corner[:, :, 2] > 0).all(1)
        corner, low, high = corner[drawn], low[drawn].long(), high[drawn].long()
        side = high - low + 1
        count = side[:, 0] * side[:, 1]
        owner = torch.repeat_interleave(torch.arange(len(count), device=screen.device), count)
        within = torch.arange(len(owner), device=screen.device) - (torch.cumsum(count, 0) - count)[owner]
        x, y = low[owner, 0] + within % side[owner, 0], low[owner, 1] + within // side[owner, 0]
        inverse, inside = _inverse_depth(corner[owner], x, y)
        depth[b].scatter_reduce_(0, (y * width + x)[inside], inverse[inside], "amax")
    return depth.view(-1, height, width)


def _inverse_depth(corner: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Triangles (n, 3, 3) on the screen at pixels (n,) -> inverse depth (n,), whether the pixel's centre is inside."""
    a, u, v = corner[:, 0], corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    area = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    scale = 1 / torch.where(area == 0, torch.inf, area)
    px, py = x + 0.5 - a[:, 0], y + 0.5 - a[:, 1]
    w1 = (px * v[:, 1] - py * v[:, 0]) * scale
    w2 = (py * u[:, 0] - px * u[:, 1]) * scale
    inside = (w1 >= -SLACK) & (w2 >= -SLACK) & (w1 + w2 <= 1 + SLACK) & (area != 0)
    return a[:, 2] + w1 * u[:, 2] + w2 * v[:, 2], inside
