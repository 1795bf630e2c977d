"""Persons of a picture, and the person of a video.

    with Tracker() as tracker:                      # all persons of a picture, largest face first
        persons = tracker.track(rgb)
    with Tracker(video=True, body=False) as tracker:  # a webcam: the largest face, every frame
        for rgb, time_s in frames:
            persons = tracker.track(rgb, time_s)

A tracker belongs to the thread that uses it; make one per video and close it. MediaPipe is loaded when the first
tracker is made. Weights come from models.weights; where one is missing, its WeightsError names the file and the remedy.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from models.person import Body, Face, Hand, Person, person_of, with_face
from models.picture_tracker import PictureTracker
from models.video_tracker import VideoTracker

__all__ = ["Body", "Face", "Hand", "Person", "Tracker", "person_of", "with_face"]

LEAST_SIDE = 32  # px; smaller images hold no face that any of the nets could find


class Tracker:
    """Faces, bodies and hands of pictures (`video` False, each on its own) or of one video (with temporal state).

    body, hands: whether to look for them at all; without both a video frame costs a quarter.
    body_every: a video looks for body and hands in every n-th frame and repeats the last ones between.
    pose: lite, full or heavy; default heavy for pictures, lite for videos.
    `milliseconds` is what the last call took.
    """

    def __init__(
        self, video: bool = False, body: bool = True, hands: bool = True, body_every: int = 1, pose: str = ""
    ) -> None:
        if body_every < 1:
            raise ValueError(f"body_every is {body_every}; it must be 1 or more")
        if pose not in ("", "lite", "full", "heavy"):
            raise ValueError(f"pose is {pose!r}; it must be lite, full or heavy")
        self.milliseconds = 0.0
        self._last_time = -np.inf
        self._video = video
        self._tracker: PictureTracker | VideoTracker | None = (
            VideoTracker(body, hands, body_every, pose or "lite")
            if video
            else PictureTracker(body, hands, pose or "heavy")
        )

    def track(self, rgb: NDArray[np.uint8], time_s: float = 0.0) -> list[Person]:
        """Persons of an image (H, W, 3) uint8, largest first; in a video the largest alone. Empty when there is none.

        time_s: the frame's time; in a video it must rise from frame to frame. Raises ValueError when it does not, or
        when the image is not what it should be; RuntimeError after close().
        """
        if self._tracker is None:
            raise RuntimeError("this tracker is closed; make a new one")
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise ValueError(f"the image has shape {rgb.shape} and type {rgb.dtype}; expected (H, W, 3) uint8 RGB")
        if min(rgb.shape[:2]) < LEAST_SIDE:
            raise ValueError(
                f"the image is {rgb.shape[1]} x {rgb.shape[0]} px; it must be {LEAST_SIDE} px or more each way"
            )
        start = time.perf_counter()
        if isinstance(self._tracker, VideoTracker):
            if not time_s > self._last_time:
                raise ValueError(f"frame times must rise: {time_s} s came after {self._last_time} s")
            self._last_time = time_s
            persons = self._tracker.track(rgb, time_s)
        else:
            persons = self._tracker.track(rgb)
        self.milliseconds = (time.perf_counter() - start) * 1e3
        return persons

    def close(self) -> None:
        """Free the nets; may be called twice."""
        if self._tracker is not None:
            self._tracker.close()
            self._tracker = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
