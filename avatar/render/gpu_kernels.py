"""Triton kernels. Imported only where triton is: it comes with torch's CUDA build."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

COLUMNS, ROWS = 16, 4  # of the pixels that a program of the depth pass looks at in one step
CHUNK = 8  # Gaussians a program of the accumulation looks at in one step


@triton.jit
def _draw_depth(screen, triangles, depth, vertices, width, height, slack, COLUMNS: tl.constexpr, ROWS: tl.constexpr):
    """One program: one triangle of one picture. depth (B, H, W) int32: the bits of a non-negative float32."""
    corner = triangles + 3 * tl.program_id(0)
    points = screen + tl.program_id(1).to(tl.int64) * vertices * 3
    picture = depth + tl.program_id(1).to(tl.int64) * height * width
    a, b, c = points + 3 * tl.load(corner), points + 3 * tl.load(corner + 1), points + 3 * tl.load(corner + 2)
    xa, ya, ia = tl.load(a), tl.load(a + 1), tl.load(a + 2)
    xb, yb, ib = tl.load(b), tl.load(b + 1), tl.load(b + 2)
    xc, yc, ic = tl.load(c), tl.load(c + 1), tl.load(c + 2)
    ux, uy, vx, vy = xb - xa, yb - ya, xc - xa, yc - ya
    area = ux * vy - uy * vx
    low_x = tl.maximum(tl.ceil(tl.minimum(xa, tl.minimum(xb, xc)) - 0.5), 0.0)
    high_x = tl.minimum(tl.floor(tl.maximum(xa, tl.maximum(xb, xc)) - 0.5), width - 1.0)
    low_y = tl.maximum(tl.ceil(tl.minimum(ya, tl.minimum(yb, yc)) - 0.5), 0.0)
    high_y = tl.minimum(tl.floor(tl.maximum(ya, tl.maximum(yb, yc)) - 0.5), height - 1.0)
    drawn = (low_x <= high_x) & (low_y <= high_y) & (ia > 0.0) & (ib > 0.0) & (ic > 0.0) & (area != 0.0)
    if drawn:
        scale = 1.0 / area
        left, top = low_x.to(tl.int32), low_y.to(tl.int32)
        right, bottom = high_x.to(tl.int32), high_y.to(tl.int32)
        for y0 in range(top, bottom + 1, ROWS):
            for x0 in range(left, right + 1, COLUMNS):
                y = y0 + tl.arange(0, ROWS)[:, None]
                x = x0 + tl.arange(0, COLUMNS)[None, :]
                px, py = x + 0.5 - xa, y + 0.5 - ya
                w1 = (px * vy - py * vx) * scale
                w2 = (py * ux - px * uy) * scale
                inside = (w1 >= -slack) & (w2 >= -slack) & (w1 + w2 <= 1.0 + slack)
                inside = inside & (x <= right) & (y <= bottom)
                inverse = ia + w1 * (ib - ia) + w2 * (ic - ia)
                tl.atomic_max(picture + y * width + x, inverse.to(tl.int32, bitcast=True), mask=inside)


def draw_depth(screen: Tensor, triangles: Tensor, width: int, height: int, slack: float) -> Tensor:
    """screen (B, V, 3) pixel x, pixel y, 1/z; triangles (T, 3) int64 -> inverse depth (B, H, W) float32, 0: nothing."""
    B, V = screen.shape[:2]
    depth = torch.zeros(B, height, width, dtype=torch.int32, device=screen.device)
    if len(triangles):
        _draw_depth[(len(triangles), B)](
            screen.contiguous(), triangles.contiguous(), depth, V, width, height, slack, COLUMNS, ROWS, num_warps=1
        )
    return depth.view(torch.float32)


@triton.jit
def _accumulate(
    at, conic, near, values, offsets, ids, entries, depth, out, width, height, across, down, cutoff,
    TILE: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """One program: one tile of one picture, a pixel to a lane; CHUNK Gaussians of the tile's list at a time."""
    column, row, image = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    tile = (image * down + row) * across + column
    start = tl.load(offsets + tile)
    end = entries
    if tile + 1 < tl.num_programs(2) * down * across:
        end = tl.load(offsets + tile + 1)
    lane = tl.arange(0, TILE * TILE)
    x, y = column * TILE + lane % TILE, row * TILE + lane // TILE
    inside = (x < width) & (y < height)
    pixel = (image.to(tl.int64) * height + y) * width + x
    behind = tl.load(depth + pixel, mask=inside, other=0.0)[None, :]
    px, py = x[None, :] + 0.5, y[None, :] + 0.5
    ws = tl.zeros([TILE * TILE], tl.float32)
    os, rs, gs, bs = ws, ws, ws, ws
    wf, of, rf, gf, bf = ws, ws, ws, ws, ws
    for first in range(start, end, CHUNK):
        n = first + tl.arange(0, CHUNK)
        mine = n < end
        g = tl.load(ids + n, mask=mine, other=0).to(tl.int64)
        dx = px - tl.load(at + 2 * g, mask=mine, other=0.0)[:, None]
        dy = py - tl.load(at + 2 * g + 1, mask=mine, other=0.0)[:, None]
        xx = tl.load(conic + 3 * g, mask=mine, other=0.0)[:, None]
        xy = tl.load(conic + 3 * g + 1, mask=mine, other=0.0)[:, None]
        yy = tl.load(conic + 3 * g + 2, mask=mine, other=0.0)[:, None]
        q = xx * dx * dx + 2.0 * xy * dx * dy + yy * dy * dy
        counts = (q < cutoff) & (behind * tl.load(near + g, mask=mine, other=0.0)[:, None] <= 1.0) & mine[:, None]
        w = 1.0 - q / 32.0
        w = w * w
        w = w * w
        w = w * w
        w = tl.where(counts, w * w, 0.0)
        v = values + 9 * g
        solid = tl.load(v, mask=mine, other=0.0)[:, None]
        ws += tl.sum(w * solid, 0)
        os += tl.sum(w * tl.load(v + 1, mask=mine, other=0.0)[:, None], 0)
        rs += tl.sum(w * tl.load(v + 2, mask=mine, other=0.0)[:, None], 0)
        gs += tl.sum(w * tl.load(v + 3, mask=mine, other=0.0)[:, None], 0)
        bs += tl.sum(w * tl.load(v + 4, mask=mine, other=0.0)[:, None], 0)
        wf += tl.sum(w * (1.0 - solid), 0)
        of += tl.sum(w * tl.load(v + 5, mask=mine, other=0.0)[:, None], 0)
        rf += tl.sum(w * tl.load(v + 6, mask=mine, other=0.0)[:, None], 0)
        gf += tl.sum(w * tl.load(v + 7, mask=mine, other=0.0)[:, None], 0)
        bf += tl.sum(w * tl.load(v + 8, mask=mine, other=0.0)[:, None], 0)
    result = out + 10 * pixel
    tl.store(result, ws, mask=inside)
    tl.store(result + 1, os, mask=inside)
    tl.store(result + 2, rs, mask=inside)
    tl.store(result + 3, gs, mask=inside)
    tl.store(result + 4, bs, mask=inside)
    tl.store(result + 5, wf, mask=inside)
    tl.store(result + 6, of, mask=inside)
    tl.store(result + 7, rf, mask=inside)
    tl.store(result + 8, gf, mask=inside)
    tl.store(result + 9, bf, mask=inside)


def accumulate(
    at: Tensor,  # (B, N, 2) px
    conic: Tensor,  # (B, N, 3)
    near: Tensor,  # (B, N) m, depth less the layer's tolerance
    values: Tensor,  # (B, N, 9) of gpu.channels
    offsets: Tensor,  # (B, down, across) int32, first entry of each tile in
    ids: Tensor,  # (n,) int32, flat indices into B x N
    depth: Tensor,  # (B, H, W) inverse depth
    tile: int,
    cutoff: float,
) -> Tensor:
    """Rule 3 and the sums of rule 4 over gsplat's lists of tiles -> (B, H, W, 10): solid then fringe, each weight,
    weight times opacity, weight times colour."""
    B, H, W = depth.shape
    down, across = offsets.shape[-2:]
    out = torch.empty(B, H, W, 10, device=at.device)
    arrays = [t.contiguous() for t in (at, conic, near, values, offsets, ids)]
    _accumulate[(across, down, B)](
        *arrays, len(ids), depth.contiguous(), out, W, H, across, down, cutoff, TILE=tile, CHUNK=CHUNK, num_warps=4
    )
    return out
