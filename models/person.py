"""What is seen of a person in a picture: face, body, hands, and the measures by which a photo is judged.

All coordinates are pixels of the given image, x right, y down, pixel centres at .5. Left and right are the person's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.motion import ARKIT

F32 = NDArray[np.float32]

# Landmarks of MediaPipe's Face Mesh V2 by place. The person's right is on the left of the picture.
FOREHEAD, CHIN = 10, 152
RIGHT_CHEEK, LEFT_CHEEK = 234, 454
RIGHT_IRIS, LEFT_IRIS = tuple(range(468, 473)), tuple(range(473, 478))  # the centre first
FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip

# Keypoints of BlazePose.
LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_ELBOW, RIGHT_ELBOW, LEFT_WRIST, RIGHT_WRIST = range(11, 17)
LEFT_HAND, RIGHT_HAND = (15, 17, 19, 21), (16, 18, 20, 22)  # wrist, little finger, index, thumb
LEFT_HIP, RIGHT_HIP, LEFT_KNEE, RIGHT_KNEE, LEFT_ANKLE, RIGHT_ANKLE = range(23, 29)
HEAD_KEYPOINTS = range(11)


@dataclass(frozen=True)
class Face:
    landmarks: F32  # (478, 3) px; z in the same scale, smaller is nearer; 468-477 are the irises
    blendshapes: F32  # (52,) in the order of models.motion.ARKIT, 0..1; tongueOut is never seen and stays 0
    matrix: F32  # (4, 4) camera_from_face: cm, x right, y up, z to the viewer; camera of 63 degrees vertical view

    @property
    def centre(self) -> F32:
        """(2,) px, the middle of the oval."""
        return self.landmarks[list(FACE_OVAL), :2].mean(0)

    @property
    def width(self) -> float:
        """Cheek to cheek along the face's own axis, px, as seen (a profile is narrow)."""
        return float(np.linalg.norm(self.landmarks[LEFT_CHEEK, :2] - self.landmarks[RIGHT_CHEEK, :2]))

    @property
    def height(self) -> float:
        """Forehead to chin, px."""
        return float(np.linalg.norm(self.landmarks[FOREHEAD, :2] - self.landmarks[CHIN, :2]))

    @property
    def roll(self) -> float:
        """Tilt of the head towards a shoulder, rad, clockwise on screen."""
        d = self.landmarks[CHIN, :2] - self.landmarks[FOREHEAD, :2]
        return float(np.arctan2(-d[0], d[1]))

    @property
    def yaw(self) -> float:
        """Turn of the head, rad; positive to the right of the picture."""
        return float(np.arctan2(self.matrix[0, 2], self.matrix[2, 2]))

    @property
    def pitch(self) -> float:
        """Nod of the head, rad; positive is down."""
        forward = self.matrix[:3, 2]
        return float(-np.arcsin(np.clip(forward[1] / np.linalg.norm(forward), -1, 1)))

    def scores(self) -> dict[str, float]:
        """Blendshapes by name."""
        return dict(zip(ARKIT, self.blendshapes.tolist()))

    def cut(self, shape: tuple[int, ...], margin: float = 0.0) -> float:
        """Share of the face's oval outside an image of `shape` (H, W, ...), or within `margin` px of its border."""
        p, high = self.landmarks[list(FACE_OVAL), :2], np.array([shape[1], shape[0]])
        return float(((p < margin) | (p > high - margin)).any(1).mean())


@dataclass(frozen=True)
class Body:
    keypoints: F32  # (33, 4) px x, y, z (scale of x, hips at 0) and visibility 0..1
    world: F32  # (33, 3) m, hips at the origin, x right on screen, y down, z away from the viewer
    mask: F32 | None = None  # (H, W) probability that a pixel is this person; pictures only

    @property
    def head_centre(self) -> F32:
        return self.keypoints[HEAD_KEYPOINTS, :2].mean(0)

    @property
    def head_width(self) -> float:
        """Extent of the head's keypoints, px."""
        p = self.keypoints[HEAD_KEYPOINTS, :2]
        return float(np.ptp(p, axis=0).max())

    def visible(self, keypoint: int, shape: tuple[int, ...], least: float = 0.5) -> bool:
        """Whether a keypoint is seen inside an image of `shape`: outside the border positions are guesses."""
        x, y, _, visibility = self.keypoints[keypoint]
        return bool(visibility >= least and 0 <= x < shape[1] and 0 <= y < shape[0])


@dataclass(frozen=True)
class Hand:
    side: str  # "left" or "right": the person's own
    landmarks: F32  # (21, 3) px; z in the same scale relative to the wrist
    world: F32  # (21, 3) m, about the hand's centre

    def cut(self, shape: tuple[int, ...]) -> float:
        """Share of the landmarks that lie outside an image of `shape` (H, W, ...)."""
        p = self.landmarks[:, :2]
        return float(((p < 0) | (p > [shape[1], shape[0]])).any(1).mean())


@dataclass(frozen=True)
class Person:
    """A person with a face, a body or both. Whether a face is drawn, carved or alive cannot be told from this."""

    face: Face | None
    body: Body | None
    hands: tuple[Hand, ...]
    box: tuple[float, float, float, float]  # x0, y0, x1, y1 px around all that is seen, inside the image

    @property
    def size(self) -> float:
        """Height of the face, or what the body's head lets expect, px. Persons are sorted by it."""
        if self.face is not None:
            return self.face.height
        return 1.3 * self.body.head_width if self.body is not None else 0.0

    def hand(self, side: str) -> Hand | None:
        return next((h for h in self.hands if h.side == side), None)


def person_of(face: Face | None, body: Body | None, hands: tuple[Hand, ...], shape: tuple[int, ...]) -> Person:
    """A Person with the box around its visible points, clipped to an image of `shape`."""
    points = [h.landmarks[:, :2] for h in hands]
    if face is not None:
        points.append(face.landmarks[:, :2])
    if body is not None:
        points.append(body.keypoints[body.keypoints[:, 3] > 0.5, :2])
    p = np.concatenate(points).clip(0, [shape[1], shape[0]])
    (x0, y0), (x1, y1) = p.min(0).tolist(), p.max(0).tolist()
    return Person(face, body, hands, (x0, y0, x1, y1))


def with_face(persons: list[Person], least: float = 0.0) -> list[Person]:
    """Those with a face at least `least` times as high as the largest: who else would a viewer notice?"""
    faces = [p for p in persons if p.face is not None]
    largest = max((p.size for p in faces), default=0.0)
    return [p for p in faces if p.size >= least * largest]
