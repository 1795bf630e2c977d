"""Closest points on a triangle mesh."""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


@nb.njit(cache=True, nogil=True)
def _closest_on_triangle(p, a, b, c):  # type: ignore[no-untyped-def]
    """Barycentric weights of the point of triangle abc closest to p (Ericson, Real-Time Collision Detection, 5.1.5)."""
    ab, ac, ap = b - a, c - a, p - a
    d1, d2 = np.dot(ab, ap), np.dot(ac, ap)
    if d1 <= 0 and d2 <= 0:
        return 1.0, 0.0, 0.0
    bp = p - b
    d3, d4 = np.dot(ab, bp), np.dot(ac, bp)
    if d3 >= 0 and d4 <= d3:
        return 0.0, 1.0, 0.0
    vc = d1 * d4 - d3 * d2
    if vc <= 0 and d1 >= 0 and d3 <= 0:
        t = d1 / (d1 - d3)
        return 1 - t, t, 0.0
    cp = p - c
    d5, d6 = np.dot(ab, cp), np.dot(ac, cp)
    if d6 >= 0 and d5 <= d6:
        return 0.0, 0.0, 1.0
    vb = d5 * d2 - d1 * d6
    if vb <= 0 and d2 >= 0 and d6 <= 0:
        t = d2 / (d2 - d6)
        return 1 - t, 0.0, t
    va = d3 * d6 - d5 * d4
    if va <= 0 and d4 >= d3 and d5 >= d6:
        t = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        return 0.0, 1 - t, t
    k = 1 / (va + vb + vc)
    return 1 - vb * k - vc * k, vb * k, vc * k


@nb.njit(cache=True, nogil=True)
def _search(points, normals, corners, centres, radii, face_normals, face, bary, distance):  # type: ignore[no-untyped-def]
    for i in range(len(points)):
        best = np.inf
        for f in range(len(corners)):
            gap = np.sqrt(((points[i] - centres[f]) ** 2).sum()) - radii[f]
            if gap >= best or np.dot(normals[i], face_normals[f]) < 0:
                continue
            u, v, w = _closest_on_triangle(points[i], corners[f, 0], corners[f, 1], corners[f, 2])
            q = u * corners[f, 0] + v * corners[f, 1] + w * corners[f, 2]
            d = np.sqrt(((q - points[i]) ** 2).sum())
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
    _search(p, n, corners, centres, radii, facing, face, bary, distance)
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
