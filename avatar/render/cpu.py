"""The compositing rule on a CPU: numba kernels on a few Python threads.

A frame has three phases. The depth pre-pass is cut into bands of rows that follow the work measured in the frame
before. Then threads claim segments of triangles, project their Gaussians and sort them into tiles of 64 pixels; then
they claim tiles, sum each and resolve it. Every pixel sums its Gaussians in the same order whatever the number of
threads, so that the picture does not depend on it. Threads wait on futures and never spin.
"""

# mypy: disable-error-code="call-arg"
from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from avatar import rig
from avatar.asset import Gaussians
from avatar.render import kernels as K
from avatar.render.contract import FRINGE, TOLERANCE, YUV_FROM_RGB, YUV_OFFSET, Camera
from avatar.render.simd import LANES
from models.skinning import F32, I32

U8 = NDArray[np.uint8]
SEGMENT = 2048  # Gaussians that a thread takes at a time
PADDING = 16  # columns past the row's end that eight lanes may touch; keeps rows apart in the cache, too
MAX_SIDE = 8192


def yuv_from_rgb(rgb: NDArray) -> NDArray[np.float64]:
    """(..., 3) RGB 0..1 -> (..., 3) BT.601 limited-range code values 16..235, 16..240."""
    return np.asarray(rgb, np.float64) @ YUV_FROM_RGB.T + YUV_OFFSET


class _Mesh(Protocol):
    @property
    def faces(self) -> I32: ...


class Surface(Protocol):
    """What is drawn: an Avatar, or anything else with these three."""

    @property
    def mesh(self) -> _Mesh: ...
    @property
    def occluder(self) -> NDArray[np.bool_]: ...
    @property
    def gaussians(self) -> Gaussians: ...


@dataclass(frozen=True)
class _Scene:
    """Gaussians sorted by face, packed for the kernels."""

    order: I32  # (N,) index into the Gaussians as given
    records: F32  # (N, RECORD)
    start: I32  # (U + 1,) first Gaussian of each used face
    corners: I32  # (U, 3) its vertices
    segments: I32  # (S + 1,) used faces at which segments of about SEGMENT Gaussians begin


def _pack(faces: I32, gaussians: Gaussians, colour: NDArray) -> _Scene:
    g = gaussians
    order = np.lexsort((g.layer, g.face)).astype(np.int32)
    face = g.face[order]
    used, start = np.unique(face, return_index=True)
    r = np.zeros((g.count, K.RECORD), np.float32)
    r[:, K.U : K.V + 1] = g.bary[order]
    r[:, K.M00 : K.M11 + 1] = g.shape[order].reshape(-1, 4)
    layer = g.layer[order]
    r[:, K.TOLERANCE], r[:, K.FRINGE], r[:, K.DEFICIT] = TOLERANCE[layer], FRINGE[layer], 1 - g.opacity[order]
    r[:, K.C0 :] = colour[order]
    first = np.append(start, g.count).astype(np.int32)
    segments = np.searchsorted(first, np.arange(0, g.count + SEGMENT, SEGMENT)).clip(0, len(used)).astype(np.int32)
    return _Scene(order, r, first, np.ascontiguousarray(faces[used], np.int32), np.unique(segments))


def _check_gaussians(g: Gaussians, faces: int) -> None:
    if len(g.layer) and g.layer.max() >= len(TOLERANCE):
        raise ValueError(f"a Gaussian is in layer {g.layer.max()}; layers are 0 to {len(TOLERANCE) - 1}")
    if g.count and (g.face.min() < 0 or g.face.max() >= faces):
        raise ValueError(f"a Gaussian lies on triangle {g.face.max()} or {g.face.min()}; the mesh has {faces}")
    for name in ("bary", "shape", "colour", "opacity"):
        if not np.isfinite(getattr(g, name)).all():
            raise ValueError(f"Gaussians' {name} holds values that are not finite")


def _check_vertices(vertices: NDArray) -> F32:
    v = np.ascontiguousarray(vertices, np.float32)
    if v.ndim != 2 or v.shape[1] != 3:
        raise ValueError(f"vertices have shape {vertices.shape}, expected (V, 3)")
    return v


class _Picture:
    """Buffers of one picture size."""

    def __init__(self, width: int, height: int) -> None:
        if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
            raise ValueError(f"picture size {width}x{height}: both sides must be 1 to {MAX_SIDE}")
        stride = (width + 2 * LANES + PADDING - 1) // PADDING * PADDING
        stride += PADDING if stride // PADDING % 2 == 0 else 0  # an odd number of cache lines: rows do not alias
        self.width, self.height = width, height
        self.depth = np.zeros((height, stride), np.float32)
        self.tiles = -(-width // K.TILE_W) * -(-height // K.TILE_H)
        self.work = np.zeros(-(-height // K.BLOCK), np.int32)
        self.cost: NDArray[np.floating] = np.ones(len(self.work))

    def bands(self, n: int) -> list[tuple[int, int]]:
        """n row ranges, cut at blocks, whose depth costs about the same to draw."""
        total = np.append(0, np.cumsum(self.cost))
        cut = np.searchsorted(total, total[-1] * np.arange(1, n) / n)
        edges = [0, *(min(int(c) * K.BLOCK, self.height) for c in cut), self.height]
        return list(itertools.pairwise(edges))

    def measure(self) -> None:
        """Make next frame's bands from this frame's work."""
        self.cost = self.work + 1.0
        self.work[:] = 0


class _Bins:
    """A scene's items and their tiles, for one picture size."""

    def __init__(self, scene: _Scene, tiles: int) -> None:
        n, segments = len(scene.records), len(scene.segments) - 1
        self.items = np.zeros((n, K.ITEM), np.float32)
        self.tile = np.zeros(n, np.int32)
        self.head = np.zeros((segments, tiles + 1), np.int32)
        self.place = np.zeros((segments, 2 * SEGMENT + K.AHEAD), np.int32)

    def arrays(self) -> tuple[NDArray, ...]:
        """In the order of the kernels' arguments."""
        return self.items, self.head, self.place

    def enough(self) -> bool:
        """Did every segment find room for its places? Otherwise there is now, and they are to be filled again."""
        most = int(self.head[:, -1].max(initial=0))
        if most <= self.place.shape[1] - K.AHEAD:
            return True
        self.place = np.zeros((len(self.head), most + most // 4 + K.AHEAD), np.int32)
        return False


class _Scratch:
    """What a thread needs for one tile."""

    def __init__(self) -> None:
        self.sums = np.zeros((K.TILE_H, 10, K.ROOM), np.float32)
        self.extent = np.zeros((K.TILE_H // K.BLOCK, 2), np.int64)
        self.lines = np.zeros((2, 4, K.ROOM), np.float32)
        self.spent = np.zeros(1)  # s of splatting since it was last looked at

    def arrays(self) -> tuple[NDArray, ...]:
        """In the order of the kernels' arguments."""
        return self.sums, self.extent, self.lines, self.spent


class Rasterizer:
    """Draws one avatar again and again. Not to be called from two threads at once; the GIL is free while it draws."""

    def __init__(self, surface: Surface, threads: int = 2) -> None:
        if threads < 1:
            raise ValueError(f"threads is {threads}, expected 1 or more")
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads - 1, "raster") if threads > 1 else None
        self._faces = np.ascontiguousarray(surface.mesh.faces, np.int32)
        self._occluder = np.ascontiguousarray(self._faces[surface.occluder])
        self._vertices = int(self._faces.max()) + 1 if len(self._faces) else 0
        self._gaussians = surface.gaussians
        _check_gaussians(self._gaussians, len(self._faces))
        self._rgb: _Scene | None = None
        self._yuv: _Scene | None = None
        self._picture: _Picture | None = None
        self._bins: tuple[_Scene, _Bins] | None = None  # of the scene that was drawn last
        self._camera = np.zeros((0, 3), np.float32)
        self._screen = np.zeros((0, 3), np.float32)
        self._scratch = [_Scratch() for _ in range(threads)]
        self.times: dict[str, float] = {}  # s of the last frame's stages, each of its slowest thread

    def draw(self, vertices: F32, camera: Camera, out: F32 | None = None) -> F32:
        """Posed vertices (V, 3) m -> out (H, W, 4) float32: RGB times alpha, alpha. ValueError where not finite."""
        if self._rgb is None:
            self._rgb = _pack(self._faces, self._gaussians, self._gaussians.colour)
        shape = (camera.height, camera.width, 4)
        out = np.empty(shape, np.float32) if out is None else out
        if out.shape != shape or out.dtype != np.float32 or not out.flags.c_contiguous:
            raise ValueError(f"out is {out.dtype} {out.shape}, expected contiguous float32 {shape}")
        p = self._prepare(vertices, camera)

        def tiles(claim: NDArray[np.int64], b: _Bins, s: _Scratch) -> None:
            K.draw_rgba(claim, *b.arrays(), p.depth, *s.arrays(), out)

        self._frame(self._rgb, camera, tiles)
        return out

    def draw_i420(self, vertices: F32, camera: Camera, background: U8, out: U8) -> U8:
        """Draw over `background` into `out`, both I420: contiguous uint8 (H 3 / 2, W), even sides.

        Colours are taken to Y, U and V beforehand; compositing is linear, so nothing else changes. Chroma is the mean
        of 2 x 2 pixels.
        """
        if self._yuv is None:
            self._yuv = _pack(self._faces, self._gaussians, yuv_from_rgb(self._gaussians.colour))
        W, H = camera.width, camera.height
        if W % 2 or H % 2:
            raise ValueError(f"I420 needs even sides, not {W}x{H}")
        for name, a in (("background", background), ("out", out)):
            if a.shape != (H * 3 // 2, W) or a.dtype != np.uint8 or not a.flags.c_contiguous:
                raise ValueError(f"{name} is {a.dtype} {a.shape}, expected contiguous uint8 {(H * 3 // 2, W)}")
        p = self._prepare(vertices, camera)
        flat_background, flat_out = background.reshape(-1), out.reshape(-1)

        def tiles(claim: NDArray[np.int64], b: _Bins, s: _Scratch) -> None:
            K.draw_i420(claim, W, H, *b.arrays(), p.depth, *s.arrays(), flat_background, flat_out)

        self._frame(self._yuv, camera, tiles)
        return out

    @property
    def hit(self) -> NDArray[np.bool_]:
        """(H, W) pixels of the last picture that lie on the occluder."""
        assert self._picture is not None
        return np.asarray(self._picture.depth[:, : self._picture.width] > 0)

    def close(self) -> None:
        """End the threads; the rasterizer cannot be used afterwards."""
        if self._pool is not None:
            self._pool.shutdown()

    def _prepare(self, vertices: F32, camera: Camera) -> _Picture:
        v = _check_vertices(vertices)
        if len(v) < self._vertices:
            raise ValueError(f"got {len(v)} vertices; the triangles refer to {self._vertices}")
        p = self._picture
        if p is None or (p.width, p.height) != (camera.width, camera.height):
            p = self._picture = _Picture(camera.width, camera.height)
            self._bins = None
        if len(self._camera) != len(v):
            self._camera, self._screen = np.zeros_like(v), np.zeros_like(v)
        start = time.perf_counter()
        _project(v, camera, self._camera, self._screen)
        self.times["project"] = time.perf_counter() - start
        return p

    def _frame(
        self, scene: _Scene, camera: Camera, tiles: Callable[[NDArray[np.int64], _Bins, _Scratch], None]
    ) -> None:
        p = self._picture
        assert p is not None
        if self._bins is None or self._bins[0] is not scene:
            self._bins = scene, _Bins(scene, p.tiles)
        bins, bands = self._bins[1], p.bands(self.threads)

        def prepass(i: int, claim: NDArray[np.int64]) -> None:
            K.draw_depth(self._screen, self._occluder, p.width, *bands[i], p.depth, p.work)

        self._run("prepass", prepass)
        p.measure()
        while True:
            self._run("bin", lambda i, claim: _bin(claim, scene, bins, p, self._camera, camera))
            if bins.enough():
                break
        self._run("tiles", lambda i, claim: tiles(claim, bins, self._scratch[i]))
        splatting = max(float(s.spent[0]) for s in self._scratch)
        self.times |= {"tiles": splatting, "resolve": max(self.times["tiles"] - splatting, 0.0)}
        for s in self._scratch:
            s.spent[:] = 0

    def _run(self, stage: str, job: Callable[[int, NDArray[np.int64]], None]) -> None:
        """job(0..threads - 1, claim), the first here and the others on the pool; notes the time of the slowest."""
        claim, spent = np.zeros(1, np.int64), [0.0] * self.threads

        def timed(i: int) -> None:
            start = time.perf_counter()
            job(i, claim)
            spent[i] = time.perf_counter() - start

        others: list[Future[None]] = []
        if self._pool is not None:
            others = [self._pool.submit(timed, i) for i in range(1, self.threads)]
        timed(0)
        for f in others:
            f.result()
        self.times[stage] = max(spent)


def _bin(claim: NDArray[np.int64], s: _Scene, b: _Bins, p: _Picture, points: F32, camera: Camera) -> None:
    K.project_and_bin(
        claim, s.segments, s.records, s.start, s.corners, points, *_intrinsics(camera), p.width, p.height, p.depth,
        b.items, b.tile, b.head, b.place,
    )  # fmt: skip


def _intrinsics(camera: Camera) -> tuple[np.float32, np.float32, np.float32]:
    return np.float32(camera.focal), np.float32(camera.cx), np.float32(camera.cy)


def _project(vertices: F32, camera: Camera, camera_points: F32, screen: F32) -> None:
    if not K.project_vertices(vertices, *_intrinsics(camera), camera_points, screen):
        bad = int(np.argmax(~(np.abs(vertices) < 1e18).all(1)))
        raise ValueError(f"vertex {bad} is {vertices[bad]}: the pose or the mesh holds values that are not finite")


def draw(
    vertices: F32, faces: I32, occluder: NDArray[np.bool_], gaussians: Gaussians, camera: Camera, threads: int = 1
) -> F32:
    """One picture (H, W, 4) float32, RGB times alpha and alpha, without keeping buffers."""
    r = Rasterizer(_Bare(_Faces(faces), occluder, gaussians), threads)
    try:
        return r.draw(vertices, camera)
    finally:
        r.close()


@dataclass(frozen=True)
class _Faces:
    faces: I32


@dataclass(frozen=True)
class _Bare:
    mesh: _Faces
    occluder: NDArray[np.bool_]
    gaussians: Gaussians


@dataclass(frozen=True)
class Weights:
    """The picture as a linear function of the Gaussians' colours: rgb * alpha = matrix @ colour."""

    rows: I32  # (nnz,) pixel, y * W + x
    cols: I32  # (nnz,) Gaussian
    values: F32  # (nnz,)
    alpha: F32  # (H, W)
    zb: F32  # (H, W) m, inf where no occluder is
    count: int  # Gaussians

    @property
    def hit(self) -> NDArray[np.bool_]:
        """(H, W) pixels on the occluder."""
        return np.isfinite(self.zb)

    def matrix(self) -> csr_matrix:
        """(H W, N) sparse."""
        return csr_matrix((self.values, (self.rows, self.cols)), shape=(self.alpha.size, self.count))


def weights(vertices: F32, faces: I32, occluder: NDArray[np.bool_], gaussians: Gaussians, camera: Camera) -> Weights:
    """The weights with which `draw` mixes colours, for solving colours in closed form; colours are not looked at."""
    faces = np.ascontiguousarray(faces, np.int32)
    _check_gaussians(gaussians, len(faces))
    scene = _pack(faces, gaussians, gaussians.colour)
    v = _check_vertices(vertices)
    p = _Picture(camera.width, camera.height)
    points, screen = np.zeros_like(v), np.zeros_like(v)
    _project(v, camera, points, screen)
    H, W = camera.height, camera.width
    K.draw_depth(screen, np.ascontiguousarray(faces[occluder]), W, 0, H, p.depth, p.work)
    depth = np.ascontiguousarray(p.depth[:, :W])
    bins = _Bins(scene, p.tiles)
    drawn = K.project_segment(
        0, len(scene.corners), scene.records, scene.start, scene.corners, points, *_intrinsics(camera), W, H, depth,
        bins.items, bins.tile, np.zeros(p.tiles + 1, np.int32),
    )  # fmt: skip
    sums, factor = np.zeros((H, W, 4), np.float32), np.zeros((H, W, 2), np.float32)
    alpha = np.zeros((H, W), np.float32)
    fixed = (bins.items[:drawn], scene.order, depth, sums, factor)
    n = K.collect(*fixed, np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))
    K.collect_factors(sums, depth, factor, alpha)
    rows, cols, values = np.zeros(n, np.int32), np.zeros(n, np.int32), np.zeros(n, np.float32)
    if n:
        K.collect(*fixed, rows, cols, values)
    with np.errstate(divide="ignore"):
        return Weights(rows, cols, values, alpha, np.float32(1) / depth, gaussians.count)


def zbuffer(points: NDArray, faces: I32, width: int, height: int) -> tuple[F32, I32]:
    """points (V, 3) pixel x, pixel y, depth m -> depth (H, W) m, else inf; nearest triangle (H, W), else -1.

    Triangles with a vertex nearer than NEAR are not drawn.
    """
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise ValueError(f"picture size {width}x{height}: both sides must be 1 to {MAX_SIDE}")
    depth, ids = np.empty((height, width), np.float32), np.empty((height, width), np.int32)
    K.draw_depth_and_ids(
        np.ascontiguousarray(points, np.float64), np.ascontiguousarray(faces, np.int32).reshape(-1, 3), depth, ids
    )
    return depth, ids


def warm() -> None:
    """Compile every kernel of the frame path, the rig's included, or load it from the cache."""
    from avatar.render import detail  # which draws with this module

    rig.warm()
    detail.warm()
    g = Gaussians(
        face=np.zeros(1, np.int32), bary=np.full((1, 2), 0.3, np.float32), shape=np.full((1, 2, 2), 0.1, np.float32),
        colour=np.ones((1, 3), np.float32), opacity=np.ones(1, np.float32), layer=np.zeros(1, np.uint8),
        confidence=np.ones(1, np.uint8),
    )  # fmt: skip
    v = np.array([[0, 0, -1], [0.1, 0, -1], [0, 0.1, -1]], np.float32)
    faces, occluder, camera = np.array([[0, 1, 2]], np.int32), np.ones(1, bool), Camera(16, 8, 8, 16, 16)
    r = Rasterizer(_Bare(_Faces(faces), occluder, g), 1)
    r.draw(v, camera)
    background = np.zeros((24, 16), np.uint8)
    r.draw_i420(v, camera, background, np.empty_like(background))
    weights(v, faces, occluder, g, camera)
    zbuffer(camera.project(v), faces, 16, 16)
