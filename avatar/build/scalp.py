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
from avatar.build.parts import HAIR, Parts, hair_coloured
from avatar.build.refine import adjacency, stray, umbrella
from models.body import BodyModel
from models.motion import HEAD, JOINT
from models.person_mask import disc

# The hairline of the template: metres up from the eyes, by metres back from them; round the ear from above.
HAIRLINE_BACK = (-0.02, 0.03, 0.05, 0.065, 0.105, 0.115, 0.14, 0.17)
HAIRLINE_UP = (0.068, 0.060, 0.045, 0.028, 0.022, -0.015, -0.035, -0.045)
BEHIND_EARS = 0.105  # m back from the eyes
LENGTHS = (0.06, 0.17, 0.01)  # m below the eyes at which hair is looked for beside the neck, from the ears' lobes on
LOBES = 0.115  # m below the eyes from which on hair that is not there yet does not begin
MOSTLY = 0.7  # share of what is beside the neck
BESIDE = (0.25, 0.05)  # of the face's width: how far beside the neck it is looked for, and how much has to be there
LEVELS = 2  # subdivisions: edges of 18 mm become 4.5 mm
OUTLINE = 0.9  # alpha at which the scalp ends: softer hair is the fringe's, which alone can be half transparent
EDGE_ON = 0.15  # |cosine| to the view up to which a vertex tells the outline
SUNK = -0.003  # m at the border
FARTHEST = 0.3  # of the face's width that hair may stand off the skull; what is farther out is the sheet's
INWARDS = 0.006  # m that a skull which sticks out of the matte is taken back
STIFF, TAUT, USUAL = 6.0, 0.05, 0.01  # weights of |L h|^2, |grad h|^2, |h - usual|^2 against a vertex on the outline
RAMP = 0.025  # m from the hairline over which hair gains its height
UPPER = 0.75  # hair at the back is as thick as this quantile of what outlines tell,
MORE, MORE_THAN_SIDES = 0.004, 0.008  # and so many m more; short hair at most so many m more than that of the sides
SIDEWARDS = 4  # power of a normal's share to the side with which a height counts as one of the sides
TRUNK = [JOINT[n] for n in ("neck", "spine3", "spine2", "spine1")]  # that hair which hangs on them goes along with
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
    behind: NDArray[np.bool_]  # (F,) hair that hangs behind the neck or covers an ear


def build(model: BodyModel, o: Observation, posed: F64, parts: Parts, ears: NDArray[np.bool_]) -> Scalp:
    """posed (V, 3) m: the body in the photo; ears (V,): vertices of those that hair covers."""
    length = _hanging(model, o, posed, parts)
    coarse, origin, behind = _covered(model, length, ears)
    faces, origin = _subdivided(coarse, origin)
    behind = np.tile(behind, len(faces) // len(behind))  # a subdivision keeps the triangles' order
    skin = origin @ posed
    normal = _smooth_normals(skin, faces, posed[_skull(model)].mean(0))
    unseen = np.zeros(len(skin), bool)
    unseen[faces[behind]] = True
    height = _heights(o, parts, skin, normal, faces, _border(faces, len(skin)), unseen)
    weights = np.zeros((len(skin), model.weights.shape[1]))
    weights[:, TRUNK] = origin @ model.weights[:, TRUNK] if length else 0.0
    weights[:, HEAD] += 1 - weights.sum(1)
    return Scalp(_within(o, skin + height[:, None] * normal), faces, weights, origin, height, behind)


def region(model: BodyModel, length: float = 0.0) -> NDArray[np.bool_]:
    """(F,) the body's triangles that hair grows on, or that hair behind the ears covers down to `length` m below the
    eyes."""
    d = anatomy.of(model).from_the_eyes
    over = _skull(model) & (d[:, 1] > np.interp(-d[:, 2], HAIRLINE_BACK, HAIRLINE_UP))
    over |= anatomy.of(model).head_and_neck & (-d[:, 2] > BEHIND_EARS) & (d[:, 1] > -length) & (length > 0)
    inside: NDArray[np.bool_] = over[model.faces].any(1) & (model.face_part == anatomy.SKIN)
    return inside


def _hanging(model: BodyModel, o: Observation, posed: F64, parts: Parts) -> float:
    """m below the eyes down to which hair hangs beside the neck on both sides, 0 where it does not: it hangs behind the
    neck as well, where no front view shows it.

    What is beside the neck is hair when at two heights in a row most of it has the hair's colour; from there it goes on
    as far down as the matte stands off the neck.
    """
    d, neck = anatomy.of(model).from_the_eyes, anatomy.of(model).head_and_neck
    pixels = o.camera.project(posed)[:, :2]
    person = o.alpha > OUTLINE
    hair = person & hair_coloured(o, parts)
    window, least = BESIDE[0] * o.face_width, BESIDE[1] * o.face_width
    x = np.arange(o.alpha.shape[1]) + 0.5
    found, length = 0, 0.0
    for low in np.arange(*LENGTHS):
        ring = pixels[neck & (np.abs(d[:, 1] + low) < LENGTHS[2])]
        y = int(ring[:, 1].mean()) if len(ring) else -1
        if not 0 <= y < len(hair):
            break
        left, right = ring[:, 0].min(), ring[:, 0].max()
        sides = [(x > left - window) & (x < left), (x > right) & (x < right + window)]
        wide = min(person[y, side].sum() for side in sides) >= least
        if found >= 2 and wide:
            length = float(low)
        elif found >= 2 or low > LOBES:
            break
        else:
            mostly = all(hair[y, s].sum() >= max(least, MOSTLY * person[y, s].sum()) for s in sides)
            found = found + 1 if mostly else 0
            length = float(low) if found >= 2 else 0.0
    return length


def _skull(model: BodyModel) -> NDArray[np.bool_]:
    a = anatomy.of(model)
    return np.asarray((model.weights[:, HEAD] > 0.5) & a.skin & ~a.inner_mouth)


def _covered(
    model: BodyModel, length: float, ears: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], sp.csr_matrix, NDArray[np.bool_]]:
    """Triangles that hair covers, their vertices as means of the body's (n, V), and which (F,) lie behind other hair:
    below the hairline, and over the ears (V,), in whose place are fans about the middle of their rims."""
    skin = model.face_part == anatomy.SKIN
    off = ears[model.faces].any(1) & skin
    beside = np.zeros(len(ears), bool)
    beside[model.faces[off]] = True
    over = (region(model, length) | (beside[model.faces].any(1) & skin)) & ~off
    faces, behind = model.faces[over].astype(np.int64), ~region(model)[over]
    V = len(model.v_template)
    rows = [sp.identity(V, format="csr")]
    for side in (1, -1):
        rim = _rim(model.faces[off & (side * model.v_template[model.faces, 0].mean(1) > 0)].astype(np.int64))
        if len(rim):
            middle = np.full(len(rim), V + len(rows) - 1)
            faces = np.concatenate([faces, np.column_stack([rim, middle])])
            rows.append(sp.csr_matrix((np.full(len(rim), 1 / len(rim)), (np.zeros(len(rim), int), rim[:, 0])), (1, V)))
    behind = np.concatenate([behind, np.ones(len(faces) - len(behind), bool)])
    used, local = np.unique(faces, return_inverse=True)
    return local.reshape(-1, 3), sp.vstack(rows).tocsr()[used], behind


def _rim(faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n, 2) edges of triangles that no other of them shares, in their direction."""
    edges = np.stack([faces, np.roll(faces, -1, 1)], 2).reshape(-1, 2)
    _, number, count = np.unique(np.sort(edges, 1), axis=0, return_inverse=True, return_counts=True)
    return np.asarray(edges[count[number.ravel()] == 1])


def _subdivided(faces: NDArray[np.int64], origin: sp.csr_matrix) -> tuple[NDArray[np.int64], sp.csr_matrix]:
    """LEVELS times finer triangles, and their vertices as means of the body's (n, V)."""
    for _ in range(LEVELS):
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


def _heights(
    o: Observation, parts: Parts, skin: F64, normal: F64, faces: NDArray, border: NDArray, unseen: NDArray
) -> F64:
    """(n,) m along the normals: the matte's at the outline, smooth elsewhere, SUNK at the border. unseen (n,): hangs
    behind the neck, where the outline is that of other hair."""
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
        tell = ~border[at] & ~unseen[at]
        at, more = at[tell], more[tell]
        wanted[at] = (height[at] + more).clip(-INWARDS, farthest)
        weight[at] = np.where(more < 0, 1, ramp[at] ** 2)
        full = at[ramp[at] == 1]
        usual = _usual(wanted[full], normal[full], bool(unseen.any()))
        height = sl.spsolve((smooth + sp.diags(weight)).tocsc(), weight * wanted + USUAL * usual * ramp)
    return np.asarray(height)


def _usual(told: F64, normal: F64, hangs: bool) -> float:
    """m that hair stands off the back of the head, from heights (n,) that outlines tell at normals (n, 3).

    Short hair is there as at the sides, whatever is piled up on the crown. Hair that hangs down falls over the back of
    the head from the crown.
    """
    if not len(told):
        return 0.0
    even = _quantile(told, np.ones(len(told)), UPPER) + MORE
    if not hangs:
        aside = normal[:, 0] ** 2 / (normal[:, 0] ** 2 + normal[:, 1] ** 2 + 1e-12)
        even = min(even, _quantile(told, aside**SIDEWARDS + 1e-3, UPPER) + MORE_THAN_SIDES)
    return max(even, 0.0)


def _quantile(values: F64, weights: F64, share: float) -> float:
    """Of weighted values (n,)."""
    order = np.argsort(values)
    below = np.cumsum(weights[order]) - weights[order] / 2
    return float(np.interp(share * weights.sum(), below, values[order]))


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
