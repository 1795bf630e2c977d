"""A body model cut down to a few anchor vertices, with exact first derivatives: what the fitters evaluate.

Linear blend skinning as in models/skinning.py. Derivatives: a joint's rotation moves its subtree about the joint
(v -> v + omega x (v - p)), shape and expression move the rest vertices, shape also the joints.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.body import BodyModel
from models.motion import matrix_from_axis_angle
from models.skinning import SkinnedMesh

F64 = NDArray[np.float64]


def skew(v: NDArray) -> F64:
    """(..., 3) -> (..., 3, 3) with skew(v) @ x = v x x."""
    v = np.asarray(v, np.float64)
    x, y, z = v[..., 0], v[..., 1], v[..., 2]
    o = np.zeros_like(x)
    return np.stack([o, -z, y, z, o, -x, -y, x, o], -1).reshape(*v.shape, 3)


def left_jacobian(r: NDArray) -> F64:
    """(3, 3) d omega / d r: how the axis-angle r must change for a small rotation from the left."""
    angle = float(np.linalg.norm(r))
    K = skew(r)
    if angle < 1e-6:
        return np.eye(3) + K / 2
    return np.eye(3) + (1 - np.cos(angle)) / angle**2 * K + (angle - np.sin(angle)) / angle**3 * (K @ K)


@dataclass(frozen=True)
class Pose:
    """What is evaluated: posed points and, when asked for, their derivatives by every parameter."""

    vertices: F64  # (n, 3) world m
    joints: F64  # (J, 3) world m
    d_vertices: F64 | None = None  # (n, 3, P)
    d_joints: F64 | None = None  # (J, 3, P)


class Anchors:
    """Some vertices of a mesh as a function of translation, the rotations of `posed` joints, betas and expression."""

    def __init__(
        self,
        template: NDArray,  # (n, 3) rest vertices
        shape: NDArray,  # (n, 3, S)
        expression: NDArray,  # (n, 3, E)
        weights: NDArray,  # (n, J)
        joints: NDArray,  # (J, 3) rest
        joint_shape: NDArray,  # (J, 3, S)
        pose_dirs: NDArray,  # (n, 3, P)
        pose_feature: NDArray,  # (P,) column of R - I over joints 1..J-1
        parents: NDArray,  # (J,)
        posed: tuple[int, ...],  # joint numbers, ordered as their parameters
    ) -> None:
        self.template, self.shape, self.expression, self.weights = template, shape, expression, weights
        self.joint_template, self.joint_shape = joints, joint_shape
        used = np.flatnonzero(np.abs(pose_dirs).max((0, 1)) > 0)
        self.pose_dirs, self.pose_feature = pose_dirs[:, :, used], pose_feature[used]
        self.parents, self.posed = parents, posed
        self.subtree = self._subtrees()
        self.sizes = (3, 3 * len(posed), shape.shape[2], expression.shape[2])

    @classmethod
    def of_model(cls, model: BodyModel, ids: NDArray, posed: tuple[int, ...], betas: int) -> Anchors:
        """Vertices `ids` of a body model whose shape is still to be found."""
        f = np.float64
        regressor = model.joint_regressor.astype(f)
        used = regressor.any(0)  # only a few hundred vertices make the joints
        joint_shape = np.einsum("jv,vck->jck", regressor[:, used], model.shapedirs[used, :, :betas].astype(f))
        return cls(
            model.v_template[ids].astype(f), model.shapedirs[ids, :, :betas].astype(f),
            model.expression_dirs[ids].astype(f), model.weights[ids].astype(f), regressor @ model.v_template,
            joint_shape, np.asarray(model.posedirs[ids], f), model.pose_feature, model.parents, posed,
        )  # fmt: skip

    @classmethod
    def of_mesh(cls, mesh: SkinnedMesh, ids: NDArray, posed: tuple[int, ...]) -> Anchors:
        """Vertices `ids` of a mesh whose shape is known (no betas)."""
        return cls.on_mesh(mesh, ids[:, None], np.ones((len(ids), 1)), posed)

    @classmethod
    def on_mesh(cls, mesh: SkinnedMesh, corners: NDArray, bary: NDArray, posed: tuple[int, ...]) -> Anchors:
        """Points of a mesh whose shape is known: the means of vertices `corners` (n, k) weighted by `bary` (n, k).

        Their skinning weights are interpolated, too; within a triangle that is skinning its corners, but for hairs.
        """
        V, J, f = len(mesh.vertices), len(mesh.joints), np.float64
        between = lambda values: np.einsum("nk,nk...->n...", bary, values[corners].astype(f))  # noqa: E731
        weights = np.zeros((len(corners), J))
        for k in range(corners.shape[1]):
            c = corners[:, k]
            shares = mesh.joint_weight[c] * bary[:, k, None]
            np.add.at(weights, (np.arange(len(c))[:, None], mesh.joint_index[c]), shares)
        return cls(
            between(mesh.vertices), np.zeros((len(corners), 3, 0)), between(mesh.expression.to_dense(V)),
            weights, mesh.joints.astype(f), np.zeros((J, 3, 0)), between(mesh.pose_corrective.to_dense(V)),
            mesh.pose_feature, mesh.parents, posed,
        )  # fmt: skip

    def _subtrees(self) -> NDArray[np.bool_]:
        """(J, J) [j, k]: does joint j move joint k (itself included)?"""
        J = len(self.parents)
        m = np.eye(J, dtype=bool)
        for k in range(J):
            j = self.parents[k]
            while j >= 0:
                m[j, k] = True
                j = self.parents[j]
        return m

    def split(self, x: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        """Parameters (P,) -> translation (3,), pose (J, 3), betas, expression."""
        a, b, c = np.cumsum(self.sizes[:3])
        pose = np.zeros((len(self.parents), 3))
        pose[list(self.posed)] = x[a:b].reshape(-1, 3)
        return x[:a], pose, x[b:c], x[c:]

    def __call__(self, x: NDArray, derivatives: bool = False) -> Pose:
        translation, pose, betas, expression = self.split(x)
        R = matrix_from_axis_angle(pose)
        rest_joints = self.joint_template + self.joint_shape @ betas
        world_R, world_p = self._chain(R, rest_joints)
        shift = world_p - np.einsum("jab,jb->ja", world_R, rest_joints)
        feature = (R[1:] - np.eye(3)).reshape(-1)[self.pose_feature]
        rest = self.template + self.shape @ betas + self.expression @ expression + self.pose_dirs @ feature
        blend_R = np.tensordot(self.weights, world_R, 1)  # (n, 3, 3)
        vertices = np.einsum("nab,nb->na", blend_R, rest) + self.weights @ shift + translation
        if not derivatives:
            return Pose(vertices, world_p + translation)
        n, J, P = len(rest), len(R), sum(self.sizes)
        dv, dj = np.zeros((n, 3, P)), np.zeros((J, 3, P))
        dv[:, :, :3] = dj[:, :, :3] = np.eye(3)
        for i, j in enumerate(self.posed):
            s = slice(3 + 3 * i, 6 + 3 * i)
            dv[:, :, s], dj[:, :, s] = self._by_rotation(j, pose[j], R[j], world_R, world_p, shift, rest, blend_R)
        b = 3 + 3 * len(self.posed)
        S = self.sizes[2]
        dp = self._joints_by_shape(world_R)
        dshift = dp - np.einsum("jab,jbs->jas", world_R, self.joint_shape)
        dj[:, :, b : b + S] = dp
        dv[:, :, b : b + S] = blend_R @ self.shape + np.tensordot(self.weights, dshift, 1)
        dv[:, :, b + S :] = blend_R @ self.expression
        return Pose(vertices, world_p + translation, dv, dj)

    def _chain(self, R: NDArray, joints: NDArray) -> tuple[F64, F64]:
        world_R, world_p = np.empty_like(R), np.empty_like(joints)
        for j, p in enumerate(self.parents):
            if p < 0:
                world_R[j], world_p[j] = R[j], joints[j]
            else:
                world_R[j] = world_R[p] @ R[j]
                world_p[j] = world_p[p] + world_R[p] @ (joints[j] - joints[p])
        return world_R, world_p

    def _by_rotation(self, j, r, R, world_R, world_p, shift, rest, blend_R):  # type: ignore[no-untyped-def]
        """Derivatives by the axis-angle of joint j: (n, 3, 3) of the vertices, (J, 3, 3) of the joints."""
        p = self.parents[j]
        left = left_jacobian(r)
        to_world = left if p < 0 else world_R[p] @ left
        sub = self.subtree[j]
        w = self.weights[:, sub]
        moved = np.einsum("nab,nb->na", np.tensordot(w, world_R[sub], 1), rest) + w @ shift[sub]
        arm = moved - w.sum(1)[:, None] * world_p[j]
        dv = -skew(arm) @ to_world
        columns = [(k, int(f) - 9 * (j - 1)) for k, f in enumerate(self.pose_feature) if 0 <= f - 9 * (j - 1) < 9]
        if columns:
            dR = np.stack([skew(left[:, a]) @ R for a in range(3)], -1).reshape(9, 3)
            change = self.pose_dirs[:, :, [k for k, _ in columns]] @ dR[[f for _, f in columns]]
            dv = dv + blend_R @ change
        dj = -skew((world_p - world_p[j]) * sub[:, None]) @ to_world
        return dv, dj

    def _joints_by_shape(self, world_R: NDArray) -> F64:
        dp = np.empty_like(self.joint_shape)
        for j, p in enumerate(self.parents):
            own = self.joint_shape[j]
            dp[j] = own if p < 0 else dp[p] + world_R[p] @ (own - self.joint_shape[p])
        return dp
