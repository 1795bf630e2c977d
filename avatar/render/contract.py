"""What every rasterizer takes and gives, and the one compositing rule they share.

World: metres, y up, z towards the viewer, the person's left is +x. Camera: x right, y down, z forward, at the origin;
camera = world * (1, -1, -1). Pixel centres lie at .5.

The rule (order-free surface splatting: EWA, Zwicker et al. 2001, with a depth pre-pass):
1. The occluder triangles of the union mesh are drawn into a z-buffer `zb` at pixel centres (1/z interpolated).
2. A Gaussian's mean is its barycentric point in camera space. Its screen covariance is (J E M)(J E M)^T + DILATION I,
   J (2, 3) the projection's Jacobian at the mean, E (3, 2) the triangle's two edges, M (2, 2) its shape in edge basis.
3. At a pixel with offset d from the mean, q = d^T C^-1 d, the weight is w = (1 - q / 32)^16 where q < CUTOFF, else 0
   (a polynomial stand-in for exp(-q / 2)). It counts where z - tolerance(layer) <= zb at the pixel, and the whole
   Gaussian only when the same holds at the pixel its mean falls into (means outside the image pass).
4. Two layers, solid (S) and fringe (F), each sum W = sum w, A = sum w opacity, C = sum w colour. With hit = zb finite:
     a_S = A_S / W_S * min(W_S / (hit ? HIT_FULL : OPEN_FULL), 1)
     a_F = A_F / W_F * min(W_F / OPEN_FULL, 1) * (hit ? W_F / (W_S + W_F) : 1)
     alpha = a_F + a_S (1 - a_F);   colour * alpha = C_F / W_F a_F + C_S / W_S a_S (1 - a_F)
5. Over a background B: alpha * colour + (1 - alpha) * B.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

DILATION = 0.15  # px^2, screen-space low-pass
CUTOFF = 7.29  # q beyond which a Gaussian is nothing: 2.7 sigma
HIT_FULL = 0.03  # weight at which a pixel on the mesh is fully covered
OPEN_FULL = 0.6  # weight at which a pixel off the mesh is fully covered
NEAR = 0.05  # m; a Gaussian with its mean nearer is not drawn, nor a triangle with a vertex nearer

# BT.601 limited range, as which WebRTC's H264 and VP8 are taken without further signalling: matrix @ RGB + offset
YUV_FROM_RGB = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])  # RGB 0..1
YUV_OFFSET = np.array([16.0, 128.0, 128.0])


@dataclass(frozen=True)
class Layer:
    name: str
    tolerance: float  # m behind the occluder at which a Gaussian of this layer still counts
    fringe: bool = False


LAYERS = (
    Layer("skin", 0.004), Layer("lips", 0.0015), Layer("cavity", 0.0015), Layer("teeth", 0.0015),
    Layer("tongue", 0.0015), Layer("eyes", 0.0015), Layer("card", 0.0015), Layer("shell", 0.006),
    Layer("hands", 0.003), Layer("fringe", 0.006, True),
)  # fmt: skip
LAYER = {layer.name: i for i, layer in enumerate(LAYERS)}
TOLERANCE = np.array([layer.tolerance for layer in LAYERS], np.float32)
FRINGE = np.array([layer.fringe for layer in LAYERS])


@dataclass(frozen=True)
class Camera:
    """A pinhole camera; lengths in pixels of its own image."""

    focal: float
    cx: float
    cy: float
    width: int
    height: int

    def window(self, x0: float, y0: float, side_x: float, width: int, height: int) -> Camera:
        """The camera that shows the part of this image from (x0, y0), side_x pixels wide, on width x height pixels."""
        k = width / side_x
        return replace(
            self, focal=self.focal * k, cx=(self.cx - x0) * k, cy=(self.cy - y0) * k, width=width, height=height
        )

    def camera_from_world(self, points: NDArray) -> NDArray:
        """(..., 3) -> (..., 3)."""
        return points * np.array([1, -1, -1], points.dtype)

    def project(self, world: NDArray) -> NDArray:
        """(..., 3) world m -> (..., 3) pixel x, pixel y, depth m."""
        c = self.camera_from_world(world)
        z = c[..., 2]
        return np.stack([self.focal * c[..., 0] / z + self.cx, self.focal * c[..., 1] / z + self.cy, z], -1)
