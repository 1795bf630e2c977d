"""ARKit's 52 coefficients on a face model: expression, jaw and eye rotations per coefficient, and the way back.

The open human carries ARKit's own shapes, so its map is exact: jawOpen turns the jaw joint (its expression direction
stays unused, or the mouth would open twice), eyeLook* turn the eyeballs while the lids follow in the expression.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.body import BodyModel, BodyModelError
from models.motion import ARKIT, N_ARKIT, A
from models.skinning import F32

JAW_OPEN = 0.3613  # rad about x at jawOpen = 1: the turn of the lower teeth in the artist's shape
EYE_LOOK = {"Up": 0.35, "Down": 0.35, "In": 0.5, "Out": 0.5}  # rad at 1


@dataclass(frozen=True)
class FaceMap:
    """ARKit coefficients -> a face model: x = coefficients @ matrix."""

    expression: F32  # (52, E)
    jaw: F32  # (52, 3) rad
    eyes: F32  # (52, 6) rad, left then right


def face_map(body: BodyModel) -> FaceMap:
    """The map of ARKit coefficients onto a body model. Raises BodyModelError for a model without a face."""
    if not body.is_arkit:
        raise BodyModelError(f"{body.path}: its expressions have no names")
    expression = np.zeros((N_ARKIT, len(body.expression_names)), np.float32)
    for e, name in enumerate(body.expression_names):
        if name in A and name != "jawOpen":
            expression[A[name], e] = 1
    return FaceMap(expression, jaw_map(body), eye_map(body))


def jaw_map(body: BodyModel) -> F32:
    """(52, 3) axis-angle of the jaw joint per coefficient."""
    if body.arkit_jaw is not None:
        return body.arkit_jaw
    jaw = np.zeros((N_ARKIT, 3), np.float32)
    jaw[A["jawOpen"], 0] = JAW_OPEN
    return jaw


def eye_map(body: BodyModel) -> F32:
    """(52, 6) axis-angle of the left and the right eye per coefficient."""
    if body.arkit_eyes is not None:
        return body.arkit_eyes
    eyes = np.zeros((N_ARKIT, 6), np.float32)
    for name in ARKIT:
        if name.startswith("eyeLook"):
            side = 0 if name.endswith("Left") else 1
            way = name.removeprefix("eyeLook").removesuffix("Left").removesuffix("Right")
            axis = 0 if way in ("Up", "Down") else 1
            sign = {"Up": -1, "Down": 1, "Out": 1 - 2 * side, "In": 2 * side - 1}[way]
            eyes[A[name], 3 * side + axis] = sign * EYE_LOOK[way]
    return eyes
