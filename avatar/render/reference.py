"""The compositing rule, slow and plain, in float64: what every rasterizer is measured against.

A pixel averages the surface Gaussians that cover it instead of stacking them by depth: surface splatting with an
elliptical weighted average (EWA; Zwicker, Pfister, van Baar, Gross, "EWA Splatting", 2002), preceded by a depth
pass that decides what belongs to the front-most surface (Botsch et al., "High-Quality Surface Splatting on Today's
GPUs", 2005). The projection of a covariance is that of 3D Gaussian Splatting (Kerbl et al. 2023; local affine
approximation J). Nothing is sorted.

A mean x = (X, Y, Z) in camera space is seen at (f X / Z + cx, f Y / Z + cy); the projection's Jacobian is

        f / Z     0    -f X / Z^2
    J =   0     f / Z  -f Y / Z^2

A Gaussian's shape M (2, 2) is kept in the basis of its triangle's edges E = [p1 - p0, p2 - p0] (3, 2), so that E M is a
square root of its covariance in space and the Gaussian stretches with the triangle. On the screen

    C = (J E M)(J E M)^T + DILATION I

where the dilation keeps a Gaussian from falling between pixel centres (3DGS and gsplat use .3; surface Gaussians
overlap their neighbours, .15 is enough and sharper).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatar.asset import Gaussians
from avatar.render.contract import CUTOFF, DILATION, FRINGE, HIT_FULL, NEAR, OPEN_FULL, TOLERANCE, Camera

F64 = NDArray[np.float64]


def draw(
    vertices: NDArray,  # (V, 3) posed, world m
    faces: NDArray,  # (F, 3)
    occluder: NDArray[np.bool_],  # (F,)
    gaussians: Gaussians,
    camera: Camera,
) -> F64:
    """(H, W, 4): RGB times alpha, alpha. Raises ValueError where anything is not finite."""
    check_finite(vertices, gaussians)
    points = camera.camera_from_world(np.asarray(vertices, np.float64))
    zb = depth_of_occluder(points, np.asarray(faces)[np.asarray(occluder, bool)], camera)
    mean, covariance = project(points, faces, gaussians, camera)
    solid, fringe = accumulate(mean, covariance, gaussians, zb, camera)
    return composite(solid, fringe, np.isfinite(zb))


def check_finite(vertices: NDArray, g: Gaussians) -> None:
    arrays = {"vertices": vertices, "bary": g.bary, "shape": g.shape, "colour": g.colour, "opacity": g.opacity}
    for name, a in arrays.items():
        if not np.isfinite(a).all():
            raise ValueError(f"{name} holds values that are not finite")


def depth_of_occluder(points: F64, triangles: NDArray, camera: Camera) -> F64:
    """Rule 1. points (V, 3) in camera space, triangles (T, 3) -> (H, W) depth at pixel centres, inf where nothing is.

    With barycentrics w of a pixel centre in the projected triangle, 1 / z = sum w_i / z_i (perspective is linear in
    1/z on the screen).
    """
    H, W = camera.height, camera.width
    zb = np.full((H, W), np.inf)
    z = points[:, 2]
    in_front = z >= NEAR
    safe = np.where(in_front, z, 1)
    x = camera.focal * points[:, 0] / safe + camera.cx
    y = camera.focal * points[:, 1] / safe + camera.cy
    for a, b, c in triangles:
        if not (in_front[a] and in_front[b] and in_front[c]):
            continue
        area = (x[b] - x[a]) * (y[c] - y[a]) - (y[b] - y[a]) * (x[c] - x[a])
        columns = _pixels(min(x[a], x[b], x[c]), max(x[a], x[b], x[c]), W)
        rows = _pixels(min(y[a], y[b], y[c]), max(y[a], y[b], y[c]), H)
        if area == 0 or not len(columns) or not len(rows):
            continue
        px, py = columns + 0.5 - x[a], (rows + 0.5 - y[a])[:, None]
        w1 = (px * (y[c] - y[a]) - py * (x[c] - x[a])) / area
        w2 = (py * (x[b] - x[a]) - px * (y[b] - y[a])) / area
        w0 = 1 - w1 - w2
        depth = 1 / np.maximum(w0 / z[a] + w1 / z[b] + w2 / z[c], 1e-12)
        covered = (w0 >= -1e-12) & (w1 >= -1e-12) & (w2 >= -1e-12)
        window = zb[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        np.minimum(window, np.where(covered, depth, np.inf), out=window)
    return zb


def project(points: F64, faces: NDArray, g: Gaussians, camera: Camera) -> tuple[F64, F64]:
    """Rule 2. -> mean (N, 3) pixel x, pixel y, depth (nan: not drawn); screen covariance (N, 2, 2)."""
    corner = points[np.asarray(faces)[g.face]]  # (N, 3, 3)
    edges = np.stack([corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]], 2)  # (N, 3, 2)
    x = corner[:, 0] + (edges @ g.bary.astype(np.float64)[:, :, None])[:, :, 0]
    drawn = x[:, 2] >= NEAR
    X, Y, Z = x[:, 0], x[:, 1], np.where(drawn, x[:, 2], 1)
    J = np.zeros((g.count, 2, 3))
    J[:, 0, 0] = J[:, 1, 1] = camera.focal / Z
    J[:, 0, 2], J[:, 1, 2] = -camera.focal * X / Z**2, -camera.focal * Y / Z**2
    root = J @ edges @ g.shape.astype(np.float64)
    covariance = root @ root.transpose(0, 2, 1) + DILATION * np.eye(2)
    mean = np.stack([camera.focal * X / Z + camera.cx, camera.focal * Y / Z + camera.cy, Z], 1)
    return np.where(drawn[:, None], mean, np.nan), covariance


def accumulate(mean: F64, covariance: F64, g: Gaussians, zb: F64, camera: Camera) -> tuple[F64, F64]:
    """Rule 3, sums of rule 4. -> solid and fringe (H, W, 5): weight, weight times opacity, weight times colour."""
    H, W = zb.shape
    sums = np.zeros((2, H, W, 5))
    for i in range(g.count):
        x, y, z = mean[i]
        if not np.isfinite(z):
            continue
        z -= TOLERANCE[g.layer[i]].astype(np.float64)
        if 0 <= x < W and 0 <= y < H and z > zb[int(y), int(x)]:
            continue  # the mean is hidden
        C = covariance[i]
        reach = np.sqrt(CUTOFF * np.diag(C))  # half sides of the ellipse's box
        columns, rows = _pixels(x - reach[0], x + reach[0], W), _pixels(y - reach[1], y + reach[1], H)
        if not len(columns) or not len(rows):
            continue
        dx, dy = columns + 0.5 - x, (rows + 0.5 - y)[:, None]
        determinant = C[0, 0] * C[1, 1] - C[0, 1] ** 2
        q = (C[1, 1] * dx**2 - 2 * C[0, 1] * dx * dy + C[0, 0] * dy**2) / determinant
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        w = np.where((q < CUTOFF) & (z <= zb[box]), (1 - q / 32) ** 16, 0)
        parts = np.concatenate([[1, g.opacity[i]], g.colour[i]]).astype(np.float64)
        sums[int(FRINGE[g.layer[i]])][box] += w[..., None] * parts
    return sums[0], sums[1]


def composite(solid: F64, fringe: F64, hit: NDArray[np.bool_]) -> F64:
    """Rule 4. Sums (H, W, 5) of the two layers -> (H, W, 4)."""
    ws, wf = solid[..., 0], fringe[..., 0]
    a_s = _ratio(solid[..., 1], ws) * np.minimum(ws / np.where(hit, HIT_FULL, OPEN_FULL), 1)
    a_f = _ratio(fringe[..., 1], wf) * np.minimum(wf / OPEN_FULL, 1) * np.where(hit, _ratio(wf, ws + wf), 1)
    under = a_s * (1 - a_f)
    colour = _ratio(fringe[..., 2:], wf[..., None]) * a_f[..., None]
    colour += _ratio(solid[..., 2:], ws[..., None]) * under[..., None]
    return np.concatenate([colour, (a_f + under)[..., None]], -1)


def over(picture: NDArray, background: NDArray) -> NDArray:
    """Rule 5. picture (H, W, 4) colour times alpha and alpha, background (H, W, 3) or (3,) -> (H, W, 3)."""
    return picture[..., :3] + (1 - picture[..., 3:]) * background


def _pixels(low: float, high: float, size: int) -> NDArray[np.int64]:
    """Pixels of 0..size - 1 whose centres lie in low..high."""
    first, last = max(np.ceil(low - 0.5), 0), min(np.floor(high - 0.5), size - 1)
    return np.arange(int(first), int(last) + 1) if first <= last else np.zeros(0, np.int64)


def _ratio(a: NDArray, b: NDArray) -> NDArray:
    """a / b, 0 where b is 0."""
    return np.divide(a, b, out=np.zeros(np.broadcast_shapes(a.shape, b.shape)), where=b > 0)
