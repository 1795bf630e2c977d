"""Levels of detail: cheaper pictures of the same avatar, for a machine that cannot hold the frame rate.

Level 0 is the picture itself. Above it fewer Gaussians are drawn, each as much larger as keeps the surface closed, and
then at half the size. What is left out is spread evenly over the surface, does not depend on chance, and each level's
Gaussians are among those of the level before, so that a change of level changes little.
"""

# mypy: disable-error-code="call-arg"
from __future__ import annotations

from dataclasses import dataclass

import numba as nb
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from avatar.asset import Avatar, Gaussians
from avatar.render.contract import Camera
from avatar.render.cpu import Rasterizer
from models.skinning import F32, SkinnedMesh

U8 = NDArray[np.uint8]
GOLDEN = (np.sqrt(5) - 1) / 2  # multiples of it modulo 1 are as evenly spread as can be, however many are taken


@dataclass(frozen=True)
class Level:
    share: float  # of the Gaussians
    half: bool = False  # draw at half the size and enlarge


LEVELS = (Level(1.0), Level(0.5), Level(0.25, True))


def thinned(gaussians: Gaussians, share: float, means: NDArray) -> Gaussians:
    """A share (0..1] of the Gaussians, nested: those of a smaller share are among those of a larger one.

    Ranks are golden steps along the Gaussians sorted by triangle, whose neighbours are mostly neighbours, too. Areas
    grow by 1 / share. What stays takes the mean colour of itself and of what went nearest to it. means (N, 3).
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}; it must lie in 0..1, without 0")
    g = gaussians
    if share == 1:
        return g
    rank = np.empty(g.count)
    rank[np.lexsort((g.face, g.layer))] = np.arange(1, g.count + 1) * GOLDEN % 1
    stays = rank < share
    kept = {name: values[stays] for name, values in vars(g).items()}
    changed = {"shape": (kept["shape"] / np.sqrt(share)).astype(np.float32), "colour": _gathered(g, stays, means)}
    return Gaussians(**kept | changed)


def _gathered(g: Gaussians, stays: NDArray[np.bool_], means: NDArray) -> F32:
    """(kept, 3) colours, averaged with those of the others of the same layer that lie nearest."""
    colour = np.where(stays[:, None], g.colour, 0).astype(np.float64)
    taken = stays.astype(np.float64)
    for layer in np.unique(g.layer):
        of = g.layer == layer
        here, gone = np.flatnonzero(of & stays), np.flatnonzero(of & ~stays)
        if len(here) and len(gone):
            to = here[cKDTree(means[here]).query(means[gone])[1]]
            np.add.at(colour, to, g.colour[gone])
            np.add.at(taken, to, 1)
    return (colour[stays] / taken[stays, None]).astype(np.float32)


def _means(vertices: NDArray, faces: NDArray, g: Gaussians) -> F32:
    """(N, 3) where the Gaussians lie on `vertices` (V, 3)."""
    a, b, c = np.moveaxis(vertices[faces[g.face]], 1, 0)
    return np.asarray(a + g.bary[:, :1] * (b - a) + g.bary[:, 1:] * (c - a), np.float32)


@nb.njit(cache=True, nogil=True)
def _enlarge(small, behind, background, out):  # type: ignore[no-untyped-def]
    """A plane (h, w) twice as large, bilinearly, into out (2 h, 2 w); background where small is `behind` all around."""
    h, w = small.shape
    for y in range(2 * h):
        k = y // 2
        other = min(max(k - 1 + 2 * (y % 2), 0), h - 1)
        near, far, near_behind, far_behind = small[k], small[other], behind[k], behind[other]
        for c in range(w):
            a, b = max(c - 1, 0), min(c + 1, w - 1)
            drawn = near[c] != near_behind[c] or far[c] != far_behind[c]
            middle = np.int32(9) * near[c] + np.int32(3) * far[c] + np.int32(8)
            for x, s in ((2 * c, a), (2 * c + 1, b)):
                if drawn or near[s] != near_behind[s] or far[s] != far_behind[s]:
                    out[y, x] = (middle + np.int32(3) * near[s] + np.int32(1) * far[s]) >> 4
                else:
                    out[y, x] = background[y, x]


def _planes(i420: U8) -> tuple[U8, U8, U8]:
    """Views of an I420 picture (H 3 / 2, W): Y (H, W), U and V (H / 2, W / 2)."""
    H, W = i420.shape[0] * 2 // 3, i420.shape[1]
    flat, quarter = i420.reshape(-1), H * W // 4
    u, v = (flat[H * W + k * quarter :][:quarter].reshape(H // 2, W // 2) for k in (0, 1))
    return i420[:H], u, v


def _halved(i420: U8) -> U8:
    """An I420 picture at half the size; both its sides are multiples of four."""
    planes = []
    for p in _planes(i420):
        mean = p.reshape(p.shape[0] // 2, 2, p.shape[1] // 2, 2).astype(np.float32).mean((1, 3))
        planes.append((mean + np.float32(0.5)).astype(np.uint8).ravel())
    return np.concatenate(planes).reshape(i420.shape[0] // 2, i420.shape[1] // 2)


@dataclass(frozen=True)
class _Thinned:
    mesh: SkinnedMesh
    occluder: NDArray[np.bool_]
    gaussians: Gaussians


class DetailRasterizer:
    """A Rasterizer with a `level`, 0 to levels - 1, that may be set between frames. Levels are prepared when first
    used. A picture whose sides are no multiples of four is drawn at full size on every level."""

    def __init__(self, avatar: Avatar, threads: int = 2) -> None:
        self.levels = len(LEVELS)
        self._avatar, self._threads = avatar, threads
        self._rasterizers: dict[float, Rasterizer] = {1.0: Rasterizer(avatar, threads)}
        self._level = 0
        self._small: tuple[U8, U8, U8] | None = None  # the background it was made of, halved, and the picture's buffer

    @property
    def level(self) -> int:
        return self._level

    @level.setter
    def level(self, level: int) -> None:
        if not 0 <= level < self.levels:
            raise ValueError(f"level {level}; there are 0 to {self.levels - 1}")
        self._level = level

    @property
    def times(self) -> dict[str, float]:
        """s of the last frame's stages, as of Rasterizer."""
        return self._rasterizer(LEVELS[self._level].share).times

    def draw(self, vertices: F32, camera: Camera, out: F32 | None = None) -> F32:
        """As Rasterizer.draw; always at full size."""
        return self._rasterizer(LEVELS[self._level].share).draw(vertices, camera, out)

    def draw_i420(self, vertices: F32, camera: Camera, background: U8, out: U8) -> U8:
        """As Rasterizer.draw_i420."""
        level, W, H = LEVELS[self._level], camera.width, camera.height
        r = self._rasterizer(level.share)
        if not level.half or W % 4 or H % 4:
            return r.draw_i420(vertices, camera, background, out)
        if self._small is None or self._small[0] is not background:
            behind = _halved(background)
            self._small = background, behind, np.empty_like(behind)
        _, behind, small = self._small
        r.draw_i420(vertices, camera.window(0, 0, W, W // 2, H // 2), behind, small)
        for planes in zip(_planes(small), _planes(behind), _planes(background), _planes(out)):
            _enlarge(*planes)
        return out

    def close(self) -> None:
        """End the threads; nothing can be drawn afterwards."""
        for r in self._rasterizers.values():
            r.close()

    def _rasterizer(self, share: float) -> Rasterizer:
        r = self._rasterizers.get(share)
        if r is None:
            a = self._avatar
            means = _means(a.mesh.vertices, a.mesh.faces, a.gaussians)
            part = _Thinned(a.mesh, a.occluder, thinned(a.gaussians, share, means))
            r = self._rasterizers[share] = Rasterizer(part, self._threads)
        return r


def warm() -> None:
    """Compile this file's kernel, or load it from the cache."""
    _enlarge(*(np.zeros((n, n), np.uint8) for n in (2, 2, 4, 4)))
