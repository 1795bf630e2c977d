"""Lids: how this person's close over the eyeballs, and the skin that unrolls when they do."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from avatar.build import anatomy, lips
from avatar.build.kinematics import F64
from avatar.build.landmarks import (
    LEFT_BROW_EDGE,
    LEFT_CORNERS,
    LEFT_EYE_RING,
    LEFT_UPPER_LID,
    RIGHT_BROW_EDGE,
    RIGHT_CORNERS,
    RIGHT_EYE_RING,
    RIGHT_UPPER_LID,
)
from avatar.build.mesh import UnionMesh
from avatar.build.observe import Observation
from avatar.build.parts import plain_face
from avatar.build.seed import Seeds
from avatar.render.contract import LAYER
from models.body import BodyModel
from models.matting import push_pull

RADIUS = 0.02  # m around an eye that closing may move beyond what the model moves
MEET = 30.0  # weight of a pair's meeting against smoothness
ROUNDS = 4
UPPER_SHARE = 0.85  # of the way that is the upper lid's in a blink
THICK = 0.002  # m that a closed lid stays before the eyeball: nearer, the ball would be averaged into it
CORNER = 0.25  # of an eye's width that a lid takes from its corner to be so thick
FOLD = (0.1, 0.7)  # of the way from the rim to the brow: skin unrolls here, what lies above stays
RIM = {
    "Right": (RIGHT_CORNERS[0], *RIGHT_UPPER_LID, RIGHT_CORNERS[1]),
    "Left": (LEFT_CORNERS[0], *LEFT_UPPER_LID, LEFT_CORNERS[1]),
}
BROW_EDGE = {"Right": RIGHT_BROW_EDGE, "Left": LEFT_BROW_EDGE}
STRETCHED = (1.3, 2.6)  # times its size from which, and at which, a photo's pixel no longer makes skin
AROUND = (1.3, 2.6)  # sizes of an eye: the ring whose skin a lid is made of
LID_REACH, BESIDE_REACH = 1.6, 2.2  # sizes of an eye about it: of a lid, and of the skin that goes on in it
EVEN = 0.5  # of a lid's colour that is the lit skin's median: a lid is smoother than the folds it comes from
LIT = 0.7  # the share of the ring that is in shadow, lash, brow or frame
LIKE_SKIN = (12.0, 12.0, 14.0)  # CIE Lab: chroma, darker, lighter than the lit part's median
STILL = 0.25  # how much a blink may unroll what goes on in the lid
NEIGHBOURS, CLOSE = 60, 0.0015  # of such that a spot of the lid is made of, and m within which they count alike
SHADED = (14.0, 22.0)  # CIE Lab: chroma and lightness off the lit skin within which those are skin
MIDDLE, OWN = 0.006, 0.75  # m from those at which a lid has this share of the lit skin's colour
HUE = 0.8  # of a lid's chroma that is the face's
TONE, MANY_ALIKE = 4.0, 20  # CIE L within which skin counts as equally light, and pixels that tell its hue
BLUR = 0.05  # of the face's width
SHADE = 1.0  # a lid's light against the skin about it


@dataclass(frozen=True)
class Blink:
    stretch: F64  # (F,) how many times its size each triangle grows
    shut: F64  # (V, 3) m, the vertices


def _eyeball(model: BodyModel, rest: F64, side: str) -> tuple[F64, float]:
    """Centre and radius (m) of an eyeball at rest."""
    return anatomy.sphere(rest[anatomy.of(model).of_part(anatomy.LEFT_EYE if side == "Left" else anatomy.RIGHT_EYE)])


def clear_of_eyeball(model: BodyModel, rest: F64, side: str, least: float = 0.0) -> F64:
    """The correction that lifts lid skin in front of the eyeball out of it, at least `least` m between the corners."""
    centre, radius = _eyeball(model, rest, side)
    ids, clearance = anatomy.of(model).over_eyeball(side)
    away = rest[ids] - centre
    distance = np.linalg.norm(away, axis=1)
    out = np.zeros_like(rest)
    rim = (anatomy.of(model).landmark_matrix()[list(RIM[side])] @ rest)[:, 0]
    way = (rest[ids, 0] - rim.min()) / np.ptp(rim)
    clearance = np.maximum(clearance, least * np.clip(np.minimum(way, 1 - way) / CORNER, 0, 1))
    out[ids] = away * np.maximum((radius + clearance) / distance - 1, 0)[:, None]
    return out


def closed(model: BodyModel, rest: F64, directions: F64, expression: F64, side: str) -> F64:
    """(V, 3) the face with this eye closed: the model's blink, without a pull at the brow, corrected until the lids'
    rims meet."""
    names = model.expression_names
    blink = np.zeros(len(names))
    blink[names.index("eyeBlink" + side)] = 1 - expression[names.index("eyeBlink" + side)]
    for lid in ("eyeSquint", "eyeWide"):
        blink[names.index(lid + side)] = -expression[names.index(lid + side)]
    moves = _below_the_fold(model, rest, side)[:, None]
    shut = rest + moves * (directions @ blink)
    centre, _ = _eyeball(model, rest, side)
    pairs = anatomy.LID_PAIRS[side]
    B = anatomy.of(model).landmark_matrix()
    upper, lower = B[[u for u, _ in pairs]], B[[l for _, l in pairs]]
    rows = sp.vstack([upper, lower]).tocsr()
    a = anatomy.of(model)
    region = np.flatnonzero((np.linalg.norm(rest - centre, axis=1) < RADIUS) & a.skin & (a.head > 0.5))
    for _ in range(ROUNDS):
        gap = (lower - upper) @ shut
        target = np.concatenate([gap * UPPER_SHARE, -gap * (1 - UPPER_SHARE)])
        shut = shut + moves * lips.displacement(model, shut, rows, target, np.full(len(target), MEET), region)
        shut = shut + clear_of_eyeball(model, shut, side, THICK)
    return shut


def _below_the_fold(model: BodyModel, rest: F64, side: str) -> F64:
    """(V,) 1 on the lids and below, 0 from well under the brow upwards."""
    B = anatomy.of(model).landmark_matrix()
    rim, brow = B[list(RIM[side])] @ rest, B[list(BROW_EDGE[side])] @ rest
    at = lambda line: np.interp(rest[:, 0], *line[np.argsort(line[:, 0])][:, :2].T)  # noqa: E731
    low, high = at(rim), at(brow)
    f = (rest[:, 1] - low) / np.maximum(high - low, 1e-4)
    t = np.clip((f - FOLD[0]) / (FOLD[1] - FOLD[0]), 0, 1)
    return 1 - t * t * (3 - 2 * t)


def skin(o: Observation) -> NDArray[np.float32]:
    """(H, W, 3) what lid skin would look like there: the lit skin about the eyes, without brows, lashes and creases."""
    known, even = np.zeros(o.alpha.shape, np.float32), np.array(o.foreground, np.float32)
    picture = np.ascontiguousarray(o.foreground.astype(np.float32).clip(0, 1))
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)
    for ring in (RIGHT_EYE_RING, LEFT_EYE_RING):
        p = o.landmarks[list(ring)]
        inner, outer = (_hull(p, grow, o.alpha.shape) for grow in AROUND)
        around = (outer > 0) & (inner == 0) & (o.alpha > 0.9)
        if around.sum() < 20:
            continue
        light = lab[around][:, 0]
        lit = light >= np.quantile(light, LIT)
        away = lab - np.median(lab[around][lit], 0)
        even[cv2.dilate(outer, np.ones((3, 3))) > 0] = np.median(picture[around][lit], 0)
        like = (np.hypot(away[..., 1], away[..., 2]) < LIKE_SKIN[0]) & (away[..., 0] > -LIKE_SKIN[1])
        known[around & like & (away[..., 0] < LIKE_SKIN[2])] = 1
    filled = push_pull(o.foreground, known) if known.any() else o.foreground
    filled = filled + EVEN * (even - filled)
    return SHADE * cv2.GaussianBlur(filled, (0, 0), max(BLUR * o.face_width, 1.0))


def _hull(points: NDArray, grow: float, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    mask = np.zeros(shape, np.uint8)
    high = np.array([grow, 1 + 1.5 * (grow - 1)])  # an eye is flat; the skin that its lids come from is not
    p = ((points - points.mean(0)) * high + points.mean(0)).astype(np.int32)
    cv2.fillConvexPoly(mask, cv2.convexHull(p), 1)
    return mask


def unrolled(mesh: UnionMesh, o: Observation, seeds: Seeds, blink: Blink) -> tuple[NDArray, F64, F64]:
    """Indices (n,) of the Gaussians on skin that a blink stretches or uncovers, the lid's own colours (n, 3) for them,
    and how much they need these (n,) 0..1: a few pixels of photo drawn out over a closed lid are streaks, not skin.

    Those colours go on from the skin that lies beside them when the eyes are closed."""
    corners = mesh.skin.faces[seeds.face]
    total, count = np.zeros(len(mesh.skin.vertices)), np.zeros(len(mesh.skin.vertices))
    for k in range(3):
        np.add.at(total, mesh.skin.faces[:, k], blink.stretch)
        np.add.at(count, mesh.skin.faces[:, k], 1)
    w = np.concatenate([1 - seeds.bary.sum(1, keepdims=True), seeds.bary], 1).clip(0, 1)
    mean = (w * (total / np.maximum(count, 1))[corners]).sum(1)
    t = np.clip((mean - STRETCHED[0]) / (STRETCHED[1] - STRETCHED[0]), 0, 1)
    right, left = (_hull(o.landmarks[list(r)], LID_REACH, o.alpha.shape) for r in (RIGHT_EYE_RING, LEFT_EYE_RING))
    near = right | left
    q = np.floor(seeds.pixel).astype(int).clip(0, np.array(o.alpha.shape[::-1]) - 1)
    t = np.where(~seeds.seen & ~seeds.folded & (near[q[:, 1], q[:, 0]] > 0), 1, t)  # folded away in the photo
    t = np.where(seeds.layer == LAYER["skin"], t * t * (3 - 2 * t), 0)
    at = np.flatnonzero(t > 0.02)
    lit = skin(o)
    paint = lit[q[at, 1], q[at, 0]].astype(np.float64)
    beside = (seeds.layer == LAYER["skin"]) & seeds.seen & (t < STILL)
    for ring in (RIGHT_EYE_RING, LEFT_EYE_RING):
        lid, about = (_hull(o.landmarks[list(ring)], reach, o.alpha.shape) for reach in (LID_REACH, BESIDE_REACH))
        of = lid[q[at, 1], q[at, 0]] > 0
        known = np.flatnonzero(beside & (about[q[:, 1], q[:, 0]] > 0))
        known = known[_like_skin(o, lit, q[known])]
        if of.any() and len(known) >= NEIGHBOURS:
            places = lambda k: np.einsum("nk,nkc->nc", w[k], blink.shut[corners[k]])  # noqa: E731
            colours = o.foreground[q[known, 1], q[known, 0]].astype(np.float64)
            paint[of] = _going_on(places(at[of]), places(known), colours, paint[of])
    return at, _with_the_faces_hue(o, paint), t[at]


def _with_the_faces_hue(o: Observation, paint: F64) -> F64:
    """Lid colours (n, 3) with the chroma that the face's skin has where it is as light: about the eyes, lashes, paint
    and the blue light of the sky take it away, and a grey lid is a hole in the face."""
    plain = plain_face(o.landmarks.astype(np.float64), o.alpha.shape) & (o.alpha > 0.9)
    lab = cv2.cvtColor(np.ascontiguousarray(o.foreground.astype(np.float32).clip(0, 1)), cv2.COLOR_RGB2LAB)[plain]
    lights = np.unique((lab[:, 0] / TONE).round(), return_counts=True)
    lights = lights[0][lights[1] >= MANY_ALIKE]
    if len(paint) == 0 or len(lights) == 0:
        return paint
    hues = np.stack([np.median(lab[np.abs(lab[:, 0] / TONE - light) <= 0.5, 1:], 0) for light in lights])
    own = cv2.cvtColor(paint[None].astype(np.float32).clip(0, 1), cv2.COLOR_RGB2LAB)[0]
    hue = np.stack([np.interp(own[:, 0], TONE * lights, h) for h in hues.T], 1)
    own[:, 1:] += HUE * (hue - own[:, 1:])
    return np.asarray(cv2.cvtColor(own[None], cv2.COLOR_LAB2RGB)[0], np.float64)


def _like_skin(o: Observation, lit: NDArray[np.float32], q: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) pixels q (n, 2) that are skin about an eye, however shaded: no brow, no lash, no glasses."""
    lab = lambda image: cv2.cvtColor(image[q[:, 1], q[:, 0]][None].astype(np.float32).clip(0, 1), cv2.COLOR_RGB2LAB)[0]  # noqa: E731
    away = lab(o.foreground) - lab(lit)
    return np.asarray((np.hypot(away[:, 1], away[:, 2]) < SHADED[0]) & (np.abs(away[:, 0]) < SHADED[1]))


def _going_on(at: F64, known: F64, colours: F64, lit: F64) -> F64:
    """(n, 3) colours at places (n, 3) m that go on from those of the known places (m, 3), towards `lit` (n, 3) in the
    middle."""
    away, near = cKDTree(known).query(at, NEIGHBOURS)
    weight = (away**2 + CLOSE**2) ** -1.5
    out = np.einsum("nk,nkc->nc", weight / weight.sum(1, keepdims=True), colours[near])
    return np.asarray(out + OWN * np.clip(away[:, :1] / MIDDLE, 0, 1) * (lit - out))
