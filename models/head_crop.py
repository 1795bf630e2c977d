"""A face seen in an upright crop of its head, and its place in the whole image."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from models.crop import Crop
from models.landmarkers import FoundFace
from models.person import Face

HALF_VIEW = math.radians(63.0 / 2)  # MediaPipe's camera looks 63 degrees from top to bottom


def face_in_image(found: FoundFace, crop: Crop, shape: tuple[int, ...]) -> Face:
    """A face found in `crop` as a face of the image of `shape` (H, W, ...)."""
    landmarks = crop.to_image(found.landmarks).astype(np.float32)
    return Face(landmarks, found.blendshapes, matrix_in_image(found.matrix, crop, shape))


def matrix_in_image(matrix: NDArray, crop: Crop, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The head's matrix in the camera of the whole image, from the one in the crop's camera.

    Both cameras look 63 degrees from top to bottom of their images. The rotation is that against the line of sight:
    a head that looks into the camera is not turned, wherever in the picture it stands.
    """
    focal_crop = crop.size / 2 / math.tan(HALF_VIEW)  # px of the crop
    focal = shape[0] / 2 / math.tan(HALF_VIEW)  # px of the image
    x, y, z = matrix[:3, 3].astype(float)
    seen = np.array([[crop.size / 2 + focal_crop * x / -z, crop.size / 2 - focal_crop * y / -z]])
    offset = crop.to_image(seen)[0] - [shape[1] / 2, shape[0] / 2]
    c, s = math.cos(crop.roll), math.sin(crop.roll)
    out = np.eye(4, dtype=np.float32)
    out[:3, :3] = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) @ matrix[:3, :3]  # clockwise on screen, y up
    distance = focal * crop.scale * -z / focal_crop
    out[:3, 3] = distance * np.array([offset[0] / focal, -offset[1] / focal, -1])
    return out
