"""All persons of one picture: faces by a detector on all of it and by the bodies' heads, each looked at closely.

The landmark net finds faces that fill a good part of its image and stand upright. So every head is cut out first, set
upright and enlarged; a head comes from YuNet's face box or from BlazePose's head keypoints, whichever sees it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from models.crop import Crop
from models.head_crop import face_in_image
from models.landmarkers import FaceBox, FaceDetector, FaceLandmarker, FoundHand, HandLandmarker, PoseLandmarker
from models.person import (
    LEFT_ELBOW,
    LEFT_HAND,
    LEFT_SHOULDER,
    RIGHT_ELBOW,
    RIGHT_HAND,
    RIGHT_SHOULDER,
    Body,
    Face,
    Hand,
    Person,
    person_of,
)

U8 = NDArray[np.uint8]

MOST_BODIES = 6
ZOOMS = (2.2, 1.6, 3.2)  # side of the head's crop per face size, tried in turn
TILTS = tuple(math.radians(a) for a in (0, 25, -25, 50, -50))  # tried in turn where the tilt is not known
BODY_WORTH = 0.4  # a face this large against the largest gets a body search of its own


class PictureTracker:
    def __init__(self, body: bool, hands: bool, pose: str) -> None:
        self._detector = FaceDetector()
        self._faces = FaceLandmarker(video=False, faces=3)
        self._bodies = PoseLandmarker(False, pose, MOST_BODIES, masks=True) if body or hands else None
        self._hands = HandLandmarker(video=False) if hands else None

    def close(self) -> None:
        for net in (self._detector, self._faces, self._bodies, self._hands):
            if net is not None:
                net.close()

    def track(self, rgb: U8) -> list[Person]:
        bodies = self._whole_picture_bodies(rgb)
        faces = self._find_faces(rgb, bodies)
        pairs = self._pair(rgb, faces, bodies)
        persons = [
            person_of(face, body, self._find_hands(rgb, body) if body else (), rgb.shape) for face, body in pairs
        ]
        return sorted(persons, key=lambda p: (p.face is None, -p.size))

    # --- faces

    def _find_faces(self, rgb: U8, bodies: list[Body]) -> list[Face]:
        faces: list[Face] = []
        for box in self._detector(rgb):
            self._add(faces, self._look(rgb, box.centre, box.size, _tilts_of(box)))
        for body in bodies:
            size = max(1.3 * body.head_width, 12.0)
            if not any(_same_head(face, body) for face in faces):
                self._add(faces, self._look(rgb, tuple(body.head_centre), size, TILTS))
        return faces or self._faces_that_fill(rgb)

    def _faces_that_fill(self, rgb: U8) -> list[Face]:
        """Faces too large for the detector: those that the landmark net finds in the picture with a rim around it."""
        for zoom in (1.0, 1.5):
            crop = Crop.whole(rgb.shape, zoom)
            faces = [face_in_image(f, crop, rgb.shape) for f in self._faces(crop.cut(rgb))]
            if faces:
                return faces
        return []

    def _look(self, rgb: U8, centre: tuple[float, ...], size: float, tilts: tuple[float, ...]) -> Face | None:
        """The face about `centre`, or None where the landmark net finds none there."""
        for tilt in tilts:
            for zoom in ZOOMS:
                crop = Crop((float(centre[0]), float(centre[1])), zoom * size, tilt)
                faces = [face_in_image(f, crop, rgb.shape) for f in self._faces(crop.cut(rgb))]
                near = [f for f in faces if np.linalg.norm(f.centre - centre) < 0.5 * size]
                if near:
                    return min(near, key=lambda f: float(np.linalg.norm(f.centre - centre)))
        return None

    @staticmethod
    def _add(faces: list[Face], face: Face | None) -> None:
        """Keep a face unless it is one we have."""
        if face is None:
            return
        if all(np.linalg.norm(face.centre - f.centre) > 0.4 * max(face.height, f.height) for f in faces):
            faces.append(face)

    # --- bodies

    def _whole_picture_bodies(self, rgb: U8) -> list[Body]:
        if self._bodies is None:
            return []
        return [Body(b.keypoints, b.world, b.mask) for b in self._bodies(rgb)]

    def _pair(self, rgb: U8, faces: list[Face], bodies: list[Body]) -> list[tuple[Face | None, Body | None]]:
        """Each face with its body. Faces of note that the whole picture gave no body get a search in their own part."""
        left, pairs = list(bodies), []
        largest = max((f.height for f in faces), default=0.0)
        for face in sorted(faces, key=lambda f: -f.height):
            body = next((b for b in left if _same_head(face, b)), None)
            if body is not None:
                left = [b for b in left if b is not body]
            elif face.height >= BODY_WORTH * largest:
                body = self._body_below(rgb, face)
            pairs.append((face, body))
        return pairs + [(None, b) for b in left]

    def _body_below(self, rgb: U8, face: Face) -> Body | None:
        """The body of a face, looked for in the part of the picture below it."""
        if self._bodies is None:
            return None
        height, width = rgb.shape[:2]
        x, y = face.centre
        for reach in (3.0, 6.0):
            x0, x1 = int(max(x - reach * face.height, 0)), int(min(x + reach * face.height, width))
            y0, y1 = int(max(y - 1.5 * face.height, 0)), int(min(y + 2 * reach * face.height, height))
            for found in self._bodies(np.ascontiguousarray(rgb[y0:y1, x0:x1])):
                keypoints = found.keypoints + np.array([x0, y0, 0, 0], np.float32)
                mask = None
                if found.mask is not None:
                    mask = np.zeros((height, width), np.float32)
                    mask[y0:y1, x0:x1] = found.mask
                body = Body(keypoints, found.world, mask)
                if _same_head(face, body):
                    return body
        return None

    # --- hands

    def _find_hands(self, rgb: U8, body: Body) -> tuple[Hand, ...]:
        """The hands at the body's wrists; the body says which is left, the hand net is unsure of that."""
        if self._hands is None:
            return ()
        hands: list[Hand] = []
        for side, points, elbow in (("left", LEFT_HAND, LEFT_ELBOW), ("right", RIGHT_HAND, RIGHT_ELBOW)):
            for crop in _hand_crops(body, points, elbow, rgb.shape):
                found = [_hand_in_image(h, crop, side) for h in self._hands(crop.cut(rgb))]
                hand = _nearest_hand(found, body.keypoints[list(points), :2], crop.side)
                if hand is not None and all(_apart(hand, other) for other in hands):
                    hands.append(hand)
                    break
        return tuple(hands)


def _tilts_of(box: FaceBox) -> tuple[float, ...]:
    """The tilt that the eyes show first; in a profile the eyes' line says little, so upright as well."""
    return (box.roll, 0.0) if abs(box.roll) > 0.1 else (0.0,)


def _same_head(face: Face, body: Body) -> bool:
    return bool(np.linalg.norm(face.centre - body.head_centre) < 0.6 * face.height)


def _hand_crops(body: Body, points: tuple[int, ...], elbow: int, shape: tuple[int, ...]) -> Iterator[Crop]:
    """Squares about a hand, tight and wide, where the wrist is in the picture and likely seen."""
    wrist = body.keypoints[points[0], :2]
    if not body.visible(points[0], shape, least=0.3):
        return
    forearm = np.linalg.norm(wrist - body.keypoints[elbow, :2])
    shoulders = np.linalg.norm(body.keypoints[LEFT_SHOULDER, :2] - body.keypoints[RIGHT_SHOULDER, :2])
    length = max(float(forearm), 0.5 * float(shoulders), 0.8 * body.head_width)
    centre = body.keypoints[list(points), :2].mean(0)
    for side in (1.3 * length, 2.0 * length):
        yield Crop((float(centre[0]), float(centre[1])), side, 0.0, 384)


def _hand_in_image(found: FoundHand, crop: Crop, side: str) -> Hand:
    return Hand(side, crop.to_image(found.landmarks).astype(np.float32), found.world)


def _nearest_hand(hands: list[Hand], expected: NDArray, side: float) -> Hand | None:
    """The hand whose wrist, little finger, index and thumb lie nearest to where the body has them."""
    error = lambda h: float(np.linalg.norm(h.landmarks[[0, 17, 5, 2], :2] - expected, axis=1).mean())  # noqa: E731
    best = min(hands, key=error, default=None)
    return best if best is not None and error(best) < 0.3 * side else None


def _apart(a: Hand, b: Hand) -> bool:
    """Whether two hands are two: their points differ by more than a fifth of their size."""
    size = float(np.ptp(a.landmarks[:, :2], axis=0).max())
    return bool(np.linalg.norm(a.landmarks[:, :2] - b.landmarks[:, :2], axis=1).mean() > 0.2 * size)
