"""Stage colour: a first colour for every Gaussian, hidden ones included, then all of them at once in closed form.

What the photo does not show is filled over the mesh, class by class (completion.py), with the grain of the hair beside
it (grain.py). The picture is linear in the colours (rgb * alpha = W c), so the colours that redraw the photo solve a
ridge-regularised least-squares problem: conjugate gradients, 25 steps.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from avatar.asset import Gaussians
from avatar.build import anatomy, completion, contour, eye_colours, grain, lids, mouth, scalp
from avatar.build.kinematics import F64
from avatar.build.landmarks import LEFT_EYE, RIGHT_EYE
from avatar.build.mesh import UnionMesh
from avatar.build.observe import Observation, unit
from avatar.build.parts import CLOTH, SKIN
from avatar.build.seed import Seeds
from avatar.render import cpu
from avatar.render.contract import LAYER
from models.body import BodyModel
from models.matting import push_pull
from models.motion import LEFT_EYE as LEFT_EYE_JOINT
from models.motion import RIGHT_EYE as RIGHT_EYE_JOINT

RIDGE_SEEN, RIDGE_UNDERLAY, RIDGE_HIDDEN, RIDGE_FRINGE = 0.02, 0.1, 1.0, 80.0  # towards the first colour
THROUGH = 0.03  # of a moving arm's matte from which what lies below it is mixed with it
DOUBT_BELOW = 0.15
RIDGE_DOUBTED = 0.4  # where the photo shows the Gaussian's neighbour
RIDGE_EDGE = 6.0  # how much more where the matte is half transparent: there the background's share is uncertain
RIDGE_OPAQUE = 40.0  # the same of what is opaque there
RIDGE_OUTLINE = 5.0  # how much more at the outline of a surface that turns inwards: it must not keep a rim
DOUBT_EYE = 0.25  # of an eye's white beside its lids: what is lost there is the look of the photo's eye
CROWDED = 3
LIT_LID = 0.7
SOCKET = 0.03  # m about an eye that is lids and their surroundings
BROW_REACH, BROW_DARK = 2.4, 0.75  # sizes of an eye about it, brightness over the face's mean
SKIN_CHROMA, SKIN_LIGHT = 16.0, 38.0  # distances in CIE Lab within which a colour may be this face's skin
ON_HEAD = 0.8  # weight of the head from which a surface is no neck that a collar may cover
ASIDE = 0.5  # px by which a colour is taken aside of a collar from which the photo's own is doubted
MIXED = 0.1  # probability of cloth from which, and of skin, a pixel's colour may be of both
CLOTHED = 0.5  # probability from which a pixel is cloth that must not colour a jaw
STEPS = 25
RIDGE_OPACITY, RIDGE_KEPT = 0.05, 1e3
OPACITY_ROUNDS = 3


def sample(image: NDArray, pixels: NDArray) -> F64:
    """Bilinear colours (N, C) at pixels (N, 2), whose centres lie at .5. (cv2.remap stops at 32,767 points a row.)"""
    H, W = image.shape[:2]
    x = np.clip(pixels[:, 0] - 0.5, 0, W - 1.001)
    y = np.clip(pixels[:, 1] - 0.5, 0, H - 1.001)
    i, j = x.astype(int), y.astype(int)
    a, b = (x - i)[:, None], (y - j)[:, None]
    top = image[j, i] * (1 - a) + image[j, i + 1] * a
    return top * (1 - b) + (image[j + 1, i] * (1 - a) + image[j + 1, i + 1] * a) * b


def first_colours(
    model: BodyModel, o: Observation, mesh: UnionMesh, seeds: Seeds, blink: lids.Blink
) -> tuple[F64, F64]:
    """(N, 3) the photo's colours where it shows the Gaussian, the fill elsewhere; and (N,) 0..1 how little the photo is
    believed there: a neighbour's pixel fell on teeth, lips or eyes, or a lid will stretch it."""
    fields, skin_tone = _fields(model, o, mesh)
    balls = eye_colours.eyes_of(o, mesh, seeds, skin_tone, sample)
    white = np.mean([b.brush.sclera for b in balls], 0) if balls else mouth.EYE_WHITE * skin_tone.mean() / 0.55
    lit = mouth.light(white, skin_tone)
    fields = fields.repainted(mouth.inside(model, fields.colour[: mesh.body_vertices, SKIN], lit))
    corners = mesh.skin.faces[seeds.face]
    n = len(fields.probability)
    on_body = corners.max(1) < n
    w = np.concatenate([1 - seeds.bary.sum(1, keepdims=True), seeds.bary], 1)
    colour = np.where(on_body[:, None], fields.at(corners.clip(0, n - 1), w), skin_tone)
    inner = np.isin(seeds.layer, [LAYER["lips"], LAYER["cavity"]])
    shown = seeds.seen | (seeds.drawn & ~(inner & mouth.behind_the_gap(o, seeds.pixel)))
    part, fill = mesh.part[seeds.face], colour.copy()
    bare = ~shown & on_body
    colour[bare] = grain.of_hidden(o, mesh, seeds, bare, colour[bare])
    colour[shown] = sample(o.foreground, seeds.pixel[shown])
    collar = _clear_of_edges(model, o, mesh, seeds, np.flatnonzero(shown & on_body), colour)
    worn = np.where(shown, mesh.parts.at(seeds.pixel)[:, CLOTH], fields.share(corners.clip(0, n - 1), w)[:, CLOTH])
    outer = on_body & ~seeds.folded & ~inner & np.isin(part, [anatomy.SKIN, anatomy.SCALP])
    _continue_what_is_seen(mesh, seeds, colour, colour - fill, shown, outer, worn)
    far_ear, as_the_near = contour.far_ear(model, mesh, seeds, shown, colour - fill)
    colour[far_ear] = fill[far_ear] + as_the_near
    hairline = _about_the_hairline(model, mesh)[seeds.face] & ~inner
    _bare_the_temples(mesh, seeds, colour, shown, hairline)
    doubt = np.zeros(len(colour))
    doubt[collar] = 1
    for ball in balls:
        at, paint = eye_colours.colours(o, ball, seeds, colour)
        colour[at], doubt[at] = paint, DOUBT_EYE
    for at, paint in (mouth.teeth_colours(o, mesh, seeds, colour, lit), mouth.lip_colours(o, mesh, seeds, colour)):
        colour[at], doubt[at] = paint, 1
    at, paint, share = lids.unrolled(mesh, o, seeds, blink)
    colour[at] += share[:, None] * (paint - colour[at])
    doubt[at] = share
    _colour_sheets(o, mesh, seeds, shown, colour, doubt)
    return colour.clip(0, 1), doubt


def _clear_of_edges(
    model: BodyModel, o: Observation, mesh: UnionMesh, seeds: Seeds, at: NDArray[np.int64], colour: F64
) -> NDArray[np.int64]:
    """Gaussians `at` of the body near the matte's edge, and of the head near cloth, take the photo's colour further in;
    colour (N, 3) in place. Indices of those beside a collar, whose own pixel is doubted."""
    inwards = grain.inwards(o, seeds.pixel[at])
    colour[at] = sample(o.foreground, inwards)
    head = _on_head(model, mesh, seeds)[at]
    at, inwards = at[head], inwards[head]
    clear = grain.inwards(o, seeds.pixel[at], mesh.parts.probability[..., CLOTH] > CLOTHED)
    colour[at] = sample(o.foreground, clear)
    return at[np.linalg.norm(clear - inwards, axis=1) > ASIDE]


def _continue_what_is_seen(
    mesh: UnionMesh, seeds: Seeds, colour: F64, off: F64, shown: NDArray[np.bool_], outer: NDArray[np.bool_], worn: F64
) -> None:
    """Hidden spots of the outer (N,) body begin in the colours of what is seen beside them; colour (N, 3) in place. off
    (N, 3): by how much the colours so far differ from the fill; worn (N,): how much is cloth."""
    hidden, skin = ~shown & outer, outer & (mesh.part[seeds.face] == anatomy.SKIN)  # hair has its own (grain.py)
    plain = shown & skin & (np.abs(worn - 0.5) > 0.5 - MIXED)
    colour[hidden & skin] += contour.off_at_the_contour(mesh, seeds, hidden & skin, plain, off, worn)
    colour[hidden] = contour.beside_hair(mesh, seeds, hidden, colour)


def _bare_the_temples(
    mesh: UnionMesh, seeds: Seeds, colour: F64, shown: NDArray[np.bool_], hairline: NDArray[np.bool_]
) -> None:
    """Hidden spots about the hairline (N,) look like the bare scalp beside them; colour (N, 3) in place."""
    points = contour.places(mesh, seeds)[hairline]
    on_scalp = mesh.part[seeds.face[hairline]] == anatomy.SCALP
    skin = mesh.parts.at(seeds.pixel[hairline])[:, SKIN]
    colour[hairline] = completion.beside_bare_scalp(colour[hairline], points, ~shown[hairline], on_scalp, skin)


def _colour_sheets(
    o: Observation, mesh: UnionMesh, seeds: Seeds, shown: NDArray[np.bool_], colour: F64, doubt: F64
) -> None:
    """The sheet where something nearer hides it, and arms; colour (N, 3) and doubt (N,) in place."""
    part = mesh.part[seeds.face]
    hidden = (part == anatomy.SHELL) & ~shown
    if hidden.any():  # what continues under something nearer looks as it does beside it
        visible = _shell_seen(o, seeds, part)
        colour[hidden] = sample(push_pull(o.foreground, visible.astype(np.float32)), seeds.pixel[hidden])
    for k, arm in enumerate(mesh.sheets):
        on = mesh.sheet_of[seeds.face] == k
        colour[on] = sample(arm.foreground, seeds.pixel[on])
        below = (part != anatomy.ARM) & (sample(arm.alpha[..., None], seeds.pixel)[:, 0] > THROUGH)
        doubt[below] = DOUBT_BELOW  # mixed with the arm's own it could take any colour


def _about_the_hairline(model: BodyModel, mesh: UnionMesh) -> NDArray[np.bool_]:
    """(F,) the scalp, and the skin under it and next to it."""
    on = np.zeros(len(mesh.posed), bool)
    on[np.unique(model.faces[scalp.region(model)])] = True
    beside = (mesh.part == anatomy.SKIN) & on[mesh.skin.faces].any(1)
    return np.asarray(beside | (mesh.part == anatomy.SCALP))


def _on_head(model: BodyModel, mesh: UnionMesh, seeds: Seeds) -> NDArray[np.bool_]:
    """(N,) Gaussians on skin that goes with the head."""
    head = np.zeros(len(mesh.posed))
    head[: mesh.body_vertices] = anatomy.of(model).head
    corners = mesh.skin.faces[seeds.face]
    return np.asarray((head[corners].min(1) > ON_HEAD) & (mesh.part[seeds.face] == anatomy.SKIN))


def _shell_seen(o: Observation, seeds: Seeds, part: NDArray) -> NDArray[np.bool_]:
    """(H, W) pixels that hold a Gaussian of the shell, away from the matte's edge."""
    seen = np.zeros(o.alpha.shape, bool)
    q = seeds.pixel[seeds.seen & (part == anatomy.SHELL)].astype(int)
    seen[q[:, 1], q[:, 0]] = True
    return seen & (o.alpha > 0.95)


def _fields(model: BodyModel, o: Observation, mesh: UnionMesh) -> tuple[completion.Fields, F64]:
    """Colours of the body's vertices and the scalp's by class, and the face's mean colour (3,)."""
    a = anatomy.of(model)
    v, n = mesh.body_vertices, mesh.body_vertices + len(mesh.scalp.vertices)
    surface = mesh.posed[:n]
    faces = mesh.skin.faces[(mesh.part < anatomy.UPPER_TEETH) | (mesh.part == anatomy.SCALP)]
    classes = completion.vertex_classes(model, o, surface, faces, mesh.scalp, mesh.parts)
    cloth = mesh.parts.probability[..., CLOTH] > CLOTHED
    at, skin = classes.pixels.copy(), classes.probability[:, SKIN] > completion.SURE
    at[skin] = grain.inwards(o, at[skin], cloth)
    colours = sample(cv2.GaussianBlur(o.foreground, (0, 0), max(unit(o), 0.6)), at)
    known = classes.seen & ~_in_eyes(o, classes.pixels)
    known[:v] &= a.skin & ~a.inner_mouth & ~mouth.behind_the_gap(o, classes.pixels[:v])
    face = np.intersect1d(np.flatnonzero(known), a.landmark_corners.ravel())
    tone = colours[face].mean(0) if len(face) else np.full(3, 0.5)
    known &= (classes.probability[:, SKIN] < completion.SURE) | _skin_like(colours, tone)
    brow = _in_eyes(o, classes.pixels, BROW_REACH) & (colours.mean(1) < BROW_DARK * tone.mean())
    known &= ~brow  # a brow's colour must not spread over the lid
    fields = completion.fields(classes, colours, known, tone)
    for eye in (LEFT_EYE_JOINT, RIGHT_EYE_JOINT):
        _fill_lids(model, fields.colour[:v, SKIN], known[:v], eye)
    return fields, tone


def _fill_lids(model: BodyModel, colours: F64, known: NDArray, eye: int) -> None:
    """Hidden lid skin takes the lit skin about the eye, not the shadow of the crease that folds it away; in place."""
    distance = np.linalg.norm(model.v_template - model.joint_regressor[eye] @ model.v_template, axis=1)
    around = colours[known & (distance < 1.5 * SOCKET)]
    if len(around) < 8:
        return
    light = around.mean(1)
    lit = around[light >= np.median(light)].mean(0)
    lids = ~known & (distance < SOCKET)
    colours[lids] = (1 - LIT_LID) * colours[lids] + LIT_LID * 0.97 * lit


def _skin_like(colours: F64, tone: F64) -> NDArray[np.bool_]:
    lab = cv2.cvtColor(np.concatenate([colours, tone[None]])[None].astype(np.float32).clip(0, 1), cv2.COLOR_RGB2LAB)[0]
    away = np.abs(lab[:-1] - lab[-1])
    return (np.hypot(away[:, 1], away[:, 2]) < SKIN_CHROMA) & (away[:, 0] < SKIN_LIGHT)


def _in_eyes(o: Observation, pixels: F64, grow: float = 1.25) -> NDArray[np.bool_]:
    mask = np.zeros(o.alpha.shape, np.uint8)
    for ring in (RIGHT_EYE, LEFT_EYE):
        p = o.landmarks[list(ring)]
        cv2.fillConvexPoly(mask, cv2.convexHull(((p - p.mean(0)) * grow + p.mean(0)).astype(np.int32)), 1)
    H, W = o.alpha.shape
    q = np.floor(pixels).astype(int).clip(0, [W - 1, H - 1])
    return mask[q[:, 1], q[:, 0]] > 0


def solve(o: Observation, mesh: UnionMesh, gaussians: Gaussians, seeds: Seeds, doubt: F64, steps: int = STEPS) -> F64:
    """(N, 3) colours that redraw the photo over the background, as near to the first colours as that allows; `steps` of
    conjugate gradients."""
    w = cpu.weights(mesh.posed.astype(np.float32), mesh.skin.faces, mesh.occluder, gaussians, o.camera)
    alpha = w.alpha.reshape(-1)
    keep = np.flatnonzero(alpha > 0.05)
    A = w.matrix()[keep]
    picture = o.rgb.reshape(-1, 3)[keep] / 255.0
    back = o.background.reshape(-1, 3)[keep] / 255.0
    b = picture - (1 - alpha[keep, None]) * back  # what the Gaussians must add over the background
    crowd = np.maximum(1 / seeds.step, 1.0) ** CROWDED  # more Gaussians than pixels: the photo says ever less of each
    ridge = np.where(seeds.seen, RIDGE_SEEN * crowd, np.where(seeds.drawn, RIDGE_UNDERLAY, RIDGE_HIDDEN))
    ridge = np.maximum(ridge, np.where(seeds.folded, RIDGE_HIDDEN, RIDGE_DOUBTED * doubt))
    on_surface = (mesh.part[seeds.face] == anatomy.SKIN) | (mesh.part[seeds.face] == anatomy.SCALP)
    ridge = ridge * np.where(on_surface, 1 + RIDGE_OUTLINE * grain.at_edge(o, seeds.pixel), 1)
    soft = 1 - np.minimum(seeds.opacity, np.where(seeds.seen, sample(o.alpha[..., None], seeds.pixel)[:, 0], 1))
    edge = np.where(mesh.hides[seeds.face], RIDGE_OPAQUE, RIDGE_EDGE)
    ridge = ridge * (1 + np.where(seeds.layer == LAYER["fringe"], RIDGE_FRINGE, edge) * soft)
    return ridge_solution(A, b, gaussians.colour.astype(np.float64), ridge[:, None], steps).clip(0, 1)


def solve_opacity(o: Observation, mesh: UnionMesh, gaussians: Gaussians, seeds: Seeds) -> F64:
    """(N,) opacities with which the seen Gaussians at the outline, but for those of surfaces that hide what is behind
    them, redraw the matte.

    A lattice samples a sharp matte too coarsely: mixed by weight, its samples blur it. Alpha is linear in them, too,
    but for its two layers, of which one dims the other: hence some rounds.
    """
    for _ in range(OPACITY_ROUNDS):
        gaussians = replace(gaussians, opacity=_opacity_step(o, mesh, gaussians, seeds).astype(np.float32))
    return gaussians.opacity.astype(np.float64)


def _opacity_step(o: Observation, mesh: UnionMesh, gaussians: Gaussians, seeds: Seeds) -> F64:
    """(N,) the solution where alpha depends on the opacities as it does at those given."""
    w = cpu.weights(mesh.posed.astype(np.float32), mesh.skin.faces, mesh.occluder, gaussians, o.camera)
    start = gaussians.opacity.astype(np.float64)
    soft = ((o.alpha > 0.02) & (o.alpha < 0.98)).astype(np.uint8)
    alpha = w.alpha.reshape(-1).astype(np.float64)
    rows = np.flatnonzero((cv2.dilate(soft, np.ones((5, 5))).ravel() > 0) & (alpha > 0.02))
    A = w.matrix()[rows]  # every row sums to alpha: what a Gaussian adds to it, if all were as opaque as the mean is
    mean = A @ start / alpha[rows]
    A = sp.diags(1 / np.maximum(mean, 0.02)) @ A
    opaque = mesh.hides[seeds.face] & (seeds.opacity == 1)
    ridge = np.where(seeds.seen & ~opaque, RIDGE_OPACITY, RIDGE_KEPT)
    wanted = o.alpha.reshape(-1)[rows].astype(np.float64)
    return ridge_solution(A.tocsr(), wanted[:, None], start[:, None], ridge[:, None])[:, 0].clip(0, 1)


def ridge_solution(A: sp.csr_matrix, b: F64, start: F64, ridge: F64, steps: int = STEPS) -> F64:
    """argmin |A c - b|^2 + ridge |c - start|^2 by conjugate gradients, all columns at once."""
    At = A.T.tocsr()

    def normal(x: F64) -> F64:
        return At @ (A @ x) + ridge * x

    c = start.copy()
    residual = At @ b + ridge * start - normal(c)
    p = residual.copy()
    size = (residual**2).sum(0)
    for _ in range(steps):
        Ap = normal(p)
        step = size / np.maximum((p * Ap).sum(0), 1e-20)
        c += step * p
        residual -= step * Ap
        new = (residual**2).sum(0)
        p = residual + new / np.maximum(size, 1e-20) * p
        size = new
    return c
