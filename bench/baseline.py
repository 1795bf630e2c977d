"""FROZEN: a plain numba rasterizer of 3D Gaussians by sorted alpha, the yardstick for ours. Never tuned.

What one would write after reading 3D Gaussian Splatting (Kerbl et al. 2023): project, sort by depth, bin into tiles,
blend each tile's Gaussians front to back, tiles in parallel. Constants are gsplat's.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import math

import numba as nb
import numpy as np
from numpy.typing import NDArray

from avatar.asset import Gaussians
from avatar.render.contract import Camera
from models.skinning import F32, I32

TILE = 32
DILATION, LEAST, MOST, STOP = 0.3, 1 / 255, 0.999, 1e-4
WIDER = 0.6 / 0.45  # alpha needs wider Gaussians than averaging to close the surface


@nb.njit(cache=True, parallel=True, fastmath=True, error_model="numpy")
def in_space(vertices, faces, face, bary, shape, mean, covariance):
    """Gaussians on posed triangles -> mean (N, 3), covariance (N, 6: xx xy xz yy yz zz), in camera space."""
    for i in nb.prange(face.shape[0]):
        a, b, c = faces[face[i], 0], faces[face[i], 1], faces[face[i], 2]
        root = np.empty((3, 2), np.float32)
        for k in range(3):
            sign = np.float32(1 if k == 0 else -1)
            e1, e2 = sign * (vertices[b, k] - vertices[a, k]), sign * (vertices[c, k] - vertices[a, k])
            mean[i, k] = sign * vertices[a, k] + bary[i, 0] * e1 + bary[i, 1] * e2
            root[k, 0] = np.float32(WIDER) * (e1 * shape[i, 0, 0] + e2 * shape[i, 1, 0])
            root[k, 1] = np.float32(WIDER) * (e1 * shape[i, 0, 1] + e2 * shape[i, 1, 1])
        n = 0
        for k in range(3):
            for m in range(k, 3):
                covariance[i, n] = root[k, 0] * root[m, 0] + root[k, 1] * root[m, 1]
                n += 1


@nb.njit(cache=True, parallel=True, fastmath=True, error_model="numpy")
def project(mean, covariance, opacity, focal, cx, cy, width, height, record):
    """-> record (N, 10): x, y, conic (3), depth (0: not drawn), first and one past the last pixel column and row."""
    for i in nb.prange(mean.shape[0]):
        x, y, z = mean[i]
        record[i, 5] = 0
        if z < 0.01:
            continue
        tx, ty, j = x / z, y / z, focal / z
        v = covariance[i]
        A = j * j * (v[0] - 2 * tx * v[2] + tx * tx * v[5]) + DILATION
        B = j * j * (v[1] - tx * v[4] - ty * v[2] + tx * ty * v[5])
        C = j * j * (v[3] - 2 * ty * v[4] + ty * ty * v[5]) + DILATION
        det = A * C - B * B
        if det <= 0 or opacity[i] < LEAST:
            continue
        reach = math.sqrt(2 * math.log(255 * opacity[i]))
        u, w = focal * tx + cx, focal * ty + cy
        sx, sy = reach * math.sqrt(A), reach * math.sqrt(C)
        x0, x1 = max(0.0, math.ceil(u - sx - 0.5)), min(float(width), math.floor(u + sx - 0.5) + 1.0)
        y0, y1 = max(0.0, math.ceil(w - sy - 0.5)), min(float(height), math.floor(w + sy - 0.5) + 1.0)
        if x0 >= x1 or y0 >= y1:
            continue
        record[i, 0], record[i, 1] = u, w
        record[i, 2], record[i, 3], record[i, 4], record[i, 5] = C / det, -B / det, A / det, z
        record[i, 6], record[i, 7], record[i, 8], record[i, 9] = x0, x1, y0, y1


@nb.njit(cache=True)
def bin_tiles(record, order, columns, start, place):
    """order: Gaussians by depth. start (tiles + 1,) and place: those of each tile, in order. Returns their number."""
    start[:] = 0
    for i in order:
        if record[i, 5] > 0:
            for y in range(int(record[i, 8]) // TILE, (int(record[i, 9]) - 1) // TILE + 1):
                for x in range(int(record[i, 6]) // TILE, (int(record[i, 7]) - 1) // TILE + 1):
                    start[y * columns + x + 1] += 1
    for t in range(start.shape[0] - 1):
        start[t + 1] += start[t]
    if start[-1] > place.shape[0]:
        return start[-1]
    at = start[:-1].copy()
    for i in order:
        if record[i, 5] > 0:
            for y in range(int(record[i, 8]) // TILE, (int(record[i, 9]) - 1) // TILE + 1):
                for x in range(int(record[i, 6]) // TILE, (int(record[i, 7]) - 1) // TILE + 1):
                    t = y * columns + x
                    place[at[t]] = i
                    at[t] += 1
    return start[-1]


@nb.njit(cache=True, parallel=True, fastmath=True, error_model="numpy")
def blend(record, colour, opacity, columns, start, place, out):
    """Each tile's Gaussians front to back, over the pixels of each -> out (H, W, 4), colour times alpha and alpha."""
    for tile in nb.prange(start.shape[0] - 1):
        top, left = tile // columns * TILE, tile % columns * TILE
        out[top : top + TILE, left : left + TILE] = 0
        for k in range(start[tile], start[tile + 1]):
            i = place[k]
            for y in range(max(top, int(record[i, 8])), min(top + TILE, int(record[i, 9]))):
                dy = np.float32(y + 0.5) - record[i, 1]
                for x in range(max(left, int(record[i, 6])), min(left + TILE, int(record[i, 7]))):
                    T = np.float32(1) - out[y, x, 3]
                    if np.float32(STOP) > T:
                        continue
                    dx = np.float32(x + 0.5) - record[i, 0]
                    q = record[i, 2] * dx * dx + np.float32(2) * record[i, 3] * dx * dy + record[i, 4] * dy * dy
                    a = min(opacity[i] * math.exp(np.float32(-0.5) * q), np.float32(MOST))
                    if a < np.float32(LEAST):
                        continue
                    w = a * T
                    out[y, x, 0] += w * colour[i, 0]
                    out[y, x, 1] += w * colour[i, 1]
                    out[y, x, 2] += w * colour[i, 2]
                    out[y, x, 3] += w


class Baseline:
    """The same Gaussians as an avatar's, drawn by sorted alpha; colours are not solved for it."""

    def __init__(self, faces: I32, gaussians: Gaussians, camera: Camera) -> None:
        n = gaussians.count
        self._faces, self._g, self._camera = faces, gaussians, camera
        self._mean, self._covariance = np.zeros((n, 3), np.float32), np.zeros((n, 6), np.float32)
        self._record = np.zeros((n, 10), np.float32)
        self._columns = -(-camera.width // TILE)
        self._start = np.zeros(self._columns * -(-camera.height // TILE) + 1, np.int64)
        self._place = np.zeros(8 * n + 1, np.int32)
        self._out = np.zeros((camera.height, camera.width, 4), np.float32)

    def draw(self, vertices: F32) -> NDArray[np.float32]:
        """(H, W, 4), a reused buffer."""
        g, c = self._g, self._camera
        in_space(vertices, self._faces, g.face, g.bary, g.shape, self._mean, self._covariance)
        f = np.float32
        project(
            self._mean, self._covariance, g.opacity, f(c.focal), f(c.cx), f(c.cy), c.width, c.height, self._record
        )  # fmt: skip
        order = np.argsort(self._record[:, 5], kind="stable")
        needed = bin_tiles(self._record, order, self._columns, self._start, self._place)
        if needed > len(self._place):
            self._place = np.zeros(2 * needed, np.int32)
            bin_tiles(self._record, order, self._columns, self._start, self._place)
        blend(self._record, g.colour, g.opacity, self._columns, self._start, self._place, self._out)
        return self._out
