"""Let the lids meet: the artist's blink was drawn for a wider eye and slides far past the lower lid.

Along the lid the shape is scaled so that the upper rim comes down onto the lower rim and a little beyond, which leaves
room for identities whose eyes are wider than the mean's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from models.motion import ARKIT
from models.open_human import rims
from models.open_human.detect import Surface
from models.open_human.makehuman import F64, MakeHuman

BEYOND, BEYOND_REST = 0.25, 0.0004  # of the opening, and m: how far the upper rim passes the lower one
STEP = 8  # pixels between the columns that are measured
BLUR = 0.0025  # m
SCALES = (0.4, 1.15)


def meet(human: MakeHuman, body: dict[str, Any]) -> None:
    """Scale eyeBlinkLeft and eyeBlinkRight of `body` in place; its mesh must be mirror-symmetric."""
    surface = Surface.of(human, body)
    right = 300 + ARKIT.index("eyeBlinkRight")
    left = 300 + ARKIT.index("eyeBlinkLeft")
    at, scale = scale_along_the_lid(surface, body["shapedirs"][:, :, right])
    body["shapedirs"][:, :, right] *= np.interp(surface.vertices[:, 0], at, scale)[:, None]
    body["shapedirs"][:, :, left] = body["shapedirs"][surface.mirror, :, right] * [-1, 1, 1]


def scale_along_the_lid(surface: Surface, blink: NDArray) -> tuple[F64, F64]:
    """x (n,) m rising across the right eye, and the factor (n,) for the blink's displacements (V, 3) there."""
    window, eye = rims.aperture(surface, 1)
    columns = np.flatnonzero(eye.any(0))[STEP::STEP]
    opening, closing = np.zeros(len(columns)), np.zeros(len(columns))
    for i, x in enumerate(columns):
        rows = np.flatnonzero(eye[:, x])
        upper, lower = (_follow(surface, window, x, y, blink) for y in (int(rows[0]) - 1, int(rows[-1]) + 1))
        opening[i] = upper[0] - lower[0]
        closing[i] = lower[1] - upper[1]
    wanted = opening * (1 + BEYOND) + BEYOND_REST
    scale = (wanted / np.maximum(closing, 1e-4)).clip(*SCALES)
    at = surface.eyes[1, 0] + (columns + 0.5 - eye.shape[1] / 2) * rims.PIXEL
    return at, gaussian_filter1d(scale, BLUR / (STEP * rims.PIXEL), mode="nearest")


def _follow(surface: Surface, window: rims.Window, x: int, y: int, blink: NDArray) -> tuple[float, float]:
    """Height (m) of the skin at a pixel, and how far a blink lifts it."""
    face, bary = window.skin_point(surface, int(x), y)
    corners = surface.faces[face]
    return float(bary @ surface.vertices[corners, 1]), float(bary @ blink[corners, 1])
