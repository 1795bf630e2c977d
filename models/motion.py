"""Motion: the SMPL-X and face parameters of one moment, and a track of them. The one language of all drivers.

A driver fills the channel groups it knows and gives each a weight; weight 0 means "says nothing", which is not the same
as zero. Joint order is SMPL-X (Pavlakos et al. 2019), face coefficients are the 52 of Apple's ARKit in the order of
`ARKIT`. The jaw has one owner: face[jawOpen] (and jawLeft, jawRight, jawForward); pose[JAW] stays zero unless the
motion carries a model expression of its own (`expression`).
"""

from __future__ import annotations

import os
import tempfile
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]

JOINTS = """
pelvis left_hip right_hip spine1 left_knee right_knee spine2 left_ankle right_ankle spine3 left_foot
right_foot neck left_collar right_collar head left_shoulder right_shoulder left_elbow right_elbow
left_wrist right_wrist jaw left_eye_smplhf right_eye_smplhf left_index1 left_index2 left_index3
left_middle1 left_middle2 left_middle3 left_pinky1 left_pinky2 left_pinky3 left_ring1 left_ring2
left_ring3 left_thumb1 left_thumb2 left_thumb3 right_index1 right_index2 right_index3 right_middle1
right_middle2 right_middle3 right_pinky1 right_pinky2 right_pinky3 right_ring1 right_ring2 right_ring3
right_thumb1 right_thumb2 right_thumb3
""".split()  # noqa: SIM905
JOINT = {name: i for i, name in enumerate(JOINTS)}
NECK, HEAD, JAW, LEFT_EYE, RIGHT_EYE = (
    JOINT[n] for n in ("neck", "head", "jaw", "left_eye_smplhf", "right_eye_smplhf")
)
N_JOINTS = 55

ARKIT = """
browDownLeft browDownRight browInnerUp browOuterUpLeft browOuterUpRight cheekPuff cheekSquintLeft
cheekSquintRight eyeBlinkLeft eyeBlinkRight eyeLookDownLeft eyeLookDownRight eyeLookInLeft eyeLookInRight
eyeLookOutLeft eyeLookOutRight eyeLookUpLeft eyeLookUpRight eyeSquintLeft eyeSquintRight eyeWideLeft
eyeWideRight jawForward jawLeft jawOpen jawRight mouthClose mouthDimpleLeft mouthDimpleRight
mouthFrownLeft mouthFrownRight mouthFunnel mouthLeft mouthLowerDownLeft mouthLowerDownRight
mouthPressLeft mouthPressRight mouthPucker mouthRight mouthRollLower mouthRollUpper mouthShrugLower
mouthShrugUpper mouthSmileLeft mouthSmileRight mouthStretchLeft mouthStretchRight mouthUpperUpLeft
mouthUpperUpRight noseSneerLeft noseSneerRight tongueOut
""".split()  # noqa: SIM905
A = {name: i for i, name in enumerate(ARKIT)}
N_ARKIT = 52

GROUPS = ("mouth", "brows", "lids", "gaze", "head", "torso", "arms", "hands")
GROUP = {name: i for i, name in enumerate(GROUPS)}


def _face_group(name: str) -> str:
    if name.startswith("eyeLook"):
        return "gaze"
    if name.startswith("eye"):
        return "lids"
    return "brows" if name.startswith("brow") else "mouth"


def _joint_group(j: int) -> str:
    name = JOINTS[j]
    if j in (NECK, HEAD):
        return "head"
    if j == JAW:
        return "mouth"
    if j in (LEFT_EYE, RIGHT_EYE):
        return "gaze"
    if j >= 25:
        return "hands"
    return "arms" if any(k in name for k in ("collar", "shoulder", "elbow", "wrist")) else "torso"


FACE_GROUP = np.array([GROUP[_face_group(n)] for n in ARKIT])  # (52,) index into GROUPS
JOINT_GROUP = np.array([GROUP[_joint_group(j)] for j in range(N_JOINTS)])  # (55,) index into GROUPS; root is torso


def _zeros(*shape: int) -> F32:
    return np.zeros(shape, np.float32)


@dataclass
class Motion:
    """One moment. Live: head and torso rotations are relative to the photo's; arms and hands are absolute, and the face
    is so towards neutral."""

    time: float = 0.0  # s on the media clock
    epoch: int = 0  # utterance generation: anything older than the session's epoch is dropped
    pose: F32 = field(default_factory=lambda: _zeros(N_JOINTS, 3))  # (55, 3) axis-angle, rad
    face: F32 = field(default_factory=lambda: _zeros(N_ARKIT))  # (52,) ARKit coefficients, 0..1
    translation: F32 = field(default_factory=lambda: _zeros(3))  # (3,) m, follows the torso group's weight
    weight: F32 = field(default_factory=lambda: _zeros(len(GROUPS)))  # (8,) 0..1 per group of GROUPS
    expression: F32 | None = None  # (E,) of the face model named by face_model; then pose[JAW] and the eyes count too
    face_model: str = ""  # sha256 of the model file `expression` belongs to


@dataclass
class MotionTrack:
    """Motions of T moments, with SMPL-X key names on disk."""

    time: NDArray[np.float64]  # (T,) s, rising
    pose: F32  # (T, 55, 3)
    face: F32  # (T, 52)
    translation: F32  # (T, 3)
    weight: F32  # (T, 8)
    expression: F32 | None = None  # (T, E)
    face_model: str = ""

    def __len__(self) -> int:
        return len(self.time)

    def __getitem__(self, t: int) -> Motion:
        expression = None if self.expression is None else self.expression[t]
        return Motion(
            float(self.time[t]),
            0,
            self.pose[t],
            self.face[t],
            self.translation[t],
            self.weight[t],
            expression,
            self.face_model,
        )

    @classmethod
    def of(cls, motions: list[Motion]) -> MotionTrack:
        """Stack motions of rising time. Raises ValueError when there are none, or when they mix face models."""
        if not motions:
            raise ValueError("a motion track needs at least one moment")
        if len({m.face_model for m in motions}) > 1:
            raise ValueError("a motion track holds one face model; these motions mix several")
        stack = lambda name: np.stack([getattr(m, name) for m in motions]).astype(np.float32)  # noqa: E731
        expression = None if motions[0].expression is None else stack("expression")
        time = np.array([m.time for m in motions], np.float64)
        return cls(
            time, stack("pose"), stack("face"), stack("translation"), stack("weight"), expression, motions[0].face_model
        )

    def at(self, time: float) -> Motion:
        """The motion at `time` s, linear between moments (rotations by shortest arc), held at both ends."""
        t = self.time
        if time <= t[0] or len(t) == 1:
            return self[0]
        if time >= t[-1]:
            return self[len(t) - 1]
        i = int(np.searchsorted(t, time, side="right")) - 1
        a = np.float32((time - t[i]) / max(t[i + 1] - t[i], 1e-9))
        lerp = lambda x: x[i] * (1 - a) + x[i + 1] * a  # noqa: E731
        expression = None if self.expression is None else lerp(self.expression)
        pose = interpolate_rotations(self.pose[i], self.pose[i + 1], float(a))
        return Motion(
            time, 0, pose, lerp(self.face), lerp(self.translation), lerp(self.weight), expression, self.face_model
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an npz with SMPL-X key names (global_orient, body_pose, ...); nothing half written stays."""
        p, T = self.pose, len(self)
        arrays: dict[str, Any] = {
            "time": self.time, "face": self.face, "arkit_names": np.array(ARKIT), "weight": self.weight,
            "global_orient": p[:, 0], "body_pose": p[:, 1:22].reshape(T, 63), "jaw_pose": p[:, JAW],
            "leye_pose": p[:, LEFT_EYE], "reye_pose": p[:, RIGHT_EYE], "left_hand_pose": p[:, 25:40].reshape(T, 45),
            "right_hand_pose": p[:, 40:55].reshape(T, 45), "transl": self.translation,
            "face_model": np.array(self.face_model),
        }  # fmt: skip
        if self.expression is not None:
            arrays["expression"] = self.expression
        path = Path(path)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as f:
            try:
                np.savez_compressed(f, **arrays)
                f.close()
                os.replace(f.name, path)
            except BaseException:
                os.unlink(f.name)
                raise

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> MotionTrack:
        """Read an npz written by `save`, or any npz with SMPL-X key names (missing groups say nothing).

        Raises ValueError naming the file, the array and what was expected.
        """
        try:
            with np.load(path, allow_pickle=False) as z:
                data = {k: z[k] for k in z.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as e:
            raise ValueError(f"{path}: not a motion npz ({e})") from e
        return _track_from_smplx(data, str(path))


_SMPLX_KEYS = {  # key -> (first joint, joints, group)
    "global_orient": (0, 1), "body_pose": (1, 21), "jaw_pose": (JAW, 1), "leye_pose": (LEFT_EYE, 1),
    "reye_pose": (RIGHT_EYE, 1), "left_hand_pose": (25, 15), "right_hand_pose": (40, 15),
}  # fmt: skip


def _track_from_smplx(data: dict[str, NDArray], path: str) -> MotionTrack:
    lengths = {
        k: len(v) for k, v in data.items() if k in (*_SMPLX_KEYS, "face", "transl", "expression", "time") and v.ndim
    }
    if not lengths:
        raise ValueError(f"{path}: holds none of {', '.join(_SMPLX_KEYS)}, face; is it a motion file?")
    T = max(lengths.values())
    wrong = [f"{k} has {n} moments" for k, n in lengths.items() if n != T]
    if wrong or T == 0:
        raise ValueError(f"{path}: {'; '.join(wrong) or 'no moments'}; expected {T} in each")
    pose, weight = _zeros(T, N_JOINTS, 3), _zeros(T, len(GROUPS))
    for key, (first, n) in _SMPLX_KEYS.items():
        if key in data:
            pose[:, first : first + n] = _finite(data[key], (T, n * 3), key, path).reshape(T, n, 3)
            weight[:, np.unique(JOINT_GROUP[first : first + n])] = 1
    face = _finite(data["face"], (T, N_ARKIT), "face", path) if "face" in data else _zeros(T, N_ARKIT)
    if "face" in data:
        weight[:, [GROUP[g] for g in ("mouth", "brows", "lids", "gaze")]] = 1
    if "weight" in data:
        weight = _finite(data["weight"], (T, len(GROUPS)), "weight", path).clip(0, 1)
    fps = float(data["fps"]) if "fps" in data else 30.0
    time = np.asarray(data["time"], np.float64).reshape(T) if "time" in data else np.arange(T) / fps
    if not np.isfinite(time).all() or (np.diff(time) < 0).any():
        raise ValueError(f"{path}: time must rise and be finite")
    transl = _finite(data["transl"], (T, 3), "transl", path) if "transl" in data else _zeros(T, 3)
    face_model = str(data["face_model"]) if "face_model" in data else ""
    expression = None
    if "expression" in data and face_model:
        expression = _finite(data["expression"], (T, data["expression"].size // T), "expression", path)
    return MotionTrack(time, pose, face, transl, weight, expression, face_model)


def _finite(x: NDArray, shape: tuple[int, ...], name: str, path: str) -> F32:
    if x.size != int(np.prod(shape)):
        raise ValueError(f"{path}: {name} has shape {x.shape}, expected {shape}")
    try:
        y = np.asarray(x, np.float32).reshape(shape)
    except (TypeError, ValueError) as e:
        raise ValueError(f"{path}: {name} is not numeric") from e
    if not np.isfinite(y).all():
        raise ValueError(f"{path}: {name} holds values that are not finite")
    return y


# ---- rotations: axis-angle, composed, never added ------------------------------------------------------------


def matrix_from_axis_angle(r: NDArray) -> NDArray[np.float64]:
    """(..., 3) rad -> (..., 3, 3), Rodrigues' formula."""
    r = np.asarray(r, np.float64)
    angle = np.linalg.norm(r, axis=-1)[..., None, None]
    k = r / np.maximum(angle[..., 0], 1e-12)
    x, y, z = k[..., 0], k[..., 1], k[..., 2]
    o = np.zeros_like(x)
    K = np.stack([o, -z, y, z, o, -x, -y, x, o], -1).reshape(*r.shape[:-1], 3, 3)
    return np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * (K @ K)


def axis_angle_from_matrix(m: NDArray) -> NDArray[np.float64]:
    """(..., 3, 3) -> (..., 3) rad, angle in [0, pi]."""
    m = np.asarray(m, np.float64)
    q = _quaternion_from_matrix(m)
    q = np.where(q[..., :1] < 0, -q, q)
    v = q[..., 1:]
    s = np.linalg.norm(v, axis=-1, keepdims=True)
    angle = 2 * np.arctan2(s, q[..., :1])
    return np.where(s > 1e-9, v / np.maximum(s, 1e-12) * angle, 2 * v)


def _quaternion_from_matrix(m: NDArray) -> NDArray[np.float64]:
    """(..., 3, 3) -> (..., 4) w x y z; the largest of four candidates (Shepperd 1978)."""
    t = np.trace(m, axis1=-2, axis2=-1)
    d = np.diagonal(m, axis1=-2, axis2=-1)
    c = np.concatenate([t[..., None], d], -1)
    w = np.stack([1 + t, m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]], -1)
    x = np.stack([w[..., 1], 1 + 2 * d[..., 0] - t, m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0]], -1)
    y = np.stack([w[..., 2], x[..., 2], 1 + 2 * d[..., 1] - t, m[..., 1, 2] + m[..., 2, 1]], -1)
    z = np.stack([w[..., 3], x[..., 3], y[..., 3], 1 + 2 * d[..., 2] - t], -1)
    q = np.take_along_axis(np.stack([w, x, y, z], -2), c.argmax(-1)[..., None, None], -2)[..., 0, :]
    return q / np.linalg.norm(q, axis=-1, keepdims=True)


def compose_rotations(first: NDArray, then: NDArray) -> F32:
    """Axis-angle of `then` applied after `first` (both in the parent's frame): R(then) @ R(first). Shapes (..., 3)."""
    (aw, av), (bw, bv) = _quaternion(then), _quaternion(first)  # by quaternions: in a third of the matrices' time
    w = aw * bw - (av * bv).sum(-1, keepdims=True)
    v = aw * bv + bw * av
    v[..., 0] += av[..., 1] * bv[..., 2] - av[..., 2] * bv[..., 1]
    v[..., 1] += av[..., 2] * bv[..., 0] - av[..., 0] * bv[..., 2]
    v[..., 2] += av[..., 0] * bv[..., 1] - av[..., 1] * bv[..., 0]
    s = np.sqrt((v * v).sum(-1, keepdims=True))
    angle = 2 * np.arctan2(s, np.abs(w))
    scale = np.where(s > 1e-9, angle / np.maximum(s, 1e-12), 2.0)
    return np.asarray(np.where(w < 0, -scale, scale) * v, np.float32)


def _quaternion(r: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(..., 3) rad -> (..., 1) w and (..., 3) x y z."""
    r = np.asarray(r, np.float64)
    half = 0.5 * np.sqrt((r * r).sum(-1, keepdims=True))
    return np.cos(half), r * (0.5 * np.sinc(half / np.pi))


def interpolate_rotations(a: NDArray, b: NDArray, t: float) -> F32:
    """The rotation t of the way from a to b along the shortest arc. Shapes (..., 3)."""
    Ra, Rb = matrix_from_axis_angle(a), matrix_from_axis_angle(b)
    step = axis_angle_from_matrix(Rb @ np.swapaxes(Ra, -1, -2)) * t
    return axis_angle_from_matrix(matrix_from_axis_angle(step) @ Ra).astype(np.float32)
