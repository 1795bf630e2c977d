"""Stage prune: motion limits, and which triangles any motion within them can show. The rest is dropped unseeded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from avatar.asset import State
from avatar.build.kinematics import F64
from avatar.render import cpu
from avatar.render.contract import Camera
from models.motion import (
    GROUP,
    HEAD,
    JAW,
    JOINT,
    JOINT_GROUP,
    JOINTS,
    LEFT_EYE,
    NECK,
    RIGHT_EYE,
    compose_rotations,
)  # fmt: skip
from models.skinning import Poser, SkinnedMesh, SparseDirections

HEAD_LIMIT = np.radians([15.0, 25.0, 15.0])  # pitch, yaw, roll of head and neck together, to either side
NECK_SHARE = 0.4
TORSO_LIMIT = np.radians([4.0, 4.0, 3.0])  # of each spine joint
TRANSLATION_LIMIT = (0.03, 0.02, 0.05)  # m
GAZE_LIMIT = np.radians([20.0, 30.0, 0.0])
FARTHEST_YAW = np.radians(42.0)  # from the camera: a photo that is turned already turns less far on
TOLERANCE = 0.004  # m behind the visible surface that still counts as seen

Limits = dict[str, tuple[tuple[float, float], ...]]


def limits(head_yaw: float, jaw: float, jaw_open: float) -> Limits:
    """Rotations (rad) that each joint may add to the photo's, and metres that "translation" may.

    head_yaw, jaw: how far the photo's head is turned and its jaw opened; jaw_open: what jawOpen 1 is.
    """
    low, high = -HEAD_LIMIT.copy(), HEAD_LIMIT.copy()
    low[1] = min(max(low[1], -FARTHEST_YAW - head_yaw), 0.0)
    high[1] = max(min(high[1], FARTHEST_YAW - head_yaw), 0.0)
    out: Limits = {}
    for name, share in (("neck", NECK_SHARE), ("head", 1 - NECK_SHARE)):
        out[name] = tuple((float(a * share), float(b * share)) for a, b in zip(low, high))
    for name in ("pelvis", "spine1", "spine2", "spine3"):
        out[name] = tuple((float(-a), float(a)) for a in TORSO_LIMIT)
    for name in ("left_eye_smplhf", "right_eye_smplhf"):
        out[name] = tuple((float(-a), float(a)) for a in GAZE_LIMIT)
    # A fit may find the jaw a little past closed or wide open: what the photo shows is always allowed.
    out["jaw"] = ((min(-jaw - 0.02, 0.0), max(1.1 * jaw_open - jaw, 0.0)), (-0.12, 0.12), (-0.08, 0.08))
    out["translation"] = tuple((-a, a) for a in TRANSLATION_LIMIT)
    for j in np.flatnonzero(np.isin(JOINT_GROUP, [GROUP["arms"], GROUP["hands"]])):
        out[JOINTS[j]] = ((0.0, 0.0),) * 3
    for name in JOINTS[1:12]:
        if name not in out:  # legs and feet
            out[name] = ((0.0, 0.0),) * 3
    return out


def turned(pose: NDArray, allowed: Limits, pitch: float, yaw: float, roll: float = 0.0) -> F64:
    """A pose (55, 3) with the head turned by shares -1..1 of its limits."""
    out = np.asarray(pose, np.float64).copy()
    for joint, name in ((NECK, "neck"), (HEAD, "head")):
        r = [s * (b if s > 0 else -a) for s, (a, b) in zip((pitch, yaw, roll), allowed[name])]
        out[joint] = compose_rotations(out[joint], np.array(r))
    return out


def extremes(photo: State, neutral: State, allowed: Limits, names: tuple[str, ...], jaw_open: float) -> Iterator[State]:
    """States at the corners of what the avatar may do; jaw_open rad is jawOpen 1."""
    yield photo
    ways = [(0, 0), (0, 1), (0, -1), (0, 0.5), (0, -0.5), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)]
    for pitch, yaw in ways:
        yield _state(neutral, turned(neutral.pose, allowed, pitch, yaw), names)
    for pitch, yaw in ((0, 0), (-1, 0), (0, 1), (0, -1), (1, 0)):
        pose = turned(neutral.pose, allowed, pitch, yaw)
        pose[JAW, 0] = jaw_open
        yield _state(neutral, pose, names, mouthUpperUpLeft=0.5, mouthUpperUpRight=0.5, eyeBlinkLeft=1, eyeBlinkRight=1)
        pose[JAW, 0] = 0.4 * jaw_open
        yield _state(neutral, pose, names, mouthFunnel=0.8, eyeBlinkLeft=0.5, eyeBlinkRight=0.5, browInnerUp=1)
    for pitch, yaw in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        pose = turned(neutral.pose, allowed, 0.5 * pitch, 0.5 * yaw)
        for eye in (LEFT_EYE, RIGHT_EYE):
            pose[eye] = compose_rotations(pose[eye], GAZE_LIMIT * [pitch, yaw, 0])
        yield _state(neutral, pose, names, mouthSmileLeft=1, mouthSmileRight=1, eyeWideLeft=1, eyeWideRight=1)
    for way in (-1, 1):
        pose = turned(neutral.pose, allowed, 0, 0, way)
        for joint in (JOINT["pelvis"], JOINT["spine2"]):
            pose[joint] = compose_rotations(pose[joint], TORSO_LIMIT * way)
        yield _state(neutral, pose, names, mouthPucker=1.0)


def _state(neutral: State, pose: F64, names: tuple[str, ...], **coefficients: float) -> State:
    expression = neutral.expression.copy()
    for name, c in coefficients.items():
        if name in names:
            i = names.index(name)
            expression[i] += c * (1 - expression[i])
    return State(pose.astype(np.float32), neutral.translation, expression, neutral.correction)


def reachable(
    mesh: SkinnedMesh,
    correction: SparseDirections,
    occluder: NDArray[np.bool_],
    states: Iterator[State],
    camera: Camera,
) -> NDArray[np.bool_]:
    """(F,) triangles that some state shows, and their neighbours."""
    poser = Poser(mesh)
    small = camera.window(0, 0, camera.width, camera.width // 2, camera.height // 2)
    seen = np.zeros(len(mesh.faces), bool)
    opaque = np.ascontiguousarray(mesh.faces[occluder])
    corners = np.array([[1, 1, 1], [4, 1, 1], [1, 4, 1], [1, 1, 4]]) / np.array([[3], [6], [6], [6]])
    for state in states:
        v = poser(state.pose, state.expression, state.translation, (state.correction, correction))
        points = small.project(v)
        depth, _ = cpu.zbuffer(points, opaque, small.width, small.height)
        left = np.flatnonzero(~seen)
        triangles = points[mesh.faces[left]]
        for c in corners:
            p = np.einsum("k,fkd->fd", c, triangles).astype(np.float32)
            seen[left] |= _in_front(p, depth)
    touched = np.zeros(len(mesh.vertices), bool)
    touched[mesh.faces[seen]] = True
    return np.any(touched[mesh.faces], axis=1)


def _in_front(p: NDArray[np.float32], depth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Points (n, 3) px x, y, depth m: inside the picture and no farther behind the surface than the tolerance."""
    h, w = depth.shape
    x, y = np.floor(p[:, 0]).astype(int), np.floor(p[:, 1]).astype(int)
    inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
    return np.asarray(inside & (p[:, 2] < depth[y.clip(0, h - 1), x.clip(0, w - 1)] + TOLERANCE))
