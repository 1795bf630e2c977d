"""Stage mesh, the shell: a 2.5-D sheet over whatever the matte holds beyond the body.

Hair, collar, clothes, static arms. Its depth continues the body's and goes back towards the matte's edge; its weights
are the skull's, the neck's and the trunk's.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from avatar.build.arms.sheet import STEEP, facing
from avatar.build.kinematics import F64
from avatar.build.observe import Observation, unit
from avatar.render import cpu
from avatar.render.contract import Camera
from models.matting import push_pull
from models.motion import JOINT

F32 = NDArray[np.float32]

CELL = 4.0  # px, as all lengths in px for a face 140 px wide
OVERLAP = 4.0  # px that the shell continues under the body's edge
BEHIND = 0.004  # m deeper there
UNDER = 1.5  # px of the picture that a triangle across the edge goes under it
PUSHES, PUSHED_MOST = 4, 0.01  # by which what would stand before the body all the same goes back; m
BEYOND = 16.0  # px that it continues beyond the picture
EVEN = 3.0  # px, sigma over which the contour's depth is evened out
ROUND, ROUND_MOST = 1.0, 25.0  # how far it goes back at the matte's edge: times its width there, at most px
SNAP, ON_EDGE = 0.45, 1.0  # cells that a vertex goes to lie on the outline, and px inside where that is
EDGE_ALPHA = 0.1  # of the edge to which it goes back
SOLID = 0.6  # alpha of all corners from which a triangle may hide what is behind it
RINGS = 2  # of triangles next to such as reach a cell and more off the body
JOINTS = np.array([JOINT[n] for n in ("head", "neck", "spine3", "spine2", "spine1", "pelvis")])


@dataclass(frozen=True)
class Shell:
    vertices: F64  # (n, 3) m
    faces: NDArray[np.int64]  # (m, 3)
    weights: F64  # (n, J)
    solid: NDArray[np.bool_]  # (m,) may hide what is behind it


def build(o: Observation, depth: F32, ids: NDArray[np.int32], faces: NDArray[np.int32], weights: F64) -> Shell:
    """The shell beyond a body: its depth (H, W) m and the triangle (H, W) in front, -1 for none; weights (V, J).

    At the picture's sides and bottom the sheet goes on for BEYOND as it is at the border: a lean uncovers it.
    """
    u, covered = unit(o), ids >= 0
    z, groups = _continued(depth, covered, faces, ids, weights, u)
    m = round(BEYOND * u)
    beyond = lambda a: np.pad(a, ((0, m), (m, m), *((0, 0),) * (a.ndim - 2)), mode="edge")  # noqa: E731
    z, groups, alpha, covered = beyond(z), beyond(groups), beyond(o.alpha), beyond(covered)
    H, W = alpha.shape
    g = max(CELL * u, 2.0)
    rows, columns = int(np.ceil(H / g)) + 1, int(np.ceil(W / g)) + 1
    gy, gx = np.mgrid[0:rows, 0:columns] * g
    r = max(round(OVERLAP * u), 1)
    inner = cv2.erode(covered.astype(np.uint8), np.ones((2 * r + 1, 2 * r + 1)), borderType=cv2.BORDER_REPLICATE)
    need = ((cv2.dilate(alpha, np.ones((5, 5))) > 0.02) & (inner == 0)).astype(np.uint8)
    triangles, used = _grid_triangles(_any_in_cells(need, rows - 1, columns - 1, g))
    gx, gy = _on_the_outline(alpha, gx.ravel()[used], gy.ravel()[used], g)
    _, beside = distance_transform_edt(covered, return_indices=True)
    gx, gy = _to_the_body(covered, beside, gx, gy, triangles)
    yy, xx = (np.floor(q).astype(int).clip(0, n - 1) for q, n in ((gy, H), (gx, W)))
    under = covered[yy, xx]
    body = z
    z = z + _rounded(alpha, covered, ROUND_MOST * u) * (np.median(z[covered]) if covered.any() else 1) / o.camera.focal
    deep = np.maximum(z + np.where(covered, BEHIND, 0), z[tuple(beside)])  # never before the edge that it goes on from
    v = _unproject(o.camera, gx - m, gy, _behind(np.stack([gx, gy, deep[yy, xx]], 1), triangles, under, body, covered))
    flat, hidden = facing(v[triangles]) > STEEP, under[triangles].all(1)
    kept = flat | ~hidden  # under the body a bridge between two depths would but lie before what is behind the nearer
    triangles, flat, hidden = triangles[kept], flat[kept], hidden[kept]
    solid = ~hidden & (alpha[yy, xx][triangles].min(1) > SOLID) & flat
    off = cv2.distanceTransform((~covered).astype(np.uint8), cv2.DIST_L2, 5)[yy, xx]
    solid &= _no_rim(triangles, solid, off[triangles].max(1) > g)
    w = np.zeros((len(used), weights.shape[1]))
    w[:, JOINTS] = groups[yy, xx]
    return Shell(v, triangles, w, solid)


def _no_rim(triangles: NDArray, solid: NDArray[np.bool_], off: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(f,) solid (f,) triangles that are more than a rim about the body: such as reach well off (f,) it, and those next
    to them. A rim may hide nothing: a turn would show it as a line before the cheek's side."""
    out = solid & off
    for _ in range(RINGS):
        out |= solid & np.isin(triangles, triangles[out]).any(1)
    return out


def _to_the_body(covered: NDArray[np.bool_], beside: NDArray, x: F64, y: F64, triangles: NDArray) -> tuple[F64, F64]:
    """Grid vertices (n,) px under the body that share a triangle with one beside it, put just under the body's edge: a
    turn would show what goes farther as a rim before the cheek's side. beside (2, H, W): the nearest pixel beside."""
    H, W = covered.shape
    j, i = np.floor(y).astype(int).clip(0, H - 1), np.floor(x).astype(int).clip(0, W - 1)
    under = covered[j, i]
    across = under[triangles].any(1) & ~under[triangles].all(1)
    at = np.intersect1d(triangles[across], np.flatnonzero(under))
    edge = beside[::-1, j[at], i[at]].T + 0.5
    way = np.stack([x[at], y[at]], 1) - edge
    way *= np.minimum(UNDER / np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-6), 1)
    x, y = x.copy(), y.copy()
    x[at], y[at] = (edge + way).T
    return x, y


def _behind(points: F64, triangles: NDArray, under: NDArray[np.bool_], depth: F32, covered: NDArray[np.bool_]) -> F64:
    """(n,) m: depths of the sheet's vertices, those under the body (n,) so far back that no triangle comes out before
    it. Where the body falls away within a cell, as from a temple to the hair behind it, a sheet whose vertices alone
    are hidden stands before it. points (n, 3): px, px, m; depth (H, W) of the body where it is covered (H, W)."""
    out = points.copy()
    for _ in range(PUSHES):
        z, ids = cpu.zbuffer(out, triangles.astype(np.int32), *depth.shape[::-1])
        out_before = covered & (ids >= 0) & (z < depth)
        push = np.zeros(len(out))
        for corner in triangles[ids[out_before]].T:
            np.maximum.at(push, corner, (depth - z)[out_before])
        out[under, 2] += push[under]
    return np.minimum(out[:, 2], points[:, 2] + PUSHED_MOST)


def _on_the_outline(alpha: NDArray, x: F64, y: F64, cell: float) -> tuple[F64, F64]:
    """Grid vertices (n,) px near the matte's outline, put on it: what is solid then ends in a line, not in steps."""
    inside = (alpha > SOLID).astype(np.uint8)
    signed = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    distance: NDArray = cv2.GaussianBlur(signed, (0, 0), max(cell / 4, 0.8))
    dy, dx = np.gradient(distance)
    H, W = alpha.shape
    x, y = x.astype(np.float64), y.astype(np.float64)
    j, i = np.floor(y).astype(int).clip(0, H - 1), np.floor(x).astype(int).clip(0, W - 1)
    way = distance[j, i] - ON_EDGE  # a little inside, so that the vertex itself is solid
    steep = np.hypot(dx[j, i], dy[j, i])
    near = (np.abs(way) < SNAP * cell) & (steep > 0.5)
    step = np.where(near, -way / np.maximum(steep, 0.5) ** 2, 0)
    return x + step * dx[j, i], y + step * dy[j, i]


def _rounded(alpha: NDArray, covered: NDArray[np.bool_], most: float) -> NDArray[np.float32]:
    """(H, W) px, up to `most`, by which the sheet goes back: an ellipse's quarter from the body's edge to the matte's.

    A flat sheet would stand off a turned head like a fin; one that goes back steeply hides behind it, as hair does.
    """
    out = cv2.distanceTransform(np.where(covered, 0, 1).astype(np.uint8), cv2.DIST_L2, 5)
    left = cv2.distanceTransform((alpha > EDGE_ALPHA).astype(np.uint8), cv2.DIST_L2, 5)
    width = out + left
    share = (out / np.maximum(width, 1e-3)).clip(0, 1)
    deep = np.minimum(ROUND * width, most)
    return np.asarray(deep * (1 - np.sqrt(1 - share**2)), np.float32)


def _continued(
    depth: F32, covered: NDArray[np.bool_], faces: NDArray, ids: NDArray, weights: F64, u: float
) -> tuple[F32, F32]:
    """The body's depth (H, W) and its weights for JOINTS (H, W, 6), smoothly continued beyond it."""
    known = covered.astype(np.float32)
    z = np.where(covered, depth, _of_the_contour(depth, covered, EVEN * u))
    trunk = weights[:, JOINTS].copy()
    trunk[:, 0] = 1 - trunk[:, 1:].sum(1)  # jaw and eyes: the skull
    groups = np.zeros((*covered.shape, len(JOINTS)), np.float32)
    groups[covered] = trunk[faces[ids[covered]]].mean(1)
    halves = [push_pull(np.ascontiguousarray(h), known) for h in np.split(groups, 2, axis=2)]  # at most 4 channels
    groups = np.concatenate([cv2.GaussianBlur(h, (0, 0), 6 * u) for h in halves], 2)
    return z, groups / groups.sum(2, keepdims=True)


def _of_the_contour(depth: F32, covered: NDArray[np.bool_], sigma: float) -> F32:
    """(H, W) m: the depth along the contour of what is covered, smoothly continued beyond it.

    Hair beside a face goes on from the skull's contour, behind the ears: a mean of more than the contour would lie
    centimetres before it.
    """
    inside = cv2.erode(covered.astype(np.uint8), np.ones((3, 3)), borderType=cv2.BORDER_REPLICATE) > 0
    contour = (covered & ~inside).astype(np.float32)
    z = push_pull(np.where(contour > 0, depth, 0)[..., None].astype(np.float32), contour)[..., 0]
    return np.asarray(cv2.GaussianBlur(z, (0, 0), sigma), np.float32)


def _any_in_cells(mask: NDArray, rows: int, columns: int, g: float) -> NDArray[np.bool_]:
    """(rows, columns): does a grid cell of g pixels hold a set pixel?"""
    total = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1))
    total[1:, 1:] = mask.cumsum(0).cumsum(1)
    y = np.floor(np.arange(rows + 1) * g).astype(int)
    x = np.floor(np.arange(columns + 1) * g).astype(int)
    y0, y1 = y[:-1].clip(0, mask.shape[0]), (y[1:] + 1).clip(0, mask.shape[0])
    x0, x1 = x[:-1].clip(0, mask.shape[1]), (x[1:] + 1).clip(0, mask.shape[1])
    t = total
    return t[y1][:, x1] - t[y0][:, x1] - t[y1][:, x0] + t[y0][:, x0] > 0


def _grid_triangles(cell: NDArray[np.bool_]) -> tuple[NDArray, NDArray]:
    """Cells of a grid -> triangles facing the viewer, renumbered, and the grid vertices they use."""
    i = np.arange((cell.shape[0] + 1) * (cell.shape[1] + 1)).reshape(cell.shape[0] + 1, cell.shape[1] + 1)
    q = np.stack([i[:-1, :-1], i[:-1, 1:], i[1:, 1:], i[1:, :-1]], -1)[cell]
    triangles = np.concatenate([q[:, [0, 2, 1]], q[:, [0, 3, 2]]])
    used, inverse = np.unique(triangles, return_inverse=True)
    return inverse.reshape(-1, 3), used


def _unproject(camera: Camera, x: NDArray, y: NDArray, z: NDArray) -> F64:
    """Pixels and depth -> (..., 3) world m."""
    return np.stack([(x - camera.cx) / camera.focal * z, -(y - camera.cy) / camera.focal * z, -z], -1)
