"""Does a moved arm tear? Counted on the drawn picture and on the mesh, against a state at rest.

- bare: occluder pixels with next to no weight, of the arms' pixels. Something hides what is behind it, and nothing
  draws it.
- folded: hiding triangles of the arms that turned their back to the viewer, of all of them.
- stretched: hiding triangles of the arms with an edge more than STRETCH times as long as at rest, of all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avatar.asset import Avatar, State
from avatar.build.anatomy import ARM
from avatar.render import cpu
from avatar.render.contract import Camera
from models.skinning import F32, Poser

BARE_WEIGHT = 0.2  # an occluder pixel with less is bare
STRETCH = 3.0
MARGIN = 0.35  # of the arms' box that is looked at around it


@dataclass(frozen=True)
class Tear:
    bare: float
    stretched: float
    folded: float

    def within(self, limit: Tear) -> bool:
        return self.bare <= limit.bare and self.stretched <= limit.stretched and self.folded <= limit.folded


class TearGauge:
    """Measures states of one avatar that has moving arms. Not for two threads at once."""

    def __init__(self, avatar: Avatar, rest: State | None = None) -> None:
        """rest: what states are measured against; the photo's where none is given. ValueError where no arm moves."""
        self.avatar = avatar
        arm = avatar.part == ARM
        if not arm.any():
            raise ValueError("this avatar has no arm that moves")
        self._poser = Poser(avatar.mesh)
        self._rasterizer = cpu.Rasterizer(avatar, threads=1)
        self._solid = avatar.mesh.faces[arm & avatar.occluder]
        still = self._vertices(rest or avatar.photo).copy()
        self.camera = _around(avatar.camera, avatar.camera.project(still[np.unique(avatar.mesh.faces[arm])]))
        self._front = self._towards(still)
        self._edges = np.maximum(_edges(still, self._solid), 1e-4)
        _, ids = cpu.zbuffer(self.camera.project(still), avatar.mesh.faces, self.camera.width, self.camera.height)
        self._pixels = int(arm[ids[ids >= 0]].sum())
        self._usual = self._count(still)

    def close(self) -> None:
        self._rasterizer.close()

    def __call__(self, state: State) -> Tear:
        """Against the rest."""
        v = self._vertices(state)
        bare = max(0, self._count(v) - self._usual) / max(self._pixels, 1)
        stretched = (_edges(v, self._solid) > STRETCH * self._edges).any(1)
        return Tear(bare, float(stretched.mean()), float((self._front & ~self._towards(v)).mean()))

    def _towards(self, vertices: F32) -> NDArray[np.bool_]:
        """(f,) hiding triangles that face the viewer."""
        p = self.camera.project(vertices)[self._solid, :2]
        a, b = p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]
        return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0] < 0)

    def _vertices(self, state: State) -> F32:
        s = state
        return self._poser(s.pose, s.expression, s.translation, (s.correction, self.avatar.correction))

    def _count(self, vertices: F32) -> int:
        drawn = self._rasterizer.draw(vertices, self.camera)
        return int((self._rasterizer.hit & (drawn[..., 3] < BARE_WEIGHT)).sum())


def _edges(vertices: F32, faces: NDArray) -> NDArray[np.float32]:
    """(f, 3) m."""
    t = vertices[faces]
    return np.linalg.norm(t - np.roll(t, 1, axis=1), axis=2)


def _around(camera: Camera, pixels: NDArray) -> Camera:
    """The part of the picture about points (n, 3), and a margin."""
    low, high = pixels[:, :2].min(0), pixels[:, :2].max(0)
    margin = MARGIN * (high - low).max()
    x0, y0 = np.maximum(np.floor(low - margin), 0)
    x1, y1 = np.minimum(np.ceil(high + margin), [camera.width, camera.height])
    w, h = max(int(x1 - x0), 8), max(int(y1 - y0), 8)
    return camera.window(float(x0), float(y0), w, w, h)
