"""A tracked face -> Motion: puppeteering by webcam.

The head turns relative to a neutral attitude (the first second's, or a given one), for the person in front of the
camera sits as they like. Coefficients are freed of what the face shows at rest, smoothed, and cross-talk that trackers
are known for (a lid that droops when one looks down) is left to the rig. The jaw opens as far as the lips do.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drivers.head_turn import neck_and_head
from drivers.one_euro import OneEuro
from models.motion import (
    FACE_GROUP,
    GROUP,
    GROUPS,
    HEAD,
    N_ARKIT,
    NECK,
    A,
    Motion,
    axis_angle_from_matrix,
    matrix_from_axis_angle,
)

if TYPE_CHECKING:
    from models.tracking import Face

CALIBRATION = 1.0  # s of the beginning that define the neutral
STILL = math.radians(5)  # further off the camera than the nearest attitude of that time, attitudes count ever less
LOST_HOLD, LOST_FADE = 0.3, 0.5  # s that a lost face is held, then fades out in
# rad: attitudes further from the camera than the first are trusted less, beyond the second not at all
FRONTAL, PROFILE = math.radians(40), math.radians(70)
MAX_NEUTRAL = 0.35  # a coefficient held higher than this while calibrating is an expression, not a face's rest
# Lips' opening, of the distance between the eyes' outer corners, that a coefficient of 1 makes; what trackers see of
# shut lips. Scores miss openings, most of all in beards and broad grins, that landmarks show.
OPENS = {"jawOpen": 0.42, "mouthClose": -0.42, "mouthFunnel": 0.15}
OPENS |= {
    f"mouth{lip}{side}": by for lip, by in (("UpperUp", 0.027), ("LowerDown", 0.021)) for side in ("Left", "Right")
}
SHUT = 0.025
LIPS, EYES = (13, 14), (33, 263)  # landmarks: the inner rims' middles, the outer corners
FACE_FILTER = (2.5, 2.0)  # Hz at rest, Hz per 1/s
LID_FILTER = (6.0, 4.0)  # a blink is over in a tenth of a second
HEAD_FILTER = (1.5, 1.2)  # Hz at rest, Hz per rad/s
LIDS = np.array([A["eyeBlinkLeft"], A["eyeBlinkRight"]])
FACE_GROUPS = [GROUP[g] for g in ("mouth", "brows", "lids", "gaze")]


class FaceToMotion:
    """One person's face. Weights: mouth, brows, lids, gaze and head, by how well the face is seen."""

    def __init__(self, neutral_rotation: NDArray | None = None, neutral_face: NDArray | None = None) -> None:
        """neutral_rotation (3, 3) camera_from_face, neutral_face (52,): both given, or both found in the first second.

        Raises ValueError on other shapes.
        """
        if (neutral_rotation is None) != (neutral_face is None):
            raise ValueError("give both neutral_rotation and neutral_face, or neither")
        self._given = None
        if neutral_rotation is not None and neutral_face is not None:
            if np.shape(neutral_rotation) != (3, 3) or np.shape(neutral_face) != (N_ARKIT,):
                raise ValueError(
                    f"neutral of shapes {np.shape(neutral_rotation)}, {np.shape(neutral_face)}; expected (3, 3), (52,)"
                )
            self._given = (np.asarray(neutral_rotation, np.float64), np.asarray(neutral_face, np.float64))
        self.reset()

    def reset(self) -> None:
        """Calibrate anew."""
        self._neutral = self._given
        self._rotations: list[NDArray] = []
        self._faces: list[NDArray] = []
        self._since: float | None = None
        self._head, self._face, self._lids = OneEuro(*HEAD_FILTER), OneEuro(*FACE_FILTER), OneEuro(*LID_FILTER)
        self._last: Motion | None = None

    @property
    def calibrated(self) -> bool:
        return self._neutral is not None

    def motion(self, face: Face | None, time: float) -> Motion:
        """The motion of the face seen at `time` s; None where none is seen. Times must not run backwards."""
        if face is None or not np.isfinite(face.matrix).all() or not np.isfinite(face.blendshapes).all():
            return self._lost(time)
        rotation = _rotation(face.matrix)
        scores = np.clip(np.asarray(face.blendshapes, np.float64), 0, 1)
        neutral_rotation, neutral_face = self._calibrate(rotation, scores, time)
        turn = axis_angle_from_matrix(rotation @ neutral_rotation.T)
        m = Motion(time=time, weight=_weights(rotation))
        m.pose[NECK], m.pose[HEAD] = neck_and_head(matrix_from_axis_angle(self._head(turn, time)))
        m.face = self._smooth(_as_open_as_seen(_from_neutral(scores, neutral_face), face.landmarks), time)
        self._last = m
        return m

    def _smooth(self, face: NDArray, time: float) -> NDArray[np.float32]:
        out = self._face(face, time)
        out[LIDS] = self._lids(face[LIDS], time)
        return np.clip(out, 0, 1).astype(np.float32)

    def _calibrate(self, rotation: NDArray, scores: NDArray, time: float) -> tuple[NDArray, NDArray]:
        """The neutral, or the best that is known of it while the first second lasts."""
        if self._neutral is None:
            self._since = time if self._since is None else self._since
            self._rotations.append(rotation)
            self._faces.append(scores)
            found = _mean_rotation(self._rotations), np.median(self._faces, 0)
            if time - self._since < CALIBRATION:
                return found
            self._neutral = found
        return self._neutral

    def _lost(self, time: float) -> Motion:
        """Nobody to be seen: the last motion, held and then fading out."""
        if self._last is None:
            return Motion(time=time)
        left = 1 - (time - self._last.time - LOST_HOLD) / LOST_FADE
        last = self._last
        weight = last.weight * np.float32(min(max(left, 0.0), 1.0))
        return Motion(time=time, pose=last.pose, face=last.face, weight=weight)


def _rotation(matrix: NDArray) -> NDArray[np.float64]:
    """The nearest rotation (3, 3) to a matrix (4, 4) that may scale."""
    u, _, vt = np.linalg.svd(np.asarray(matrix, np.float64)[:3, :3])
    return u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt


def _mean_rotation(rotations: list[NDArray]) -> NDArray[np.float64]:
    """The rotation nearest to all (chordal mean), first of all to those that face the camera most: people who look
    about while they are calibrated come back to it."""
    R = np.asarray(rotations, np.float64)
    away = np.arccos(np.clip(R[:, 2, 2], -1, 1))
    weight = np.exp(-0.5 * ((away - away.min()) / STILL) ** 2)
    m = np.eye(4)
    m[:3, :3] = np.einsum("n,nij->ij", weight / weight.sum(), R)
    return _rotation(m)


def _from_neutral(scores: NDArray, neutral: NDArray) -> NDArray:
    """Scores with the face's rest taken out: the rest is 0, 1 stays 1. Gaze is absolute, so it is left as it is."""
    rest = np.where(neutral < MAX_NEUTRAL, neutral, 0.0)
    rest = np.where(GROUP["gaze"] == FACE_GROUP, 0.0, rest)
    return np.clip((scores - rest) / (1 - rest), 0, 1)


def _as_open_as_seen(face: NDArray, landmarks: NDArray) -> NDArray:
    """Coefficients (52,) whose jaw opens the lips as far as the landmarks (478, 3) have them."""
    p = np.asarray(landmarks, np.float64)
    between = float(np.linalg.norm(p[EYES[0]] - p[EYES[1]]))
    if not between > 0 or not np.isfinite(p[list(LIPS)]).all():
        return face
    gap = float(np.linalg.norm(p[LIPS[0]] - p[LIPS[1]])) / between
    told = sum(by * face[A[name]] for name, by in OPENS.items())
    out = face.copy()
    out[A["jawOpen"]] = min(face[A["jawOpen"]] + max(gap - SHUT - told, 0.0) / OPENS["jawOpen"], 1.0)
    return out


def _weights(rotation: NDArray) -> NDArray[np.float32]:
    """A face turned away from the camera is seen badly; the head's own attitude is known for longer."""
    away = math.acos(float(np.clip(rotation[2, 2], -1, 1)))  # between the face's forward axis and the camera
    seen = float(np.clip((PROFILE - away) / (PROFILE - FRONTAL), 0, 1))
    weight = np.zeros(len(GROUPS), np.float32)
    weight[FACE_GROUPS] = seen
    weight[GROUP["head"]] = min(1.0, 2 * seen)
    return weight
