"""A small shaded z-buffer view of a mesh, orthographic: to show the open human to a detector and to people."""

from __future__ import annotations

from dataclasses import dataclass

import numba as nb
import numpy as np
from numpy.typing import NDArray

from models.surface import vertex_normals

BACKGROUND = 235.0
AMBIENT = 0.25
PART_COLOUR = np.array(  # of face_part: skin, eyes, tongue, teeth, lashes
    [[224, 182, 160], [245, 245, 250], [245, 245, 250], [200, 90, 95], [250, 248, 235], [250, 248, 235]]
    + [[60, 40, 30]] * 4,
    np.float64,
)
IRIS, IRIS_RADIUS = (70, 50, 40), 0.0059


@dataclass(frozen=True)
class View:
    centre: tuple[float, float, float]  # m, in the middle of the picture
    scale: float  # pixels a metre
    size: tuple[int, int]  # width, height
    yaw: float = 0.0  # degrees the model turns to its left
    pitch: float = 0.0  # degrees it nods
    light: tuple[float, float, float] = (0.35, 0.45, 0.82)  # direction towards it

    def project(self, vertices: NDArray) -> NDArray[np.float64]:
        """(V, 3) pixels x, y and depth towards the viewer in pixels."""
        return self.turned(vertices) * [1, -1, 1] + [self.size[0] / 2, self.size[1] / 2, 0]

    def turned(self, vertices: NDArray) -> NDArray[np.float64]:
        a, b = np.radians([self.yaw, self.pitch])
        yaw = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
        pitch = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
        return (np.asarray(vertices, np.float64) - self.centre) @ (pitch @ yaw).T * self.scale


@dataclass(frozen=True)
class Picture:
    image: NDArray[np.uint8]  # (H, W, 3)
    face: NDArray[np.int32]  # (H, W) the triangle seen, -1 for none
    points: NDArray[np.float64]  # (V, 3) as View.project


@nb.njit(cache=True, nogil=True)
def _draw(points, faces, normals, colours, light, ambient, image, depth, ids):  # type: ignore[no-untyped-def]
    H, W = depth.shape
    for t in range(len(faces)):
        a, b, c = faces[t]
        x0, y0, x1, y1, x2, y2 = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-9:
            continue
        for y in range(max(0, int(np.floor(min(y0, y1, y2)))), min(H - 1, int(np.ceil(max(y0, y1, y2)))) + 1):
            for x in range(max(0, int(np.floor(min(x0, x1, x2)))), min(W - 1, int(np.ceil(max(x0, x1, x2)))) + 1):
                px, py = x + 0.5, y + 0.5
                u = ((x1 - px) * (y2 - py) - (x2 - px) * (y1 - py)) / area
                v = ((x2 - px) * (y0 - py) - (x0 - px) * (y2 - py)) / area
                w = 1 - u - v
                if u < -1e-6 or v < -1e-6 or w < -1e-6:
                    continue
                z = u * points[a, 2] + v * points[b, 2] + w * points[c, 2]
                if z <= depth[y, x]:
                    continue
                depth[y, x], ids[y, x] = z, t
                n = u * normals[a] + v * normals[b] + w * normals[c]
                lit = np.dot(n, light) / (np.sqrt(np.dot(n, n)) + 1e-9)
                if n[2] < 0:
                    lit = -lit
                shade = ambient + (1 - ambient) * max(0.0, lit)
                for k in range(3):
                    image[y, x, k] = colours[t, k] * shade


def draw(vertices: NDArray, faces: NDArray, colours: NDArray, view: View) -> Picture:
    """The mesh as seen; colours (F, 3) 0..255 per triangle."""
    W, H = view.size
    points = view.project(vertices)
    normals = vertex_normals(view.turned(vertices), faces)
    image, depth, ids = np.full((H, W, 3), BACKGROUND), np.full((H, W), -np.inf), np.full((H, W), -1, np.int32)
    light = np.array(view.light) / np.linalg.norm(view.light)
    _draw(
        points, np.asarray(faces, np.int64), normals, np.asarray(colours, np.float64), light, AMBIENT, image, depth, ids
    )
    return Picture(image.clip(0, 255).astype(np.uint8), ids, points)


def colours(vertices: NDArray, faces: NDArray, part: NDArray, eyes: NDArray) -> NDArray[np.float64]:
    """(F, 3) per triangle; irises are painted around the forward axis of the eye joints (2, 3) on rest vertices."""
    out = PART_COLOUR[part].copy()
    middle = np.asarray(vertices)[faces].mean(1)
    for code, eye in enumerate(eyes, start=1):
        off_axis = np.linalg.norm(middle[:, :2] - eye[:2], axis=1)
        out[(part == code) & (off_axis < IRIS_RADIUS) & (middle[:, 2] > eye[2])] = IRIS
    return out
