"""A turn of the head, shared out between neck and head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.motion import axis_angle_from_matrix, matrix_from_axis_angle

NECK_SHARE = 0.4


def neck_and_head(turn: NDArray) -> tuple[NDArray, NDArray]:
    """A turn of the head (..., 3, 3) shared out: (neck, head) axis-angle (..., 3) whose composition is the turn."""
    neck = axis_angle_from_matrix(turn) * NECK_SHARE
    head = axis_angle_from_matrix(np.swapaxes(matrix_from_axis_angle(neck), -1, -2) @ turn)
    return neck.astype(np.float32), head.astype(np.float32)
