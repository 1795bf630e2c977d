"""The mouth's colours: a cavity that darkens with depth, tongue, teeth; and lips that keep theirs when they part."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.build import anatomy, teeth
from avatar.build.kinematics import F64
from avatar.build.landmarks import LIP_CORNERS, LIPS_INNER, LIPS_OUTER
from avatar.build.mesh import UnionMesh
from avatar.build.observe import Observation
from avatar.build.seed import Seeds
from avatar.build.teeth import polygon
from avatar.render.contract import LAYER
from models.body import BodyModel
from models.matting import push_pull

DARK = np.array([0.16, 0.055, 0.05])  # the depth of a mouth
TONGUE = np.array([0.50, 0.24, 0.23])
TONGUE_FADE = 0.05  # m from its tip to where it is lost in the dark
CAVITY = 0.02  # m behind the lips that are as dark as a mouth gets
EYE_WHITE = np.array([0.80, 0.77, 0.74])  # as it is seen beside lids in good light
OVER_SKIN = 1.2  # teeth's light over the skin's, where the eyes' white is too dark to tell
BELIEVED_HUE = 0.5  # of the eyes' white: it reflects sky and screens, and its own veins
IN_SHADE = 0.9  # teeth behind lips get less light than the eyes
RIM = 0.018  # of the face's width about the gap's border that may show gap or teeth
DARKER = 13.0  # CIE Lab: from which a rim shows the gap
CORNERS = 0.2  # of the mouth's width
SEAM = 0.3  # how much darker than the lip its rim stays there
CERTAIN, BESIDE = 0.6, 0.2  # of a pixel is tooth; of one beside it, whose shadow is the photo's, too


def light(white: F64, tone: F64) -> F64:
    """(3,) light in the mouth, of the eyes' white and the face's mean colour: lids shade the white more than skin."""
    least = OVER_SKIN * tone.mean() / EYE_WHITE.mean()
    of_white = white / EYE_WHITE
    mean = of_white.mean()
    hue = 1 + BELIEVED_HUE * (of_white / mean - 1)
    return np.asarray(IN_SHADE * min(max(least, mean), 1.1) * hue)


def inside(model: BodyModel, colours: F64, lit: F64) -> F64:
    """Vertex colours (V, 3) with the cavity's walls and the tongue painted in."""
    a = anatomy.of(model)
    v = model.v_template
    lips_z = v[a.landmark_corners[[13, 14, 78, 308]]].reshape(-1, 3)[:, 2].mean()
    depth = np.clip((lips_z - v[:, 2]) / CAVITY, 0, 1)[:, None]
    out = colours.copy()
    inner = a.inner_mouth
    out[inner] = ((1 - depth) * colours * 0.6 + depth * DARK * lit)[inner]
    tongue = a.of_part(anatomy.TONGUE)
    if tongue.any():
        z = v[tongue, 2]
        lost = np.clip((z.max() - z) / TONGUE_FADE, 0, 1)[:, None]
        out[tongue] = ((1 - lost) * TONGUE + lost * DARK) * lit
    return out


def teeth_colours(o: Observation, mesh: UnionMesh, seeds: Seeds, sampled: F64, lit: F64) -> tuple[NDArray, F64]:
    """Indices (n,) of the Gaussians on teeth that are painted, and their colours (n, 3); the others show the photo's
    teeth and keep what is sampled (N, 3) there."""
    arches = mesh.teeth
    if arches is None:
        return np.zeros(0, np.int64), np.zeros((0, 3))
    part = mesh.part[seeds.face]
    on = np.flatnonzero((part == anatomy.UPPER_TEETH) | (part == anatomy.LOWER_TEETH))
    own = seeds.seen[on]
    if arches.shown is not None:
        q = np.floor(seeds.pixel[on]).astype(int).clip(0, np.array(arches.shown.shape[::-1]) - 1)
        sure = own & (arches.shown[q[:, 1], q[:, 0]] > CERTAIN)
        own &= cv2.dilate(arches.shown, np.ones((3, 3)))[q[:, 1], q[:, 0]] > BESIDE
        if sure.sum() >= 8:
            lit = teeth.light_of(sampled[on][sure])
    painted = on[~own]
    return painted, _painted(mesh, seeds, painted, part[painted], lit)


def lip_colours(o: Observation, mesh: UnionMesh, seeds: Seeds, sampled: F64) -> tuple[NDArray, F64]:
    """Indices (n,) of the Gaussians on lips and behind them whose pixels show the gap or the teeth, and what (n, 3)
    they get instead: the lip beside them. A slit of a pixel would become a dark band as the mouth opens, a tooth's edge
    a white line as it closes."""
    ring, gap = polygon(o, LIPS_OUTER), polygon(o, LIPS_INNER)
    border = cv2.polylines(gap.copy(), [_ring(o, LIPS_INNER)], True, 1)
    reach = 2 * max(round(RIM * o.face_width), 1) + 1
    near = cv2.dilate(border, np.ones((reach, reach))) > 0
    safe = (ring > 0) & ~near
    inner = np.isin(seeds.layer, [LAYER["lips"], LAYER["cavity"]])
    at = np.flatnonzero(inner & (seeds.seen | seeds.drawn))
    q = np.floor(seeds.pixel[at]).astype(int)
    at = at[near[q[:, 1], q[:, 0]]]
    if not len(at) or safe.sum() < 12:
        return np.zeros(0, np.int64), np.zeros((0, 3))
    beside = cv2.GaussianBlur(push_pull(o.foreground, safe.astype(np.float32)), (0, 0), max(0.01 * o.face_width, 0.6))
    q = np.floor(seeds.pixel[at]).astype(int)
    lip = beside[q[:, 1], q[:, 0]].astype(np.float64)
    off = _lab(sampled[at]) - _lab(lip)
    corners = o.landmarks[list(LIP_CORNERS)]
    way = (seeds.pixel[at] - corners[0]) @ (corners[1] - corners[0]) / ((corners[1] - corners[0]) ** 2).sum()
    middle = np.clip(np.minimum(way, 1 - way) / CORNERS, 0, 1)  # the corners are dark in a closed mouth, too
    dark = np.clip((-off[:, 0] - DARKER) / DARKER, 0, 1)
    tooth = np.clip((off[:, 0] - teeth.LIGHTER) / 5, 0, 1) * np.clip((-off[:, 1] - teeth.LESS_RED) / 3, 0, 1)
    share = np.maximum(dark, tooth) * middle
    if mesh.teeth is not None and mesh.teeth.shown is not None:
        share = np.maximum(share, cv2.dilate(mesh.teeth.shown, np.ones((3, 3)))[q[:, 1], q[:, 0]].clip(0, 1))
    mended = sampled[at] + share[:, None] * (lip * (1 - SEAM * dark[:, None]) - sampled[at])
    strange = share > 0.05
    return at[strange], mended[strange]


def behind_the_gap(o: Observation, pixels: F64) -> NDArray[np.bool_]:
    """(n,) which pixels (n, 2) show the gap between parted lips: whatever of the lips lies there is not seen."""
    if teeth.lip_gap(o) < teeth.LEAST_GAP:
        return np.zeros(len(pixels), bool)
    gap = polygon(o, LIPS_INNER)
    q = np.floor(pixels).astype(int).clip(0, np.array(gap.shape[::-1]) - 1)
    return np.asarray(gap[q[:, 1], q[:, 0]] > 0)


def _ring(o: Observation, ring: tuple[int, ...]) -> NDArray[np.int32]:
    return o.landmarks[list(ring)].round().astype(np.int32)


def _lab(colours: F64) -> NDArray:
    return cv2.cvtColor(colours[None].astype(np.float32).clip(0, 1), cv2.COLOR_RGB2LAB)[0]


def _painted(mesh: UnionMesh, seeds: Seeds, at: NDArray, part: NDArray, lit: F64) -> F64:
    assert mesh.teeth is not None
    uv = np.concatenate([mesh.teeth.upper.uv, mesh.teeth.lower.uv])
    w = np.concatenate([1 - seeds.bary[at].sum(1, keepdims=True), seeds.bary[at]], 1)
    where = np.einsum("nk,nkc->nc", w, uv[mesh.skin.faces[seeds.face[at]] - mesh.teeth_start])
    out = np.zeros((len(at), 3))
    for row in (anatomy.UPPER_TEETH, anatomy.LOWER_TEETH):
        out[part == row] = teeth.paint(where[part == row], row, lit)
    return out
