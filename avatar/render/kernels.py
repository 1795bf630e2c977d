"""The CPU rasterizer's numba kernels. They release the GIL, allocate nothing and write only the rows they are given.

Depth is kept inverted (1/z, 0 where nothing is): linear on the screen, so that a triangle's row costs no division.
Names of buffers, with H, W the picture, S = W + padding the row stride:
  camera (V, 3)     vertices in camera space, m          screen (V, 3)   pixel x, pixel y, 1/z (0: too near)
  depth (H, S)      inverse depth of the occluder        sums (H, 10, S) solid then fringe: weight, colour x 3, deficit
  extent (2, blocks, 2)  per layer and block of BLOCK rows: first and one past the last pixel drawn on
"""

# mypy: disable-error-code="call-arg"
from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numba as nb
import numpy as np

from avatar.render import contract, simd
from avatar.render.simd import LANES, depth_row8, resolve_row8, splat_row8

_f = np.float32
BLOCK = 8  # rows that share an extent
SLACK = _f(2e-6)  # barycentric; float32 rounding must not open a crack between neighbours
NEAR, DILATION, CUTOFF = _f(contract.NEAR), _f(contract.DILATION), _f(contract.CUTOFF)
PER_HIT_FULL, PER_OPEN_FULL = _f(1 / contract.HIT_FULL), _f(1 / contract.OPEN_FULL)
TINY = _f(simd.TINY)
ZERO, ONE, HALF = _f(0), _f(1), _f(0.5)
WEIGHT_SCALE = _f(1 / 32)
# columns of a Gaussian's record
U, V, M00, M01, M10, M11, TOLERANCE, FRINGE, DEFICIT, C0, C1, C2 = range(12)
RECORD = 12

kernel = nb.njit(cache=True, nogil=True, fastmath={"contract", "nsz", "arcp", "reassoc"}, error_model="numpy")


def _notice_changes() -> None:
    """Numba's cache watches this file alone; simd.py and contract.py are compiled into the kernels, too."""
    own, folder = Path(__file__), Path(__file__).parent
    newest = max((folder / name).stat().st_mtime_ns for name in ("simd.py", "contract.py"))
    if newest > own.stat().st_mtime_ns:
        with contextlib.suppress(OSError):  # an installation that cannot be written is not being edited either
            os.utime(own, ns=(newest, newest))


_notice_changes()


@kernel
def project_vertices(world, focal, cx, cy, camera, screen):
    """world (V, 3) m -> camera, screen. Returns whether every coordinate is finite."""
    total = ZERO
    for v in range(world.shape[0]):
        x, y, z = world[v, 0], -world[v, 1], -world[v, 2]
        total += (x + y + z) * ZERO
        camera[v, 0], camera[v, 1], camera[v, 2] = x, y, z
        i = ONE / z if z >= NEAR else ZERO
        screen[v, 0], screen[v, 1], screen[v, 2] = focal * x * i + cx, focal * y * i + cy, i
    return total == ZERO


@kernel
def draw_depth(screen, faces, width, first, last, depth):
    """Draw triangles into rows first..last - 1 of depth, clearing them before."""
    depth[first:last] = ZERO
    base, stride = depth.ctypes.data, depth.strides[0]
    for t in range(faces.shape[0]):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        ya, yb, yc = screen[a, 1], screen[b, 1], screen[c, 1]
        y0 = max(np.ceil(min(ya, yb, yc) - HALF), _f(first))
        y1 = min(np.floor(max(ya, yb, yc) - HALF), _f(last - 1))
        if not y0 <= y1:
            continue
        xa, xb, xc = screen[a, 0], screen[b, 0], screen[c, 0]
        x0 = max(np.ceil(min(xa, xb, xc) - HALF), ZERO)
        x1 = min(np.floor(max(xa, xb, xc) - HALF), _f(width - 1))
        ia, ib, ic = screen[a, 2], screen[b, 2], screen[c, 2]
        if not x0 <= x1 or ia * ib * ic == ZERO:
            continue
        ux, uy, vx, vy = xb - xa, yb - ya, xc - xa, yc - ya
        area = ux * vy - uy * vx
        if area == ZERO:
            continue
        scale = ONE / area
        step1, step2 = vy * scale, -uy * scale
        px, columns = x0 + HALF - xa, np.int64(x1 - x0) + 1
        for row in range(np.int64(y0), np.int64(y1) + 1):
            py = _f(row) + HALF - ya
            w1, w2 = (px * vy - py * vx) * scale, (py * ux - px * uy) * scale
            address = base + row * stride + np.int64(x0) * 4
            for k in range(0, columns, LANES):
                depth_row8(
                    np.int64(address + 4 * k), _f(w1 + step1 * _f(k)), _f(w2 + step2 * _f(k)), step1, step2, SLACK,
                    ia, _f(ib - ia), _f(ic - ia),
                )  # fmt: skip


@kernel
def draw_depth_and_ids(points, faces, depth, ids):
    """points (V, 3) pixel x, y, depth m -> depth (H, W) m, else inf; ids (H, W) of the nearest triangle, else -1."""
    H, W = depth.shape
    depth[:] = np.inf
    ids[:] = -1
    for t in range(faces.shape[0]):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        if not (points[a, 2] >= NEAR and points[b, 2] >= NEAR and points[c, 2] >= NEAR):
            continue
        xa, ya, xb, yb = points[a, 0], points[a, 1], points[b, 0], points[b, 1]
        xc, yc = points[c, 0], points[c, 1]
        area = (xb - xa) * (yc - ya) - (yb - ya) * (xc - xa)
        if area == 0:
            continue
        ia, ib, ic = 1 / points[a, 2], 1 / points[b, 2], 1 / points[c, 2]
        x0, x1 = max(0.0, np.ceil(min(xa, xb, xc) - 0.5)), min(W - 1.0, np.floor(max(xa, xb, xc) - 0.5))
        y0, y1 = max(0.0, np.ceil(min(ya, yb, yc) - 0.5)), min(H - 1.0, np.floor(max(ya, yb, yc) - 0.5))
        if not (x0 <= x1 and y0 <= y1):
            continue
        for y in range(np.int64(y0), np.int64(y1) + 1):
            py = y + 0.5 - ya
            for x in range(np.int64(x0), np.int64(x1) + 1):
                px = x + 0.5 - xa
                w1 = (px * (yc - ya) - py * (xc - xa)) / area
                w2 = (py * (xb - xa) - px * (yb - ya)) / area
                if w1 < -SLACK or w2 < -SLACK or w1 + w2 > 1 + SLACK:
                    continue
                z = 1 / (ia + w1 * (ib - ia) + w2 * (ic - ia))
                if z < depth[y, x]:
                    depth[y, x] = z
                    ids[y, x] = t


@kernel
def project_mean(r, A, B, C):
    """Record r (12,) on triangle A, B, C (3,) in camera space -> camera X, Y, Z; only Z >= NEAR may be divided by."""
    u, v = r[U], r[V]
    X = A[0] + u * (B[0] - A[0]) + v * (C[0] - A[0])
    Y = A[1] + u * (B[1] - A[1]) + v * (C[1] - A[1])
    Z = A[2] + u * (B[2] - A[2]) + v * (C[2] - A[2])
    return X, Y, Z


@kernel
def project_covariance(r, A, B, C, X, Y, i, focal):
    """Dilated screen covariance (xx, xy, yy) of record r, i = 1 / Z, and its determinant. J E M as in the contract."""
    j, tx, ty = focal * i, X * i, Y * i
    uz, vz = B[2] - A[2], C[2] - A[2]
    p00, p01 = j * (B[0] - A[0] - tx * uz), j * (C[0] - A[0] - tx * vz)
    p10, p11 = j * (B[1] - A[1] - ty * uz), j * (C[1] - A[1] - ty * vz)
    q00, q01 = p00 * r[M00] + p01 * r[M10], p00 * r[M01] + p01 * r[M11]
    q10, q11 = p10 * r[M00] + p11 * r[M10], p10 * r[M01] + p11 * r[M11]
    xx, xy, yy = q00 * q00 + q01 * q01, q00 * q10 + q01 * q11, q10 * q10 + q11 * q11
    root = q00 * q11 - q01 * q10  # det(Q Q^T + d I) without cancellation
    determinant = root * root + DILATION * (xx + yy) + DILATION * DILATION
    return xx + DILATION, xy, yy + DILATION, determinant


@kernel
def splat(records, start, corners, camera, focal, cx, cy, width, height, first, last, depth, sums, extent, work):
    """Add every visible Gaussian to rows first..last - 1 of sums.

    records (N, 12) sorted by face; Gaussians start[k]..start[k + 1] - 1 lie on the triangle corners[k] (3 vertices).
    work (blocks,): row operations done, for balancing bands.
    """
    depth_base, depth_stride = depth.ctypes.data, depth.strides[0]
    sums_base, sums_stride, plane = sums.ctypes.data, sums.strides[0], np.int64(sums.strides[1])
    for k in range(corners.shape[0]):
        A, B, C = camera[corners[k, 0]], camera[corners[k, 1]], camera[corners[k, 2]]
        for g in range(start[k], start[k + 1]):
            r = records[g]
            X, Y, Z = project_mean(r, A, B, C)
            if not Z >= NEAR:
                continue
            near, i = Z - r[TOLERANCE], ONE / Z
            mx, my = focal * X * i + cx, focal * Y * i + cy
            inside = mx >= ZERO and my >= ZERO and mx < _f(width) and my < _f(height)
            if inside and depth[np.int64(my), np.int64(mx)] * near > ONE:
                continue
            xx, xy, yy, determinant = project_covariance(r, A, B, C, X, Y, i, focal)
            reach_y = np.sqrt(CUTOFF * yy)
            y0, y1 = max(np.ceil(my - reach_y - HALF), _f(first)), min(np.floor(my + reach_y - HALF), _f(last - 1))
            if not y0 <= y1:
                continue
            reach_x = np.sqrt(CUTOFF * xx)
            x0, x1 = max(np.ceil(mx - reach_x - HALF), ZERO), min(np.floor(mx + reach_x - HALF), _f(width - 1))
            if not x0 <= x1:
                continue
            left, columns = np.int64(x0), np.int64(x1 - x0) + 1
            top, bottom = np.int64(y0), np.int64(y1) + 1
            layer = 1 if r[FRINGE] != ZERO else 0
            for block in range(top // BLOCK, (bottom - 1) // BLOCK + 1):
                extent[layer, block, 0] = min(extent[layer, block, 0], left)
                extent[layer, block, 1] = max(extent[layer, block, 1], left + columns)
            work[top // BLOCK] += bottom - top
            # the square completed: q = t^2 yy / det + dy^2 / yy with t = dx - dy xy / yy
            limit = ONE / near if near > ZERO else _f(np.inf)
            inverse_yy = ONE / yy
            curvature, slope = yy / determinant * WEIGHT_SCALE, xy * inverse_yy
            c0, c1, c2, deficit = r[C0], r[C1], r[C2], r[DEFICIT]  # once: stores below might alias the record
            for row in range(top, bottom):
                dy = _f(row) + HALF - my
                peak = ONE - dy * dy * inverse_yy * WEIGHT_SCALE
                t0 = x0 + HALF - mx - dy * slope
                at = sums_base + row * sums_stride + layer * 5 * plane + left * 4
                behind = depth_base + row * depth_stride + left * 4
                for lane in range(0, columns, LANES):
                    splat_row8(
                        np.int64(at + 4 * lane), plane, np.int64(behind + 4 * lane), _f(t0 + _f(lane)), curvature,
                        peak, limit, c0, c1, c2, deficit,
                    )  # fmt: skip


@kernel
def resolve_row(sums, depth, a, b, out):
    """One row of sums (10, S), columns a..b - 1 -> out (4, W + LANES): colour times alpha, alpha. Clears the sums."""
    base, plane = sums.ctypes.data, np.int64(sums.strides[0])
    behind, result, result_plane = depth.ctypes.data, out.ctypes.data, np.int64(out.strides[0])
    for x in range(a, b, LANES):
        offset = 4 * x
        resolve_row8(
            np.int64(base + offset), plane, np.int64(behind + offset), np.int64(result + offset), result_plane
        )  # fmt: skip


@kernel
def resolve_rgba(first, last, depth, sums, extent, scratch, out):
    """Rows first..last - 1 -> out (H, W, 4) float32, colour times alpha and alpha. Clears sums and extent."""
    W = out.shape[1]
    for row in range(first, last):
        block = row // BLOCK
        a, b = min(extent[0, block, 0], extent[1, block, 0]), max(extent[0, block, 1], extent[1, block, 1])
        a, b = min(a, W), min(max(b, a), W)
        out[row] = ZERO
        resolve_row(sums[row], depth[row], a, b, scratch[0])
        for x in range(a, b):
            for c in range(4):
                out[row, x, c] = scratch[0, c, x]
        if row == last - 1 or (row + 1) % BLOCK == 0:
            extent[:, block, 0], extent[:, block, 1] = W, 0


@kernel
def resolve_i420(first, last, width, height, depth, sums, extent, background, scratch, out):
    """Rows first..last - 1 (both even) of sums in Y, U, V code values over background -> out, both I420 (flat)."""
    half, chroma = width // 2, width * height
    chroma_v = chroma + half * (height // 2)
    for row in range(first, last, 2):
        block = row // BLOCK
        a, b = min(extent[0, block, 0], extent[1, block, 0]), max(extent[0, block, 1], extent[1, block, 1])
        a = min(a, width) // 2 * 2
        b = min(max(b + 1, a) // 2 * 2, width)
        for i in range(2):
            y = (row + i) * width
            out[y : y + a] = background[y : y + a]
            out[y + b : y + width] = background[y + b : y + width]
            resolve_row(sums[row + i], depth[row + i], a, b, scratch[i])
            luma, alpha = scratch[i, 0], scratch[i, 3]
            for x in range(a, b):
                out[y + x] = np.uint8(luma[x] + (ONE - alpha[x]) * _f(background[y + x]) + HALF)
        for c in range(2):
            plane = (chroma if c == 0 else chroma_v) + row // 2 * half
            out[plane : plane + a // 2] = background[plane : plane + a // 2]
            out[plane + b // 2 : plane + half] = background[plane + b // 2 : plane + half]
            s0, s1, a0, a1 = scratch[0, 1 + c], scratch[1, 1 + c], scratch[0, 3], scratch[1, 3]
            for h in range(a // 2, b // 2):
                x = 2 * h
                colour = s0[x] + s0[x + 1] + s1[x] + s1[x + 1]
                alpha = a0[x] + a0[x + 1] + a1[x] + a1[x + 1]
                behind = _f(background[plane + h])
                out[plane + h] = np.uint8(_f(0.25) * (colour + (_f(4) - alpha) * behind) + HALF)
        if row == last - 2 or (row + 2) % BLOCK == 0:
            extent[:, block, 0], extent[:, block, 1] = width, 0


@kernel
def collect(records, order, start, corners, camera, focal, cx, cy, depth, sums, factor, row, column, value):
    """The same weights as a sparse matrix; returns the number of entries. depth (H, W) is inverted.

    Called twice: without room (row empty) it fills sums (H, W, 4: solid and fringe weight and deficit) and counts; with
    room it writes pixel, Gaussian (order[g]) and weight times factor (H, W, 2).
    """
    H, W = depth.shape
    n, room = 0, row.shape[0]
    for k in range(corners.shape[0]):
        A, B, C = camera[corners[k, 0]], camera[corners[k, 1]], camera[corners[k, 2]]
        for g in range(start[k], start[k + 1]):
            r = records[g]
            X, Y, Z = project_mean(r, A, B, C)
            if not Z >= NEAR:
                continue
            near, i = Z - r[TOLERANCE], ONE / Z
            mx, my = focal * X * i + cx, focal * Y * i + cy
            inside = mx >= ZERO and my >= ZERO and mx < _f(W) and my < _f(H)
            if inside and depth[np.int64(my), np.int64(mx)] * near > ONE:
                continue
            xx, xy, yy, determinant = project_covariance(r, A, B, C, X, Y, i, focal)
            reach_x, reach_y = np.sqrt(CUTOFF * xx), np.sqrt(CUTOFF * yy)
            y0, y1 = max(np.ceil(my - reach_y - HALF), ZERO), min(np.floor(my + reach_y - HALF), _f(H - 1))
            x0, x1 = max(np.ceil(mx - reach_x - HALF), ZERO), min(np.floor(mx + reach_x - HALF), _f(W - 1))
            if not (x0 <= x1 and y0 <= y1):
                continue
            layer = 1 if r[FRINGE] != ZERO else 0
            limit = ONE / near if near > ZERO else _f(np.inf)
            inverse_yy = ONE / yy
            curvature, slope = yy / determinant * WEIGHT_SCALE, xy * inverse_yy
            for y in range(np.int64(y0), np.int64(y1) + 1):
                dy = _f(y) + HALF - my
                peak = ONE - dy * dy * inverse_yy * WEIGHT_SCALE
                for x in range(np.int64(x0), np.int64(x1) + 1):
                    t = _f(x) + HALF - mx - dy * slope
                    w = peak - curvature * t * t
                    if w <= ONE - CUTOFF * WEIGHT_SCALE or depth[y, x] > limit:
                        continue
                    w *= w
                    w *= w
                    w *= w
                    w *= w
                    if room == 0:
                        sums[y, x, 2 * layer] += w
                        sums[y, x, 2 * layer + 1] += w * r[DEFICIT]
                    else:
                        row[n], column[n], value[n] = y * W + x, order[g], w * factor[y, x, layer]
                    n += 1
    return n


@kernel
def layer_factors(ws, ds, wf, df, hit):
    """Weight and deficit sums -> what multiplies the colour sums of solid and fringe, and alpha (rule 4)."""
    per_s, per_f = ONE / max(ws, TINY), ONE / max(wf, TINY)
    solid = (ws - ds) * per_s * min(ws * (PER_HIT_FULL if hit else PER_OPEN_FULL), ONE)
    over = wf / max(ws + wf, TINY) if hit else ONE
    fringe = (wf - df) * per_f * min(wf * PER_OPEN_FULL, ONE) * over
    solid *= ONE - fringe
    return solid * per_s, fringe * per_f, solid + fringe


@kernel
def collect_factors(sums, depth, factor, alpha):
    """sums (H, W, 4) of `collect` -> factor (H, W, 2): weights to shares of alpha times colour; alpha (H, W)."""
    for y in range(depth.shape[0]):
        for x in range(depth.shape[1]):
            s = sums[y, x]
            factor[y, x, 0], factor[y, x, 1], alpha[y, x] = layer_factors(s[0], s[1], s[2], s[3], depth[y, x] > ZERO)
