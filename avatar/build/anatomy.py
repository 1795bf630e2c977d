"""Which vertices and triangles of the body model are what: loose parts, arms, the mouth's inside, lids and lips."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from avatar.build import landmarks as lm
from models.body import BodyModel
from models.motion import JOINT

SKIN, LEFT_EYE, RIGHT_EYE, TONGUE, UPPER_TEETH, LOWER_TEETH = range(6)  # of BodyModel.face_part; 6-9 are lashes
SHELL, CARD, ARM, SCALP, OVERLAY = 20, 21, 22, 23, 24  # further parts of the union mesh
RIGID = (LEFT_EYE, RIGHT_EYE, TONGUE, UPPER_TEETH, LOWER_TEETH)

LEAST_CLEARANCE, MOST_CLEARANCE = 0.0003, 0.0008  # m between eyeball and lid skin

TEMPLE_HIGH, TEMPLE_ASIDE, TEMPLE_BACK = 0.075, 0.04, 0.075  # m from between the eyes

HEAD_JOINTS = tuple(JOINT[n] for n in ("head", "jaw", "left_eye_smplhf", "right_eye_smplhf"))


LEFT_BALL_JOINT, RIGHT_BALL_JOINT = JOINT["left_eye_smplhf"], JOINT["right_eye_smplhf"]


class Anatomy:
    """Index sets of one body model, found once. Masks are over its vertices (V,)."""

    def __init__(self, model: BodyModel) -> None:
        self.model = model
        V = len(model.v_template)
        w = model.weights
        self.head = w[:, HEAD_JOINTS].sum(1)  # weight of the head's bones
        self.neck = w[:, JOINT["neck"]]
        lower = ("left_elbow", "right_elbow", "left_wrist", "right_wrist")
        self.lower_arm = w[:, [JOINT[n] for n in lower]].sum(1) + w[:, 25:].sum(1) > 0.2
        self.skin = self.of_part(SKIN)
        self.inner_mouth = self._region("inner_mouth", V)
        corners = model.faces[model.landmarks.faces_idx] if model.landmarks is not None else np.zeros((0, 3), int)
        self.landmark_corners = corners  # (468, 3)
        self.lips = self._region("upper_lip", V) | self._region("lower_lip", V)
        self.temples = self._temples()
        self.left_lids = self._region("left_upper_lid", V) | self._region("left_lower_lid", V)
        self.right_lids = self._region("right_upper_lid", V) | self._region("right_lower_lid", V)

    def _temples(self) -> NDArray[np.bool_]:
        """Skin beside the eyes and the forehead, before the ears, below where hair grows."""
        d = self.from_the_eyes
        on = (d[:, 1] > 0) & (d[:, 1] < TEMPLE_HIGH) & (np.abs(d[:, 0]) > TEMPLE_ASIDE) & (d[:, 2] > -TEMPLE_BACK)
        return np.asarray(on & self.skin & (self.head > 0.5))

    def over_eyeball(self, side: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Lid skin in front of an eyeball, and how far outside it (m) it belongs; not the lids' inner folds."""
        v = self.model.v_template.astype(np.float64)
        centre, radius = sphere(v[self.of_part(LEFT_EYE if side == "Left" else RIGHT_EYE)])
        away = v - centre
        clearance = np.linalg.norm(away, axis=1) - radius
        near = self.skin & (clearance > -0.0003) & (clearance < 0.006) & (away[:, 2] > 0.3 * radius)
        ids = np.flatnonzero(near)
        return ids, clearance[ids].clip(LEAST_CLEARANCE, MOST_CLEARANCE)

    @functools.cached_property
    def from_the_eyes(self) -> NDArray[np.float64]:
        """(V, 3) m of the template's vertices from between its eyes."""
        v = self.model.v_template.astype(np.float64)
        return np.asarray(v - (self.model.joint_regressor[[LEFT_BALL_JOINT, RIGHT_BALL_JOINT]] @ v).mean(0))

    @property
    def head_and_neck(self) -> NDArray[np.bool_]:
        """(V,) their skin."""
        return np.asarray((self.head + self.neck > 0.3) & self.skin & ~self.inner_mouth)

    def _region(self, name: str, V: int) -> NDArray[np.bool_]:
        mask = np.zeros(V, bool)
        mask[self.model.region(name)] = True
        return mask

    def of_part(self, *parts: int) -> NDArray[np.bool_]:
        mask = np.zeros(len(self.model.v_template), bool)
        mask[self.model.faces[np.isin(self.model.face_part, parts)]] = True
        return mask

    def landmark_matrix(self):  # type: ignore[no-untyped-def]
        """(468, V) sparse: landmarks of vertices."""
        import scipy.sparse as sp

        rows = np.repeat(np.arange(468), 3)
        assert self.model.landmarks is not None
        shape = (468, len(self.model.v_template))
        return sp.csr_matrix((self.model.landmarks.bary.ravel(), (rows, self.landmark_corners.ravel())), shape=shape)


def sphere(points: NDArray) -> tuple[NDArray[np.float64], float]:
    """Centre (3,) and radius of the least-squares sphere through (n, 3)."""
    A = np.concatenate([2 * points, np.ones((len(points), 1))], 1)
    c = np.linalg.lstsq(A, (points**2).sum(1), rcond=None)[0]
    return c[:3], float(np.sqrt(c[3] + c[:3] @ c[:3]))


@functools.lru_cache(maxsize=2)
def of(model: BodyModel) -> Anatomy:
    return Anatomy(model)


LID_PAIRS = {
    "Right": tuple(zip(lm.RIGHT_UPPER_LID, lm.RIGHT_LOWER_LID)),
    "Left": tuple(zip(lm.LEFT_UPPER_LID, lm.LEFT_LOWER_LID)),
}
