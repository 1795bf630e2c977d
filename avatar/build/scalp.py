"""Hair on the skull: the scalp as a finer surface of its own, inflated until its outline is the matte's.

A sheet at the depth of the outline stands off a turned head like a fin. The scalp instead is subdivided (Loop 1987) and
moved along its normals: where it is seen edge-on, by as much as the matte says; in between and behind, as smoothly as
that allows, and behind by a little more; nothing at the hairline, where its border dips under the skin. An outline is
made by the hair that stands farthest off, so the strip along the hairline has little say. It hangs on the skull alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as sl
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from avatar.build import anatomy
from avatar.build.kinematics import F64
from avatar.build.observe import Observation, unit
from avatar.build.parts import HAIR, Parts
from avatar.build.refine import adjacency, stray, umbrella
from models.body import BodyModel
from models.motion import HEAD, JOINT
from models.person_mask import disc

# The hairline of the template: metres up from the eyes, by metres back from them; round the ear from above.
HAIRLINE_BACK = (-0.02, 0.03, 0.05, 0.065, 0.105, 0.115, 0.14, 0.17)
HAIRLINE_UP = (0.068, 0.060, 0.045, 0.028, 0.022, -0.015, -0.035, -0.045)
LEVELS = 2  # subdivisions: edges of 18 mm become 4.5 mm
OUTLINE = 0.9  # alpha at which the scalp ends: softer hair is the fringe's, which alone can be half transparent
EDGE_ON = 0.15  # |cosine| to the view up to which a vertex tells the outline
SUNK = -0.003  # m at the border
FARTHEST = 0.3  # of the face's width that hair may stand off the skull; what is farther out is the sheet's
INWARDS = 0.006  # m that a skull which sticks out of the matte is taken back
STIFF, TAUT, USUAL = 6.0, 0.05, 0.01  # weights of |L h|^2, |grad h|^2, |h - usual|^2 against a vertex on the outline
RAMP = 0.025  # m from the hairline over which hair gains its height
UPPER, MORE = 0.75, 0.004  # hair is thickest at the back: this quantile of what outlines tell, and so many m more
ROUNDS = 3
EVEN = 2.5  # px of a face 140 px wide, sigma that takes single strands off the outline
DENT = 12  # px of a face 140 px wide, half the width of a dent in the matte that is a light lock, not an outline
ASTRAY = 0.06  # of the face's width that smoothness may leave a point outside the outline


@dataclass(frozen=True)
class Scalp:
    vertices: F64  # (n, 3) world m as posed in the photo
    faces: NDArray[np.int64]  # (F, 3)
    weights: F64  # (n, J)
    origin: sp.csr_matrix  # (n, V) each vertex as a mean of the body's
    height: F64  # (n,) m over the skin


def build(model: BodyModel, o: Observation, posed: F64, parts: Parts) -> Scalp:
    """posed (V, 3) m: the body in the photo."""
    faces, origin = _subdivided(model, LEVELS)
    skin = origin @ posed
    normal = _smooth_normals(skin, faces, posed[_skull(model)].mean(0))
    border = _border(faces, len(skin))
    height = _heights(o, parts, skin, normal, faces, border)
    weights = np.zeros((len(skin), model.weights.shape[1]))
    weights[:, HEAD] = 1
    return Scalp(_within(o, skin + height[:, None] * normal), faces, weights, origin, height)


def region(model: BodyModel) -> NDArray[np.bool_]:
    """(F,) the body's triangles that hair grows on."""
    eyes = (model.joint_regressor[[JOINT["left_eye_smplhf"], JOINT["right_eye_smplhf"]]] @ model.v_template).mean(0)
    d = model.v_template - eyes
    over = _skull(model) & (d[:, 1] > np.interp(-d[:, 2], HAIRLINE_BACK, HAIRLINE_UP))
    inside: NDArray[np.bool_] = over[model.faces].any(1) & (model.face_part == anatomy.SKIN)
    return inside


def _skull(model: BodyModel) -> NDArray[np.bool_]:
    a = anatomy.of(model)
    return np.asarray((model.weights[:, HEAD] > 0.5) & a.skin & ~a.inner_mouth)


def _subdivided(model: BodyModel, levels: int) -> tuple[NDArray[np.int64], sp.csr_matrix]:
    """Triangles, and their vertices as means of the body's (n, V)."""
    chosen = model.faces[region(model)].astype(np.int64)
    used, local = np.unique(chosen, return_inverse=True)
    faces = local.reshape(-1, 3)
    origin = sp.csr_matrix((np.ones(len(used)), (np.arange(len(used)), used)), shape=(len(used), len(model.v_template)))
    for _ in range(levels):
        step, faces = loop_step(faces, origin.shape[0])
        origin = (step @ origin).tocsr()
    return faces, origin


def loop_step(faces: NDArray, n: int) -> tuple[sp.csr_matrix, NDArray]:
    """One Loop subdivision (Loop 1987, Warren's weights): (n + edges, n) and the new triangles."""
    corners = np.stack([faces, np.roll(faces, -1, 1)], 2).reshape(-1, 2)  # edges ab, bc, ca of each triangle
    opposite = np.roll(faces, -2, 1).ravel()
    edges, number = np.unique(np.sort(corners, 1), axis=0, return_inverse=True)
    number = number.ravel()
    m = len(edges)
    inner = np.bincount(number, minlength=m) == 2
    rows, columns, values = [], [], []

    def add(r: NDArray, c: NDArray, v: NDArray) -> None:
        rows.append(r), columns.append(c), values.append(np.broadcast_to(v, r.shape).astype(float))  # type: ignore[func-returns-value]

    for k in range(2):
        add(np.arange(m) + n, edges[:, k], np.where(inner, 3 / 8, 1 / 2))
    keep = inner[number]
    add(number[keep] + n, opposite[keep], np.array(1 / 8))
    rim = np.zeros(n, bool)
    rim[edges[~inner]] = True
    degree = np.bincount(edges.ravel(), minlength=n)
    beta = np.where(rim, 1 / 8, np.where(degree == 3, 3 / 16, 3 / (8 * np.maximum(degree, 1))))
    both = np.concatenate([edges, edges[:, ::-1]])
    along = np.concatenate([~inner, ~inner])
    counts = ~rim[both[:, 0]] | along  # a vertex on the border follows the border alone
    add(both[counts, 0], both[counts, 1], beta[both[counts, 0]])
    add(np.arange(n), np.arange(n), 1 - beta * np.bincount(both[counts, 0], minlength=n))
    step = sp.csr_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(n + m, n))
    ab, bc, ca = (number.reshape(-1, 3)[:, k] + n for k in range(3))
    a, b, c = faces.T
    return step, np.concatenate([np.stack(t, 1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])


def _smooth_normals(points: F64, faces: NDArray, centre: F64) -> F64:
    """(n, 3) between the surface's normals and the directions from the head's middle: hair knows no small bumps."""
    normal = np.zeros_like(points)
    tri = points[faces]
    for i in range(3):
        np.add.at(normal, faces[:, i], np.cross(tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0]))
    A = adjacency(faces, len(points))
    mean = sp.diags(1 / np.maximum(np.asarray(A.sum(1)).ravel(), 1)) @ A
    for _ in range(6):
        normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-15
        normal = 0.5 * normal + 0.5 * (mean @ normal)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-15
    away = points - centre
    normal += 0.3 * away / np.linalg.norm(away, axis=1, keepdims=True)
    return np.asarray(normal / np.linalg.norm(normal, axis=1, keepdims=True))


def _border(faces: NDArray, n: int) -> NDArray[np.bool_]:
    edges, count = np.unique(
        np.sort(np.stack([faces, np.roll(faces, -1, 1)], 2).reshape(-1, 2), 1), axis=0, return_counts=True
    )
    out = np.zeros(n, bool)
    out[edges[count == 1]] = True
    return out


def _heights(o: Observation, parts: Parts, skin: F64, normal: F64, faces: NDArray, border: NDArray) -> F64:
    """(n,) m along the normals: the matte's at the outline, smooth elsewhere, SUNK at the border."""
    n = len(skin)
    L = umbrella(faces, n)
    A = adjacency(faces, n)
    smooth = STIFF * (L.T @ L) + TAUT * (sp.diags(np.asarray(A.sum(1)).ravel()) - A) + USUAL * sp.eye(n)
    height = np.zeros(n)
    ramp = (cKDTree(skin[border]).query(skin)[0] / RAMP).clip(0, 1)
    farthest = FARTHEST * o.face_width * float(np.abs(skin[:, 2]).mean()) / o.camera.focal
    for _ in range(ROUNDS):
        at, more = _to_the_outline(o, parts, skin + height[:, None] * normal, normal)
        wanted, weight = np.zeros(n), np.where(border, 1e3, 0.0)
        wanted[border] = SUNK
        tell = ~border[at]
        at, more = at[tell], more[tell]
        wanted[at] = (height[at] + more).clip(-INWARDS, farthest)
        weight[at] = np.where(more < 0, 1, ramp[at] ** 2)
        full = wanted[at][ramp[at] == 1]
        usual = max(float(np.quantile(full, UPPER)) + MORE, 0.0) if len(full) else 0.0
        height = sl.spsolve((smooth + sp.diags(weight)).tocsc(), weight * wanted + USUAL * usual * ramp)
    return np.asarray(height)


def _within(o: Observation, points: F64) -> F64:
    """Points (n, 3) m with those that still stand a little outside the hair's outline put on it, at their depth."""
    r = max(round(DENT * unit(o)), 1)
    solid = np.pad((o.alpha > OUTLINE).astype(np.uint8), r, mode="edge")
    whole = cv2.morphologyEx(solid, cv2.MORPH_CLOSE, disc(r))[r:-r, r:-r].astype(np.float32)
    inside = cv2.GaussianBlur(whole, (0, 0), EVEN * unit(o)) > 0.5
    _, nearest = distance_transform_edt(~inside, return_indices=True)
    out = points.copy()
    for _ in range(ROUNDS):
        p = o.camera.project(out)
        at, target = stray(p[:, :2], np.ones(len(p), bool), inside, nearest, ASTRAY * o.face_width)
        out[at, :2] += (target - p[at, :2]) * (p[at, 2:] / o.camera.focal) * [1, -1]
    return out


def _to_the_outline(o: Observation, parts: Parts, points: F64, normal: F64) -> tuple[NDArray[np.int64], F64]:
    """Vertices that are seen edge-on, and how far (m) each has to go along its normal to lie on the hair's outline."""
    view = points / np.linalg.norm(points, axis=1, keepdims=True)
    at = np.flatnonzero(np.abs((normal * view).sum(1)) < EDGE_ON)
    p = o.camera.project(points[at])
    ahead = o.camera.project(points[at] + 0.001 * normal[at])
    way = (ahead - p)[:, :2]  # px per mm of height
    speed = np.linalg.norm(way, axis=1)
    way /= np.maximum(speed, 1e-9)[:, None]
    H, W = o.alpha.shape
    hair = (o.alpha > OUTLINE) & (parts.probability[..., HAIR] > 0.4)
    reach = 2 * FARTHEST * o.face_width
    s = np.arange(-0.01 * 1e3 * speed.max(initial=0), reach, 0.5)
    q = p[:, None, :2] + s[None, :, None] * way[:, None]
    x, y = np.floor(q[..., 0]).astype(int), np.floor(q[..., 1]).astype(int)
    beside = (x < 0) | (y < 0) | (x >= W) | (y >= H)
    x, y = x.clip(0, W - 1), y.clip(0, H - 1)
    inside, person = hair[y, x], o.alpha[y, x] > OUTLINE
    zero = int(np.searchsorted(s, 0.0))
    out = np.where(person[:, zero], _first_out(inside[:, zero:]) * 0.5, (_last_in(person[:, :zero]) - zero) * 0.5)
    told = (inside[:, zero] | ~person[:, zero]) & ~beside[:, zero] & np.isfinite(out) & (speed > 0)
    leaves = np.minimum(zero + np.nan_to_num(out, posinf=0).astype(int) * 2 + 1, len(s) - 1)
    told &= ~beside[np.arange(len(at)), leaves.clip(0)]  # cut by the picture's border: not known
    return at[told], out[told] / speed[told] * 1e-3


def _first_out(inside: NDArray[np.bool_]) -> F64:
    """Index of the first False of each row; the row's length where there is none."""
    return np.where(inside.all(1), inside.shape[1], (~inside).argmax(1)).astype(float)


def _last_in(inside: NDArray[np.bool_]) -> F64:
    """Index of the last True of each row, inf where there is none."""
    n = inside.shape[1]
    return np.where(inside.any(1), n - 1 - inside[:, ::-1].argmax(1), np.inf).astype(float)
