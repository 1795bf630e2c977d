"""Posed mesh and surface Gaussians on a torch device, several poses of one avatar at a time.

The arithmetic of models/skinning.py and of the contract's rule 2, written as a few dense products without a single
branch on values, so that a CUDA graph can replay them. Runs on any torch device; float32 throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatar.asset import Avatar, State
from models.skinning import I32, SparseDirections

TINY_ANGLE = 1e-8  # rad


@dataclass(frozen=True)
class Poses:
    """B states as tensors on one device."""

    pose: Tensor  # (B, J, 3) axis-angle
    expression: Tensor  # (B, E)
    translation: Tensor  # (B, 3) m
    correction: Tensor  # (B, C)

    @classmethod
    def of(cls, states: Sequence[State], device: torch.device | str) -> Poses:
        """Raises ValueError where a state is not finite."""
        arrays = {}
        for name in ("pose", "expression", "translation", "correction"):
            a = np.stack([np.asarray(getattr(s, name), np.float32) for s in states])
            if not np.isfinite(a).all():
                raise ValueError(f"the state's {name} holds values that are not finite")
            arrays[name] = torch.from_numpy(a).to(device)
        return cls(**arrays)

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.pose, self.expression, self.translation, self.correction


class DeviceRig:
    """What moves one avatar, as tensors on a device."""

    def __init__(self, avatar: Avatar, device: torch.device | str) -> None:
        m, to = avatar.mesh, _mover(device)
        self.device = torch.device(device)
        self._rest, self._joints = to(m.vertices), to(m.joints)
        carried = m.joint_expression
        self._joint_expression = None if carried is None else to(carried)  # (J, 3, E)
        moved, fields = _dense((m.expression, avatar.correction, m.pose_corrective))
        self._moved = to(moved.astype(np.int64))  # (M,) vertices that any direction moves
        self._fields = to(fields)  # (E + C + P, 3 M)
        self._feature = to(np.asarray(m.pose_feature, np.int64))
        self._levels = [(to(j), to(p)) for j, p in _levels(m.parents)]
        self._parents = to(np.maximum(m.parents, 0).astype(np.int64))
        self._is_root = to((np.asarray(m.parents) < 0)[:, None])
        weight = np.zeros((len(m.vertices), len(m.joints)), np.float32)
        np.add.at(weight, (np.arange(len(weight))[:, None], m.joint_index.astype(np.int64)), m.joint_weight)
        self._weight = to(weight)  # (V, J)
        self._eye = torch.eye(3, device=device)
        self._last_row = torch.tensor([0.0, 0.0, 0.0, 1.0], device=device)

    def vertices(self, poses: Poses) -> Tensor:
        """(B, V, 3) posed vertices in world metres."""
        B = len(poses.pose)
        rotation = rotation_matrices(poses.pose)  # (B, J, 3, 3)
        joints = self._joints.expand(B, -1, -1)
        if self._joint_expression is not None:
            joints = joints + torch.einsum("jce,be->bjc", self._joint_expression, poses.expression)
        transform = self._transforms(rotation, joints)  # (B, J, 3, 4)
        feature = (rotation[:, 1:] - self._eye).flatten(1)[:, self._feature]
        coefficients = torch.cat([poses.expression, poses.correction, feature], 1)
        way = (coefficients @ self._fields).reshape(B, -1, 3)
        rest = self._rest.expand(B, -1, -1).index_add(1, self._moved, way)
        blend = (self._weight @ transform.flatten(2)).reshape(B, -1, 3, 4)
        turned = (blend[..., :3] * rest[:, :, None, :]).sum(-1)
        return turned + blend[..., 3] + poses.translation[:, None]

    def _transforms(self, rotation: Tensor, joints: Tensor) -> Tensor:
        """Local rotations (B, J, 3, 3), joints (B, J, 3) -> rest-to-posed (B, J, 3, 4), level by level of the tree."""
        B, J = joints.shape[:2]
        from_parent = torch.where(self._is_root, joints, joints - joints[:, self._parents])
        local = torch.cat([rotation, from_parent[..., None]], -1)
        local = torch.cat([local, self._last_row.expand(B, J, 1, 4)], -2)
        world = torch.zeros_like(local)
        for level, (joint, parent) in enumerate(self._levels):
            here = local[:, joint]
            world[:, joint] = here if level == 0 else world[:, parent] @ here
        turn = world[:, :, :3, :3]
        return torch.cat([turn, world[:, :, :3, 3:] - turn @ joints[..., None]], -1)


class DeviceSurface:
    """An avatar's Gaussians, bound to its triangles, as tensors on a device."""

    def __init__(self, avatar: Avatar, device: torch.device | str) -> None:
        g, to = avatar.gaussians, _mover(device)
        self.count = g.count
        self._corners = to(np.ascontiguousarray(avatar.mesh.faces[g.face], np.int64))  # (N, 3)
        self._bary, self._shape = to(g.bary), to(g.shape)

    def place(self, camera_points: Tensor) -> tuple[Tensor, Tensor]:
        """Mesh (B, V, 3) in camera space -> means (B, N, 3), covariances (B, N, 6): E M M^T E^T, upper triangle."""
        B = len(camera_points)
        corner = camera_points[:, self._corners.flatten()].view(B, -1, 3, 3)
        first, second = corner[:, :, 1] - corner[:, :, 0], corner[:, :, 2] - corner[:, :, 0]
        mean = corner[:, :, 0] + self._bary[:, :1] * first + self._bary[:, 1:] * second
        m = self._shape[:, :, :, None]  # (N, 2, 2, 1): column c of E M is first m[0, c] + second m[1, c]
        r0 = first * m[:, 0, 0] + second * m[:, 1, 0]
        r1 = first * m[:, 0, 1] + second * m[:, 1, 1]
        upper = [r0[..., i] * r0[..., j] + r1[..., i] * r1[..., j] for i in range(3) for j in range(i, 3)]
        return mean, torch.stack(upper, -1)


def rotation_matrices(axis_angle: Tensor) -> Tensor:
    """(..., 3) rad -> (..., 3, 3), Rodrigues' formula."""
    angle = axis_angle.norm(dim=-1, keepdim=True)
    x, y, z = (axis_angle / angle.clamp_min(TINY_ANGLE)).unbind(-1)
    s, c = angle.sin()[..., 0], angle.cos()[..., 0]
    t = 1 - c
    rows = [
        c + t * x * x, t * x * y - s * z, t * x * z + s * y,
        t * x * y + s * z, c + t * y * y, t * y * z - s * x,
        t * x * z - s * y, t * y * z + s * x, c + t * z * z,
    ]  # fmt: skip
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def _mover(device: torch.device | str):  # type: ignore[no-untyped-def]
    return lambda a: torch.from_numpy(np.ascontiguousarray(a)).to(device)


def _dense(parts: Sequence[SparseDirections]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Displacement fields -> vertices that any of them moves (M,), and all fields on those (K, 3 M)."""
    vertex = np.unique(np.concatenate([d.vertex for d in parts]))
    fields = np.zeros((sum(d.count for d in parts), len(vertex), 3), np.float32)
    k = 0
    for d in parts:
        of = k + np.repeat(np.arange(d.count), np.diff(d.indptr))
        fields[of, np.searchsorted(vertex, d.vertex)] = d.offset
        k += d.count
    return vertex.astype(np.int32), fields.reshape(len(fields), -1)


def _levels(parents: I32) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Joints and their parents by depth in the tree, roots first."""
    depth = np.zeros(len(parents), np.int64)
    for j, p in enumerate(parents):
        depth[j] = 0 if p < 0 else depth[p] + 1
    levels = [np.flatnonzero(depth == d) for d in range(int(depth.max()) + 1)]
    return [(j, np.maximum(np.asarray(parents)[j], 0).astype(np.int64)) for j in levels]
