"""Registration: where the surface that the photo shows has gone in a video frame, by dense optical flow.

The flow (DIS, Kroeger et al. 2016) leads from the avatar, drawn as it is believed to stand, to the frame: it is small,
and nothing adds up over a film, since every frame is held against the photo's own colours. Points on the mesh take
the flow's way along the directions in which their neighbourhood has texture, and in no other (the aperture problem).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.asset import Avatar, State
from avatar.build import anatomy
from avatar.build.kinematics import F64
from avatar.render import cpu
from avatar.rig import Rig
from models.body import BodyModel
from models.crop import to_width

FACE_PX = 160.0  # width of a face at which flow is sought at most
LONG_SIDE = 720  # px of the picture at most
FACE_POINTS, BODY_POINTS = 20.0, 10.0  # points along a face's width, on the head and elsewhere
MOST_POINTS = 700  # on the head, and again elsewhere
RIM_POINTS = 32.0  # points along a face's width, on the silhouette
RIM = 1  # px within the silhouette that are left out: the flow there is half the background's
TEXTURE = 4.0  # grey values per px at which a direction counts half
EDGE = 4  # px from the picture's border in which its own cut is no silhouette
WINDOW = 9  # px in which texture is looked for
AGREE = 1.0  # px by which flow there and back may differ
BEHIND = 0.006  # m behind the nearest surface at which a point is hidden


@dataclass(frozen=True)
class Points:
    """On the mesh, seen in the photo."""

    corners: NDArray[np.int64]  # (n, 3) vertices
    bary: F64  # (n, 3)


@dataclass(frozen=True)
class Sight:
    """What a frame says about some of the points."""

    index: NDArray[np.int64]  # (m,) which points
    target: F64  # (m, 2) camera px where they are in the frame
    trust: F64  # (m, 2, 2): trust @ (place - target) has the same certainty in both components; 1 where texture is rich


class Registration:
    """Of one avatar with the frames of a film. Frames have any size, in the proportions of the photo."""

    def __init__(self, avatar: Avatar, model: BodyModel, face_width: float) -> None:
        """face_width: px of the avatar's camera."""
        self.avatar, self._rig = avatar, Rig(avatar)
        self._raster = cpu.Rasterizer(avatar, threads=1)
        c = avatar.camera
        self.scale = min(1.0, FACE_PX / face_width, LONG_SIDE / max(c.width, c.height))
        self.size = (round(c.width * self.scale), round(c.height * self.scale))
        self.camera = c.window(0, 0, c.width, *self.size)
        self._background = to_width(avatar.background, *self.size).astype(np.float32)
        self._occluder = np.ascontiguousarray(avatar.mesh.faces[avatar.occluder])
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self.points = self._seen_points(model, face_width * self.scale)

    def draw(self, state: State) -> NDArray[np.float32]:
        """(h, w, 4) RGB over the photo's background, 0..255, and alpha 0..1."""
        drawn = self._raster.draw(self._rig.vertices(state), self.camera)
        drawn[..., :3] = drawn[..., :3] * 255 + (1 - drawn[..., 3:]) * self._background
        return drawn

    def _seen_points(self, model: BodyModel, face: float) -> Points:
        a = self.avatar
        projected = self.camera.project(self._rig.vertices(a.photo).astype(np.float64))
        wanted = np.isin(a.part, (anatomy.SKIN, anatomy.SHELL)) & a.occluder
        inner = np.zeros(len(a.mesh.vertices), bool)
        n = len(model.v_template)
        inner[:n] = anatomy.of(model).inner_mouth
        wanted &= ~inner[a.mesh.faces].any(1)
        _, ids = cpu.zbuffer(projected, a.mesh.faces, *self.size)
        head = (a.mesh.joint_weight * np.isin(a.mesh.joint_index, anatomy.HEAD_JOINTS)).sum(1) > 0.3
        chosen = []
        for points, on_head in ((FACE_POINTS, True), (BODY_POINTS, False)):
            own = wanted & (head[a.mesh.faces].all(1) == on_head)
            area = np.count_nonzero(own[ids] & (ids >= 0))
            spacing = max(face / points, (area / MOST_POINTS) ** 0.5)
            y, x = np.mgrid[spacing / 2 : self.size[1] : spacing, spacing / 2 : self.size[0] : spacing]
            x, y = x.ravel(), y.ravel()
            face_of = ids[y.astype(int), x.astype(int)]
            keep = (face_of >= 0) & own[face_of]
            chosen.append((np.stack([x, y], 1)[keep], face_of[keep]))
        rim = self._rim(face / RIM_POINTS)
        face_of = ids[rim[:, 1].astype(int), rim[:, 0].astype(int)]
        keep = (face_of >= 0) & wanted[face_of]
        chosen.append((rim[keep], face_of[keep]))
        at, face_of = (np.concatenate(q) for q in zip(*chosen))
        corners = a.mesh.faces[face_of].astype(np.int64)
        return Points(corners, _barycentric(projected[corners][..., :2], at))

    def _rim(self, spacing: float) -> F64:
        """(n, 2) px just within the photo's silhouette: of clothes without texture only the outline is seen to move."""
        inside = cv2.erode((self.draw(self.avatar.photo)[..., 3] > 0.9).astype(np.uint8), np.ones((2 * RIM + 3,) * 2))
        contours, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        step = max(1, round(spacing))
        points = [c[::step, 0] for c in contours if len(c) > 4 * step]
        rim = np.concatenate([np.zeros((0, 2)), *points]) + 0.5
        return rim[((rim > EDGE) & (rim < np.array(self.size) - EDGE)).all(1)]

    def look(self, state: State, frame: NDArray[np.uint8], places: F64) -> Sight:
        """The points, which are believed at places (n, 3: camera px and depth) when the avatar is in `state`, in a
        frame (H, W, 3)."""
        drawn = self.draw(state)
        picture = to_width(frame, *self.size)
        a, b = (cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) for p in (drawn[..., :3].clip(0, 255).astype(np.uint8), picture))
        there, back = (self._flow.calc(p, q, np.zeros((*a.shape, 2), np.float32)) for p, q in ((a, b), (b, a)))
        at = places[:, :2] * self.scale
        depth, _ = cpu.zbuffer(
            self.camera.project(self._rig.vertices(state).astype(np.float64)), self._occluder, *self.size
        )
        solid = cv2.erode((drawn[..., 3] > 0.9).astype(np.uint8), np.ones((2 * RIM + 1, 2 * RIM + 1)))
        inside = ((at >= 1) & (at < np.array(self.size) - 2)).all(1)
        q = at.clip(0, np.array(self.size) - 1).astype(int)
        seen = inside & (solid[q[:, 1], q[:, 0]] > 0) & (places[:, 2] < depth[q[:, 1], q[:, 0]] + BEHIND)
        way = _sampled(np.asarray(there, np.float32), at)
        returned = _sampled(np.asarray(back, np.float32), at + way)
        seen &= np.linalg.norm(way + returned, axis=1) < AGREE
        seen &= ((at + way >= 1) & (at + way < np.array(self.size) - 2)).all(1)
        index = np.flatnonzero(seen)
        return Sight(index, (at + way)[index] / self.scale, _trust(np.asarray(a, np.uint8), at[index]))


def _barycentric(triangles: F64, at: F64) -> F64:
    """(n, 3, 2) corners, (n, 2) points -> (n, 3)."""
    e = np.stack([triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]], -1)
    uv = np.linalg.solve(e + 1e-9 * np.eye(2), (at - triangles[:, 0])[..., None])[..., 0].clip(0, 1)
    return np.concatenate([1 - uv.sum(1, keepdims=True), uv], 1)


def _sampled(field: NDArray[np.float32], at: F64) -> F64:
    """(h, w, 2) at pixels (n, 2) whose centres lie at .5."""
    x, y = (at - 0.5).astype(np.float32).T
    return cv2.remap(field, x[None], y[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0].astype(np.float64)


def _trust(grey: NDArray[np.uint8], at: F64) -> F64:
    """(n, 2, 2) by the structure tensor about pixels (n, 2): near 1 along its strong directions, 0 along flat ones."""
    g = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 1.0)
    x, y = cv2.Sobel(g, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(g, cv2.CV_32F, 0, 1, scale=1 / 8)
    products = cv2.blur(np.stack([x * x, x * y, y * y], -1), (WINDOW, WINDOW))
    i = at.astype(int)
    xx, xy, yy = products[i[:, 1], i[:, 0]].astype(np.float64).T
    power, direction = np.linalg.eigh(np.stack([np.stack([xx, xy], -1), np.stack([xy, yy], -1)], -2))
    share = power.clip(0) / (power.clip(0) + TEXTURE**2)
    return np.sqrt(share)[:, :, None] * direction.transpose(0, 2, 1)
