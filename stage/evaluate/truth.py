"""The digital twin's camera: a procedural person drawn densely, per pixel, with its own lights, noise and JPEG.

A z-buffer at twice the size or more, paint and light at every sample, then averaged: nothing of the avatar's
rasterizer but the z-buffer's kernel.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.render import cpu
from models.motion import Motion
from stage.evaluate.people import F64, Human, Posed
from stage.evaluate.protocol import PICTURE, TWIN

U8 = NDArray[np.uint8]


@dataclass(frozen=True)
class Truth:
    """One exact picture."""

    colour: NDArray[np.float32]  # (H, W, 3) 0..1 times alpha
    alpha: NDArray[np.float32]  # (H, W)
    landmarks: F64  # (468, 2) px

    def over(self, background: NDArray) -> U8:
        """background (H, W, 3) 0..1, or one colour (3,)."""
        return ((self.colour + (1 - self.alpha[..., None]) * background) * 255).round().clip(0, 255).astype(np.uint8)

    @property
    def plain(self) -> U8:
        """On the protocol's grey."""
        return self.over(np.full(3, PICTURE["background"] / 255, np.float32))


class Studio:
    """One person's lights, background and sensor."""

    def __init__(self, human: Human) -> None:
        self.human = human
        r = np.random.default_rng([human.seed, 21])
        key = np.array([r.uniform(-0.8, 0.8), r.uniform(0.2, 0.8), 1.0])
        self._key = key / np.linalg.norm(key)
        self._key_colour = np.array([1.0, 0.96, 0.9]) * r.uniform(0.55, 0.8)
        self._sky, self._ground = np.array([0.42, 0.45, 0.5]), np.array([0.25, 0.22, 0.2])
        self.background = _background(r, human.side)
        self._sensor = r

    def draw(self, motion: Motion) -> Truth:
        h, s = self.human, TWIN["supersample"]
        posed = h.posed(motion)
        big = h.camera.window(0, 0, h.side, h.side * s, h.side * s)
        points = big.project(posed.vertices)
        _, ids = cpu.zbuffer(points, posed.faces, big.width, big.height)
        y, x = np.nonzero(ids >= 0)
        colour = np.zeros((big.height, big.width, 3), np.float32)
        rays = np.stack([(x + 0.5 - big.cx) / big.focal, -(y + 0.5 - big.cy) / big.focal, -np.ones(len(x))], 1)
        colour[y, x] = self._light(posed, ids[y, x], rays)
        size = (h.side, h.side)
        small = cv2.resize(colour, size, interpolation=cv2.INTER_AREA)
        alpha = cv2.resize((ids >= 0).astype(np.float32), size, interpolation=cv2.INTER_AREA)
        return Truth(np.asarray(small, np.float32), np.asarray(alpha, np.float32), h.landmarks(posed))

    def photo(self, truth: Truth) -> U8:
        """As a camera would have taken it: with a background, sensor noise and JPEG's losses."""
        noisy = truth.over(self.background) + self._sensor.normal(0, TWIN["noise"], (*truth.alpha.shape, 3))
        clean = noisy.round().clip(0, 255).astype(np.uint8)
        ok, data = cv2.imencode(".jpg", clean[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, TWIN["jpeg_quality"]])
        assert ok
        return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])  # type: ignore[index]

    def _light(self, posed: Posed, face: NDArray, rays: F64) -> F64:
        """(n, 3) sRGB 0..1 where rays (n, 3) from the origin meet triangles (n,)."""
        corners = posed.faces[face]
        bary = _barycentric(posed.vertices[corners], rays)
        mix = lambda a: np.einsum("nk,nkd->nd", bary, a[corners])  # noqa: E731
        normal, at = mix(posed.normals), mix(posed.vertices)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
        view = -at / np.linalg.norm(at, axis=1, keepdims=True)
        normal *= np.where((normal * view).sum(1) < 0, -1, 1)[:, None]
        albedo, gloss = self.human.paint(posed.part[face], mix(posed.rest))
        lit = np.clip((normal @ self._key + 0.25) / 1.25, 0, 1)
        sky = (0.5 + 0.5 * normal[:, 1])[:, None]
        light = lit[:, None] * self._key_colour + sky * self._sky + (1 - sky) * self._ground
        half = self._key + view
        half /= np.linalg.norm(half, axis=1, keepdims=True)
        shine = gloss * np.clip((normal * half).sum(1), 0, 1) ** 40
        return np.asarray((albedo * light + shine[:, None]).clip(0, 1) ** (1 / 2.2))


def _barycentric(corners: F64, rays: F64) -> F64:
    """(n, 3) weights at which rays (n, 3) meet triangles (n, 3, 3)."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    w = np.stack([_volume(p, q, rays) for p, q in ((b, c), (c, a), (a, b))], 1)
    total = w.sum(1, keepdims=True)
    w = np.where(np.abs(total) < 1e-15, 1 / 3, w / np.where(total == 0, 1, total))
    w = w.clip(0, 1)
    return np.asarray(w / w.sum(1, keepdims=True))


def _volume(p: F64, q: F64, r: F64) -> F64:
    """(n,) p x q . r, without the rows in between that np.cross makes."""
    (px, py, pz), (qx, qy, qz), (rx, ry, rz) = p.T, q.T, r.T
    return np.asarray((py * qz - pz * qy) * rx + (pz * qx - px * qz) * ry + (px * qy - py * qx) * rz)


def _background(r: np.random.Generator, side: int) -> NDArray[np.float32]:
    """(side, side, 3) 0..1: a wall with a few things out of focus."""
    y = np.linspace(0, 1, side)[:, None, None]
    out = np.broadcast_to(r.uniform(0.35, 0.8, 3) * (1 - 0.3 * y), (side, side, 3)).astype(np.float32).copy()
    for _ in range(5):
        x0, y0 = r.integers(0, side, 2)
        w, h = r.integers(side // 12, side // 3, 2)
        out[y0 : y0 + h, x0 : x0 + w] = r.uniform(0.1, 0.9, 3)
    return np.asarray(cv2.GaussianBlur(out, (0, 0), side / 50), np.float32)
