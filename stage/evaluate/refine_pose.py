"""Test poses refined on the pictures they are judged by: pose and expression once more, photometrically.

Analysis by synthesis: the avatar is drawn on the protocol's grey, small, and moved until it looks like the true
cut-out, by Gauss-Newton on finite differences. ExAvatar and others evaluate so; what was refined says so.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.build.fit import expression_not_fitted, levenberg_marquardt
from avatar.build.retrack import POSED
from models import body
from stage.evaluate.metrics import U8, Box
from stage.evaluate.protocol import PICTURE, REENACT

if TYPE_CHECKING:
    from models.motion import Motion
    from stage.evaluate.reenact import Drawer

F64 = NDArray[np.float64]
SIGMA_TRANSLATION, SIGMA_POSE, SIGMA_EXPRESSION = 0.01, 0.04, 0.15  # m, rad, 1: about the tracked motion
STEP_TRANSLATION, STEP_POSE, STEP_EXPRESSION = 0.001, 0.006, 0.05  # of the finite differences


def refined(drawer: Drawer, motion: Motion, truth: U8, box: Box) -> Motion:
    """The motion that draws most nearly the true picture (H, W, 3) inside the box."""
    return _Problem(drawer, motion, truth, box).solved()


class _Problem:
    def __init__(self, drawer: Drawer, motion: Motion, truth: U8, box: Box) -> None:
        self.drawer, self.start = drawer, motion
        H, W = truth.shape[:2]
        scaled = lambda height: min(1.0, height / (box[3] - box[1]))  # noqa: E731
        k, fine = scaled(REENACT["refine_height"]), scaled(PICTURE["box_height"])
        self.drawn_size = (max(round(W * fine), 1), max(round(H * fine), 1))  # a splat is not the same at every size
        self.size = (max(round(W * k), 1), max(round(H * k), 1))
        x0, y0, x1, y1 = (round(v * k) for v in box)
        self.part = np.s_[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
        self.truth = self._seen(truth)
        assert motion.expression is not None
        E = len(motion.expression)
        group = lambda a, b, c: np.concatenate([np.full(3, a), np.full(3 * len(POSED), b), np.full(E, c)])  # noqa: E731
        self.sigma = group(SIGMA_TRANSLATION, SIGMA_POSE, SIGMA_EXPRESSION)
        self.step = group(STEP_TRANSLATION, STEP_POSE, STEP_EXPRESSION)
        self.free = np.ones(len(self.step), bool)
        self.free[-E:] = ~expression_not_fitted(body.load().expression_names)

    def _seen(self, picture: U8) -> F64:
        """The box of a whole picture, small and a little blurred so that neighbours pull; flat."""
        soft = cv2.GaussianBlur(cv2.resize(picture, self.size, interpolation=cv2.INTER_AREA), (0, 0), 1.0)
        return np.asarray(soft[self.part], np.float64).ravel() / PICTURE["background"]

    def motion(self, x: F64) -> Motion:
        """x: change of translation, pose and expression."""
        m, n = self.start, 3 + 3 * len(POSED)
        assert m.expression is not None
        pose = m.pose.copy()
        pose[list(POSED)] += x[3:n].reshape(-1, 3).astype(np.float32)
        translation, expression = m.translation + x[:3], m.expression + x[n:]
        return replace(
            m, translation=translation.astype(np.float32), pose=pose, expression=expression.astype(np.float32)
        )

    def _off(self, x: F64) -> F64:
        return (self._seen(self.drawer.draw(self.motion(x), *self.drawn_size)) - self.truth) / REENACT["refine_sigma"]

    def residuals(self, x: F64) -> tuple[F64, F64]:
        r = self._off(x)
        J = np.zeros((len(r), len(x)))
        for i in np.flatnonzero(self.free):
            y = x.copy()
            y[i] += self.step[i]
            J[:, i] = (self._off(y) - r) / self.step[i]
        return np.concatenate([r, x / self.sigma]), np.concatenate([J, np.diag(1 / self.sigma)])

    def solved(self) -> Motion:
        x = np.zeros(len(self.step))
        far = np.full(len(x), np.inf)
        x, _ = levenberg_marquardt(self.residuals, x, self.free, -far, far, REENACT["refine_steps"])
        return self.motion(x)
