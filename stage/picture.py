"""The picture of an avatar: motion in, frame out, through the rig and the rasterizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.motion import Motion

if TYPE_CHECKING:
    from avatar.asset import Avatar

U8 = NDArray[np.uint8]


class AvatarPicture:
    """Draws one avatar at one size. width and height even.

    background is the photo's own or a colour "#rrggbb"; absolute takes motions as they are instead of relative to the
    photo (the photo's own person and camera).
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
    ) -> None:
        from avatar.render import compose
        from avatar.render.cpu import Rasterizer
        from avatar.rig import Rig

        if width % 2 or height % 2:
            raise ValueError(f"{width}x{height}: width and height must be even, as I420 halves its colours")
        self.width, self.height = width, height
        self._camera, scene = compose.view(avatar, width, height, view)
        if background != "photo":
            scene = compose.solid(background, width, height)
        self._background = compose.i420(scene)
        self._absolute = absolute
        self._rig = Rig(avatar)
        self._rasterizer = Rasterizer(avatar, threads)

    def draw(self, motion: Motion, out: U8) -> None:
        """out: (height * 3 / 2, width) uint8 I420, BT.601 limited range."""
        self._rasterizer.draw_i420(self._vertices(motion), self._camera, self._background, out)

    def rgba(self, motion: Motion) -> U8:
        """(height, width, 4) uint8 with straight alpha and no background."""
        from avatar.render import compose

        return compose.rgba(self._rasterizer.draw(self._vertices(motion), self._camera))

    def close(self) -> None:
        """Give the rasterizer's threads back; not drawn again."""
        self._rasterizer.close()

    def _vertices(self, motion: Motion) -> NDArray[np.float32]:
        return self._rig.vertices(self._rig.state(motion, self._absolute))
