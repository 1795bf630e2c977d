"""Does a moved arm tear? Counted on the drawn picture and on the mesh, against a state at rest.

- bare: occluder pixels with next to no weight, of the arms' pixels. Something hides what is behind it, and nothing
  draws it.
- folded: hiding triangles of the arms that turned their back to the viewer, of all of them.
- stretched: hiding triangles of the arms with an edge more than STRETCH times as long as at rest, of all of them.
- parted: pixels of the person at rest that lie bare in a crack between an upper arm and the trunk, near the shoulder,
  of the arms'. Farther out an arm only lies against the trunk, and may leave it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.asset import Avatar, State
from avatar.build.anatomy import ARM
from avatar.build.arms.owner import ARMPIT, by_disc
from avatar.render import cpu
from avatar.render.contract import Camera
from models.motion import JOINT
from models.skinning import F32, Poser

BARE_WEIGHT = 0.2  # an occluder pixel with less is bare
STRETCH = 3.0
MARGIN = 0.35  # of the arms' box that is looked at around it
COVERED = 0.5  # alpha from which a pixel is the person's
CRACK = 0.012  # m, half as wide as what counts as a crack between two parts
UPPER = 0.3  # weight of the shoulder's joint from which a triangle is an upper arm's
SHOULDERS = [JOINT["left_shoulder"], JOINT["right_shoulder"]]
_UPPER, _TRUNK = 0, 1  # channels of the drawn picture that tell what is seen


@dataclass(frozen=True)
class Tear:
    bare: float
    stretched: float
    folded: float
    parted: float

    def within(self, limit: Tear) -> bool:
        return all(value <= getattr(limit, name) for name, value in vars(self).items())


class TearGauge:
    """Measures states of one avatar that has moving arms. Not for two threads at once."""

    def __init__(self, avatar: Avatar, rest: State | None = None) -> None:
        """rest: what states are measured against; the photo's where none is given. ValueError where no arm moves."""
        self.avatar = avatar
        arm = avatar.part == ARM
        if not arm.any():
            raise ValueError("this avatar has no arm that moves")
        self._poser = Poser(avatar.mesh)
        self._rasterizer = cpu.Rasterizer(_with_parts_for_colours(avatar, arm), threads=1)
        self._solid = avatar.mesh.faces[arm & avatar.occluder]
        still = self._vertices(rest or avatar.photo).copy()
        self.camera = _around(avatar.camera, avatar.camera.project(still[np.unique(avatar.mesh.faces[arm])]))
        self._front = self._towards(still)
        self._edges = np.maximum(_edges(still, self._solid), 1e-4)
        _, ids = cpu.zbuffer(self.camera.project(still), avatar.mesh.faces, self.camera.width, self.camera.height)
        self._pixels = int(arm[ids[ids >= 0]].sum())
        depth = float(np.median(-still[avatar.mesh.faces[arm], 2]))
        self._crack = CRACK * self.camera.focal / depth  # px
        drawn = self._draw(still)
        self._usual = self._bare(drawn)
        person = cv2.erode((drawn[..., 3] > COVERED).astype(np.uint8), np.ones((3, 3))) > 0
        self._hangs = person & self._at_shoulders((rest or avatar.photo).translation)

    def close(self) -> None:
        self._rasterizer.close()

    def __call__(self, state: State) -> Tear:
        """Against the rest."""
        v = self._vertices(state)
        drawn, pixels = self._draw(v), max(self._pixels, 1)
        bare = max(0, self._bare(drawn) - self._usual) / pixels
        stretched = (_edges(v, self._solid) > STRETCH * self._edges).any(1)
        parted = int((self._cracks(drawn) & self._hangs).sum()) / pixels
        return Tear(bare, float(stretched.mean()), float((self._front & ~self._towards(v)).mean()), parted)

    def _towards(self, vertices: F32) -> NDArray[np.bool_]:
        """(f,) hiding triangles that face the viewer."""
        p = self.camera.project(vertices)[self._solid, :2]
        a, b = p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]
        return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0] < 0)

    def _vertices(self, state: State) -> F32:
        s = state
        return self._poser(s.pose, s.expression, s.translation, (s.correction, self.avatar.correction))

    def _at_shoulders(self, translation: NDArray) -> NDArray[np.bool_]:
        """(H, W) within ARMPIT of a shoulder's joint, as posed last."""
        mesh, c = self.avatar.mesh, self.camera
        y, x = np.mgrid[: c.height, : c.width] + 0.5
        out = np.zeros((c.height, c.width), bool)
        for joint in SHOULDERS:
            turn, move = self._poser.transforms[joint, :, :3], self._poser.transforms[joint, :, 3]
            px, py, depth = c.project((turn @ mesh.joints[joint] + move + translation)[None])[0]
            out |= np.hypot(x - px, y - py) < ARMPIT * c.focal / depth
        return out

    def _draw(self, vertices: F32) -> F32:
        return self._rasterizer.draw(vertices, self.camera)

    def _bare(self, drawn: F32) -> int:
        return int((self._rasterizer.hit & (drawn[..., 3] < BARE_WEIGHT)).sum())

    def _cracks(self, drawn: F32) -> NDArray[np.bool_]:
        """(H, W) what is narrow between an upper arm and the trunk, and is neither."""
        alpha = drawn[..., 3]
        covered = alpha > COVERED
        upper, trunk = (covered & (drawn[..., k] > 0.5 * alpha) for k in (_UPPER, _TRUNK))
        together, *alone = (by_disc(part, cv2.MORPH_CLOSE, self._crack) for part in (upper | trunk, upper, trunk))
        return together & ~alone[0] & ~alone[1] & ~covered


def _with_parts_for_colours(avatar: Avatar, arm: NDArray[np.bool_]) -> Avatar:
    """The avatar in colours that tell what it is: channel _UPPER, channel _TRUNK, or another; arm (F,)."""
    mesh, g = avatar.mesh, avatar.gaussians
    held = np.where(np.isin(mesh.joint_index, SHOULDERS), mesh.joint_weight, 0).sum(1)
    kind = np.where(arm, np.where(held[mesh.faces].mean(1) > UPPER, _UPPER, 2), _TRUNK)
    return replace(avatar, gaussians=replace(g, colour=np.eye(3, dtype=np.float32)[kind[g.face]]))


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
