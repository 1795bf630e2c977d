"""From gsplat's projected Gaussians and lists of tiles to the sums of the compositing rule, and on to a picture.

Two ways, both after gsplat's projection and binning:

- `by_rule` (default, wants Triton): a kernel of our own sums by rule 3, depth test at every pixel included.
- `by_alpha` (gsplat's rasterize_to_pixels alone): gsplat blends front to back, the rule averages without an order. The
  two meet where each Gaussian covers little. With opacity OPACITY and transmittance T_i before Gaussian i of weight w_i

      sum_i OPACITY w_i T_i c_i / (1 - T)  is nearly the average colour,   -ln T / OPACITY  nearly the sum of weights.

  OPACITY makes gsplat's threshold (it skips alpha < 1/255) fall on the rule's CUTOFF, and covariances are shrunk by
  SHARPER, with which exp(-q / 2) comes nearest to the rule's polynomial. Both layers fit into one pass of nine
  channels. gsplat cannot test depth at a pixel: a Gaussian counts whole or not at all, by the pixel that its mean
  falls into; rims of an open mouth suffer from it. tests/avatar/test_gpu.py measures it, docs/decisions.md has figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatar.render.contract import CUTOFF, DILATION, FRINGE, HIT_FULL, NEAR, OPEN_FULL
from models.skinning import F32

THRESHOLD = 1 / 255  # gsplat's ALPHA_THRESHOLD
OPACITY = float(np.exp(CUTOFF / 2) * THRESHOLD)  # .15: alpha falls under the threshold where q reaches CUTOFF
SHARPER = 0.95  # on covariances, of `by_alpha`; best of .87 to 1 on the demo avatar, at rest and talking
TILE = 16  # px
BEYOND = 100_000  # px, of the picture that gsplat is told of
LEAST_FRINGE = 1e-5  # of alpha; below it, rounding


@dataclass(frozen=True)
class Placed:
    """B pictures' Gaussians in camera space, all padded to N; padding has opacity 0."""

    mean: Tensor  # (B, N, 3)
    covariance: Tensor  # (B, N, 6) upper triangle
    near: Tensor  # (B, N) m, depth less the layer's tolerance
    opacity: Tensor  # (B, N) OPACITY, or 0: not drawn
    values: Tensor  # (B, N, 9) of `channels`
    intrinsics: Tensor  # (B, 3) focal, cx, cy
    depth: Tensor  # (B, H, W) inverse depth of the occluder, 0: nothing


def channels(colour: NDArray, opacity: F32, layer: NDArray[np.uint8]) -> F32:
    """(N, 9) of each Gaussian: in the solid layer (0 or 1), its opacity, its colour; fringe's opacity and colour."""
    solid = ~FRINGE[layer][:, None]
    parts = np.concatenate([opacity[:, None], colour], 1)
    return np.concatenate([solid, parts * solid, parts * ~solid], 1).astype(np.float32)


def seen(mean: Tensor, near: Tensor, intrinsics: Tensor, depth: Tensor) -> Tensor:
    """Rule 3 at the pixel each mean falls into: (B, N) bool. mean (B, N, 3), near (B, N), depth (B, H, W) inverted."""
    H, W = depth.shape[1:]
    focal, cx, cy = intrinsics[:, :, None].unbind(1)
    inverse = 1 / mean[..., 2].clamp_min(NEAR)
    x, y = focal * mean[..., 0] * inverse + cx, focal * mean[..., 1] * inverse + cy
    inside = (x >= 0) & (y >= 0) & (x < W) & (y < H)
    pixel = y.clamp(0, H - 1).long() * W + x.clamp(0, W - 1).long()
    behind = depth.flatten(1).gather(1, pixel) * near > 1
    return ~(inside & behind) & (mean[..., 2] >= NEAR)


def by_rule(splat: Any, p: Placed) -> Tensor:
    """gsplat's projection and tiles, the rule's sums -> (B, H, W, 10): solid then fringe, each weight, weight times
    opacity, weight times colour."""
    from avatar.render import gpu_kernels

    at, conic, offsets, ids = _tiles(splat, p, 1.0)
    return gpu_kernels.accumulate(at[:, 0], conic[:, 0], p.near, p.values, offsets[:, 0], ids, p.depth, TILE, CUTOFF)


def by_alpha(splat: Any, p: Placed) -> Tensor:
    """gsplat alone, the rule's sums estimated from its alpha -> (B, H, W, 10) as `by_rule`."""
    at, conic, offsets, ids = _tiles(splat, p, SHARPER)
    H, W = p.depth.shape[1:]
    sums, alpha = splat.rasterize_to_pixels(
        at, conic, p.values[:, None], p.opacity[:, None], W, H, TILE, offsets, ids, packed=False
    )
    sums, alpha = sums[:, 0], alpha[:, 0]  # (B, H, W, 9), (B, H, W, 1)
    weight = -torch.log1p(-alpha.clamp_max(1 - 1e-6)) / OPACITY
    per_alpha = weight * _inverse(alpha)
    fringe = alpha - sums[..., :1]
    fringe = torch.where(fringe > LEAST_FRINGE * alpha, fringe, 0)
    return torch.cat([sums[..., :5], fringe, sums[..., 5:]], -1) * per_alpha


def _tiles(splat: Any, p: Placed, scale: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """gsplat's means (B, 1, N, 2), conics (B, 1, N, 3), tile offsets (B, 1, down, across), flat indices (n,).

    Covariances and dilation are taken times `scale`. A batch entry has one camera: the identity, as means are in camera
    space. Before it projects a covariance, gsplat moves a mean beyond 1.3 times the picture to there; the rule does
    not, so gsplat is told of a very large picture, while tiles are counted from the picture's own size. Whether a
    Gaussian is drawn, and how far it reaches (2.7 sigma), gsplat takes from its opacity.
    """
    B, (H, W) = len(p.mean), p.depth.shape[1:]
    focal, cx, cy = p.intrinsics.unbind(1)
    o, one = torch.zeros_like(focal), torch.ones_like(focal)
    K = torch.stack([focal, o, cx, o, focal, cy, o, o, one], 1).view(B, 1, 3, 3)
    view = torch.eye(4, device=p.mean.device).expand(B, 1, 4, 4)
    radii, at, depth, conic, _ = splat.fully_fused_projection(
        p.mean, p.covariance * scale, None, None, view, K, BEYOND, BEYOND, eps2d=DILATION * scale,
        near_plane=NEAR, packed=False, opacities=p.opacity,
    )  # fmt: skip
    across, down = -(-W // TILE), -(-H // TILE)
    _, tile_ids, ids = splat.isect_tiles(at, radii, depth, TILE, across, down, packed=False)
    offsets = splat.isect_offset_encode(tile_ids, B, across, down).view(B, 1, down, across)
    return at, conic, offsets, ids


def composite(sums: Tensor, hit: Tensor) -> tuple[Tensor, Tensor]:
    """Rule 4: sums (..., 10), hit (...) -> colour times alpha (..., 3), alpha (...)."""
    ws, wf = sums[..., 0], sums[..., 5]
    per_s, per_f = _inverse(ws), _inverse(wf)
    a_s = sums[..., 1] * per_s * (ws / torch.where(hit, HIT_FULL, OPEN_FULL)).clamp_max(1)
    over = torch.where(hit, wf * _inverse(ws + wf), 1)
    a_f = sums[..., 6] * per_f * (wf / OPEN_FULL).clamp_max(1) * over
    under = a_s * (1 - a_f)
    colour = sums[..., 2:5] * (per_s * under)[..., None] + sums[..., 7:10] * (per_f * a_f)[..., None]
    return colour, a_f + under


def to_i420(colour: Tensor, alpha: Tensor, background: Tensor) -> Tensor:
    """Y, U and V code values times alpha (B, H, W, 3), alpha (B, H, W) over I420 (B, H 3 / 2, W) -> the same uint8."""
    B, H, W = alpha.shape
    behind = background.reshape(B, -1).float()
    luma = colour[..., 0].flatten(1) + (1 - alpha.flatten(1)) * behind[:, : H * W]
    mean = lambda x: x.reshape(B, -1, H // 2, 2, W // 2, 2).mean((3, 5)).flatten(2)  # noqa: E731
    chroma = mean(colour[..., 1:].movedim(-1, 1)) + (1 - mean(alpha[:, None])) * behind[:, H * W :].view(B, 2, -1)
    return (torch.cat([luma, chroma.flatten(1)], 1) + 0.5).clamp(0, 255).to(torch.uint8).view(B, H * 3 // 2, W)


def _inverse(x: Tensor) -> Tensor:
    """1 / x, 0 where x is 0."""
    return torch.where(x > 0, 1 / torch.where(x > 0, x, 1), 0)
