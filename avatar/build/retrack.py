"""Retrack: the avatar's own person in video frames of the photo's camera -> absolute Motion, for re-enactment.

The builder's fit with the shape fixed: the avatar's mesh already puts every landmark where the photo has it, so the
photo's frame gives back the photo's parameters, and others move away from them as far as their landmarks ask.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from avatar.asset import Avatar
from avatar.build import anatomy, eyes
from avatar.build.fit import LandmarkFit, anchor_landmarks, expression_not_fitted
from avatar.build.kinematics import F64, Anchors
from avatar.build.observe import scaled
from models import body, tracking
from models.motion import GROUP, JOINT, LEFT_EYE, RIGHT_EYE, Motion, matrix_from_axis_angle

POSED = tuple(JOINT[n] for n in ("pelvis", "neck", "head", "jaw"))
SIGMA_TRANSLATION = (0.02, 0.02, 0.05)  # m: the head moves by the neck before the whole person moves
SIGMA_POSE = np.array([(0.04, 0.04, 0.03), (0.25, 0.3, 0.2), (0.3, 0.4, 0.25), (0.2, 0.04, 0.02)])
SIGMA_EXPRESSION = 0.4
LOWEST = -0.2  # of an expression coefficient: lids wider, lips tighter than in the neutral face
FIRST_STEPS, STEPS = 12, 4  # of Levenberg-Marquardt
_SHOULDERS = ((11, "left_shoulder", 1.3), (12, "right_shoulder", 1.3))


class Retracker:
    """Follows one person through one video; frames in the order of their times."""

    def __init__(self, avatar: Avatar) -> None:
        """Raises ValueError when the avatar's body model is not the one that is loaded here."""
        model = body.load()
        if avatar.body_model.get("sha256") != model.sha256:
            raise ValueError("the avatar was built on another body model; build it again to retrack its video")
        self.avatar = avatar
        self._eyeballs = [anatomy.of(model).of_part(p) for p in (anatomy.LEFT_EYE, anatomy.RIGHT_EYE)]
        ids, on_mesh = anchor_landmarks(model)
        f = self._fit = LandmarkFit(self._anchors(ids), on_mesh, avatar.camera, _SHOULDERS)
        e = int(f.expression_at)
        photo = avatar.photo
        f.mean[:3], f.mean[3:e], f.mean[e:] = photo.translation, photo.pose[list(POSED)].ravel(), photo.expression
        f.sigma[:3], f.sigma[3:e], f.sigma[e:] = SIGMA_TRANSLATION, SIGMA_POSE.ravel(), SIGMA_EXPRESSION
        f.low[e:] = LOWEST
        f.x = f.mean.copy()
        self._free = np.ones(len(f.x), bool)
        self._free[e:] = ~expression_not_fitted(model.expression_names)
        self._balls = [self._anchors_of_eye(np.flatnonzero(b)) for b in self._eyeballs]
        self._tracker = tracking.Tracker(video=True, hands=False)
        self._last: Motion | None = None

    def _anchors(self, ids: NDArray) -> Anchors:
        """The avatar's neutral mesh; the correction towards the photo's face follows the expression, as in the rig."""
        a = Anchors.of_mesh(self.avatar.mesh, ids, POSED)
        if self.avatar.correction.count:
            basis = self.avatar.correction.to_dense(len(self.avatar.mesh.vertices))[ids, :, 0].astype(np.float64)
            neutral = self.avatar.neutral.expression.astype(np.float64)
            way = self.avatar.photo.expression - neutral
            length = float(way @ way)
            if length > 1e-12:
                a.expression = a.expression + basis[:, :, None] * (way / length)
                a.template = a.template - basis * (neutral @ way / length)
            else:
                a.template = a.template + basis
        return a

    def _anchors_of_eye(self, ids: NDArray) -> Anchors:
        return Anchors.of_mesh(self.avatar.mesh, ids, POSED)

    def motion(self, rgb: NDArray[np.uint8], time: float) -> Motion:
        """A frame (H, W, 3) at `time` s -> absolute motion; where no face is found, the last one holds."""
        camera = self.avatar.camera
        persons = [p for p in self._tracker.track(rgb, time) if p.face is not None]
        if not persons:
            return replace(
                self._last or self._motion(self._fit.x, self.avatar.photo.pose[[LEFT_EYE, RIGHT_EYE]]), time=time
            )
        person = scaled(persons[0], camera.width / rgb.shape[1])
        face, first = person.face, self._last is None
        assert face is not None
        f = self._fit
        f.observe(face, person.body)
        if first and person.body is not None:
            joints = f.anchors(f.mean).joints[[JOINT[n] for _, n, _ in _SHOULDERS]]
            f.keypoint_bias = person.body.keypoints[[p for p, _, _ in _SHOULDERS], :2] - camera.project(joints)[:, :2]
        f.solve(self._free, FIRST_STEPS if first else STEPS)
        motion = self._motion(f.x, self._gaze(face.landmarks[:, :2].astype(np.float64)))
        self._last = replace(motion, time=time, face=np.asarray(face.blendshapes, np.float32))
        return self._last

    def _gaze(self, landmarks: F64) -> F64:
        """(2, 3) axis-angles of the left and the right eye from the irises."""
        f = self._fit
        _, pose, _, _ = f.anchors.split(f.x)
        R = matrix_from_axis_angle(pose[[0, *POSED[1:3]]])
        head = R[0] @ R[1] @ R[2]
        out = []
        for side, anchors in (("Left", self._balls[0]), ("Right", self._balls[1])):
            ball = eyes.sphere(anchors(f.x).vertices)
            iris = landmarks[eyes.IRIS[side][0]]
            out.append(eyes.turn_of(head.T @ eyes.direction(ball, iris, self.avatar.camera)))
        return np.array(out)

    def _motion(self, x: F64, gaze: NDArray) -> Motion:
        translation, pose, _, expression = self._fit.anchors.split(x)
        m = Motion(translation=translation.astype(np.float32), expression=expression.astype(np.float32))
        m.face_model = self.avatar.body_model["sha256"]
        m.pose = self.avatar.photo.pose.copy()
        m.pose[list(POSED)] = pose[list(POSED)]
        m.pose[[LEFT_EYE, RIGHT_EYE]] = gaze
        m.weight[:] = 1
        m.weight[[GROUP["arms"], GROUP["hands"]]] = 0
        return m

    def close(self) -> None:
        self._tracker.close()
