"""Layers of motion -> one motion: idle below, speech above, the webcam or a recording on top, per channel group.

A layer covers what lies below it by its group's weight, so an idle blink lives on under a talking mouth. Rotations are
interpolated along the shortest arc, never added. When a layer comes, goes or jumps in weight, the difference to what
was shown last is kept and dies away like a critically damped spring (inertialization, Bollo 2018): no jump and, once
it has died away, no delay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.motion import (
    FACE_GROUP,
    GROUP,
    GROUPS,
    JOINT,
    JOINT_GROUP,
    N_JOINTS,
    Motion,
    axis_angle_from_matrix,
    compose_rotations,
    matrix_from_axis_angle,
)

F32 = NDArray[np.float32]
Limits = Mapping[str, Sequence[Sequence[float]]]  # joint name -> ((low, high) rad) for x, y, z, relative to the photo

FADE = 0.15  # s after which a twentieth of a jump is left
OMEGA = 4.74 / FADE  # 1/s: (1 + x) exp(-x) is 1/20 at x = 4.74
JUMP = 0.2  # change of a layer's share in a group, from one picture to the next, that is faded
PAUSE = 0.5  # s without a picture, or any step back, after which there is nothing to be smooth with
FACE_GROUPS = [GROUP[g] for g in ("mouth", "brows", "lids", "gaze")]
RELATIVE = [GROUP["head"], GROUP["torso"]]


class Mixer:
    """One performance's mixer. Holds what was shown last; not for two threads at once."""

    def __init__(self, limits: Limits | None = None) -> None:
        """limits: of the head's and torso's joints; others are not the mixer's. ValueError on a malformed one."""
        self._low, self._high = _bounds(limits or {})
        self.reset()

    def reset(self) -> None:
        self._last: Motion | None = None
        self._shares = np.zeros((0, len(GROUPS)), np.float32)
        self._offset = _Offset()

    def mix(self, time: float, layers: Sequence[Motion]) -> Motion:
        """Layers at one moment, the strongest last. The result's weight is what any layer says; no layers, no say."""
        raw = self._limited(blend(time, layers))
        shares = _shares(layers)
        last = self._last
        if last is None or not 0 <= time - last.time <= PAUSE:
            self._offset = _Offset()
        else:
            self._offset = self._offset.later(time - last.time)
            jumped = _jumped(self._shares, shares)
            if raw.epoch != last.epoch:
                jumped[GROUP["mouth"]] = True
            if jumped.any():
                self._offset = self._offset.restarted(last, raw, jumped, time - last.time)
        out = self._offset.applied(raw)
        self._last, self._shares = out, shares
        return out

    def _limited(self, m: Motion) -> Motion:
        return replace(m, pose=np.clip(m.pose, self._low, self._high), face=np.clip(m.face, -1, 1))


def blend(time: float, layers: Sequence[Motion]) -> Motion:
    """Each group: the layers' values by weight, a later layer over the earlier ones. Epoch: the latest of any layer."""
    out = Motion(time=time, epoch=max((m.epoch for m in layers), default=0))
    for m in layers:
        weight = np.clip(_finite(m.weight), 0, 1)
        total = 1 - (1 - out.weight) * (1 - weight)
        share = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)  # of the layer in the mean
        out.face += share[FACE_GROUP] * (_finite(m.face) - out.face)
        out.pose = _towards(out.pose, _finite(m.pose), share[JOINT_GROUP])
        out.translation = out.translation + share[GROUP["torso"]] * (_finite(m.translation) - out.translation)
        out.weight = total
        if weight[FACE_GROUPS].max() > 0.5:  # the uppermost face decides whether there is a recorded expression
            out.expression, out.face_model = m.expression, m.face_model
    return out


def _finite(x: F32) -> F32:
    return np.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0)


def _towards(a: F32, b: F32, share: F32) -> F32:
    """(55, 3) rotations a turned towards b by each joint's share, along the shortest arc."""
    out = np.where((share >= 1)[:, None], b, a).astype(np.float32)
    j = np.flatnonzero((share > 0) & (share < 1) & (a != b).any(1))
    if len(j):
        Ra, Rb = matrix_from_axis_angle(a[j]), matrix_from_axis_angle(b[j])
        step = axis_angle_from_matrix(Rb @ np.swapaxes(Ra, -1, -2)) * share[j, None]
        out[j] = axis_angle_from_matrix(matrix_from_axis_angle(step) @ Ra)
    return out


def _shares(layers: Sequence[Motion]) -> F32:
    """(layers, groups): how much of the result each layer is, after those above have covered it."""
    shares = np.zeros((len(layers), len(GROUPS)), np.float32)
    free = np.ones(len(GROUPS), np.float32)
    for i in range(len(layers) - 1, -1, -1):
        weight = np.clip(_finite(layers[i].weight), 0, 1)
        shares[i], free = free * weight, free * (1 - weight)
    return shares


def _jumped(before: F32, now: F32) -> NDArray[np.bool_]:
    """(groups,): some layer's share changed by more than JUMP. Layers are told apart by their place from below."""
    n = max(len(before), len(now))
    a, b = (np.pad(x, ((0, n - len(x)), (0, 0))) for x in (before, now))
    return (np.abs(a - b) > JUMP).any(0) if n else np.zeros(len(GROUPS), bool)


def _bounds(limits: Limits) -> tuple[F32, F32]:
    low = np.full((N_JOINTS, 3), -np.inf, np.float32)
    high = -low
    for name, ranges in limits.items():
        if name in JOINT and JOINT_GROUP[JOINT[name]] in RELATIVE:
            pair = np.asarray(ranges, np.float32)
            if pair.shape != (3, 2) or (pair[:, 0] > pair[:, 1]).any():
                raise ValueError(
                    f"limits of {name} are {ranges}; expected ((low, high), (low, high), (low, high)) in rad"
                )
            low[JOINT[name]], high[JOINT[name]] = pair.T
    return low, high


class _Offset:
    """What was shown minus what is wanted, at the moment of the last jump, and how long ago that was, per group."""

    def __init__(self) -> None:
        self.age = np.full(len(GROUPS), np.inf)
        self.face = np.zeros(len(FACE_GROUP), np.float32)
        self.turn = np.zeros((N_JOINTS, 3), np.float32)
        self.translation = np.zeros(3, np.float32)
        self.weight = np.zeros(len(GROUPS), np.float32)

    def later(self, dt: float) -> _Offset:
        self.age += dt
        return self

    def left(self) -> F32:
        """(groups,) the share of each offset that is left now."""
        x = OMEGA * np.where(np.isfinite(self.age), self.age, 1e3)
        share = (1 + x) * np.exp(-x)
        return np.where(share > 1e-3, share, 0).astype(np.float32)

    def restarted(self, last: Motion, raw: Motion, groups: NDArray[np.bool_], age: float) -> _Offset:
        face, joint = groups[FACE_GROUP], groups[JOINT_GROUP]
        self.face[face] = (last.face - raw.face)[face]
        self.turn[joint] = compose_rotations(-raw.pose[joint], last.pose[joint])
        if groups[GROUP["torso"]]:
            self.translation = last.translation - raw.translation
        self.weight[groups] = (last.weight - raw.weight)[groups]
        self.age[groups] = age
        return self

    def applied(self, raw: Motion) -> Motion:
        left = self.left()
        if not left.any():
            return raw
        pose = raw.pose.copy()
        j = np.flatnonzero((left[JOINT_GROUP] > 0) & self.turn.any(1))
        if len(j):
            pose[j] = compose_rotations(pose[j], self.turn[j] * left[JOINT_GROUP][j, None])
        face = np.clip(raw.face + self.face * left[FACE_GROUP], -1, 1)
        weight = np.clip(raw.weight + self.weight * left, 0, 1)
        translation = raw.translation + self.translation * left[GROUP["torso"]]
        return replace(raw, pose=pose, face=face, translation=translation, weight=weight)
