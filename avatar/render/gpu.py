"""Avatars drawn on a GPU: posing in a CUDA graph, a depth pre-pass, gsplat, I420, one copy out.

gsplat (Ye et al. 2024, version 1.5.3, Apache-2.0) projects the Gaussians and bins them into tiles; see gpu_blend for
what becomes of them. It is touched by `prepare` alone, and never where CUDA is not.

    python -m avatar.render.gpu     compiles its kernels
"""

from __future__ import annotations

import os
import sys
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from avatar.asset import Avatar, State
from avatar.render import gpu_blend, gpu_depth
from avatar.render.contract import TOLERANCE, YUV_FROM_RGB, YUV_OFFSET, Camera
from avatar.render.gpu_blend import OPACITY, Placed, channels, seen
from avatar.render.gpu_rig import DeviceRig, DeviceSurface, Poses
from models.skinning import F32

U8 = NDArray[np.uint8]

LAUNCH = 16  # pictures drawn together at most
CAMERA_FROM_WORLD = (1.0, -1.0, -1.0)
BLENDS = {"rule": gpu_blend.by_rule, "alpha": gpu_blend.by_alpha}


class GpuError(RuntimeError):
    """The GPU path cannot be used; the message says why and what to do."""


# ---- the machine ----------------------------------------------------------------------------------------------------


def prepare(say: Callable[[str], None] | None = None) -> Any:
    """gsplat, its kernels compiled (minutes, once per machine) and loaded. Raises GpuError."""
    say = say or (lambda line: print(line, file=sys.stderr, flush=True))
    if not torch.cuda.is_available():
        raise GpuError(
            "no CUDA device answers; use --device cpu, or install the NVIDIA driver and requirements/cuda.lock"
        )
    major, minor = torch.cuda.get_device_capability()
    os.environ.setdefault("TORCH_CUDA_ARCH_LIST", f"{major}.{minor}")
    started = time.perf_counter()
    say(f"gsplat: loading kernels for {torch.cuda.get_device_name()}; the first time they are compiled, some minutes")
    try:
        import gsplat
        from gsplat.cuda._backend import _C as kernels
    except (ImportError, OSError, RuntimeError) as e:  # torch's builder raises RuntimeError, what is missing OSError
        raise GpuError(f"gsplat's kernels cannot be loaded ({e}); run `make gpu` to see the compiler's messages") from e
    if kernels is None:
        cuda = torch.version.cuda
        raise GpuError(f"gsplat's kernels want CUDA's compiler: install the CUDA {cuda} toolkit and put nvcc on PATH")
    say(f"gsplat: kernels ready after {time.perf_counter() - started:.0f} s")
    return gsplat


# ---- what is drawn --------------------------------------------------------------------------------------------------


class DeviceAvatar:
    """An avatar on a device: its rig, its Gaussians, its occluder. `pose` replays a CUDA graph where there is CUDA."""

    def __init__(self, avatar: Avatar, device: torch.device) -> None:
        g = avatar.gaussians
        to = lambda a: torch.from_numpy(np.ascontiguousarray(a)).to(device)  # noqa: E731
        self.device, self.count = device, g.count
        self._rig, self._surface = DeviceRig(avatar, device), DeviceSurface(avatar, device)
        self._flip = torch.tensor(CAMERA_FROM_WORLD, device=device)
        self.occluder = to(avatar.mesh.faces[avatar.occluder].astype(np.int64))  # (T, 3)
        self.tolerance = to(TOLERANCE[g.layer])  # (N,) m
        self.rgb = to(channels(g.colour, g.opacity, g.layer))  # (N, 9)
        self.yuv = to(channels(g.colour @ YUV_FROM_RGB.T + YUV_OFFSET, g.opacity, g.layer))
        self._replays: dict[int, _Replay] = {}

    def pose(self, states: Sequence[State]) -> tuple[Tensor, Tensor, Tensor]:
        """-> mesh (B, V, 3), means (B, N, 3), covariances (B, N, 6), in camera space; overwritten by the next call."""
        n = len(states)
        padded = [*states, *[states[-1]] * (_bucket(n) - n)]
        inputs = Poses.of(padded, self.device).tensors()
        if self.device.type != "cuda":
            points, mean, covariance = self._place(*inputs)
        else:
            if len(padded) not in self._replays:
                self._replays[len(padded)] = _Replay(self._place, inputs)
            points, mean, covariance = self._replays[len(padded)](inputs)
        return points[:n], mean[:n], covariance[:n]

    def _place(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        points = self._rig.vertices(Poses(*inputs)) * self._flip
        return points, *self._surface.place(points)


class _Replay:
    """A function of tensors recorded as a CUDA graph: some hundred small kernels for one launch."""

    def __init__(self, function: Callable[..., tuple[Tensor, ...]], inputs: tuple[Tensor, ...]) -> None:
        self._inputs = tuple(t.clone() for t in inputs)
        stream = torch.cuda.current_stream()
        for _ in range(3):  # libraries set themselves up before anything is recorded
            function(*self._inputs)
        stream.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        # thread_local: nets in other threads may go on using the device meanwhile
        with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
            self._outputs = function(*self._inputs)

    def __call__(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        for mine, given in zip(self._inputs, inputs):
            mine.copy_(given, non_blocking=True)
        self._graph.replay()
        return self._outputs


def _bucket(n: int) -> int:
    """The next power of two: few graphs serve any number of pictures."""
    return 1 << (n - 1).bit_length()


# ---- drawing --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shot:
    """One picture that is wanted."""

    avatar: DeviceAvatar
    state: State
    camera: Camera
    background: Tensor  # (H 3 / 2, W) uint8 I420 on the device, from GpuRasterizer.background
    out: U8 = field(repr=False)  # (H 3 / 2, W) I420


class GpuRasterizer:
    """Draws avatars on one GPU; not to be called from two threads at once.

    splat: gsplat, or whatever has its four functions (tests bring a stand-in for machines without a GPU).
    blend: "rule" or "alpha", see gpu_blend; None: "rule" where Triton is.
    """

    def __init__(self, device: str = "cuda", splat: Any = None, blend: str | None = None) -> None:
        self._splat = splat or prepare()
        self._blend = BLENDS[blend or ("rule" if gpu_depth.TRITON else "alpha")]
        self.device = torch.device(device)
        self._stream = torch.cuda.Stream(self.device, priority=-1) if self.device.type == "cuda" else None
        self._avatars: dict[int, tuple[weakref.ref[Avatar], DeviceAvatar]] = {}
        self._pinned: dict[tuple[int, ...], Tensor] = {}

    def load(self, avatar: Avatar) -> DeviceAvatar:
        """The avatar on the device; the same one for the same avatar in memory."""
        self._avatars = {k: v for k, v in self._avatars.items() if v[0]() is not None}
        if id(avatar) not in self._avatars:
            with torch.no_grad(), self._on_stream():
                self._avatars[id(avatar)] = (weakref.ref(avatar), DeviceAvatar(avatar, self.device))
        return self._avatars[id(avatar)][1]

    def background(self, i420: U8) -> Tensor:
        with self._on_stream():
            return torch.from_numpy(np.array(i420)).to(self.device)

    def draw(self, avatar: DeviceAvatar, state: State, camera: Camera) -> F32:
        """(H, W, 4) float32: RGB times alpha, alpha."""
        with torch.no_grad(), self._on_stream():
            colour, alpha = self._pictures([(avatar, state, camera)], yuv=False)
            return torch.cat([colour, alpha[..., None]], -1)[0].cpu().numpy()

    def draw_many(self, shots: Sequence[Shot]) -> None:
        """Draw every shot into its `out`; those of one size share launches. Raises ValueError for sizes that differ."""
        for s in shots:
            _check(s)
        size = lambda s: (s.camera.width, s.camera.height)  # noqa: E731
        with torch.no_grad(), self._on_stream():
            for _, same_size in groupby(sorted(shots, key=size), size):
                group = sorted(same_size, key=lambda s: id(s.avatar))
                for k in range(0, len(group), LAUNCH):
                    self._draw_group(group[k : k + LAUNCH])

    def _draw_group(self, shots: Sequence[Shot]) -> None:
        colour, alpha = self._pictures([(s.avatar, s.state, s.camera) for s in shots], yuv=True)
        planes = gpu_blend.to_i420(colour, alpha, torch.stack([s.background for s in shots]))
        for shot, picture in zip(shots, self._to_host(planes)):
            np.copyto(shot.out, picture)

    def _pictures(self, wanted: Sequence[tuple[DeviceAvatar, State, Camera]], yuv: bool) -> tuple[Tensor, Tensor]:
        """Pictures of one size, those of one avatar in a row -> colour times alpha (B, H, W, 3), alpha (B, H, W)."""
        most = max(1, *(avatar.count for avatar, _, _ in wanted))
        parts = []
        for _, same in groupby(wanted, lambda w: id(w[0])):
            avatars, states, cameras = zip(*same)
            parts.append(_place(avatars[0], states, cameras, most, yuv))
        placed = Placed(*(torch.cat([getattr(p, f) for p in parts]) for f in Placed.__dataclass_fields__))
        return gpu_blend.composite(self._blend(self._splat, placed), placed.depth > 0)

    def _to_host(self, planes: Tensor) -> U8:
        """One copy into page-locked memory; valid until the next of this shape."""
        if self._stream is None:
            return planes.numpy()
        shape = tuple(planes.shape)
        if shape not in self._pinned:
            self._pinned[shape] = torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        self._pinned[shape].copy_(planes, non_blocking=True)
        self._stream.synchronize()
        return self._pinned[shape].numpy()

    def _on_stream(self) -> torch.cuda.StreamContext:
        return torch.cuda.stream(self._stream)  # of None: nothing changes


def _place(avatar: DeviceAvatar, states: Sequence[State], cameras: Sequence[Camera], count: int, yuv: bool) -> Placed:
    """Poses of one avatar, padded to `count` Gaussians."""
    intrinsics = torch.tensor([[c.focal, c.cx, c.cy] for c in cameras], dtype=torch.float32, device=avatar.device)
    points, mean, covariance = avatar.pose(states)
    screen = gpu_depth.to_screen(points, intrinsics)
    depth = gpu_depth.draw(screen, avatar.occluder, cameras[0].width, cameras[0].height)
    near = mean[..., 2] - avatar.tolerance
    opacity = OPACITY * seen(mean, near, intrinsics, depth)
    values = (avatar.yuv if yuv else avatar.rgb).expand(len(states), -1, -1)
    more = count - avatar.count
    rows = [pad(t, (0, 0, 0, more)) for t in (mean, covariance, values)]
    return Placed(rows[0], rows[1], pad(near, (0, more)), pad(opacity, (0, more)), rows[2], intrinsics, depth)


def _check(s: Shot) -> None:
    W, H = s.camera.width, s.camera.height
    shape = (H * 3 // 2, W)
    if W % 2 or H % 2:
        raise ValueError(f"I420 needs even sides, not {W}x{H}")
    if s.out.shape != shape or s.out.dtype != np.uint8:
        raise ValueError(f"out is {s.out.dtype} {s.out.shape}, expected uint8 {shape}")
    if tuple(s.background.shape) != shape or s.background.dtype != torch.uint8:
        raise ValueError(f"background is {s.background.dtype} {tuple(s.background.shape)}, expected uint8 {shape}")


if __name__ == "__main__":
    try:
        prepare()
    except GpuError as error:
        sys.exit(f"error: {error}")
