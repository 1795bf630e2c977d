"""A plain torch splatter by sorted alpha: a list of fragments, transmittance by a segmented sum. Not tuned.

Written as one would for a differentiable renderer without kernels of one's own (forward alone is timed).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from avatar.asset import Gaussians
from avatar.render.contract import Camera
from bench.baseline import DILATION, LEAST, MOST, WIDER
from models.skinning import F32, I32


class TorchSplatter:
    """Gaussians of an avatar on torch's CPU (or any) device."""

    def __init__(self, faces: I32, gaussians: Gaussians, camera: Camera, device: str = "cpu") -> None:
        self._camera, self._device = camera, device
        g = gaussians
        to = lambda a: torch.as_tensor(np.ascontiguousarray(a), device=device)  # noqa: E731
        self._corners, self._bary = to(faces[g.face].astype(np.int64)), to(g.bary)
        self._shape, self._colour, self._opacity = to(g.shape * np.float32(WIDER)), to(g.colour), to(g.opacity)

    @torch.inference_mode()
    def draw(self, vertices: F32) -> Tensor:
        """(H, W, 4) colour times alpha and alpha."""
        W, H = self._camera.width, self._camera.height
        at, conic, reach, depth = self._project(torch.as_tensor(vertices, device=self._device))
        order = torch.argsort(depth)
        order = order[depth[order] > 0]
        at, conic, reach = at[order], conic[order], reach[order]
        colour, opacity = self._colour[order], self._opacity[order]
        low, high = torch.ceil(at - reach - 0.5), torch.floor(at + reach - 0.5)
        size = torch.tensor([W, H], device=self._device)
        low, high = low.clamp(min=0).long(), torch.minimum(high, size - 1).long()
        side = (high - low + 1).clamp(min=0)
        count = side[:, 0] * side[:, 1]
        owner = torch.repeat_interleave(torch.arange(len(count), device=self._device), count)
        within = torch.arange(len(owner), device=self._device) - (torch.cumsum(count, 0) - count)[owner]
        x = low[owner, 0] + within % side[owner, 0]
        y = low[owner, 1] + within // side[owner, 0]
        dx, dy = x + 0.5 - at[owner, 0], y + 0.5 - at[owner, 1]
        c = conic[owner]
        q = c[:, 0] * dx * dx + 2 * c[:, 1] * dx * dy + c[:, 2] * dy * dy
        alpha = (opacity[owner] * torch.exp(-0.5 * q)).clamp(max=MOST)
        keep = alpha >= LEAST
        pixel, alpha, owner = (y * W + x)[keep], alpha[keep], owner[keep]
        pixel, by_pixel = torch.sort(pixel, stable=True)
        alpha, owner = alpha[by_pixel], owner[by_pixel]
        weight = alpha * self._transmittance(pixel, alpha)
        rgba = torch.cat([colour[owner], torch.ones_like(alpha)[:, None]], 1) * weight[:, None]
        return torch.zeros(H * W, 4, device=self._device).index_add(0, pixel, rgba).view(H, W, 4)

    @staticmethod
    def _transmittance(pixel: Tensor, alpha: Tensor) -> Tensor:
        """What reaches each fragment of a list sorted by pixel, then depth."""
        log = torch.log1p(-alpha).double()
        before = torch.cumsum(log, 0) - log
        first = torch.ones_like(pixel, dtype=torch.bool)
        first[1:] = pixel[1:] != pixel[:-1]
        return torch.exp(before - before[first][torch.cumsum(first, 0) - 1]).float()

    def _project(self, vertices: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pixel positions (N, 2), conics (N, 3), half boxes (N, 2), depths (N,), 0 where not drawn."""
        c = self._camera
        corner = (vertices * torch.tensor([1.0, -1.0, -1.0], device=self._device))[self._corners]
        edges = torch.stack([corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]], 2)
        X, Y, Z = (corner[:, 0] + (edges @ self._bary[:, :, None])[:, :, 0]).unbind(1)
        j, tx, ty = c.focal / Z, X / Z, Y / Z
        rows = [
            j[:, None] * (edges[:, 0] - tx[:, None] * edges[:, 2]),
            j[:, None] * (edges[:, 1] - ty[:, None] * edges[:, 2]),
        ]
        root = torch.stack(rows, 1) @ self._shape
        covariance = root @ root.transpose(1, 2)
        xx, xy, yy = covariance[:, 0, 0] + DILATION, covariance[:, 0, 1], covariance[:, 1, 1] + DILATION
        determinant = xx * yy - xy * xy
        conic = torch.stack([yy, -xy, xx], 1) / determinant[:, None]
        extent = torch.sqrt(2 * torch.log((255 * self._opacity).clamp(min=1)))
        reach = extent[:, None] * torch.sqrt(torch.stack([xx, yy], 1))
        good = (Z > 0.01) & (determinant > 0)
        return torch.stack([c.focal * tx + c.cx, c.focal * ty + c.cy], 1), conic, reach, torch.where(good, Z, 0)
