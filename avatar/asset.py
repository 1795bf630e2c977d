"""The avatar file: what the builder writes and every runtime reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatar.render.contract import Camera
from models.skinning import F32, I32, SkinnedMesh, SparseDirections

SCHEMA = 1
FRAMINGS = ("head", "bust", "half", "full")


@dataclass(frozen=True)
class State:
    """Parameters that pose an avatar's mesh: what the rig makes of a Motion."""

    pose: F32  # (55, 3) axis-angle
    translation: F32  # (3,) m
    expression: F32  # (E,) of the avatar's face model
    correction: F32  # (B,) of the avatar's correction bases


@dataclass(frozen=True)
class Gaussians:
    """N surface Gaussians, each bound to a triangle of the union mesh."""

    face: I32  # (N,)
    bary: F32  # (N, 2) weights of the triangle's second and third corner; may lie a little outside
    shape: F32  # (N, 2, 2) square-root covariance in the triangle's edge basis (columns: edges 1-0 and 2-0)
    colour: F32  # (N, 3) linear in sRGB code values, 0..1
    opacity: F32  # (N,) 0..1
    layer: NDArray[np.uint8]  # (N,) index into LAYERS
    confidence: NDArray[np.uint8]  # (N,) 3 seen in the photo, 2 mirrored, 1 filled in

    @property
    def count(self) -> int:
        return len(self.face)


@dataclass(frozen=True)
class FaceMap:
    """ARKit coefficients -> the avatar's face model: x = coefficients @ matrix."""

    expression: F32  # (52, E)
    jaw: F32  # (52, 3) rad
    eyes: F32  # (52, 6) rad, left then right


@dataclass(frozen=True)
class Avatar:
    """A hybrid avatar in memory. `photo` redraws the photo; `neutral` has sealed lips, open lids, the gaze ahead."""

    name: str
    mesh: SkinnedMesh  # union mesh: body + mouth card + shell
    part: NDArray[np.uint8]  # (F,) of each triangle: 0 skin, 1 2 eyes, 3 tongue, 4 5 teeth, 6-9 lashes, 20 shell, 21 card
    occluder: NDArray[np.bool_]  # (F,) drawn in the depth pre-pass
    correction: SparseDirections  # (B <= 8) linear bases in the rest pose; basis 0 is "photo": 1 redraws the photo's face
    gaussians: Gaussians
    camera: Camera  # of the photo, at the resolution of `background`
    view: tuple[float, float, float, float]  # x0, y0, width, height in camera pixels: the default live framing
    framing: str
    photo: State
    neutral: State
    face_map: FaceMap
    limits: dict[str, tuple[tuple[float, float], ...]]  # joint name -> ((min, max) rad) for x, y, z, relative to the photo
    background: NDArray[np.uint8]  # (H, W, 3) sRGB, the photo with the person painted out
    preview: NDArray[np.uint8]  # (h, w, 3) sRGB
    body_model: dict[str, Any]  # name, sha256, licence, betas
    capabilities: dict[str, Any] = field(default_factory=dict)
    quality: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)  # builder version, settings, seed, consent note
