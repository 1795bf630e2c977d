"""The picture of an avatar: motion in, I420 frame out, through the rig and the rasterizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from models.motion import Motion

if TYPE_CHECKING:
    from avatar.asset import Avatar

U8 = NDArray[np.uint8]


class AvatarPicture:
    """Draws one avatar at one size over its own background. width and height even."""

    def __init__(self, avatar: Avatar, width: int, height: int, view: str = "auto", threads: int = 2) -> None:
        from avatar.render import compose
        from avatar.render.cpu import Rasterizer
        from avatar.rig import Rig

        if width % 2 or height % 2:
            raise ValueError(f"{width}x{height}: width and height must be even, as I420 halves its colours")
        self.width, self.height = width, height
        self._camera, background = compose.view(avatar, width, height, view)
        self._background = np.asarray(cv2.cvtColor(background, cv2.COLOR_RGB2YUV_I420), np.uint8)
        self._rig = Rig(avatar)
        self._rasterizer = Rasterizer(avatar, threads)

    def draw(self, motion: Motion, out: U8) -> None:
        """out: (height * 3 / 2, width) uint8 I420, BT.601 limited range."""
        vertices = self._rig.vertices(self._rig.state(motion))
        self._rasterizer.draw_i420(vertices, self._camera, self._background, out)
