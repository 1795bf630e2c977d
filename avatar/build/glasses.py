"""Glasses: found in the photo, taken off the face, and put back as a sheet of their own that the head alone moves.

Painted on skin a frame closes with the lid and slides with the brow. It is told by what no bare face has: a line across
the bridge of the nose together with one below an eye. Lines are black-hats (closings minus picture), taken along x and
y, in a view of the eyes of fixed size, over the light about them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.build.arms.sheet import Sheet
from avatar.build.kinematics import F64
from avatar.build.landmarks import LEFT_EYE_RING, RIGHT_EYE_RING
from avatar.build.observe import Observation
from models.motion import HEAD

F32 = NDArray[np.float32]
EYES, VIEW, ORIGIN = 120.0, (240, 150), (120.0, 60.0)  # px: between the outer corners, the view, the eyes' middle in it
LINE = 13  # px, widest line that is found
BRIDGE, BELOW = ((-6, 6, -20, 25), (5.5, 0.2)), ((20, 52), (6.0, 0.5))  # x0, x1, y0, y1 | y0, y1; (least, quantile)
EYE_X = ((-50, -20), (20, 50))  # where each eye's lower rim is looked for
SURE, MAYBE, LIKE = 6.5, 4.5, 0.25  # strength of a line that starts a frame, of one that continues it, of the bridge's
REACH = (-98, 98, -22, 54)  # x0, x1, y0, y1 in which there may be frame
NOSE = (22, 26)  # no frame nearer to the midline below this
LIGHT = 50.0  # CIE L at which a line's strength is taken as it is
EYE_FREE = (1.35, 1.9)  # sizes of an eye, across and down, that are eye, lids and lashes
GAP = 2.5  # px of the view, half a gap in a line
WIDER = 1.5  # px of the view that a frame is wider than its dark line
DARKEST, OF_FRAME = 0.9, 0.3  # quantile that is the frame's own darkness against skin; of that, what is frame
CELL = 1.0  # px of the sheet's grid
BEFORE = 0.006  # m that it lies before the face: a smile lifts the cheek, and skin nearer behind counts as seen
PRESENT = 0.3


@dataclass(frozen=True)
class Glasses:
    frame: F32  # (H, W) 0..1 where the photo shows it


def find(o: Observation) -> Glasses | None:
    """None where the photo shows none."""
    to_view = _view(o)
    view = cv2.warpAffine(np.ascontiguousarray(o.rgb), to_view, VIEW, flags=cv2.INTER_AREA)
    lines_x, lines_y = _lines(np.asarray(view, np.uint8))
    cx, cy = (int(c) for c in ORIGIN)
    (x0, x1, y0, y1), (least, quantile) = BRIDGE
    bridge = float(np.quantile(lines_y[cy + y0 : cy + y1, cx + x0 : cx + x1].max(0), quantile))
    if bridge < least:
        return None
    (y0, y1), (least, quantile) = BELOW
    below = [np.quantile(lines_y[cy + y0 : cy + y1, cx + a : cx + b].max(0), quantile) for a, b in EYE_X]
    if max(below) < least:
        return None
    line = _connected(np.maximum(lines_x, lines_y) * _allowed(o, to_view), max(MAYBE, LIKE * bridge)).astype(np.float32)
    frame = cv2.GaussianBlur(cv2.dilate(line, _disc(WIDER)), (0, 0), 0.8)
    size = (o.camera.width, o.camera.height)
    back = cv2.warpAffine(frame, to_view, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return _narrowed(o, Glasses((back * (o.alpha > PRESENT)).clip(0, 1).astype(np.float32)))


def _narrowed(o: Observation, wide: Glasses) -> Glasses:
    """Only what is darker than the skin that would be there: skin on the sheet would not move with lids and brows."""
    light = lambda rgb: cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[..., 0]  # noqa: E731
    darker = cv2.GaussianBlur(light(taken_off(o.rgb, wide)) - light(o.rgb), (0, 0), 0.6)
    on = wide.frame > PRESENT
    if not on.any():
        return wide
    usual = max(float(np.quantile(darker[on], DARKEST)), 1.0)
    clear = cv2.dilate((darker > OF_FRAME * usual).astype(np.uint8), np.ones((3, 3)))
    return Glasses((wide.frame * clear).astype(np.float32))


def _view(o: Observation) -> F64:
    """(2, 3) from the photo to the upright view of the eyes."""
    first, last = o.landmarks[33].astype(np.float64), o.landmarks[263].astype(np.float64)
    d = (last - first) * EYES / ((last - first) ** 2).sum()
    R = np.array([[d[0], d[1]], [-d[1], d[0]]])
    return np.concatenate([R, (np.array(ORIGIN) - R @ (first + last) / 2)[:, None]], 1)


def _lines(view: NDArray[np.uint8]) -> tuple[F32, F32]:
    """How strong upright and level dark lines are, CIE L where the light about them is LIGHT."""
    L = cv2.cvtColor(view.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[..., 0]
    L = cv2.GaussianBlur(L, (0, 0), 0.8)
    gain = LIGHT / np.maximum(cv2.GaussianBlur(L, (0, 0), 10), 0.4 * LIGHT)
    closing = lambda w, h: cv2.morphologyEx(L, cv2.MORPH_CLOSE, np.ones((h, w), np.uint8)) - L  # noqa: E731
    return np.asarray(closing(LINE, 1) * gain, np.float32), np.asarray(closing(1, LINE) * gain, np.float32)


def _allowed(o: Observation, to_view: F64) -> F32:
    """1 where there may be frame: about the eyes, but neither in them nor on the nose's wings."""
    out = np.zeros(VIEW[::-1], np.float32)
    cx, cy = (int(c) for c in ORIGIN)
    x0, x1, y0, y1 = REACH
    out[cy + y0 : cy + y1, max(cx + x0, 0) : cx + x1] = 1
    out[cy + NOSE[1] :, cx - NOSE[0] : cx + NOSE[0]] = 0
    for ring in (RIGHT_EYE_RING, LEFT_EYE_RING):
        p = o.landmarks[list(ring)].astype(np.float64) @ to_view[:, :2].T + to_view[:, 2]
        hull = cv2.convexHull(((p - p.mean(0)) * np.array(EYE_FREE) + p.mean(0)).astype(np.int32))
        cv2.fillConvexPoly(out, hull, 0)
    return out


def _connected(strength: F32, least: float) -> NDArray[np.bool_]:
    """The lines that hang together, but for small gaps, with a sure one on the bridge or below an eye."""
    _, label = cv2.connectedComponents(cv2.dilate((strength > least).astype(np.uint8), _disc(GAP)))
    (x0, x1, y0, y1), _ = BRIDGE
    cx, cy = (int(c) for c in ORIGIN)
    start = np.zeros(strength.shape, bool)
    start[cy + y0 : cy + y1, cx + x0 : cx + x1] = True
    for a, b in EYE_X:
        start[cy + BELOW[0][0] : cy + BELOW[0][1], cx + a : cx + b] = True
    found = np.unique(label[start & (strength > max(SURE, least))])
    return np.isin(label, found[found > 0]) & (strength > least)


def _disc(radius: float) -> NDArray[np.uint8]:
    n = int(np.ceil(radius))
    y, x = np.mgrid[-n : n + 1, -n : n + 1]
    return (np.hypot(x, y) <= radius).astype(np.uint8)


def taken_off(picture: NDArray, glasses: Glasses) -> NDArray:
    """The picture (H, W, 3), uint8 or 0..1, with skin where the frame is."""
    mask = cv2.dilate((glasses.frame > 0.1).astype(np.uint8), np.ones((3, 3)))
    bytes_ = picture if picture.dtype == np.uint8 else (picture * 255).round().clip(0, 255).astype(np.uint8)
    filled = cv2.inpaint(np.ascontiguousarray(bytes_), mask, 4, cv2.INPAINT_TELEA)
    if picture.dtype == np.uint8:
        return filled
    return np.where(mask[..., None] > 0, filled.astype(np.float32) / 255, picture).astype(np.float32)


def sheet(o: Observation, glasses: Glasses, face_depth: NDArray) -> Sheet:
    """face_depth (H, W) m; inf beside the face. The frame lies on a surface curved about the head, just before it."""
    on = glasses.frame > PRESENT
    ys, xs = np.nonzero(on)
    step = CELL
    gy, gx = np.mgrid[ys.min() - 1 : ys.max() + 2 : step, xs.min() - 1 : xs.max() + 2 : step]
    rows, columns = gy.astype(int).clip(0, on.shape[0] - 1), gx.astype(int).clip(0, on.shape[1] - 1)
    z = _depth(face_depth, on, gx, gy)
    at = on[rows, columns]
    cell = at[:-1, :-1] | at[:-1, 1:] | at[1:, :-1] | at[1:, 1:]
    i = np.arange(gx.size).reshape(gx.shape)
    q = np.stack([i[:-1, :-1], i[:-1, 1:], i[1:, 1:], i[1:, :-1]], -1)[cell]
    triangles = np.concatenate([q[:, [0, 2, 1]], q[:, [0, 3, 2]]])
    used, faces = np.unique(triangles, return_inverse=True)
    c = o.camera
    points = np.stack([(gx - c.cx) / c.focal * z, -(gy - c.cy) / c.focal * z, -z], -1).reshape(-1, 3)[used]
    weights = np.zeros((len(used), 55))
    weights[:, HEAD] = 1
    faces = faces.reshape(-1, 3)
    shown = (cv2.dilate(on.astype(np.uint8), np.ones((3, 3))) * o.alpha).astype(np.float32)
    return Sheet(points, faces, weights, np.ones(len(faces), bool), shown, o.foreground)


def _depth(face: NDArray, on: NDArray[np.bool_], gx: NDArray, gy: NDArray) -> F64:
    """(h, w) m: quadratic across, linear down, fitted to the face under the frame, and everywhere before it."""
    ys, xs = np.nonzero(on & np.isfinite(face))
    centre, scale = np.array([xs.mean(), ys.mean()]), max(float(np.ptp(xs)) / 2, 1.0)

    def basis(x: NDArray, y: NDArray) -> F64:
        u, v = (x - centre[0]) / scale, (y - centre[1]) / scale
        return np.stack([np.ones_like(u), u, u**2, v], -1)

    A, b = basis(xs + 0.5, ys + 0.5), face[ys, xs]
    k = np.linalg.lstsq(A, b, rcond=None)[0]
    k[0] += np.quantile(b - A @ k, 0.3) - BEFORE
    q = [c.astype(int).clip(0, n - 1) for c, n in ((gy, face.shape[0]), (gx, face.shape[1]))]
    return np.minimum(basis(gx, gy) @ k, face[q[0], q[1]] - BEFORE)
