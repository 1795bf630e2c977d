"""Linear blend skinning of a mesh whose identity is baked in: expression, pose correctives, joints, vertices.

The arithmetic of SMPL (Loper et al. 2015, eq. 2-10) and SMPL-X, with the shape blended once beforehand and the
expression and pose directions kept sparse. Joints are taken at the baked identity; where a model's expressions move
them by more than a hair, they follow.
Numba kernels release the GIL and allocate nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba as nb
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]


@dataclass(frozen=True)
class SparseDirections:
    """K displacement fields over a mesh, each with its own few vertices."""

    indptr: I32  # (K + 1,)
    vertex: I32  # (nnz,)
    offset: F32  # (nnz, 3) m per unit

    @property
    def count(self) -> int:
        return len(self.indptr) - 1

    @classmethod
    def from_dense(cls, directions: NDArray, epsilon: float = 1e-6) -> SparseDirections:
        """(V, 3, K) -> sparse; displacements under epsilon metres are dropped."""
        vertex, offset, indptr = [], [], [0]
        for k in range(directions.shape[2]):
            d = np.asarray(directions[:, :, k], np.float32)
            v = np.flatnonzero(np.abs(d).max(1) > epsilon)
            vertex.append(v)
            offset.append(d[v])
            indptr.append(indptr[-1] + len(v))
        if not vertex:
            return cls.empty()
        return cls(
            np.array(indptr, np.int32),
            np.concatenate(vertex).astype(np.int32),
            np.concatenate(offset).astype(np.float32),
        )

    @classmethod
    def empty(cls) -> SparseDirections:
        return cls(np.zeros(1, np.int32), np.zeros(0, np.int32), np.zeros((0, 3), np.float32))

    def to_dense(self, vertices: int) -> F32:
        """(V, 3, K)."""
        out = np.zeros((vertices, 3, self.count), np.float32)
        for k in range(self.count):
            s = slice(self.indptr[k], self.indptr[k + 1])
            out[self.vertex[s], :, k] = self.offset[s]
        return out


@dataclass(frozen=True)
class SkinnedMesh:
    """A mesh in its rest pose (identity baked in, no expression) with everything that moves it."""

    vertices: F32  # (V, 3) m, y up, z forward, the person's left is +x
    faces: I32  # (F, 3)
    joints: F32  # (J, 3) m, at rest
    parents: I32  # (J,), -1 for the root; a parent comes before its children
    joint_index: NDArray[np.uint8]  # (V, K)
    joint_weight: F32  # (V, K), each row sums to 1; unused slots weigh 0
    expression: SparseDirections  # (E) of the face model
    pose_feature: I32  # (P,) index into the 9 (J - 1) entries of R - I
    pose_corrective: SparseDirections  # (P)
    joint_expression: F32 | None = None  # (J, 3, E) m per unit, of models whose expressions carry the joints along


@nb.njit(cache=True, nogil=True, fastmath=True)
def joint_transforms(pose, joints, parents, rotations, transforms):  # type: ignore[no-untyped-def]
    """pose (J, 3) axis-angle -> rotations (J, 3, 3) local, transforms (J, 3, 4) rest-to-posed; both in place."""
    J = pose.shape[0]
    for j in range(J):
        x, y, z = np.float64(pose[j, 0]), np.float64(pose[j, 1]), np.float64(pose[j, 2])
        angle = np.sqrt(x * x + y * y + z * z)
        if angle > 1e-8:
            x, y, z = x / angle, y / angle, z / angle
            s, c = np.sin(angle), np.cos(angle)
        else:
            s, c = 0.0, 1.0
        t = 1 - c
        R = rotations[j]
        R[0, 0], R[0, 1], R[0, 2] = c + t * x * x, t * x * y - s * z, t * x * z + s * y
        R[1, 0], R[1, 1], R[1, 2] = t * x * y + s * z, c + t * y * y, t * y * z - s * x
        R[2, 0], R[2, 1], R[2, 2] = t * x * z - s * y, t * y * z + s * x, c + t * z * z
        T = transforms[j]
        p = parents[j]
        if p < 0:
            for a in range(3):
                for b in range(3):
                    T[a, b] = R[a, b]
                T[a, 3] = joints[j, a]
        else:
            Q = transforms[p]
            for a in range(3):
                for b in range(3):
                    T[a, b] = Q[a, 0] * R[0, b] + Q[a, 1] * R[1, b] + Q[a, 2] * R[2, b]
                T[a, 3] = Q[a, 3]
                for b in range(3):
                    T[a, 3] += Q[a, b] * (joints[j, b] - joints[p, b])
    for j in range(J):  # from "posed joint frame" to "moves rest points"
        T = transforms[j]
        for a in range(3):
            T[a, 3] -= T[a, 0] * joints[j, 0] + T[a, 1] * joints[j, 1] + T[a, 2] * joints[j, 2]


@nb.njit(cache=True, nogil=True, fastmath=True)
def add_directions(coefficients, indptr, vertex, offset, out):  # type: ignore[no-untyped-def]
    """out (V, 3) += sum_k coefficients[k] * direction k; zero coefficients cost nothing."""
    for k in range(coefficients.shape[0]):
        w = coefficients[k]
        if w > -1e-7 and w < 1e-7:
            continue
        for i in range(indptr[k], indptr[k + 1]):
            v = vertex[i]
            out[v, 0] += w * offset[i, 0]
            out[v, 1] += w * offset[i, 1]
            out[v, 2] += w * offset[i, 2]


@nb.njit(cache=True, nogil=True, fastmath=True)
def blend_vertices(rest, joint_index, joint_weight, transforms, translation, out):  # type: ignore[no-untyped-def]
    """Linear blend skinning of rest (V, 3) by transforms (J, 3, 4); out (V, 3)."""
    K = joint_index.shape[1]
    for v in range(rest.shape[0]):
        x, y, z = rest[v, 0], rest[v, 1], rest[v, 2]
        ox, oy, oz = translation[0], translation[1], translation[2]
        for k in range(K):
            w = joint_weight[v, k]
            if w == 0:
                break
            T = transforms[joint_index[v, k]]
            ox += w * (T[0, 0] * x + T[0, 1] * y + T[0, 2] * z + T[0, 3])
            oy += w * (T[1, 0] * x + T[1, 1] * y + T[1, 2] * z + T[1, 3])
            oz += w * (T[2, 0] * x + T[2, 1] * y + T[2, 2] * z + T[2, 3])
        out[v, 0], out[v, 1], out[v, 2] = ox, oy, oz


class Poser:
    """Poses one SkinnedMesh again and again without allocating."""

    def __init__(self, mesh: SkinnedMesh) -> None:
        J = len(mesh.joints)
        self.mesh = mesh
        self.rotations = np.zeros((J, 3, 3), np.float32)
        self.transforms = np.zeros((J, 3, 4), np.float32)  # rest to posed, translation not included
        self._rest = np.empty_like(mesh.vertices)
        self._out = np.empty_like(mesh.vertices)
        self._identity = np.eye(3, dtype=np.float32)

    def rest(self, expression: F32, *extra: tuple[F32, SparseDirections]) -> F32:
        """Rest vertices (V, 3) with expression (E,) and further (coefficients, directions) added; a reused buffer."""
        m = self.mesh
        np.copyto(self._rest, m.vertices)
        for c, d in ((expression, m.expression), *extra):
            add_directions(c, d.indptr, d.vertex, d.offset, self._rest)
        return self._rest

    def __call__(
        self,
        pose: F32,  # (J, 3) axis-angle, rad
        expression: F32,  # (E,)
        translation: F32,  # (3,) m
        *extra: tuple[F32, SparseDirections],
        out: F32 | None = None,
    ) -> F32:
        """Posed vertices (V, 3) in world metres; a reused buffer unless out is given."""
        m = self.mesh
        joints = m.joints if m.joint_expression is None else m.joints + m.joint_expression @ expression
        joint_transforms(pose, joints, m.parents, self.rotations, self.transforms)
        rest = self.rest(expression, *extra)
        if m.pose_corrective.count:
            feature = (self.rotations[1:] - self._identity).reshape(-1)[m.pose_feature]
            d = m.pose_corrective
            add_directions(feature, d.indptr, d.vertex, d.offset, rest)
        out = self._out if out is None else out
        blend_vertices(rest, m.joint_index, m.joint_weight, self.transforms, translation, out)
        return out
