"""The person of a video: the nets follow what they saw in the frame before, and search again when they lose it.

The face net follows a face at any place and tilt once it has it, but finds only faces that fill a good part of its
image. So it looks at the whole frame when the face is large there, else at a window about the face; YuNet says where.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.crop import Crop
from models.head_crop import face_in_image
from models.landmarkers import FaceBox, FaceDetector, FaceLandmarker, HandLandmarker, PoseLandmarker
from models.person import LEFT_WRIST, RIGHT_WRIST, Body, Face, Hand, Person, person_of

U8 = NDArray[np.uint8]

LARGE = 0.45  # face height per frame's short side from which the whole frame is the window
WINDOW = 3.2  # side of the window per face size
DRIFT = 0.25  # how far a face may wander from the window's centre, in sides
STEEP = 0.45  # rad of tilt beyond which the window is turned
SEARCH_EVERY = 5  # frames between two searches while no face is seen


class VideoTracker:
    def __init__(self, body: bool, hands: bool, body_every: int, pose: str) -> None:
        self._detector = FaceDetector(long_side=640)
        self._face_net = FaceLandmarker(video=True, confidence=0.5)
        self._body_net = PoseLandmarker(True, pose) if body or hands else None
        self._hand_net = HandLandmarker(video=True) if hands else None
        self._body_every = body_every
        self._frame = -1
        self._shape: tuple[int, ...] = ()
        self._window: Crop | None = None  # where the face is looked for
        self._misses = 0  # frames since the face was last seen
        self._body: Body | None = None
        self._hands: tuple[Hand, ...] = ()

    def close(self) -> None:
        for net in (self._detector, self._face_net, self._body_net, self._hand_net):
            if net is not None:
                net.close()

    def track(self, rgb: U8, time_s: float) -> list[Person]:
        self._frame += 1
        if rgb.shape != self._shape:
            self._shape, self._window = rgb.shape, None
        face = self._track_face(rgb, time_s)
        if self._body_net is not None and self._frame % self._body_every == 0:
            self._track_body(rgb, time_s)
        body = self._body
        if face is not None and body is not None and np.linalg.norm(face.centre - body.head_centre) > face.height:
            body = None  # somebody else's
        if face is None and body is None:
            return []
        return [person_of(face, body, self._hands if body else (), rgb.shape)]

    # --- face

    def _track_face(self, rgb: U8, time_s: float) -> Face | None:
        face = self._look(rgb, time_s) if self._window is not None else None
        if face is None and (self._window is None or self._misses % SEARCH_EVERY == 0):
            face = self._search(rgb, time_s)
        if face is None:
            self._misses += 1
            return None
        self._misses = 0
        self._follow(face, rgb.shape)
        return face

    def _look(self, rgb: U8, time_s: float) -> Face | None:
        assert self._window is not None
        found = self._face_net(self._window.cut(rgb), time_s)
        return face_in_image(found[0], self._window, rgb.shape) if found else None

    def _search(self, rgb: U8, time_s: float) -> Face | None:
        """Look for the largest face anew."""
        boxes = self._detector(rgb)
        self._move(_window_about(boxes[0], rgb.shape) if boxes else Crop.whole(rgb.shape), time_s)
        return self._look(rgb, time_s)

    def _follow(self, face: Face, shape: tuple[int, ...]) -> None:
        """Move the window when the face has left its middle or has outgrown it; seen from the next frame on."""
        assert self._window is not None
        whole = self._window.side >= max(shape[:2])
        off = np.abs(face.centre - self._window.centre).max() / self._window.side
        zoom = self._window.side / max(face.height, 1.0)
        left = off > DRIFT or not 0.5 * WINDOW < zoom < 2 * WINDOW
        shrunk = face.height < 0.7 * LARGE * min(shape[:2])
        if shrunk if whole else left:
            self._window = None

    def _move(self, window: Crop, time_s: float) -> None:
        """Set the window. The net's memory of where the face was is of no use there: a black image makes it forget."""
        self._window = window
        self._face_net(np.zeros((window.size, window.size, 3), np.uint8), time_s)

    # --- body and hands

    def _track_body(self, rgb: U8, time_s: float) -> None:
        assert self._body_net is not None
        found = self._body_net(rgb, time_s)
        self._body = Body(found[0].keypoints, found[0].world) if found else None
        self._hands = ()
        if self._hand_net is not None and self._body is not None:
            wrists = {"left": self._body.keypoints[LEFT_WRIST, :2], "right": self._body.keypoints[RIGHT_WRIST, :2]}
            reach = max(self._body.head_width, 1.0)
            hands: dict[str, tuple[float, Hand]] = {}
            for h in self._hand_net(rgb, time_s):
                distance, side = min((float(np.linalg.norm(h.landmarks[0, :2] - w)), s) for s, w in wrists.items())
                if distance < reach and (side not in hands or distance < hands[side][0]):
                    hands[side] = distance, Hand(side, h.landmarks, h.world)
            self._hands = tuple(hand for _, hand in hands.values())


def _window_about(box: FaceBox, shape: tuple[int, ...]) -> Crop:
    """The whole frame for a large, fairly upright face; else a square about the face, turned when that is steep."""
    steep = abs(box.roll) > STEEP
    if box.size > LARGE * min(shape[:2]) and not steep:
        return Crop.whole(shape)
    return Crop(box.centre, min(WINDOW * box.size, 1.5 * max(shape[:2])), box.roll if steep else 0.0)
