"""The nets that find faces, bodies and hands, each behind a call that takes RGB and gives NumPy.

MediaPipe's Tasks (Lugaresi et al. 2019; BlazeFace, Face Mesh V2, BlazePose, BlazePalm) and OpenCV's YuNet (Wu et al.
2023). MediaPipe is imported when the first net is made, never before; its start-up chatter is kept off stderr.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models import weights
from models.motion import ARKIT, A
from models.pose_task import with_metadata

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

_CHATTER = re.compile(
    rb"[IWE]\d{4} \d\d:\d\d:|[IW]0000 00:00|WARNING: All log messages|INFO: Created TensorFlow|\[ WARN:"
)
_stderr_lock = threading.Lock()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hold back what native libraries write to stderr meanwhile, and pass on all of it but their known chatter."""
    with _stderr_lock, tempfile.TemporaryFile() as held:
        sys.stderr.flush()
        keep = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(keep, 2)
            os.close(keep)
            held.seek(0)
            for line in held:
                if not _CHATTER.match(line):
                    os.write(2, line)


class _Task:
    """One MediaPipe Task: made quietly, fed RGB, closed once. In video mode it keeps state and needs rising times."""

    def __init__(self, landmarker: str, data: bytes, video: bool, **options: Any) -> None:
        os.environ.setdefault("GLOG_minloglevel", "3")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        warnings.filterwarnings("ignore", message="MessageFactory class is deprecated", category=UserWarning)
        with quiet():
            import mediapipe
            from mediapipe.tasks.python import BaseOptions, vision

            self._mediapipe = mediapipe
            self._mode = vision.RunningMode.VIDEO if video else vision.RunningMode.IMAGE
            make, make_options = getattr(vision, landmarker), getattr(vision, landmarker + "Options")
            base = BaseOptions(model_asset_buffer=data)
            self._task = make.create_from_options(make_options(base_options=base, running_mode=self._mode, **options))
        self._video, self._time_ms, self._seen = video, -1, False

    def __call__(self, rgb: U8, time_s: float = 0.0) -> Any:
        image = self._mediapipe.Image(self._mediapipe.ImageFormat.SRGB, np.ascontiguousarray(rgb))
        with contextlib.nullcontext() if self._seen else quiet():
            self._seen = True
            if not self._video:
                return (self._task.segment if hasattr(self._task, "segment") else self._task.detect)(image)
            self._time_ms = max(self._time_ms + 1, round(time_s * 1000))  # MediaPipe wants whole, rising milliseconds
            return self._task.detect_for_video(image, self._time_ms)

    def close(self) -> None:
        self._task.close()


def _points(landmarks: Any, width: int, height: int) -> F32:
    """Normalised landmarks to px; z is in the scale of x."""
    return np.array([[p.x * width, p.y * height, p.z * width] for p in landmarks], np.float32)


def _world(landmarks: Any) -> F32:
    return np.array([[p.x, p.y, p.z] for p in landmarks], np.float32)


@dataclass(frozen=True)
class FoundFace:
    landmarks: F32  # (478, 3) px of the image given to the net
    blendshapes: F32  # (52,) in ARKIT order
    matrix: F32  # (4, 4) camera_from_face of that image's camera


class FaceLandmarker:
    """478 landmarks with irises, 52 blendshape scores and the head's matrix. Faces of at least ~1/5 of the image."""

    def __init__(self, video: bool, faces: int = 1, confidence: float = 0.3) -> None:
        self._task = _Task(
            "FaceLandmarker", weights.path("face_landmarker").read_bytes(), video,
            num_faces=faces, min_face_detection_confidence=confidence, min_face_presence_confidence=confidence,
            min_tracking_confidence=0.5, output_face_blendshapes=True, output_facial_transformation_matrixes=True,
        )  # fmt: skip
        self.close = self._task.close

    def __call__(self, rgb: U8, time_s: float = 0.0) -> list[FoundFace]:
        result, (height, width) = self._task(rgb, time_s), rgb.shape[:2]
        found = []
        for points, scores, matrix in zip(
            result.face_landmarks, result.face_blendshapes, result.facial_transformation_matrixes
        ):
            face = np.zeros(len(ARKIT), np.float32)
            for score in scores:
                if score.category_name in A:  # not `_neutral`
                    face[A[score.category_name]] = score.score
            found.append(FoundFace(_points(points, width, height), face, np.asarray(matrix, np.float32)))
        return found


@dataclass(frozen=True)
class FoundBody:
    keypoints: F32  # (33, 4) px x, y, z and visibility
    world: F32  # (33, 3) m
    mask: F32 | None  # (H, W) probability


class PoseLandmarker:
    """33 keypoints of bodies; `net` is lite, full or heavy."""

    def __init__(self, video: bool, net: str, bodies: int = 1, masks: bool = False) -> None:
        self._task = _Task(
            "PoseLandmarker", weights.path(f"pose_landmarker_{net}").read_bytes(), video,
            num_poses=bodies, output_segmentation_masks=masks,
        )  # fmt: skip
        self.close = self._task.close

    def __call__(self, rgb: U8, time_s: float = 0.0) -> list[FoundBody]:
        result, (height, width) = self._task(rgb, time_s), rgb.shape[:2]
        found = []
        for i, landmarks in enumerate(result.pose_landmarks):
            visibility = np.array([[p.visibility] for p in landmarks], np.float32)
            masks = result.segmentation_masks
            mask = masks[i].numpy_view().reshape(height, width).astype(np.float32) if masks else None
            keypoints = np.hstack([_points(landmarks, width, height), visibility])
            found.append(FoundBody(keypoints, _world(result.pose_world_landmarks[i]), mask))
        return found


@dataclass(frozen=True)
class FoundHand:
    side: str  # "left" or "right": the person's own, as the net judges it
    landmarks: F32  # (21, 3) px
    world: F32  # (21, 3) m


class HandLandmarker:
    def __init__(self, video: bool, hands: int = 2, confidence: float = 0.4) -> None:
        self._task = _Task(
            "HandLandmarker", weights.path("hand_landmarker").read_bytes(), video,
            num_hands=hands, min_hand_detection_confidence=confidence, min_hand_presence_confidence=confidence,
        )  # fmt: skip
        self.close = self._task.close

    def __call__(self, rgb: U8, time_s: float = 0.0) -> list[FoundHand]:
        result, (height, width) = self._task(rgb, time_s), rgb.shape[:2]
        return [
            FoundHand(handedness[0].category_name.lower(), _points(points, width, height), _world(world))
            for points, world, handedness in zip(result.hand_landmarks, result.hand_world_landmarks, result.handedness)
        ]


class PersonSegmenter:
    """Probability (H, W) that a pixel is a person or held by one; the net sees the image as 256 x 256."""

    RESOLUTION = 256

    def __init__(self) -> None:
        net = weights.path("selfie_segmentation").read_bytes()
        data = with_metadata(net, "selfie_segmentation", 0.0, 255.0)  # pixels to 0..1
        self._task = _Task(
            "ImageSegmenter", data, video=False, output_confidence_masks=True, output_category_mask=False
        )
        self.close = self._task.close

    def __call__(self, rgb: U8) -> F32:
        mask = self._task(rgb).confidence_masks[0].numpy_view()
        return np.array(mask, np.float32).reshape(rgb.shape[:2])  # a copy: the view dies with the result


@dataclass(frozen=True)
class FaceBox:
    """A face found in a whole picture: where, how large, how it is tilted."""

    box: tuple[float, float, float, float]  # x0, y0, x1, y1 px
    eyes: F32  # (2, 2) px, left on screen first
    score: float

    @property
    def centre(self) -> tuple[float, float]:
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2

    @property
    def size(self) -> float:
        return max(self.box[2] - self.box[0], self.box[3] - self.box[1])

    @property
    def roll(self) -> float:
        """Tilt of the head, rad, clockwise on screen."""
        d = self.eyes[1] - self.eyes[0]
        return math.atan2(float(d[1]), float(d[0]))


class FaceDetector:
    """All faces of a picture, from ~12 px up, tilted up to about 50 degrees, half turned away (YuNet)."""

    def __init__(self, long_side: int = 1024, score: float = 0.6) -> None:
        with quiet():
            path = str(weights.path("face_detector_yunet"))
            self._net = cv2.FaceDetectorYN.create(path, "", (320, 320), score, 0.3, 500)
        self._long_side = long_side

    def __call__(self, rgb: U8) -> list[FaceBox]:
        height, width = rgb.shape[:2]
        k = min(1.0, self._long_side / max(height, width))
        small = rgb if k == 1 else cv2.resize(rgb, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
        self._net.setInputSize((small.shape[1], small.shape[0]))
        _, found = self._net.detect(np.ascontiguousarray(small[..., ::-1]))
        boxes = []
        for x, y, w, h, *rest in [] if found is None else (found / [*[k] * 14, 1]).tolist():
            eyes = np.array(rest[:4], np.float32).reshape(2, 2)
            boxes.append(FaceBox((x, y, x + w, y + h), eyes, rest[-1]))
        return sorted(boxes, key=lambda b: -b.size)

    def close(self) -> None:
        """Nothing to release; here so that all nets are treated alike."""
