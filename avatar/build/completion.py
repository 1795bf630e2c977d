"""Colours of what the photo does not show: over the mesh, class by class.

Every vertex gets the probability of hair, skin and cloth: the photo's where it is seen, spread harmonically from there
where it is not. Each class has a colour field of its own, spread from the vertices that are surely of that class; so no
collar runs into a neck, no skin over the back of the head, and the light falls off smoothly across what is hidden.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as sl
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from avatar.build import anatomy, scalp
from avatar.build.kinematics import F64
from avatar.build.observe import Observation
from avatar.build.parts import CLOTH, HAIR, SKIN, Parts
from avatar.build.refine import adjacency
from avatar.render import cpu
from models.body import BodyModel
from models.motion import JOINT

SEEN_BEHIND = 0.003  # m behind the depth buffer that still counts as seen
FACING = 0.3  # |cosine| to the view from which a vertex's colour can be read
INSIDE = 2.5  # px of a face 140 px wide from the matte's edge
EXPECTED = 0.004  # pull of hidden vertices to the class that is usual there, against 1 of a neighbour
BARE = 0.3  # weight of the head from which hidden skin is taken not to be clothed
MEAN = 0.01  # pull of hidden vertices to their class' mean colour
SURE = 0.6  # probability from which a vertex counts for its class
CRISP = 6.0  # power that sharpens probabilities before colours are mixed
LINK = 0.2  # of a scalp vertex to the skin under it, against 1 of a neighbour
BESIDE = (0.003, 0.010)  # m from scalp that the photo shows bare: hidden spots look like it up to, as usual from
TELLING = 4  # spots of it about a hidden one


@dataclass(frozen=True)
class Classes:
    probability: F64  # (n, 3) hair, skin, cloth of body and scalp vertices
    seen: NDArray[np.bool_]  # (n,) vertices whose colour the photo shows clearly
    pixels: F64  # (n, 2) px
    graph: sp.csr_matrix  # (n, n) neighbours


def vertex_classes(
    model: BodyModel, o: Observation, surface: F64, faces: NDArray, hair: scalp.Scalp, parts: Parts
) -> Classes:
    """surface (n, 3) m: the body's vertices and the scalp's as posed; faces (F, 3) of both."""
    pixels = o.camera.project(surface)[:, :2]
    seen = seen_vertices(o, surface, faces, pixels)
    n = len(model.v_template)
    graph = adjacency(faces, len(surface)) + _links(hair.origin, n)
    a = anatomy.of(model)
    known = seen & np.concatenate([a.skin & ~a.inner_mouth, np.ones(len(surface) - n, bool)])
    told = parts.at(pixels)
    hangs = n + np.unique(hair.faces[hair.behind])  # hair whose pixels show what is before it
    known[hangs], told[hangs] = True, np.eye(3)[HAIR]
    p = spread(graph, known, told, EXPECTED, _expected(model, hair, told[known]))
    p = p.clip(0, 1) + 1e-9
    bare = np.flatnonzero(~known[:n] & (a.head > BARE))  # a collar hides skin, it does not go on over the jaw
    p[bare, SKIN] += p[bare, CLOTH]
    p[bare, CLOTH] = 0
    return Classes(p / p.sum(1, keepdims=True), seen, pixels, graph)


def _links(origin: sp.csr_matrix, n: int) -> sp.csr_matrix:
    """(n + s, n + s) each scalp vertex beside the body's vertices that it comes from."""
    s = origin.shape[0]
    up = sp.bmat([[sp.csr_matrix((n, n)), None], [origin, sp.csr_matrix((s, s))]]) * LINK
    return (up + up.T).tocsr()


def _expected(model: BodyModel, hair: scalp.Scalp, seen: F64) -> F64:
    """(n, 3) what is usual where: hair on the scalp, skin on face, ears and neck, cloth below, if there is any."""
    a = anatomy.of(model)
    n = len(model.v_template)
    low = model.joint_regressor[JOINT["neck"]] @ model.v_template
    out = np.zeros((n + len(hair.vertices), 3))
    out[:n, SKIN] = 1
    if (seen[:, CLOTH] > SURE).sum() > 20:
        trunk = (a.head + a.neck < 0.5) & (model.v_template[:, 1] < low[1])
        out[:n][trunk] = np.eye(3)[CLOTH]
    out[np.unique(model.faces[scalp.region(model)])] = np.eye(3)[HAIR]
    out[n:] = np.eye(3)[HAIR]
    return out


def seen_vertices(o: Observation, points: F64, faces: NDArray, pixels: F64) -> NDArray[np.bool_]:
    """(n,) well inside the matte, facing the camera, with nothing before them. points (n, 3) world m."""
    H, W = o.alpha.shape
    inside = ((pixels > 1) & (pixels < [W - 2, H - 2])).all(1)
    q = np.floor(pixels).astype(int).clip(0, [W - 1, H - 1])
    depth, _ = cpu.zbuffer(o.camera.project(points), faces.astype(np.int32), W, H)
    person = np.pad(o.alpha > 0.5, 1, mode="edge").astype(np.uint8)
    edge = cv2.distanceTransform(person, cv2.DIST_L2, 5)[1:-1, 1:-1]
    safe = (edge > INSIDE * o.face_width / 140) & (o.alpha > 0.8)
    tri = points[faces]
    normal = np.zeros_like(points)
    for i in range(3):
        np.add.at(normal, faces[:, i], np.cross(tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0]))
    size = np.linalg.norm(normal, axis=1) * np.linalg.norm(points, axis=1) + 1e-12
    facing = np.abs((normal * points).sum(1)) / size > FACING
    before = depth[q[:, 1], q[:, 0]] > -points[:, 2] - SEEN_BEHIND
    return np.asarray(inside & before & safe[q[:, 1], q[:, 0]] & facing)


def spread(graph: sp.csr_matrix, known: NDArray[np.bool_], value: F64, pull: float, towards: F64) -> F64:
    """(n, k) value where known, harmonic elsewhere, drawn to `towards` (n, k) or (k,) with weight `pull`."""
    L = sp.diags(np.asarray(graph.sum(1)).ravel()) - graph
    hidden = np.flatnonzero(~known)
    out = np.array(np.where(known[:, None], value, 0.0))
    right = np.broadcast_to(towards, value.shape)[hidden] * pull - L[hidden][:, known] @ value[known]
    A = (L[hidden][:, hidden] + pull * sp.eye(len(hidden))).tocsc()
    out[hidden] = sl.splu(A, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}).solve(
        np.ascontiguousarray(right)
    )
    return out


@dataclass(frozen=True)
class Fields:
    """What hair, skin and cloth would look like at each vertex, and how likely each is there."""

    probability: F64  # (n, 3)
    colour: F64  # (n, 3, 3) class, RGB

    def repainted(self, skin: F64) -> Fields:
        """With the first vertices' skin (V, 3) in another colour; where that differs, it is all there is."""
        colour = self.colour.copy()
        new = np.flatnonzero((skin != colour[: len(skin), SKIN]).any(1))
        colour[new] = skin[new, None]
        return replace(self, colour=colour)

    def at(self, corners: NDArray, weights: F64) -> F64:
        """(N, 3) colours between vertices corners (N, 3) with weights (N, 3)."""
        return np.asarray(np.einsum("nk,nkcr,nc->nr", weights, self.colour[corners], self.share(corners, weights)))

    def share(self, corners: NDArray, weights: F64) -> F64:
        """(N, 3) of hair, skin and cloth there; two classes meet in a line."""
        share = np.einsum("nk,nkc->nc", weights, self.probability[corners]).clip(1e-6) ** CRISP
        return np.asarray(share / share.sum(1, keepdims=True))


def fields(classes: Classes, colours: F64, trusted: NDArray[np.bool_], tone: F64) -> Fields:
    """From colours (n, 3) of the trusted (n,) vertices; tone (3,) for a class that is not seen."""
    out = np.zeros((len(colours), 3, 3))
    for k in (HAIR, SKIN, CLOTH):
        of = trusted & (classes.probability[:, k] > SURE)
        if of.sum() >= 10:
            out[:, k] = spread(classes.graph, of, colours, MEAN, colours[of].mean(0))
        else:
            out[:, k] = tone
    return Fields(classes.probability, out)


def beside_bare_scalp(colour: F64, points: F64, hidden: NDArray[np.bool_], scalp: NDArray[np.bool_], skin: F64) -> F64:
    """(N, 3) colours of spots about the hairline in which hidden (N,) ones that lie close to what the photo shows of
    the scalp (N,) look like it as far as that is skin (N,), its probability: a mesh's vertices lie too far apart to
    tell where on a temple the hair begins. points (N, 3) m."""
    at, tells = np.flatnonzero(hidden), np.flatnonzero(scalp & ~hidden)
    if len(tells) < TELLING or not len(at):
        return colour
    away, nearest = cKDTree(points[tells]).query(points[at], TELLING)
    weight = np.clip((BESIDE[1] - away) / (BESIDE[1] - BESIDE[0]), 0, 1) + 1e-9
    mean = lambda a: np.einsum("nk,nkc->nc", weight, a[tells[nearest]]) / weight.sum(1, keepdims=True)  # noqa: E731
    out = colour.copy()
    out[at] += weight.max(1, keepdims=True) * mean(skin[:, None]) * (mean(colour) - out[at])
    return out
