"""Stage refine: offsets that put the landmarks exactly where the photo has them and all skin inside the matte.

One Laplacian system over the vertices that can be seen: sum w |P - l|^2 + 3 |L d|^2 + small |d|^2, in pixels, for x and
y; eyeballs, teeth and tongue follow as rigid bodies. It is factored once; the rounds that pull stray skin into the
matte add rows, and conjugate gradients with that factor as preconditioner solve them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as sl
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from avatar.build import anatomy, ear_fit
from avatar.build.fit import Fit
from avatar.build.kinematics import F64
from avatar.build.landmarks import LANDMARK_WEIGHT
from avatar.build.parts import Parts
from models.body import BodyModel
from models.skinning import Poser
from models.surface import vertex_normals

SMOOTH = 3.0  # weight of |L d|^2 against a landmark's 1
FIRM_HEAD, FIRM_BODY = 0.003, 0.02  # weight of |d|^2
TIE = 0.3  # of loose parts to the skin near them
MATTE = 0.9  # alpha from which a pixel is inside: what is softer is the fringe's, which alone can be half transparent
PULL, PULL_ROUNDS = 3.0, 3
FARTHEST_PULL = 0.5  # of the face's width; what lies farther out is a wrong fit, not a wrong surface
FARTHEST_HAIR = 0.02  # and of a temple before hair; what lies farther in has hair over it
GRAZING = 0.45  # |cosine| to the view up to which a temple's skin is taken to be its contour


@dataclass(frozen=True)
class Refined:
    offsets: F64  # (V, 3) m, to be added to the shaped rest vertices
    vertices: F64  # (V, 3) m posed as in the photo, offsets included
    error: F64  # (468,) px that the landmarks are still off
    outside: int  # skin vertices still outside the matte


def refine(model: BodyModel, fit: Fit, landmarks: NDArray, alpha: NDArray, parts: Parts | None = None) -> Refined:
    """landmarks (>= 468, 2) px; alpha (H, W); parts: tells hair, which the temples' contour must not take in, and the
    skin of ears."""
    mesh = model.skinned(fit.betas)
    poser = Poser(mesh)
    pose32, expr32, move32 = (np.asarray(a, np.float32) for a in (fit.pose, fit.expression, fit.translation))
    posed = poser(pose32, expr32, move32).astype(np.float64)
    pixels = fit.camera.project(posed)
    a = anatomy.of(model)
    solver = _Offsets(model, posed, _near_the_picture(model, pixels, fit))
    B = a.landmark_matrix()
    solver.add_landmarks(B, landmarks[:468] - (B @ pixels)[:, :2])
    shift = solver.solve()
    outside = 0
    pulled: dict[int, NDArray] = {}
    inside = alpha > MATTE
    _, nearest = distance_transform_edt(~inside, return_indices=True)
    candidates = a.skin & ~a.lower_arm & solver.member
    bare = inside if parts is None else inside & ~parts.hair
    _, nearest_bare = distance_transform_edt(~bare, return_indices=True)
    contour = a.temples & solver.member & _grazing(model, posed)
    if parts is not None:
        ears, by = ear_fit.shifts(model, pixels[:, :2] + shift, inside, inside & parts.bare, fit.face_width)
        if len(ears):
            pulled.update(zip(ears.tolist(), shift[ears] + by))
            shift = solver.solve(ears, shift[ears] + by)
    for _ in range(PULL_ROUNDS):
        at = pixels[:, :2] + shift
        astray, target = stray(at, candidates, inside, nearest, FARTHEST_PULL * fit.face_width)
        outside = len(astray)
        over, edge = stray(at, contour, bare, nearest_bare, FARTHEST_HAIR * fit.face_width)
        pulled.update(zip(over.tolist(), edge - pixels[over, :2]))
        pulled.update(zip(astray.tolist(), target - pixels[astray, :2]))
        if not pulled:
            break
        rows = np.array(list(pulled))
        shift = solver.solve(rows, np.array([pulled[i] for i in rows]))
    world = _to_world(model, shift, pixels[:, 2], fit)
    world += _lids_over_eyeballs(model, posed + world)
    rotation = np.einsum("vk,vkab->vab", mesh.joint_weight, poser.transforms[mesh.joint_index][:, :, :, :3])
    offsets = np.linalg.solve(rotation.astype(np.float64), world[:, :, None])[:, :, 0]
    off = np.linalg.norm((B @ fit.camera.project(posed + world))[:, :2] - landmarks[:468], axis=1)
    return Refined(offsets, posed + world, off, outside)


def _grazing(model: BodyModel, posed: F64) -> NDArray[np.bool_]:
    """(V,) surface that is seen nearly edge-on."""
    view = posed / np.linalg.norm(posed, axis=1, keepdims=True)
    return np.asarray(np.abs((vertex_normals(posed, model.faces) * view).sum(1)) < GRAZING)


def _near_the_picture(model: BodyModel, pixels: F64, fit: Fit) -> NDArray[np.bool_]:
    """(V,) vertices that the picture shows or nearly shows; the rest keeps its fitted place."""
    margin = 0.5 * fit.face_width
    near = ((pixels[:, :2] > -margin) & (pixels[:, :2] < [fit.camera.width + margin, fit.camera.height + margin])).all(
        1
    )
    a = anatomy.of(model)
    return (near | (a.head > 0.3)) & ~a.lower_arm


def stray(at, candidates, inside, nearest, farthest):  # type: ignore[no-untyped-def]
    """Vertices outside the matte, hidden ones too (a turn shows them) -> indices, target pixels one pixel inside."""
    H, W = inside.shape
    q = np.floor(at).astype(int)
    seen = candidates & ((q >= 0) & (q < [W, H])).all(1)
    out = np.flatnonzero(seen)
    out = out[~inside[q[out, 1], q[out, 0]]]
    y, x = nearest[:, q[out, 1], q[out, 0]]
    step = np.stack([x, y], 1) + 0.5 - at[out]
    length = np.linalg.norm(step, axis=1, keepdims=True)
    ok = length[:, 0] < farthest
    target = at[out] + step + step / np.maximum(length, 1e-6)
    return out[ok], target[ok]


def _to_world(model: BodyModel, shift: F64, depth: F64, fit: Fit) -> F64:
    """Pixel shifts (V, 2) at constant depth -> world m (V, 3); rigid parts move as one."""
    world = np.zeros((len(shift), 3))
    world[:, :2] = shift * (depth / fit.camera.focal)[:, None] * [1, -1]
    a = anatomy.of(model)
    for part in anatomy.RIGID:
        inside = a.of_part(part)
        if inside.any():
            world[inside] = world[inside].mean(0)
    return world


def _lids_over_eyeballs(model: BodyModel, posed: F64) -> F64:
    """(V, 3) m that bring lid skin which sank into an eyeball out of it along the camera's rays: pixels stay."""
    a = anatomy.of(model)
    out = np.zeros_like(posed)
    for side, part in (("Left", anatomy.LEFT_EYE), ("Right", anatomy.RIGHT_EYE)):
        centre, radius = anatomy.sphere(posed[a.of_part(part)])
        ids, clearance = a.over_eyeball(side)
        depth = np.linalg.norm(posed[ids], axis=1)
        ray = posed[ids] / depth[:, None]
        along = ray @ centre
        half = (radius + clearance) ** 2 - (centre @ centre - along**2)
        front = along - np.sqrt(np.maximum(half, 0))
        out[ids] = np.where((half > 0) & (front < depth), front - depth, 0)[:, None] * ray
    return out


class _Offsets:
    """The Laplacian system over the member vertices."""

    def __init__(self, model: BodyModel, posed: F64, member: NDArray[np.bool_]) -> None:
        a = anatomy.of(model)
        self.size = len(posed)
        faces = model.faces[member[model.faces].all(1)]
        self.ids = np.unique(faces)
        self.member = np.zeros(self.size, bool)
        self.member[self.ids] = True
        self.local = np.full(self.size, -1)
        self.local[self.ids] = np.arange(len(self.ids))
        n = len(self.ids)
        L = umbrella(self.local[faces], n)
        skin = a.skin[self.ids]
        T = _ties(posed[self.ids], skin)
        firm = np.where(a.head[self.ids] > 0.3, FIRM_HEAD, FIRM_BODY)
        self.matrix = SMOOTH * (L.T @ L) + TIE * (T.T @ T) + sp.diags(firm)
        self.right = np.zeros((n, 2))

    def add_landmarks(self, on_mesh: sp.csr_matrix, target: F64) -> None:
        """on_mesh (468, V); target (468, 2) px still to go."""
        corners = [on_mesh.indices[on_mesh.indptr[i] : on_mesh.indptr[i + 1]] for i in range(468)]
        w = np.where([self.member[c].all() for c in corners], LANDMARK_WEIGHT, 0.0)
        B = on_mesh[:, self.ids]
        self.matrix = (self.matrix + B.T @ sp.diags(w) @ B).tocsc()
        self.right = B.T @ (w[:, None] * target)
        self.factor = sl.splu(
            self.matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
        )
        self.shift = self.factor.solve(self.right)

    def solve(self, rows: NDArray | None = None, target: F64 | None = None) -> F64:
        """(V, 2) px; rows (vertices) are further pulled towards target (n, 2) px."""
        if rows is not None and target is not None:
            extra = np.zeros(len(self.ids))
            extra[self.local[rows]] = PULL
            right = self.right.copy()
            right[self.local[rows]] += PULL * target
            full = self.matrix + sp.diags(extra)
            self.shift = preconditioned_cg(lambda x: full @ x, right, self.shift, self.factor.solve, 60, 1e-4)
        out = np.zeros((self.size, 2))
        out[self.ids] = self.shift
        return out


def umbrella(faces: NDArray, n: int) -> sp.csr_matrix:
    """(n, n) degree-normalised graph Laplacian of a triangle mesh."""
    A = adjacency(faces, n)
    degree = np.asarray(A.sum(1)).ravel()
    return (sp.diags(1 / np.maximum(degree, 1)) @ A - sp.eye(n)).tocsr()


def adjacency(faces: NDArray, n: int) -> sp.csr_matrix:
    """(n, n) 1 where two vertices share an edge."""
    e = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    A = sp.coo_matrix((np.ones(len(e)), (e[:, 0], e[:, 1])), shape=(n, n)).tocsr()
    return ((A + A.T) > 0).astype(np.float64)


def _ties(points: F64, skin: NDArray[np.bool_]) -> sp.csr_matrix:
    """Rows that ask each loose vertex to move as the mean of its four nearest skin vertices."""
    loose, near = np.flatnonzero(~skin), np.flatnonzero(skin)
    n = len(points)
    if not len(loose):
        return sp.csr_matrix((0, n))
    _, k = cKDTree(points[near]).query(points[loose], k=4)
    rows = np.arange(len(loose))
    mean = sp.csr_matrix((np.full(k.size, 0.25), (np.repeat(rows, 4), near[k.ravel()])), shape=(len(loose), n))
    return mean - sp.csr_matrix((np.ones(len(loose)), (rows, loose)), shape=(len(loose), n))


def preconditioned_cg(apply, right, start, precondition, iterations, tolerance):  # type: ignore[no-untyped-def]
    """Conjugate gradients on several right-hand sides (n, k) at once."""
    x = start.copy()
    r = right - apply(x)
    z = precondition(r)
    p = z.copy()
    rz = (r * z).sum(0)
    goal = tolerance**2 * np.maximum((right * right).sum(0), 1e-30)
    for _ in range(iterations):
        Ap = apply(p)
        step = rz / np.maximum((p * Ap).sum(0), 1e-30)
        x += step * p
        r -= step * Ap
        if ((r * r).sum(0) < goal).all():
            break
        z = precondition(r)
        new = (r * z).sum(0)
        p = z + new / np.maximum(rz, 1e-30) * p
        rz = new
    return x
