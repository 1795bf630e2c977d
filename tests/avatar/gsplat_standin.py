"""gsplat 1.5.3's four functions in NumPy and numba, for machines without a GPU.

Written after the formulas and constants of its forward kernels (ProjectionEWA3DGSFused.cu, IntersectTile.cu,
RasterizeToPixels3DGSFwd.cu, Utils.cuh; Apache-2.0), with the signatures and the checks on shapes of its Python
functions. Pixels are accumulated in float64. Only what the GPU path uses: pinhole cameras, packed=False.
"""

# mypy: disable-error-code="call-arg"
from __future__ import annotations

import math

import numba as nb
import numpy as np
import torch
from torch import Tensor

ALPHA_THRESHOLD = 1 / 255
MOST = 0.999
LEAST_T = 1e-4
EXTENT = 3.33
SUPPORTED = (1, 2, 3, 4, 5, 8, 9, 16, 17, 32, 33)  # channels that need no padding


def fully_fused_projection(
    means: Tensor, covars: Tensor, quats: None, scales: None, viewmats: Tensor, Ks: Tensor, width: int, height: int,
    eps2d: float = 0.3, near_plane: float = 0.01, far_plane: float = 1e10, radius_clip: float = 0.0,
    packed: bool = False, sparse_grad: bool = False, calc_compensations: bool = False, camera_model: str = "pinhole",
    opacities: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:  # fmt: skip
    """-> radii (B, C, N, 2) int32, means (B, C, N, 2), depths (B, C, N), conics (B, C, N, 3)."""
    B, N = means.shape[:-1]
    C = viewmats.shape[-3]
    assert covars.shape == (B, N, 6) and viewmats.shape == (B, C, 4, 4) and Ks.shape == (B, C, 3, 3)
    assert opacities is not None and opacities.shape == (B, N) and not packed and camera_model == "pinhole"
    assert all(t.dtype == torch.float32 for t in (means, covars, viewmats, Ks, opacities))
    R, t = viewmats[..., :3, :3].double(), viewmats[..., :3, 3].double()
    at = torch.einsum("bcij,bnj->bcni", R, means.double()) + t[:, :, None]
    full = covars.double()[..., [0, 1, 2, 1, 3, 4, 2, 4, 5]].view(B, 1, N, 3, 3)
    full = R[:, :, None] @ full @ R[:, :, None].transpose(-1, -2)
    x, y, z = at.unbind(-1)
    fx, fy, cx, cy = (Ks[:, :, i, j, None].double() for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    margin_x, margin_y = 0.3 * 0.5 * width / fx, 0.3 * 0.5 * height / fy
    tx = z * torch.minimum((width - cx) / fx + margin_x, torch.maximum(-cx / fx - margin_x, x / z))
    ty = z * torch.minimum((height - cy) / fy + margin_y, torch.maximum(-cy / fy - margin_y, y / z))
    J = torch.zeros(B, C, N, 2, 3, dtype=torch.float64)
    J[..., 0, 0], J[..., 1, 1] = fx / z, fy / z
    J[..., 0, 2], J[..., 1, 2] = -fx * tx / z**2, -fy * ty / z**2
    flat = J @ full @ J.transpose(-1, -2) + eps2d * torch.eye(2, dtype=torch.float64)
    mean = torch.stack([fx * x / z + cx, fy * y / z + cy], -1)
    xx, xy, yy = flat[..., 0, 0], flat[..., 0, 1], flat[..., 1, 1]
    determinant = xx * yy - xy * xy
    opacity = opacities.double()[:, None].expand(B, C, N)
    extent = torch.sqrt(2 * torch.log((opacity / ALPHA_THRESHOLD).clamp_min(1))).clamp_max(EXTENT)
    radii = torch.ceil(extent[..., None] * torch.stack([xx, yy], -1).sqrt())
    kept = (z >= near_plane) & (z <= far_plane) & (determinant > 0) & (opacity >= ALPHA_THRESHOLD)
    kept &= (radii > radius_clip).any(-1)
    kept &= ((mean + radii > 0) & (mean - radii < torch.tensor([width, height]))).all(-1)
    conic = torch.stack([yy, -xy, xx], -1) / determinant[..., None]
    radii = torch.where(kept[..., None], radii, 0).nan_to_num(0).int()
    return radii, mean.float(), z.float(), conic.float(), None


def isect_tiles(
    means2d: Tensor, radii: Tensor, depths: Tensor, tile_size: int, tile_width: int, tile_height: int,
    sort: bool = True, segmented: bool = False, packed: bool = False, n_images: int | None = None,
    image_ids: Tensor | None = None, gaussian_ids: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """-> tiles per Gaussian, ids (image | tile | depth bits) sorted, flat indices into (images x Gaussians)."""
    dims, N = means2d.shape[:-2], means2d.shape[-2]
    assert radii.shape == (*dims, N, 2) and depths.shape == (*dims, N) and radii.dtype == torch.int32 and sort
    mean, radius = means2d.reshape(-1, 2).numpy(), radii.reshape(-1, 2).numpy().astype(np.float32)
    limit = np.array([tile_width, tile_height])
    low = np.clip(np.floor(np.nan_to_num((mean - radius) / tile_size)), 0, limit).astype(np.int64)
    high = np.clip(np.ceil(np.nan_to_num((mean + radius) / tile_size)), 0, limit).astype(np.int64)
    side = np.where((radius > 0).all(1, keepdims=True), high - low, 0)
    count = side[:, 0] * side[:, 1]
    owner = np.repeat(np.arange(len(count)), count)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    tile = (low[owner, 1] + within // side[owner, 0]) * tile_width + low[owner, 0] + within % side[owner, 0]
    bits = math.floor(math.log2(tile_width * tile_height)) + 1
    depth = depths.reshape(-1).numpy().view(np.uint32).astype(np.int64)
    ids = ((owner // N) << (32 + bits)) | (tile << 32) | depth[owner]
    order = np.argsort(ids, kind="stable")
    flat = torch.from_numpy(owner[order].astype(np.int32))
    return torch.from_numpy(count.reshape(*dims, N).astype(np.int32)), torch.from_numpy(ids[order]), flat


def isect_offset_encode(isect_ids: Tensor, n_images: int, tile_width: int, tile_height: int) -> Tensor:
    tiles = tile_width * tile_height
    bits = math.floor(math.log2(tiles)) + 1
    ids = isect_ids.numpy() >> 32
    place = (ids >> bits) * tiles + (ids & ((1 << bits) - 1))
    first = np.searchsorted(place, np.arange(n_images * tiles))
    return torch.from_numpy(first.astype(np.int32)).view(n_images, tile_height, tile_width)


def rasterize_to_pixels(
    means2d: Tensor, conics: Tensor, colors: Tensor, opacities: Tensor, image_width: int, image_height: int,
    tile_size: int, isect_offsets: Tensor, flatten_ids: Tensor, backgrounds: None = None, masks: None = None,
    packed: bool = False, absgrad: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """-> colours (..., H, W, channels), alphas (..., H, W, 1)."""
    dims, N, channels = means2d.shape[:-2], means2d.shape[-2], colors.shape[-1]
    assert conics.shape == (*dims, N, 3) and colors.shape == (*dims, N, channels) and opacities.shape == (*dims, N)
    assert isect_offsets.shape[:-2] == dims and channels in SUPPORTED and not packed
    down, across = isect_offsets.shape[-2:]
    assert down * tile_size >= image_height and across * tile_size >= image_width
    images = math.prod(dims)
    out, T = np.zeros((images, image_height, image_width, channels)), np.ones((images, image_height, image_width))
    ends = np.append(isect_offsets.reshape(-1).numpy(), len(flatten_ids))
    flat = (means2d.reshape(-1, 2), conics.reshape(-1, 3), colors.reshape(-1, channels), opacities.reshape(-1))
    _blend(*(t.contiguous().numpy() for t in flat), ends, flatten_ids.numpy(), tile_size, across, down, out, T)
    shape = (*dims, image_height, image_width)
    return torch.from_numpy(out).float().view(*shape, channels), torch.from_numpy(1 - T).float().view(*shape, 1)


@nb.njit(cache=True)
def _blend(mean, conic, colour, opacity, ends, ids, size, across, down, out, T):  # type: ignore[no-untyped-def]
    H, W = T.shape[1:]
    for k in range(len(ends) - 1):
        image, tile = k // (across * down), k % (across * down)
        top, left = tile // across * size, tile % across * size
        for y in range(top, min(top + size, H)):
            for x in range(left, min(left + size, W)):
                t = 1.0
                for n in range(ends[k], ends[k + 1]):
                    g = ids[n]
                    dx, dy = mean[g, 0] - (x + 0.5), mean[g, 1] - (y + 0.5)
                    c = conic[g]
                    sigma = 0.5 * (c[0] * dx * dx + c[2] * dy * dy) + c[1] * dx * dy
                    alpha = min(MOST, opacity[g] * np.exp(-sigma))
                    if sigma < 0 or alpha < ALPHA_THRESHOLD:
                        continue
                    if t * (1 - alpha) <= LEAST_T:
                        break
                    for i in range(colour.shape[1]):
                        out[image, y, x, i] += alpha * t * colour[g, i]
                    t *= 1 - alpha
                T[image, y, x] = t
