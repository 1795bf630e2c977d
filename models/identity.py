"""Is it the same face? A face's identity as a unit vector: YuNet finds it, SFace embeds it.

Used to compare a photo with its re-render: the cosine of the two embeddings (CSIM) falls when the likeness is lost.
On a handful of photos one man in two pictures scored .69 to .96 and different people .41 at most. That is too little
to verify persons by, so there is no threshold here.

YuNet: Wu et al. 2023, "YuNet: A Tiny Millisecond-level Face Detector". SFace: Zhong et al. 2021, "SFace:
Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition".
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models import weights
from models.onnx_edit import keep_inputs

WIDTH = 128  # of an embedding
CROP = 112  # pixels each way of an aligned face
# Eyes, nose and mouth corners, left to right in the picture, in the aligned crop (ArcFace, Deng et al. 2019).
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
MAX_SIDE = 640  # pixels; larger pictures are searched in a reduced copy
MIN_SCORE = 0.6

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

_detector_lock = threading.Lock()  # OpenCV's detector keeps the picture's size between calls


@dataclass(frozen=True)
class FoundFace:
    box: F32  # (4,) left, top, width, height in pixels
    points: F32  # (5, 2) pixels: eyes, nose, mouth corners, left to right in the picture
    score: float  # 0..1


@lru_cache(maxsize=1)
def _detector() -> Any:
    file = str(weights.path("face_detector_yunet"))
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # OpenCV 5 warns of its own default
    try:
        return cv2.FaceDetectorYN.create(file, "", (MAX_SIDE, MAX_SIDE), score_threshold=MIN_SCORE)
    finally:
        cv2.utils.logging.setLogLevel(level)


@lru_cache(maxsize=1)
def _embedder() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # it warns of constants in the file that nothing uses
    # The file lists its dequantized weights as inputs too; runtimes would ask for them.
    model = keep_inputs(weights.path("face_identity_sface").read_bytes(), {"data"})
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def detect(rgb: U8) -> list[FoundFace]:
    """Faces of a picture (H, W, 3) uint8, largest first."""
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"an image of shape {rgb.shape} and type {rgb.dtype}; wanted (H, W, 3) uint8")
    height, width = rgb.shape[:2]
    scale = min(1.0, MAX_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    bgr = cv2.cvtColor(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
    with _detector_lock:
        detector = _detector()
        detector.setInputSize(size)
        rows = detector.detect(bgr)[1]
    if rows is None:
        return []
    zoom = np.array([width / size[0], height / size[1]], np.float32)
    faces = [
        FoundFace(row[:4] * np.tile(zoom, 2), row[4:14].reshape(5, 2) * zoom, float(row[14]))
        for row in rows.astype(np.float32)
    ]
    return sorted(faces, key=lambda face: -float(face.box[2] * face.box[3]))


def similarity_transform(source: NDArray[Any], target: NDArray[Any]) -> NDArray[np.float64]:
    """(2, 3) turn, scale and shift that take source points (N, 2) closest to target (Umeyama 1991)."""
    mean_source, mean_target = source.mean(0), target.mean(0)
    a, b = source - mean_source, target - mean_target
    u, s, vt = np.linalg.svd(b.T @ a)
    flip = np.array([1.0, np.sign(np.linalg.det(u @ vt))])
    linear = (u * flip) @ vt * (s * flip).sum() / (a * a).sum()
    return np.column_stack([linear, mean_target - linear @ mean_source])


def embed(rgb: U8, face: FoundFace | None = None) -> F32 | None:
    """(H, W, 3) uint8 -> (128,) unit vector of the given face, else of the largest one; None if there is no face."""
    if face is None:
        faces = detect(rgb)
        if not faces:
            return None
        face = faces[0]
    matrix = similarity_transform(face.points.astype(np.float64), TEMPLATE)
    crop = cv2.warpAffine(rgb, matrix, (CROP, CROP), flags=cv2.INTER_LINEAR)
    (vector,) = _embedder().run(["fc1"], {"data": crop.transpose(2, 0, 1)[None].astype(np.float32)})[0]
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def similarity(a: F32, b: F32) -> float:
    """Cosine of two embeddings, -1..1; 1 for the same picture of the same face."""
    return float(np.dot(a, b))
