"""The picture of an avatar: motion in, frame out, through the rig and the rasterizer."""

from __future__ import annotations

import functools
import importlib.util
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.motion import Motion

if TYPE_CHECKING:
    from avatar.asset import Avatar, State
    from avatar.render.contract import Camera
    from avatar.render.gpu import GpuRasterizer
    from avatar.rig import Rig

U8 = NDArray[np.uint8]
log = logging.getLogger(__name__)

DEVICES = ("auto", "cpu", "cuda")


class AvatarPicture:
    """Draws one avatar at one size. width and height even.

    background is the photo's own or a colour "#rrggbb"; absolute takes motions as they are instead of relative to the
    photo (the photo's own person and camera). device is one of DEVICES, see `gpu`.
    """

    def __init__(
        self,
        avatar: Avatar,
        width: int,
        height: int,
        view: str = "auto",
        threads: int = 2,
        background: str = "photo",
        absolute: bool = False,
        device: str = "auto",
    ) -> None:
        from avatar.render import compose
        from avatar.rig import Rig

        if width % 2 or height % 2:
            raise ValueError(f"{width}x{height}: width and height must be even, as I420 halves its colours")
        self.width, self.height = width, height
        self._camera, scene = compose.view(avatar, width, height, view)
        if background != "photo":
            scene = compose.solid(background, width, height)
        self._absolute = absolute
        self._rig = Rig(avatar)
        background_i420 = compose.i420(scene)
        self._drawer: _Drawer
        rasterizer = gpu(device)
        if rasterizer is None:
            self._drawer = _OnCpu(avatar, self._rig, self._camera, background_i420, threads)
        else:
            self._drawer = _OnGpu(rasterizer, avatar, self._camera, background_i420)

    def draw(self, motion: Motion, out: U8) -> None:
        """out: (height * 3 / 2, width) uint8 I420, BT.601 limited range."""
        self._drawer.i420(self._rig.state(motion, self._absolute), out)

    @property
    def launch(self) -> Callable[[Sequence[Any]], None] | None:
        """Draws many shots at once on a GPU, of any pictures whose `launch` equals this one; None: each by `draw`."""
        return self._drawer.launch

    def shot(self, motion: Motion, out: U8) -> Any:
        """What `launch` takes to draw the motion into out, as `draw` does."""
        return self._drawer.shot(self._rig.state(motion, self._absolute), out)

    @property
    def levels(self) -> int:
        """How many levels of detail there are; 1 on a GPU."""
        return self._drawer.levels

    def set_level(self, level: int) -> None:
        """Draw at a level of detail, 0 the finest, from the next frame on (avatar/render/detail.py)."""
        self._drawer.set_level(level)

    def rgba(self, motion: Motion) -> U8:
        """(height, width, 4) uint8 with straight alpha and no background."""
        from avatar.render import compose

        return compose.rgba(self._drawer.premultiplied(self._rig.state(motion, self._absolute)))

    def close(self) -> None:
        """Give the rasterizer's threads back; not drawn again."""
        self._drawer.close()


@functools.cache
def gpu(device: str) -> GpuRasterizer | None:
    """The process's GPU rasterizer where `device` means the GPU, else None. The first call may compile for minutes.

    "auto" takes the GPU where gsplat is installed and CUDA answers; where gsplat is not, torch is not even loaded.
    Raises ValueError for no device of DEVICES, or for "cuda" where it cannot be had.
    """
    if device not in DEVICES:
        raise ValueError(f"device is {device!r}, expected one of {', '.join(DEVICES)}")
    if device == "cpu":
        return None
    if importlib.util.find_spec("gsplat") is None:
        problem = "gsplat is not installed; install requirements/cuda.lock"
    else:
        from avatar.render.gpu import GpuError, GpuRasterizer

        try:
            return GpuRasterizer()
        except GpuError as e:
            problem = str(e)
            log.warning("drawing on the CPU: %s", problem)
    if device == "cuda":
        raise ValueError(f"device is 'cuda', but {problem}")
    return None


class _Drawer(Protocol):
    """What draws one avatar for one camera."""

    levels: int
    launch: Callable[[Sequence[Any]], None] | None

    def shot(self, state: State, out: U8) -> Any: ...
    def set_level(self, level: int) -> None: ...
    def i420(self, state: State, out: U8) -> None: ...
    def premultiplied(self, state: State) -> NDArray[np.float32]: ...
    def close(self) -> None: ...


class _OnCpu:
    launch: Callable[[Sequence[Any]], None] | None = None

    def __init__(self, avatar: Avatar, rig: Rig, camera: Camera, background: U8, threads: int) -> None:
        from avatar.render.detail import DetailRasterizer

        self._rig, self._camera, self._background = rig, camera, background
        self._rasterizer = DetailRasterizer(avatar, threads)
        self.levels = self._rasterizer.levels

    def shot(self, state: State, out: U8) -> Any:
        raise NotImplementedError("pictures are drawn one by one on a CPU")

    def set_level(self, level: int) -> None:
        self._rasterizer.level = level

    def i420(self, state: State, out: U8) -> None:
        self._rasterizer.draw_i420(self._rig.vertices(state), self._camera, self._background, out)

    def premultiplied(self, state: State) -> NDArray[np.float32]:
        return self._rasterizer.draw(self._rig.vertices(state), self._camera)

    def close(self) -> None:
        self._rasterizer.close()


class _OnGpu:
    """All pictures share the process's one rasterizer, and avatars in memory their copy on the GPU."""

    levels = 1

    def __init__(self, rasterizer: GpuRasterizer, avatar: Avatar, camera: Camera, background: U8) -> None:
        self._rasterizer, self._camera = rasterizer, camera
        self._avatar, self._background = rasterizer.load(avatar), rasterizer.background(background)
        self.launch: Callable[[Sequence[Any]], None] | None = rasterizer.draw_many

    def shot(self, state: State, out: U8) -> Any:
        from avatar.render.gpu import Shot

        return Shot(self._avatar, state, self._camera, self._background, out)

    def i420(self, state: State, out: U8) -> None:
        self._rasterizer.draw_many([self.shot(state, out)])

    def premultiplied(self, state: State) -> NDArray[np.float32]:
        return self._rasterizer.draw(self._avatar, state, self._camera)

    def set_level(self, level: int) -> None:
        """There is one."""

    def close(self) -> None:
        """Nothing of its own to give back."""
