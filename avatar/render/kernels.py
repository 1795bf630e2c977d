"""The CPU rasterizer's numba kernels. They release the GIL and allocate nothing. Threads share a frame's work by
claiming rows, segments of triangles and tiles, and write nothing that another one writes.

Depth is kept inverted (1/z, 0 where nothing is): linear on the screen, so that a triangle's row costs no division.
Names of buffers, with H, W the picture, S = W + padding the row stride:
  camera (V, 3)     vertices in camera space, m          screen (V, 3)   pixel x, pixel y, 1/z (0: too near)
  depth (H, S)      inverse depth of the occluder        items (N, ITEM) Gaussians on the screen, segment by segment
and of one tile at a time:
  sums (TILE_H, 10, ROOM)  solid then fringe: weight, colour x 3, deficit
  extent (TILE_H / BLOCK, 2)  per block of BLOCK rows: first and one past the last pixel drawn on
"""

# mypy: disable-error-code="call-arg"
from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numba as nb
import numpy as np

from avatar.render import contract, simd
from avatar.render.simd import LANES, depth_row8, fetch_add, prefetch, resolve_row8, seconds, splat_row8

_f = np.float32
TILE_W, TILE_H = 512, 32  # px; wide rows cost least, and a tile's sums stay in a core's second cache
BLOCK = 8  # rows of a tile that share an extent
ROOM = TILE_W + 2 * LANES  # columns that rows of eight lanes may touch
SEVERAL = -1  # tiles that an item touches, instead of the one
AHEAD = 8  # items that are fetched before they are used
SLACK = _f(2e-6)  # barycentric; float32 rounding must not open a crack between neighbours
NEAR, DILATION, CUTOFF = _f(contract.NEAR), _f(contract.DILATION), _f(contract.CUTOFF)
PER_HIT_FULL, PER_OPEN_FULL = _f(1 / contract.HIT_FULL), _f(1 / contract.OPEN_FULL)
TINY = _f(simd.TINY)
ZERO, ONE, HALF = _f(0), _f(1), _f(0.5)
WEIGHT_SCALE = _f(1 / 32)
# columns of a Gaussian's record
U, V, M00, M01, M10, M11, TOLERANCE, FRINGE, DEFICIT, C0, C1, C2 = range(12)
RECORD = 12
# columns of an item: what of a Gaussian is seen on the screen; one cache line
MX, MY, SLOPE, FALL, CURVATURE, LIMIT, LEFT, RIGHT, TOP, BOTTOM, LAYER, LACK, R, G, B_, NUMBER = range(16)
ITEM = 16

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
def draw_depth(screen, faces, width, first, last, depth, work):
    """Draw triangles into rows first..last - 1 of depth, clearing them before. work (blocks of BLOCK rows,): the rows
    of triangles that begin in each, added up, by which bands are balanced."""
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
        work[np.int64(y0) // BLOCK] += np.int32(y1 - y0) + 1
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
def project_segment(k0, k1, records, start, corners, camera, focal, cx, cy, width, height, depth, items, tile, head):
    """Project the Gaussians of triangles k0..k1 - 1 -> one past the last item; start[k0] is the first.

    records (N, RECORD) sorted by face; Gaussians start[k]..start[k + 1] - 1 lie on the triangle corners[k] (3
    vertices). The items (N, ITEM) of those that may be seen are written in order; tile (N,) and head as bin_segment
    wants them.
    """
    head[:] = 0
    across = (width + TILE_W - 1) // TILE_W
    n = np.int64(start[k0])
    for k in range(k0, k1):
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
            reach_x, reach_y = np.sqrt(CUTOFF * xx), np.sqrt(CUTOFF * yy)
            x0, x1 = max(np.ceil(mx - reach_x - HALF), ZERO), min(np.floor(mx + reach_x - HALF), _f(width - 1))
            y0, y1 = max(np.ceil(my - reach_y - HALF), ZERO), min(np.floor(my + reach_y - HALF), _f(height - 1))
            if not (x0 <= x1 and y0 <= y1):
                continue
            # the square completed: q = t^2 yy / det + dy^2 / yy with t = dx - dy xy / yy
            per_yy = ONE / yy
            items[n, MX], items[n, MY], items[n, SLOPE] = mx, my, xy * per_yy
            items[n, CURVATURE], items[n, FALL] = yy / determinant * WEIGHT_SCALE, per_yy * WEIGHT_SCALE
            items[n, LIMIT] = ONE / near if near > ZERO else _f(np.inf)
            items[n, LEFT], items[n, RIGHT], items[n, TOP], items[n, BOTTOM] = x0, x1 + ONE, y0, y1 + ONE
            items[n, LAYER], items[n, LACK], items[n, NUMBER] = r[FRINGE], r[DEFICIT], _f(g)
            items[n, R], items[n, G], items[n, B_] = r[C0], r[C1], r[C2]
            left, right = np.int64(x0) // TILE_W, np.int64(x1) // TILE_W
            top, bottom = np.int64(y0) // TILE_H, np.int64(y1) // TILE_H
            tile[n] = top * across + left if left == right and top == bottom else SEVERAL
            for y in range(top, bottom + 1):
                for x in range(left, right + 1):
                    head[y * across + x] += 1
            n += 1
    return n


@kernel
def bin_segment(items, tile, first, last, across, head, place):
    """Sort items first..last - 1 into tiles: those of tile t, in order, become place[head[t]]..place[head[t + 1] - 1].

    tile (N,): the one that an item touches, SEVERAL where there are more. head (tiles + 1,) comes with their counts.
    Nothing is placed where head[-1], the number of places, is over the room that there is.
    """
    total = 0
    for t in range(head.shape[0]):
        total += head[t]
        head[t] = total
    if total > place.shape[0] - AHEAD:
        return
    for n in range(last - 1, first - 1, -1):  # from behind: heads start at their ends
        if tile[n] != SEVERAL:
            head[tile[n]] -= 1
            place[head[tile[n]]] = n
            continue
        for y in range(np.int64(items[n, TOP]) // TILE_H, (np.int64(items[n, BOTTOM]) - 1) // TILE_H + 1):
            for x in range(np.int64(items[n, LEFT]) // TILE_W, (np.int64(items[n, RIGHT]) - 1) // TILE_W + 1):
                head[y * across + x] -= 1
                place[head[y * across + x]] = n


@kernel
def project_and_bin(
    claim, segments, records, start, corners, camera, focal, cx, cy, width, height, depth,
    items, tile, head, place,
):  # fmt: skip
    """Take one segment of triangles after the other, segments[s]..segments[s + 1] - 1, until none is left.

    claim (1,) int64: the next one, shared by threads. head (S, tiles + 1), place (S, room) as in bin_segment.
    """
    across = (width + TILE_W - 1) // TILE_W
    while True:
        s: int = fetch_add(claim.ctypes.data, np.int64(1))
        if s >= head.shape[0]:
            return
        k0, k1 = segments[s], segments[s + 1]
        n = project_segment(
            k0, k1, records, start, corners, camera, focal, cx, cy, width, height, depth, items, tile, head[s]
        )
        bin_segment(items, tile, start[k0], n, across, head[s], place[s])


@kernel
def splat_tile(left, top, tile, items, head, place, depth, sums, extent):
    """Add the items of a tile to its sums. left, top: its first pixel."""
    depth_base, depth_stride = depth.ctypes.data, depth.strides[0]
    sums_base, sums_stride, plane = sums.ctypes.data, sums.strides[0], np.int64(sums.strides[1])
    item_base = items.ctypes.data
    for s in range(head.shape[0]):
        for p in range(head[s, tile], head[s, tile + 1]):
            prefetch(np.int64(item_base + 4 * ITEM * np.int64(place[s, p + AHEAD])))
            r = items[place[s, p]]
            x0, x1 = max(np.int64(r[LEFT]), left), min(np.int64(r[RIGHT]), left + TILE_W)
            y0, y1 = max(np.int64(r[TOP]), top), min(np.int64(r[BOTTOM]), top + TILE_H)
            for block in range((y0 - top) // BLOCK, (y1 - top - 1) // BLOCK + 1):
                extent[block, 0], extent[block, 1] = min(extent[block, 0], x0), max(extent[block, 1], x1)
            mx, my, slope, fall = r[MX], r[MY], r[SLOPE], r[FALL]  # once: stores below might alias the item
            curvature, limit, red, green, blue, lack = r[CURVATURE], r[LIMIT], r[R], r[G], r[B_], r[LACK]
            at = sums_base + (x0 - left) * 4 + (5 * plane if r[LAYER] != ZERO else 0)
            behind = depth_base + x0 * 4
            for row in range(y0, y1):
                dy = _f(row) + HALF - my
                peak, t0 = ONE - dy * dy * fall, _f(x0) + HALF - mx - dy * slope
                for lane in range(0, x1 - x0, LANES):
                    splat_row8(
                        np.int64(at + (row - top) * sums_stride + 4 * lane), plane,
                        np.int64(behind + row * depth_stride + 4 * lane), _f(t0 + _f(lane)), curvature, peak, limit,
                        red, green, blue, lack,
                    )  # fmt: skip


@kernel
def resolve_row(sums, depth, left, a, b, out):
    """A tile's row of sums (10, ROOM), pixels a..b - 1 of the picture -> out (4, ROOM): colour times alpha,
    alpha. Clears the sums, those of lanes past the end, too. left: the tile's first pixel."""
    base, plane = sums.ctypes.data - 4 * left, np.int64(sums.strides[0])
    behind, result, result_plane = depth.ctypes.data, out.ctypes.data - 4 * left, np.int64(out.strides[0])
    for x in range(a, b + LANES if a < b else a, LANES):
        offset = 4 * x
        resolve_row8(
            np.int64(base + offset), plane, np.int64(behind + offset), np.int64(result + offset), result_plane
        )  # fmt: skip


@kernel
def splat_next(claim, width, height, items, head, place, depth, sums, extent, spent):
    """Take the next tile and sum it -> its first and one past its last column and row; -1s when none is left.

    claim as in project_and_bin. sums (TILE_H, 10, ROOM), extent (TILE_H / BLOCK, 2) and spent (1,), seconds, are the
    thread's own; sums must be zero.
    """
    across = (width + TILE_W - 1) // TILE_W
    tile: int = fetch_add(claim.ctypes.data, np.int64(1))
    if tile >= head.shape[1] - 1:
        return -1, -1, -1, -1
    began = seconds()
    left, top = tile % across * TILE_W, tile // across * TILE_H
    right, bottom = min(left + TILE_W, width), min(top + TILE_H, height)
    extent[:, 0], extent[:, 1] = right, left
    splat_tile(left, top, tile, items, head, place, depth, sums, extent)
    spent[0] += seconds() - began
    return left, right, top, bottom


@kernel
def draw_rgba(claim, items, head, place, depth, sums, extent, lines, spent, out):
    """Sum and resolve tiles until none is left -> out (H, W, 4) float32, colour times alpha and alpha.

    Arguments as of splat_next; lines (2, 4, ROOM) are the thread's own, too.
    """
    H, W = out.shape[:2]
    while True:
        left, right, top, bottom = splat_next(claim, W, H, items, head, place, depth, sums, extent, spent)
        if left < 0:
            return
        for row in range(top, bottom):
            a, b = extent[(row - top) // BLOCK, 0], extent[(row - top) // BLOCK, 1]
            out[row, left:right] = ZERO
            resolve_row(sums[row - top], depth[row], left, a, b, lines[0])
            for x in range(a, b):
                for c in range(4):
                    out[row, x, c] = lines[0, c, x - left]


@kernel
def draw_i420(claim, width, height, items, head, place, depth, sums, extent, lines, spent, background, out):
    """As draw_rgba, with items in Y, U, V code values over background -> out, both I420 (flat). Even sides."""
    while True:
        left, right, top, bottom = splat_next(claim, width, height, items, head, place, depth, sums, extent, spent)
        if left < 0:
            return
        for row in range(top, bottom, 2):
            a, b = extent[(row - top) // BLOCK, 0], extent[(row - top) // BLOCK, 1]
            a, b = a // 2 * 2, (max(b, a) + 1) // 2 * 2
            for i in range(2):
                resolve_row(sums[row + i - top], depth[row + i], left, a, b, lines[i])
                luma_row(lines[i], left, right, a, b, (row + i) * width, background, out)
            chroma_rows(lines, left, right, a, b, row, width, height, background, out)


@kernel
def luma_row(line, left, right, a, b, y, background, out):
    """Y of pixels left..right - 1 of the row that begins at y; the background alone outside a..b - 1."""
    out[y + left : y + a] = background[y + left : y + a]
    out[y + b : y + right] = background[y + b : y + right]
    for x in range(a, b):
        out[y + x] = np.uint8(line[0, x - left] + (ONE - line[3, x - left]) * _f(background[y + x]) + HALF)


@kernel
def chroma_rows(lines, left, right, a, b, row, width, height, background, out):
    """U and V of the rows `row` and row + 1, the mean of 2 x 2 pixels."""
    half = width // 2
    for c in range(2):
        plane = width * height + c * half * (height // 2) + row // 2 * half
        out[plane + left // 2 : plane + a // 2] = background[plane + left // 2 : plane + a // 2]
        out[plane + b // 2 : plane + right // 2] = background[plane + b // 2 : plane + right // 2]
        s0, s1, a0, a1 = lines[0, 1 + c], lines[1, 1 + c], lines[0, 3], lines[1, 3]
        for h in range(a // 2, b // 2):
            x = 2 * h - left
            colour = s0[x] + s0[x + 1] + s1[x] + s1[x + 1]
            alpha = a0[x] + a0[x + 1] + a1[x] + a1[x + 1]
            behind = _f(background[plane + h])
            out[plane + h] = np.uint8(_f(0.25) * (colour + (_f(4) - alpha) * behind) + HALF)


@kernel
def collect(items, order, depth, sums, factor, row, column, value):
    """The weights of splat_tile as a sparse matrix; returns the number of entries. depth (H, W) is inverted.

    Called twice: without room (row empty) it fills sums (H, W, 4: solid and fringe weight and deficit) and counts; with
    room it writes pixel, Gaussian (order[NUMBER]) and weight times factor (H, W, 2).
    """
    W = depth.shape[1]
    n, room = 0, row.shape[0]
    for i in range(items.shape[0]):
        r = items[i]
        layer = 1 if r[LAYER] != ZERO else 0
        for y in range(np.int64(r[TOP]), np.int64(r[BOTTOM])):
            dy = _f(y) + HALF - r[MY]
            peak = ONE - dy * dy * r[FALL]
            for x in range(np.int64(r[LEFT]), np.int64(r[RIGHT])):
                t = _f(x) + HALF - r[MX] - dy * r[SLOPE]
                w = peak - r[CURVATURE] * t * t
                if w <= ONE - CUTOFF * WEIGHT_SCALE or depth[y, x] > r[LIMIT]:
                    continue
                w *= w
                w *= w
                w *= w
                w *= w
                if room == 0:
                    sums[y, x, 2 * layer] += w
                    sums[y, x, 2 * layer + 1] += w * r[LACK]
                else:
                    row[n], column[n], value[n] = y * W + x, order[np.int64(r[NUMBER])], w * factor[y, x, layer]
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
