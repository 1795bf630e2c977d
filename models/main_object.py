"""The main object of a picture, cut out to the pixel: ISNet (Qin et al. 2022, "Highly Accurate Dichotomous Image
Segmentation"), which sees a square of 1024 pixels.

It finds outlines far more finely than nets for persons do, but knows nothing of persons: an arm held away from the body
may fade, a chair may come along. `models/outline.py` puts the two together.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from models import weights

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

SIDE = 1024  # px of the square that the net sees
MARGIN = 0.12  # of the box's longer side, seen around it
SURE = 0.05  # what the net gives at most where it sees nothing, and leaves at most where it is sure


def main_object(rgb: U8, box: tuple[int, int, int, int]) -> F32:
    """(H, W) 0..1: how far each pixel of `rgb` (H, W, 3) is of the object in `box` (x0, y0, x1, y1 px); 0 around it."""
    height, width = rgb.shape[:2]
    x0, y0, x1, y1 = box
    more = round(MARGIN * max(x1 - x0, y1 - y0))
    part = np.s_[max(y0 - more, 0) : min(y1 + more, height), max(x0 - more, 0) : min(x1 + more, width)]
    seen = rgb[part]
    out: NDArray = np.zeros((height, width), np.float32)
    found = cv2.resize(_net(_fitting(seen)), (seen.shape[1], seen.shape[0]), interpolation=cv2.INTER_AREA)
    out[part] = ((found - SURE) / (1 - 2 * SURE)).clip(0, 1)
    return out


def _fitting(rgb: U8) -> F32:
    """(1, 3, SIDE, SIDE) -.5...5, stretched, as the net was trained."""
    large = max(rgb.shape[:2]) > SIDE
    square = cv2.resize(rgb, (SIDE, SIDE), interpolation=cv2.INTER_AREA if large else cv2.INTER_LINEAR)
    return np.asarray(((square.astype(np.float32) - 128) / 256).transpose(2, 0, 1)[None], np.float32)


def _net(x: F32) -> F32:
    """(SIDE, SIDE) 0..1. The session goes with the call: it holds half a gigabyte, and a build needs it once."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of constants in the file that nothing uses
    options.enable_cpu_mem_arena = False  # which would keep three times what is needed at once
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # beside a server that draws
    session = onnxruntime.InferenceSession(str(weights.path("isnet")), options, providers=["CPUExecutionProvider"])
    (found,) = session.run(["output"], {"input": x})
    return np.asarray(found[0, 0], np.float32)
