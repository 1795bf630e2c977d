"""The rims that landmarks must lie on: lid margins, the seam of the closed lips, the lips' outer border.

All are read off one picture of the rest face from the front at 0.05 mm a pixel, for the person's right half (left in
the picture); the other half is its mirror image. A rim point is a point on the skin: triangle and weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.motion import ARKIT
from models.open_human import shade
from models.open_human.detect import Surface
from models.open_human.makehuman import F64
from models.open_human.shade import View

PIXEL = 5e-5  # m
UPPER_LID = [246, 161, 160, 159, 158, 157, 173]  # of the right eye, from the outer corner to the inner
LOWER_LID = [7, 163, 144, 145, 153, 154, 155]
OUTER_CORNER, INNER_CORNER = 33, 133
# rows of the lips from the outer border to the seam, each from beside the right corner to the middle
UPPER_LIP = [[185, 40, 39, 37, 0], [184, 74, 73, 72, 11], [183, 42, 41, 38, 12], [191, 80, 81, 82, 13]]
LOWER_LIP = [[146, 91, 181, 84, 17], [77, 90, 180, 85, 16], [96, 89, 179, 86, 15], [95, 88, 178, 87, 14]]
MOUTH_CORNERS = [61, 76, 62, 78]  # from the outer border to the seam

Rim = dict[int, tuple[int, F64]]  # landmark -> triangle, weights (3,)


@dataclass(frozen=True)
class Window:
    """A piece of the front view, which triangle each pixel shows."""

    view: View
    face: NDArray[np.int64]  # (H, W), -1 for none
    points: F64  # (V, 3) pixels

    @classmethod
    def of(cls, surface: Surface, triangles: NDArray, centre: F64, width: float, height: float) -> Window:
        size = (round(width / PIXEL), round(height / PIXEL))
        view = View((centre[0], centre[1], centre[2]), 1 / PIXEL, size)
        picture = shade.draw(surface.vertices, surface.faces[triangles], np.zeros((len(triangles), 3)), view)
        return cls(view, np.where(picture.face >= 0, triangles[picture.face], -1), picture.points)

    def weights(self, surface: Surface, x: NDArray, y: NDArray) -> F64:
        """(n, 3) where in their triangles the centres of pixels lie."""
        corners = self.points[surface.faces[self.face[y, x]], :2]
        a, b, c = corners.transpose(1, 0, 2)
        p = np.stack([x + 0.5, y + 0.5], 1)
        cross = lambda u, v: u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]  # noqa: E731
        area = cross(b - a, c - a)
        u, v = cross(b - p, c - p) / area, cross(c - p, a - p) / area
        w = np.stack([u, v, 1 - u - v], 1).clip(0, 1)
        return w / w.sum(1, keepdims=True)

    def skin_point(self, surface: Surface, x: int, y: int) -> tuple[int, F64]:
        """The skin nearest to a pixel."""
        shown = self.face[max(0, y - 40) : y + 41, max(0, x - 40) : x + 41]
        ys, xs = np.nonzero((shown >= 0) & (surface.part[shown] == 0))
        ys, xs = ys + max(0, y - 40), xs + max(0, x - 40)
        k = np.argmin((ys - y) ** 2 + (xs - x) ** 2)
        return int(self.face[ys[k], xs[k]]), self.weights(surface, xs[k : k + 1], ys[k : k + 1])[0]


def aperture(surface: Surface, eye: int) -> tuple[Window, NDArray[np.bool_]]:
    """The window around an eye (0 left, 1 right) and the mask of the eyeball seen in it."""
    window = Window.of(surface, surface.bare, surface.eyes[eye], 0.046, 0.03)
    return window, (window.face >= 0) & (surface.part[window.face] == eye + 1)


def lids(surface: Surface, canonical: F64) -> Rim:
    """The right eye's sixteen contour landmarks on the rim of its aperture, spaced as on MediaPipe's canonical face."""
    window, eye = aperture(surface, 1)
    columns = np.flatnonzero(eye.any(0))
    outer, inner = int(columns[0]), int(columns[-1])
    span = canonical[INNER_CORNER, 0] - canonical[OUTER_CORNER, 0]
    rim: Rim = {}
    for ids, upper in ((UPPER_LID, True), (LOWER_LID, False)):
        for landmark in ids:
            fraction = (canonical[landmark, 0] - canonical[OUTER_CORNER, 0]) / span
            x = round(outer + fraction * (inner - outer))
            rows = np.flatnonzero(eye[:, x])
            rim[landmark] = window.skin_point(surface, x, int(rows[0]) - 1 if upper else int(rows[-1]) + 1)
    for landmark, x, step in ((OUTER_CORNER, outer, -1), (INNER_CORNER, inner, 1)):
        rim[landmark] = window.skin_point(surface, x + step, round(float(np.flatnonzero(eye[:, x]).mean())))
    return rim


@dataclass(frozen=True)
class Mouth:
    """The closed lips' right half by columns of a window, from the corner to the middle."""

    window: Window
    columns: NDArray[np.int64]  # (n,)
    top: NDArray[np.int64]  # (n,) first row of painted lip
    seam: NDArray[np.int64]  # (n, 2) last row of the upper lip, first row of the lower
    bottom: NDArray[np.int64]  # (n,) last row of painted lip


def mouth(surface: Surface, body: dict[str, Any]) -> Mouth:
    """Find the lips: their border is MakeHuman's painted mask, their seam where jawOpen tears the picture apart."""
    lip_vertices = np.unique(surface.faces[surface.lips.mean(1) > 0.5])
    centre = surface.vertices[lip_vertices].mean(0) * [0, 1, 1]
    window = Window.of(surface, surface.bare, centre, 0.07, 0.036)
    y, x = np.nonzero(window.face >= 0)
    weights = window.weights(surface, x, y)
    shown = window.face[y, x]
    fall = -body["shapedirs"][:, 1, 300 + ARKIT.index("jawOpen")]
    painted, opening = np.zeros(window.face.shape), np.zeros(window.face.shape)
    painted[y, x] = (surface.lips[shown] * weights).sum(1)
    opening[y, x] = (fall[surface.faces[shown]] * weights).sum(1)
    lip = painted > 0.5
    columns = np.flatnonzero(lip.any(0))
    columns = columns[columns <= window.face.shape[1] // 2]
    top = np.array([np.flatnonzero(lip[:, c])[0] for c in columns])
    bottom = np.array([np.flatnonzero(lip[:, c])[-1] for c in columns])
    skin = (window.face >= 0) & (surface.part[window.face] == 0)
    seam = np.array([_tear(opening[:, c], skin[:, c], t, b) for c, t, b in zip(columns, top, bottom)])
    return Mouth(window, columns, top, seam, bottom)


def _tear(opening: F64, skin: NDArray, top: int, bottom: int) -> tuple[int, int]:
    """The last row of the upper lip and the first of the lower; teeth may show between them."""
    rows = top + np.flatnonzero(skin[top : bottom + 1])
    k = int(np.diff(opening[rows]).argmax()) if len(rows) > 1 else 0
    return int(rows[k]), int(rows[min(k + 1, len(rows) - 1)])


def lips(surface: Surface, body: dict[str, Any], canonical: F64) -> Rim:
    """The right half's lip landmarks: four rows a lip from the outer border to the seam, and the corners."""
    m = mouth(surface, body)
    middle = m.window.face.shape[1] / 2 - 0.5
    rim: Rim = {}
    tears = m.columns[np.abs(m.bottom - m.top) > 0]
    outer, inner = int(tears[0]), int(tears[0]) + round(0.0012 / PIXEL)
    for row in range(4):
        start = outer + (inner - outer) * row / 3  # inner rows end a little nearer to the middle
        for ids, upper in ((UPPER_LIP[row], True), (LOWER_LIP[row], False)):
            for landmark in ids:
                fraction = canonical[landmark, 0] / canonical[MOUTH_CORNERS[row], 0]  # 0 in the middle, 1 at the corner
                x = round(middle - fraction * (middle - start))
                k = int(np.argmin(np.abs(m.columns - x)))
                border = m.top[k] if upper else m.bottom[k]
                seam = m.seam[k, 0 if upper else 1]
                rim[landmark] = m.window.skin_point(surface, x, round(border + (seam - border) * row / 3))
        k = int(np.argmin(np.abs(m.columns - start)))
        rim[MOUTH_CORNERS[row]] = m.window.skin_point(surface, round(start), int(m.seam[k].mean()))
    return rim
