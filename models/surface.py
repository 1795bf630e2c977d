"""Closest points on a triangle mesh."""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

F64 = NDArray[np.float64]


@nb.njit(cache=True, nogil=True, inline="always")
def _dot(ax, ay, az, bx, by, bz):  # type: ignore[no-untyped-def]
    return ax * bx + ay * by + az * bz


@nb.njit(cache=True, nogil=True)
def _closest_on_triangle(px, py, pz, t):  # type: ignore[no-untyped-def]
    """Weights of the point of triangle t (3, 3) closest to p (Ericson, Real-Time Collision Detection, 5.1.5)."""
    abx, aby, abz = t[1, 0] - t[0, 0], t[1, 1] - t[0, 1], t[1, 2] - t[0, 2]
    acx, acy, acz = t[2, 0] - t[0, 0], t[2, 1] - t[0, 1], t[2, 2] - t[0, 2]
    ax, ay, az = px - t[0, 0], py - t[0, 1], pz - t[0, 2]
    d1, d2 = _dot(abx, aby, abz, ax, ay, az), _dot(acx, acy, acz, ax, ay, az)
    if d1 <= 0 and d2 <= 0:
        return 1.0, 0.0, 0.0
    bx, by, bz = px - t[1, 0], py - t[1, 1], pz - t[1, 2]
    d3, d4 = _dot(abx, aby, abz, bx, by, bz), _dot(acx, acy, acz, bx, by, bz)
    if d3 >= 0 and d4 <= d3:
        return 0.0, 1.0, 0.0
    vc = d1 * d4 - d3 * d2
    if vc <= 0 and d1 >= 0 and d3 <= 0:
        k = d1 / (d1 - d3)
        return 1 - k, k, 0.0
    cx, cy, cz = px - t[2, 0], py - t[2, 1], pz - t[2, 2]
    d5, d6 = _dot(abx, aby, abz, cx, cy, cz), _dot(acx, acy, acz, cx, cy, cz)
    if d6 >= 0 and d5 <= d6:
        return 0.0, 0.0, 1.0
    vb = d5 * d2 - d1 * d6
    if vb <= 0 and d2 >= 0 and d6 <= 0:
        k = d2 / (d2 - d6)
        return 1 - k, 0.0, k
    va = d3 * d6 - d5 * d4
    if va <= 0 and d4 >= d3 and d5 >= d6:
        k = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        return 0.0, 1 - k, k
    k = 1 / (va + vb + vc)
    return 1 - vb * k - vc * k, vb * k, vc * k


@nb.njit(cache=True, nogil=True)
def _search(points, normals, corners, centres, radii, face_normals, order, face, bary, distance):  # type: ignore[no-untyped-def]
    """order (N,): for each point a triangle to start with, so that most others are ruled out by their spheres."""
    for i in range(len(points)):
        px, py, pz = points[i]
        nx, ny, nz = normals[i]
        best = np.inf
        for step in range(-1, len(corners)):
            f = order[i] if step < 0 else step
            x, y, z = centres[f]
            reach = best + radii[f]
            if (px - x) ** 2 + (py - y) ** 2 + (pz - z) ** 2 >= reach * reach:
                continue
            if _dot(nx, ny, nz, face_normals[f, 0], face_normals[f, 1], face_normals[f, 2]) < 0:
                continue
            t = corners[f]
            u, v, w = _closest_on_triangle(px, py, pz, t)
            dx = u * t[0, 0] + v * t[1, 0] + w * t[2, 0] - px
            dy = u * t[0, 1] + v * t[1, 1] + w * t[2, 1] - py
            dz = u * t[0, 2] + v * t[1, 2] + w * t[2, 2] - pz
            d = np.sqrt(dx * dx + dy * dy + dz * dz)
            if d < best:
                best, face[i] = d, f
                bary[i, 0], bary[i, 1], bary[i, 2] = u, v, w
        distance[i] = best


def closest_points(
    points: NDArray, vertices: NDArray, faces: NDArray, normals: NDArray | None = None
) -> tuple[NDArray[np.int32], F64, F64]:
    """For points (N, 3) the closest triangle (N,), its barycentric weights (N, 3) and the distance (N,).

    With normals (N, 3) only triangles that face the same way are looked at; where there is none, the distance is
    infinite and the triangle -1.
    """
    p = np.ascontiguousarray(points, np.float64)
    corners = np.ascontiguousarray(np.asarray(vertices, np.float64)[faces])
    centres = corners.mean(1)
    radii = np.linalg.norm(corners - centres[:, None], axis=2).max(1)
    facing = np.zeros_like(centres) if normals is None else triangle_normals(vertices, faces)
    n = np.zeros_like(p) if normals is None else np.ascontiguousarray(normals, np.float64)
    face, bary, distance = np.full(len(p), -1, np.int32), np.zeros((len(p), 3)), np.zeros(len(p))
    nearest = cKDTree(centres).query(p)[1].astype(np.int64)
    _search(p, n, corners, centres, radii, facing, nearest, face, bary, distance)
    return face, bary, distance


def triangle_normals(vertices: NDArray, faces: NDArray) -> F64:
    """(F, 3) unit normals."""
    a, b, c = np.asarray(vertices, np.float64)[faces].transpose(1, 0, 2)
    n = np.cross(b - a, c - a)
    return n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-20)


def vertex_normals(vertices: NDArray, faces: NDArray) -> F64:
    """(V, 3) unit normals, triangles weighted by area."""
    a, b, c = np.asarray(vertices, np.float64)[faces].transpose(1, 0, 2)
    face_normals = np.cross(b - a, c - a)
    n = np.zeros((len(vertices), 3))
    for k in range(3):
        np.add.at(n, faces[:, k], face_normals)
    return n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-20)
