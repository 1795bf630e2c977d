"""Stage seed: where the Gaussians go: a lattice over what the photo shows, a scatter on the mesh over what it hides.

Rule: every triangle in the depth pre-pass carries opaque Gaussians; whatever hides must itself be drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from avatar.build import anatomy
from avatar.build.kinematics import F64
from avatar.build.mesh import UnionMesh
from avatar.build.observe import Observation, unit
from avatar.build.spacing import F32, LEVELS
from avatar.build.unroll import Unrolled
from avatar.render import cpu
from avatar.render.contract import CUTOFF, LAYER, TOLERANCE, Camera
from models.body import BodyModel
from models.motion import HEAD

HIDDEN_INSIDE, HIDDEN_SHELL, HIDDEN_HAIR, HIDDEN_HEAD, HIDDEN_TRUNK = 1.5, 2.0, 2.0, 3.0, 4.6
HIDDEN_TEETH = 1.0  # crowns and the lines between them
AROUND_STEP = 0.0020  # m at most between spots of the mouth's inside, and beside what unrolls
HAIR_STEP = 0.0028  # m at least between those of hidden hair
FOLDED_STEP = 0.0012  # m at most between those on teeth, and on lips and lids that unroll, as large as they get
SEEN_SIGMA, HIDDEN_SIGMA, HAIR_SIGMA = 0.45, 0.75, 0.55  # of the spacing
STRETCH = 3.0  # how many times longer than in the picture a spot may be along a steep surface
STRETCH_FRINGE = 2.0  # and in hair's soft edge, which goes back steeply: a turn must not draw it out
STRETCH_BRIDGE = 15.0  # the same where the surface only bridges two depths and hides nothing: nothing is behind a gap
LONGEST = 6.5  # px of a face 140 px wide, half of such a bridge's spot where a head's turn shows it from the side
SEEN_BEHIND = 0.0025  # m behind the depth buffer that still counts as seen
EYE_BEHIND = 0.0002  # the same of an eyeball, which a lid covers more closely than that
REACH = 1.5  # half axes within which a hidden spot may not come to the matte's outline: it would draw over it
MARGIN = 64  # px, more than any spot reaches
SHRUNK = 0.5  # how much smaller it gets at most
GRAZING = 0.35  # |cos| under which the surface gets an underlay
LEAST_SPACING = 0.7  # px
FINEST = LEAST_SPACING / 1.2  # spacing scale below which only a photo's noise would be redrawn
CERTAIN = 0.95  # alpha from which the photo's colours are the person's alone
LETS_THROUGH = 0.97  # of the matte, under which a moving arm's own matte shows what is behind the arm
SOFT = 0.5  # alpha from which a hidden Gaussian is the person's
NEIGHBOURS = 4  # points of the lattices about a pixel, of which the one that covers it best is meant
GAP = 0.7  # spacings of the nearest Gaussian from which a pixel lies in a gap between two lattices
HALF = 0.5  # matte from which what turns and hides what is behind it is opaque: a turn puts it in the head's middle
FRINGE_BELOW = 0.15  # opacity under which a Gaussian belongs to the matte's fringe, whatever it lies on


@dataclass(frozen=True)
class Seeds:
    face: NDArray[np.int64]  # (N,)
    bary: F64  # (N, 2)
    shape: F64  # (N, 2, 2) in the triangle's edge basis
    opacity: F64  # (N,)
    layer: NDArray[np.uint8]  # (N,)
    pixel: F64  # (N, 2) where it lies in the photo
    seen: NDArray[np.bool_]  # (N,) lattice: the photo shows it
    step: F64  # (N,) px to its neighbours in the lattice; inf where hidden
    drawn: NDArray[np.bool_]  # (N,) takes part in the photo's picture, away from the matte's edge
    folded: NDArray[np.bool_]  # (N,) hidden in the photo's folds, seen when they unroll

    @property
    def count(self) -> int:
        return len(self.face)


def seed(
    model: BodyModel, o: Observation, mesh: UnionMesh, unrolled: Unrolled, wanted: F32, spacing: float, random: int
) -> Seeds:
    """wanted (H, W): the lattice's spacings (spacing.py); spacing scales them; random: the scatter's seed."""
    points = o.camera.camera_from_world(mesh.posed)
    faces = mesh.skin.faces
    depth, ids = cpu.zbuffer(o.camera.project(mesh.posed), faces, o.camera.width, o.camera.height)
    solid = mesh.occluder | (mesh.part < anatomy.SHELL) | (mesh.part == anatomy.SCALP)
    pixel, step = _lattice(o, ids, wanted, spacing)
    q = pixel.astype(int)
    face = ids[q[:, 1], q[:, 0]].astype(np.int64)
    pixel, step, face = _with_trunk_below(o, mesh, pixel, step, face)
    q = pixel.astype(int)
    bary = _bary_of_rays(points, faces[face], pixel, o.camera)
    opacity = _opacity(o, mesh, face, q)
    opacity[mesh.hides[face] & (opacity > HALF)] = 1
    turns = _turns(mesh)[face]
    bridge = np.where(turns, np.minimum(LONGEST * unit(o) / (SEEN_SIGMA * step), STRETCH_BRIDGE), STRETCH_BRIDGE)
    bridge = np.where(turns & (opacity < CERTAIN), STRETCH_FRINGE, bridge)
    stretch = np.where(solid[face], STRETCH, bridge)
    shape = _round_spots(points, faces[face], bary, SEEN_SIGMA * step, stretch, o.camera)
    layer = layers(model, mesh)
    seen_layer = np.where(~solid[face] | (opacity < FRINGE_BELOW), LAYER["fringe"], layer[face])
    folded = unrolled.folded | np.isin(layer, [LAYER["lips"], LAYER["cavity"]])
    folded[face] = unrolled.folded[face]  # of the mouth also what no pixel's middle shows, small as it is
    h = _hidden(model, o, mesh, folded, unrolled.corners, points, depth, spacing, random)
    tolerance = TOLERANCE[layer[h.face]]
    hq = np.floor(h.pixel).astype(int).clip(0, [o.camera.width - 1, o.camera.height - 1])
    inside = ((h.pixel > 0) & (h.pixel < [o.camera.width, o.camera.height])).all(1)
    safe = cv2.erode(o.alpha, np.ones((3, 3)), borderType=cv2.BORDER_REPLICATE) > CERTAIN
    drawn = inside & safe[hq[:, 1], hq[:, 0]] & (depth[hq[:, 1], hq[:, 0]] > h.depth - 1.5 * tolerance)
    n, m = len(face), len(h.face)
    return Seeds(
        np.concatenate([face, h.face]), np.concatenate([bary, h.bary]), np.concatenate([shape, h.shape]),
        np.concatenate([opacity, np.ones(m)]), np.concatenate([seen_layer, layer[h.face]]).astype(np.uint8),
        np.concatenate([pixel, h.pixel]), np.arange(n + m) < n,
        np.concatenate([step, np.full(m, np.inf)]), np.concatenate([np.ones(n, bool), drawn]),
        np.concatenate([np.zeros(n, bool), folded[h.face]]),
    )  # fmt: skip


def _turns(mesh: UnionMesh) -> NDArray[np.bool_]:
    """(F,) triangles of the sheet that turn with the head."""
    head = np.where(mesh.skin.joint_index == HEAD, mesh.skin.joint_weight, 0).sum(1)
    return np.asarray((mesh.part == anatomy.SHELL) & (head[mesh.skin.faces].mean(1) > 0.3))


def _opacity(o: Observation, mesh: UnionMesh, face: NDArray, q: NDArray) -> F64:
    """(N,) the matte at pixels q, or the own one of a moving arm."""
    alpha = o.alpha if mesh.trunk_alpha is None else np.where(o.alpha > 0.03, mesh.trunk_alpha, o.alpha)
    out = alpha[q[:, 1], q[:, 0]].astype(np.float64)
    for k, sheet in enumerate(mesh.sheets):
        on = mesh.sheet_of[face] == k
        out[on] = sheet.alpha[q[on, 1], q[on, 0]]
    return out


def _with_trunk_below(o, mesh, pixel, step, face):  # type: ignore[no-untyped-def]
    """The lattice with further points on the trunk wherever a moving arm's own matte lets it through."""
    if not mesh.sheets:
        return pixel, step, face
    trunk = np.flatnonzero(mesh.part != anatomy.ARM)
    points = o.camera.project(mesh.posed)
    _, ids = cpu.zbuffer(points, mesh.skin.faces[trunk], o.camera.width, o.camera.height)
    q = pixel.astype(int)
    below, alpha = ids[q[:, 1], q[:, 0]], _opacity(o, mesh, face, q)
    through = (mesh.part[face] == anatomy.ARM) & (alpha < LETS_THROUGH * o.alpha[q[:, 1], q[:, 0]])
    through &= (below >= 0) & (mesh.trunk_alpha[q[:, 1], q[:, 0]] > 0.03)
    return (
        np.concatenate([pixel, pixel[through]]), np.concatenate([step, step[through]]),
        np.concatenate([face, trunk[below[through]]]),
    )  # fmt: skip


def layers(model: BodyModel, mesh: UnionMesh) -> NDArray[np.uint8]:
    """(F,) the layer of solid Gaussians on each triangle."""
    a = anatomy.of(model)
    part, faces = mesh.part, mesh.skin.faces
    out = np.full(len(part), LAYER["skin"], np.uint8)
    body = part == anatomy.SKIN
    corners = faces[body]
    inner, lip = a.inner_mouth[corners].any(1), a.lips[corners].all(1)
    out[body] = np.where(inner, LAYER["cavity"], np.where(lip, LAYER["lips"], LAYER["skin"]))
    names = {
        anatomy.LEFT_EYE: "eyes", anatomy.RIGHT_EYE: "eyes", anatomy.TONGUE: "tongue", anatomy.UPPER_TEETH: "teeth",
        anatomy.LOWER_TEETH: "teeth", anatomy.SHELL: "shell", anatomy.CARD: "card", anatomy.ARM: "hands",
        anatomy.SCALP: "shell",
    }  # fmt: skip
    for p, name in names.items():
        out[part == p] = LAYER[name]
    return out


def _lattice(o: Observation, ids: NDArray, wanted: F32, spacing: float) -> tuple[F64, F64]:
    """Hexagonal lattices, one a density, each cut to its region -> pixels (N, 2), spacing (N,)."""
    H, W = o.alpha.shape
    person = (o.alpha > 0.03) & (ids >= 0)
    pixels, steps = [], []
    for region in LEVELS:
        step = max(region * spacing, LEAST_SPACING)
        rows = np.arange(step / 2, H, step * 0.866)
        columns = np.arange(step / 4, W, step)
        x = columns[None] + (np.arange(len(rows)) % 2)[:, None] * step / 2
        p = np.stack([x, np.broadcast_to(rows[:, None], x.shape)], -1).reshape(-1, 2)
        p = p[p[:, 0] < W]
        q = p.astype(int)
        m = person[q[:, 1], q[:, 0]] & (wanted[q[:, 1], q[:, 0]] == np.float32(region))
        pixels.append(p[m])
        steps.append(np.full(int(m.sum()), step))
    return _without_gaps(
        np.concatenate(pixels), np.concatenate(steps), person, np.maximum(wanted * spacing, LEAST_SPACING)
    )


def _without_gaps(pixels: F64, steps: F64, person: NDArray[np.bool_], wanted: F32) -> tuple[F64, F64]:
    """With further Gaussians where the lattices leave a pixel of the person (H, W) bare: none has a point in a strip
    that is narrower than its spacing."""
    taken = np.zeros(person.shape, np.uint8)
    taken[pixels[:, 1].astype(int), pixels[:, 0].astype(int)] = 1
    y, x = np.nonzero(person & (cv2.distanceTransform(1 - taken, cv2.DIST_L2, 5) > 1))
    centre = np.stack([x, y], 1) + 0.5
    distance, nearest = cKDTree(pixels).query(centre, NEIGHBOURS)
    off = (distance / steps[nearest]).min(1)
    filled: NDArray = np.zeros(person.shape, np.uint8)
    chosen = []
    for i in np.argsort(-off, kind="stable"):
        if off[i] < GAP:
            break
        if not filled[y[i], x[i]]:
            chosen.append(i)
            cv2.circle(filled, (int(x[i]), int(y[i])), int(GAP * wanted[y[i], x[i]]), 1, -1)
    return np.concatenate([pixels, centre[chosen]]), np.concatenate([steps, wanted[y[chosen], x[chosen]]])


def _bary_of_rays(points: F64, corners: NDArray, pixel: F64, camera) -> F64:  # type: ignore[no-untyped-def]
    """Where the rays of pixels (N, 2) meet the planes of their triangles: weights of the second and third corner."""
    A, B, C = (points[corners[:, i]] for i in range(3))
    ray = np.stack(
        [(pixel[:, 0] - camera.cx) / camera.focal, (pixel[:, 1] - camera.cy) / camera.focal, np.ones(len(pixel))], 1
    )
    M = np.stack([B - A, C - A, -ray], 2) + 1e-12 * np.eye(3)
    return np.linalg.solve(M, -A[:, :, None])[:, :2, 0].clip(-0.3, 1.3)


def _round_spots(points, corners, bary, sigma, stretch, camera) -> F64:  # type: ignore[no-untyped-def]
    """(N, 2, 2) shapes in edge basis that are round with sigma px in the picture, but bounded along the surface."""
    A, B, C = (points[corners[:, i]] for i in range(3))
    E = np.stack([B - A, C - A], 2)
    X = A + (E @ bary[:, :, None])[:, :, 0]
    J = np.zeros((len(X), 2, 3))
    J[:, 0, 0] = J[:, 1, 1] = camera.focal / X[:, 2]
    J[:, :, 2] = -camera.focal * X[:, :2] / X[:, 2:] ** 2
    JE = J @ E
    flat = np.abs(np.linalg.det(JE)) < 1e-6
    JE[flat] += np.eye(2) * 1e-2
    M3 = E @ (np.linalg.inv(JE) * sigma[:, None, None])
    U, s, Vt = np.linalg.svd(M3, full_matrices=False)
    s = np.minimum(s, (stretch * sigma * X[:, 2] / camera.focal)[:, None])
    return np.linalg.pinv(E) @ ((U * s[:, None]) @ Vt)


@dataclass(frozen=True)
class _Scatter:
    face: NDArray[np.int64]
    bary: F64
    shape: F64
    pixel: F64
    depth: F64


def _hidden(model, o, mesh, folded, wide, points, depth, spacing, random) -> _Scatter:  # type: ignore[no-untyped-def]
    """Scatter on all that can hide where the photo does not see the surface, sees it edge-on or folded together."""
    faces = mesh.skin.faces
    sheet = np.isin(mesh.part, [anatomy.SHELL, anatomy.ARM])
    candidates = np.flatnonzero(~sheet | mesh.occluder | _beyond_the_picture(points, o.camera)[faces].any(1))
    tri = points[faces[candidates]]
    normal = np.cross(tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0])
    step = _hidden_spacing(model, mesh, candidates) * spacing * points[: mesh.body_vertices, 2].mean() / o.camera.focal
    unrolling, folded = folded, folded[candidates]
    wide = np.where(folded[:, None, None], wide[candidates], tri)
    teeth = np.isin(mesh.part[candidates], [anatomy.UPPER_TEETH, anatomy.LOWER_TEETH])
    cavity = layers(model, mesh)[candidates] == LAYER["cavity"]
    around = cavity | np.isin(faces[candidates], faces[unrolling]).any(1)
    limit = np.where((folded & ~cavity) | teeth, FOLDED_STEP, np.where(around, AROUND_STEP, np.inf))
    step = np.minimum(np.maximum(step, _coarsest_needed(mesh.part[candidates], cavity)), limit)
    room, scale = _room(o), o.camera.focal / points[: mesh.body_vertices, 2].mean()
    area = np.linalg.norm(np.cross(wide[:, 1] - wide[:, 0], wide[:, 2] - wide[:, 0]), axis=1) / 2
    count = np.floor(area / (step**2 * 0.866) + np.random.default_rng(random).random(len(area))).astype(int)
    at = np.repeat(np.arange(len(candidates)), count)
    j = np.arange(len(at))[:, None]
    r = (0.5 + j * [0.7548776662466927, 0.5698402909980532]) % 1  # R2 sequence (Roberts 2018)
    r = np.where(r.sum(1, keepdims=True) > 1, 1 - r, r)
    X = tri[at, 0] + r[:, :1] * (tri[at, 1] - tri[at, 0]) + r[:, 1:] * (tri[at, 2] - tri[at, 0])
    camera = o.camera
    pixel = np.stack([camera.focal * X[:, 0] / X[:, 2] + camera.cx, camera.focal * X[:, 1] / X[:, 2] + camera.cy], 1)
    inside = ((pixel > 0) & (pixel < [camera.width, camera.height])).all(1)
    q = np.floor(pixel).astype(int).clip(0, [camera.width - 1, camera.height - 1])
    eye = np.isin(mesh.part[candidates[at]], [anatomy.LEFT_EYE, anatomy.RIGHT_EYE])
    behind = np.where(eye, EYE_BEHIND, SEEN_BEHIND)
    seen = inside & (depth[q[:, 1], q[:, 0]] > X[:, 2] - behind)  # by depth: sub-pixel triangles never win the ids
    n = normal[at] / (np.linalg.norm(normal[at], axis=1, keepdims=True) + 1e-15)
    cosine = np.abs((n * X).sum(1)) / np.linalg.norm(X, axis=1)
    shell = sheet[candidates[at]]
    own = mesh.sheet_of[candidates[at]]
    behind = np.array([s.behind for s in mesh.sheets] + [False])[own]
    for k, s in enumerate(mesh.sheets):
        behind[own == k] &= s.alpha[q[own == k, 1], q[own == k, 0]] > SOFT
    keep = ~seen | (cosine < GRAZING) & (mesh.part[candidates[at]] != anatomy.SHELL)
    sigma = np.where(mesh.part[candidates] == anatomy.SCALP, HAIR_SIGMA, HIDDEN_SIGMA)[at]
    beyond = np.maximum(-pixel, pixel - [camera.width, camera.height]).max(1)
    clear = beyond > sigma * step[at] * CUTOFF**0.5 * camera.focal / X[:, 2]  # too far beside the picture to be in it
    keep &= clear | (o.alpha[q[:, 1], q[:, 0]] >= np.where(shell & inside, CERTAIN, SOFT))
    keep |= behind | folded[at]
    at, r, X, pixel, sigma = at[keep], r[keep], X[keep], pixel[keep], sigma[keep]
    E = np.stack([wide[at, 1] - wide[at, 0], wide[at, 2] - wide[at, 0]], 2)
    _, R = np.linalg.qr(E)
    size = sigma * step[at]
    size = size * np.clip(room[q[keep, 1], q[keep, 0]] / (REACH * size * scale), SHRUNK, 1)
    shape = np.linalg.inv(R + 1e-9 * np.eye(2)) * size[:, None, None]
    return _Scatter(candidates[at], r, shape, pixel, X[:, 2])


def _room(o: Observation) -> F32:
    """(H, W) px from the matte's outline inwards; the picture's border is no outline."""
    m = MARGIN
    inside = np.pad((o.alpha > SOFT).astype(np.uint8), m, mode="edge")
    return np.asarray(cv2.distanceTransform(inside, cv2.DIST_L2, 5)[m:-m, m:-m], np.float32)


def _beyond_the_picture(points: F64, camera: Camera) -> NDArray[np.bool_]:
    """(V,) which camera points the photo's frame leaves out: no lattice is there, whatever a motion may bring in."""
    pixels = camera.focal * points[:, :2] / points[:, 2:] + [camera.cx, camera.cy]
    return np.asarray(((pixels <= 0) | (pixels >= [camera.width, camera.height])).any(1))


def _hidden_spacing(model: BodyModel, mesh: UnionMesh, faces: NDArray) -> F64:
    a = anatomy.of(model)
    out = np.full(len(faces), HIDDEN_TRUNK)
    part = mesh.part[faces]
    skin = part == anatomy.SKIN
    corners = mesh.skin.faces[faces]
    out[skin] = np.where((a.head > 0.5)[corners[skin]].all(1), HIDDEN_HEAD, HIDDEN_TRUNK)
    inner = np.zeros(len(faces), bool)
    inner[skin] = a.inner_mouth[corners[skin]].any(1)
    out[inner | ~skin] = HIDDEN_INSIDE
    out[(part == anatomy.UPPER_TEETH) | (part == anatomy.LOWER_TEETH)] = HIDDEN_TEETH
    out[np.isin(part, [anatomy.SHELL, anatomy.ARM])] = HIDDEN_SHELL
    out[part == anatomy.SCALP] = HIDDEN_HAIR
    return out


def _coarsest_needed(part: NDArray, cavity: NDArray[np.bool_]) -> F64:
    """(n,) m under which hidden spots need not lie, however many pixels the face has: they hold no photo's detail."""
    inside = cavity | (part == anatomy.TONGUE)
    return np.where(inside, AROUND_STEP, np.where(part == anatomy.SCALP, HAIR_STEP, 0.0))


def default_spacing(o: Observation) -> float:
    """px per px of a face 140 px wide."""
    return unit(o)
