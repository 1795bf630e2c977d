"""Retrack: the avatar's own person in video frames of the photo's camera -> absolute Motion, for re-enactment.

The builder's fit with the shape fixed, on two kinds of evidence: face landmarks and shoulders as nets see them, and
the way that the photo's surface has gone in the frame (registration.py). What the nets see in the avatar's own picture,
drawn as in the photo, is their bias and is taken off: the photo's frame gives back the photo's parameters.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from avatar.asset import Avatar
from avatar.build import anatomy, eyes
from avatar.build.fit import LandmarkFit, anchor_landmarks, expression_not_fitted
from avatar.build.kinematics import F64, Anchors
from avatar.build.observe import scaled
from avatar.build.registration import Registration, Sight
from avatar.rig import Rig
from models import body, tracking
from models.motion import GROUP, HEAD, JOINT, LEFT_EYE, NECK, RIGHT_EYE, Motion, matrix_from_axis_angle

POSED = tuple(JOINT[n] for n in ("pelvis", "spine2", "spine3", "neck", "head", "jaw"))
_HEAD_CHAIN = [0, JOINT["spine2"], JOINT["spine3"], NECK, HEAD]
SIGMA_TRANSLATION = (0.05, 0.05, 0.1)  # m
SIGMA_POSE = np.array(
    [(0.08, 0.1, 0.08), (0.15, 0.1, 0.1), (0.15, 0.1, 0.1), (0.25, 0.3, 0.2), (0.3, 0.4, 0.25), (0.2, 0.04, 0.02)]
)
SIGMA_EXPRESSION = 0.4
LOWEST = -0.2  # of an expression coefficient: lids wider, lips tighter than in the neutral face
SIGMA_FLOW = 0.6  # % of face width, where texture is rich
OUTLIERS = (10.0, 2.5)  # sigmas off the fit from which a point counts for little, first and then: a hand, a fold
STEPS = 4  # of Levenberg-Marquardt, on the landmarks
MOST_LOOKS, LOOK_STEPS = 6, 2  # how often the flow is taken anew at most, and steps after each
STILL = 0.001  # of the face's width that the points move on average in a look, from which no more is taken
SETTLE = 5  # times the nets are shown the photo before their bias is read: in a video they remember
_SHOULDERS = ((11, "left_shoulder", 4.0), (12, "right_shoulder", 4.0))


class _FrameFit(LandmarkFit):
    """A frame's landmarks, shoulders and surface."""

    surface: Anchors  # the registration's points
    sight: Sight | None = None
    doubt: F64  # (m,) share with which each seen point counts

    def places(self, x: F64) -> F64:
        """(n, 3) camera px and depth of the surface's points."""
        return np.asarray(self.camera.project(self.surface(x).vertices))

    def look(self, sight: Sight) -> None:
        self.sight, self.doubt = sight, np.ones(len(sight.index))

    def weigh(self, outlier: float) -> None:
        """Doubt what lies `outlier` sigmas or more off the fit (Geman and McClure)."""
        if self.sight is not None and len(self.sight.index):
            s = self.sight
            off = np.einsum("nab,nb->na", s.trust, self.places(self.x)[s.index, :2] - s.target)
            off = np.linalg.norm(off, axis=1) * 100 / self.face_width / SIGMA_FLOW
            self.doubt = 1 / (1 + (off / outlier) ** 2)

    def residuals(self, x: F64) -> tuple[F64, F64]:
        r, J = super().residuals(x)
        s = self.sight
        if s is None or not len(s.index):
            return r, J
        pose = self.surface(x, derivatives=True)
        assert pose.d_vertices is not None
        pixels, d_pixels = self._project(pose.vertices[s.index], pose.d_vertices[s.index])
        w = s.trust * (self.doubt * (100 / self.face_width / SIGMA_FLOW))[:, None, None]
        return (
            np.concatenate([r, np.einsum("nab,nb->na", w, pixels - s.target).ravel()]),
            np.concatenate([J, (w @ d_pixels).reshape(-1, len(x))]),
        )


class Retracker:
    """Follows one person through one video; frames in the order of their times."""

    def __init__(self, avatar: Avatar) -> None:
        """Raises ValueError when the avatar's body model is not the one that is loaded here."""
        model = body.load()
        if avatar.body_model.get("sha256") != model.sha256:
            raise ValueError("the avatar was built on another body model; build it again to retrack its video")
        self.avatar = avatar
        self._rig = Rig(avatar)
        ids, on_mesh = anchor_landmarks(model)
        corners, bary = ids[on_mesh.indices.reshape(468, 3)], on_mesh.data.reshape(468, 3)
        f = self._fit = _FrameFit(self._anchors(corners, bary), sp.eye(468, format="csr"), avatar.camera, _SHOULDERS)
        e = int(f.expression_at)
        photo = avatar.photo
        f.mean[:3], f.mean[3:e], f.mean[e:] = photo.translation, photo.pose[list(POSED)].ravel(), photo.expression
        f.sigma[:3], f.sigma[3:e], f.sigma[e:] = SIGMA_TRANSLATION, SIGMA_POSE.ravel(), SIGMA_EXPRESSION
        f.low[e:] = LOWEST
        f.x = f.mean.copy()
        self._free = np.ones(len(f.x), bool)
        self._free[e:] = ~expression_not_fitted(model.expression_names)
        ball = lambda p: np.flatnonzero(anatomy.of(model).of_part(p))  # noqa: E731
        self._balls = [Anchors.of_mesh(avatar.mesh, ball(p), POSED) for p in (anatomy.LEFT_EYE, anatomy.RIGHT_EYE)]
        self._home = avatar.camera.project(f.anchors(f.mean).vertices)  # (468, 3) of the photo's landmarks
        self._registration = Registration(avatar, model, float(np.ptp(self._home[:, 0])))
        points = self._registration.points
        f.surface = self._anchors(points.corners, points.bary)
        self._tracker = tracking.Tracker(video=True, hands=False)
        self._time = -1.0 - SETTLE  # s, before every film
        self._last: Motion | None = None
        self._calibrated = False

    def _anchors(self, corners: NDArray, bary: NDArray) -> Anchors:
        """Points of the avatar's neutral mesh; the correction towards the photo's face follows the expression, as in
        the rig."""
        a = Anchors.on_mesh(self.avatar.mesh, corners, bary, POSED)
        if self.avatar.correction.count:
            dense = self.avatar.correction.to_dense(len(self.avatar.mesh.vertices))[:, :, 0]
            basis = np.einsum("nk,nka->na", bary, dense[corners].astype(np.float64))
            neutral = self.avatar.neutral.expression.astype(np.float64)
            way = self.avatar.photo.expression - neutral
            length = float(way @ way)
            if length > 1e-12:
                a.expression = a.expression + basis[:, :, None] * (way / length)
                a.template = a.template - basis * (neutral @ way / length)
            else:
                a.template = a.template + basis
        return a

    def _calibrate(self, width: int, height: int) -> None:
        """Read off what the nets see in the picture of the photo, at the frames' size."""
        f, photo = self._fit, self.avatar.photo
        drawn = cv2.resize(self._registration.draw(photo)[..., :3], (width, height), interpolation=cv2.INTER_CUBIC)
        picture = np.asarray(drawn.clip(0, 255), np.uint8)
        k = self.avatar.camera.width / width
        self._calibrated = True
        self._face_bias, self._gaze_bias = np.zeros((468, 3)), np.zeros((2, 3))
        self._body_bias = np.zeros((33, 3))
        person = None
        for _ in range(SETTLE):
            self._time += 1
            person = next((p for p in self._tracker.track(picture, self._time) if p.face is not None), person)
        if person is None or person.face is None:
            return
        person = scaled(person, k)
        assert person.face is not None
        seen = person.face.landmarks.astype(np.float64)
        flat = np.stack([self._home[:, 0], self._home[:, 1], self._depth_px(self._home)], 1)
        off = seen[:468] - flat
        off[:, 2] -= off[:, 2].mean()
        self._face_bias = off @ self._head(f.mean) / np.ptp(self._home[:, 0])
        self._gaze_bias = photo.pose[[LEFT_EYE, RIGHT_EYE]] - self._gaze(seen[:, :2])
        if person.body is not None:
            joints = f.anchors(f.mean).joints[[JOINT[n] for _, n, _ in _SHOULDERS]]
            points = [p for p, _, _ in _SHOULDERS]
            f.keypoint_bias = person.body.keypoints[points, :2] - self.avatar.camera.project(joints)[:, :2]
            self._body_bias[points, 2] = person.body.world[points, 2] + joints[:, 2]

    def _depth_px(self, home: F64) -> F64:
        """MediaPipe's z (smaller is nearer, scale of x) of projected points (n, 3)."""
        return np.asarray(home[:, 2] * self.avatar.camera.focal / home[:, 2].mean())

    def _head(self, x: F64) -> F64:
        """(3, 3) of the head in picture axes: x right, y down, z away."""
        _, pose, _, _ = self._fit.anchors.split(x)
        R = np.linalg.multi_dot(list(matrix_from_axis_angle(pose[_HEAD_CHAIN])))
        flip = np.diag([1.0, -1.0, -1.0])
        return np.asarray(flip @ R @ flip)

    def _without_bias(self, person: tracking.Person) -> tracking.Person:
        """Landmarks and shoulders less their bias, which turns and grows with the head."""
        face, seen = person.face, person.body
        assert face is not None
        width = float(np.ptp(self.avatar.camera.project(self._fit.anchors(self._fit.x).vertices)[:, 0]))
        landmarks = face.landmarks.astype(np.float64)
        landmarks[:468] -= self._face_bias @ self._head(self._fit.x).T * width
        if seen is not None:
            seen = replace(seen, world=(seen.world - self._body_bias).astype(np.float32))
        return replace(person, face=replace(face, landmarks=landmarks.astype(np.float32)), body=seen)

    def follow(self, rgb: NDArray[np.uint8], time: float) -> tracking.Person | None:
        """Let the nets, which remember, see a frame (H, W, 3) at `time` s; the person in it."""
        if not self._calibrated:
            self._calibrate(rgb.shape[1], rgb.shape[0])
        persons = [p for p in self._tracker.track(rgb, time) if p.face is not None]
        return scaled(persons[0], self.avatar.camera.width / rgb.shape[1]) if persons else None

    def motion(self, rgb: NDArray[np.uint8], time: float) -> Motion:
        """A frame (H, W, 3) at `time` s -> absolute motion; where no face is found, the last one holds."""
        found = self.follow(rgb, time)
        if found is None:
            last = self._last or self._motion(self._fit.x, self.avatar.photo.pose[[LEFT_EYE, RIGHT_EYE]])
            return replace(last, time=time)
        person = self._without_bias(found)
        face = person.face
        assert face is not None
        f = self._fit
        f.sight = None
        f.observe(face, person.body)
        f.solve(self._free, STEPS)
        gaze = self._gaze(face.landmarks[:, :2]) + self._gaze_bias
        places = f.places(f.x)
        for _ in range(MOST_LOOKS):
            state = self._rig.state(self._motion(f.x, gaze), absolute=True)
            f.look(self._registration.look(state, rgb, places))
            for outlier in OUTLIERS:
                f.weigh(outlier)
                f.solve(self._free, LOOK_STEPS)
            before, places = places, f.places(f.x)
            if np.linalg.norm((places - before)[:, :2], axis=1).mean() < STILL * f.face_width:
                break
        gaze = self._gaze(face.landmarks[:, :2]) + self._gaze_bias
        motion = self._motion(f.x, gaze)
        self._last = replace(motion, time=time, face=np.asarray(face.blendshapes, np.float32))
        return self._last

    def _gaze(self, landmarks: NDArray) -> F64:
        """(2, 3) axis-angles of the left and the right eye from the irises."""
        f = self._fit
        _, pose, _, _ = f.anchors.split(f.x)
        head = np.linalg.multi_dot(list(matrix_from_axis_angle(pose[_HEAD_CHAIN])))
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
