"""Stage colour: a first colour for every Gaussian, hidden ones included, then all of them at once in closed form.

What the photo does not show is filled over the mesh by a harmonic function of what it shows; above the jaw the rim of
the matte (mostly hair) fills what lies behind it. The picture is linear in the colours (rgb * alpha = W c), so the
colours that redraw the photo solve a ridge-regularised least-squares problem: conjugate gradients, 25 steps.
"""

from __future__ import annotations

import cv2
import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as sl
from numpy.typing import NDArray

from avatar.asset import Gaussians
from avatar.build import anatomy, eyes, mouth
from avatar.build.kinematics import F64
from avatar.build.landmarks import LEFT_EYE, OVAL, RIGHT_EYE
from avatar.build.mesh import UnionMesh, unit
from avatar.build.observe import Observation
from avatar.build.refine import adjacency
from avatar.build.seed import Seeds
from avatar.render import cpu
from avatar.render.contract import LAYER
from models.body import BodyModel
from models.matting import push_pull
from models.motion import HEAD, JOINT
from models.motion import LEFT_EYE as LEFT_EYE_JOINT
from models.motion import RIGHT_EYE as RIGHT_EYE_JOINT

RIDGE_SEEN, RIDGE_UNDERLAY, RIDGE_HIDDEN, RIDGE_FRINGE = 0.02, 0.1, 1.0, 5.0  # towards the first colour
RIDGE_DOUBTED = 0.5  # where the photo shows the Gaussian's neighbour
RIDGE_EDGE = 10.0  # how much more where the matte is half transparent: there the background's share is uncertain
CROWDED = 3
TONE_FLESH, TONE_ELSE = 0.005, 1e-4  # pull of hidden vertices to the face's mean colour
LIT_LID = 0.7
SOCKET = 0.03  # m about an eye that is lids and their surroundings
BROW_REACH, BROW_DARK = 2.4, 0.75  # sizes of an eye about it, brightness over the face's mean
SKIN_CHROMA, SKIN_LIGHT = 16.0, 38.0  # distances in CIE Lab within which a colour may be this face's skin
LEAST_STRETCH, FULL_STRETCH, LID_FILL = 1.8, 4.0, 0.75
STEPS = 25
RIM_DIRECTIONS = 96


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
    model: BodyModel, o: Observation, mesh: UnionMesh, seeds: Seeds
) -> tuple[F64, F64, NDArray[np.bool_]]:
    """(N, 3) the photo's colours where it shows the Gaussian, the fill elsewhere; (N, 3) the fill everywhere; and (N,)
    whether the photo is believed there: not where a neighbour's pixel fell on teeth, lips or eyes."""
    vertex, skin_tone = _vertex_colours(model, o, mesh)
    brushes = _eye_brushes(model, o, mesh, seeds, skin_tone)
    white = np.mean([b.sclera for b in brushes.values()], 0) if brushes else mouth.EYE_WHITE * skin_tone.mean() / 0.55
    lit = mouth.light(white, skin_tone)
    vertex = mouth.inside(model, vertex, lit)
    corners = mesh.skin.faces[seeds.face]
    on_body = corners.max(1) < mesh.body_vertices
    c = corners.clip(0, mesh.body_vertices - 1)
    w = np.concatenate([1 - seeds.bary.sum(1, keepdims=True), seeds.bary], 1)
    colour = np.where(on_body[:, None], np.einsum("nk,nkc->nc", w, vertex[c]), skin_tone)
    fill = colour.clip(0, 1)
    shown = seeds.seen | seeds.drawn
    colour[shown] = sample(o.foreground, seeds.pixel[shown])
    part = mesh.part[seeds.face]
    for ball, brush in brushes.items():
        unseen = ~seeds.seen[part == ball]
        colour[np.flatnonzero(part == ball)[unseen]] = brush(_eye_angles(mesh, seeds, ball)[unseen])
    believed = np.ones(len(colour), bool)
    for at, paint in (mouth.teeth_colours(o, mesh, seeds, colour, lit), mouth.lip_colours(o, seeds, colour)):
        colour[at] = paint
        believed[at] = False
    hidden = (part == anatomy.SHELL) & ~shown
    if hidden.any():  # what continues under something nearer looks as it does beside it
        visible = _shell_seen(o, seeds, part)
        colour[hidden] = sample(push_pull(o.foreground, visible.astype(np.float32)), seeds.pixel[hidden])
    for k, arm in enumerate(mesh.sheets):
        on = mesh.sheet_of[seeds.face] == k
        colour[on] = sample(arm.foreground, seeds.pixel[on])
    return colour.clip(0, 1), fill, believed


def soften_lids(colour: F64, fill: F64, stretch: NDArray) -> F64:
    """(N, 3) colours in which lid skin that a blink stretches (N,) times turns towards the fill: a few pixels of photo
    drawn out over a closed lid are streaks, not skin."""
    t = np.clip((stretch - LEAST_STRETCH) / (FULL_STRETCH - LEAST_STRETCH), 0, 1)[:, None]
    return colour + LID_FILL * t * t * (3 - 2 * t) * (fill - colour)


def _shell_seen(o: Observation, seeds: Seeds, part: NDArray) -> NDArray[np.bool_]:
    """(H, W) pixels that hold a Gaussian of the shell, away from the matte's edge."""
    seen = np.zeros(o.alpha.shape, bool)
    q = seeds.pixel[seeds.seen & (part == anatomy.SHELL)].astype(int)
    seen[q[:, 1], q[:, 0]] = True
    return seen & (o.alpha > 0.95)


def _vertex_colours(model: BodyModel, o: Observation, mesh: UnionMesh) -> tuple[F64, F64]:
    """(V, 3) of the body's vertices, and the face's mean colour (3,)."""
    a = anatomy.of(model)
    n = mesh.body_vertices
    body = mesh.skin.faces[mesh.part < anatomy.UPPER_TEETH]
    points = o.camera.camera_from_world(mesh.posed[:n])
    pixels = o.camera.project(mesh.posed[:n])[:, :2]
    known = _seen_vertices(o, mesh, body, points, pixels) & a.skin & ~a.inner_mouth & ~_in_eyes(o, pixels)
    colours = sample(cv2.GaussianBlur(o.foreground, (0, 0), max(unit(o), 0.6)), pixels)
    face = np.intersect1d(np.flatnonzero(known), a.landmark_corners.ravel())
    tone = colours[face].mean(0) if len(face) else np.full(3, 0.5)
    A = adjacency(body, n)
    L = sp.diags(np.asarray(A.sum(1)).ravel()) - A
    flesh = _where_skin_is_expected(model)
    known &= ~flesh | _skin_like(colours, tone)  # a collar's or strand's colour must not spread over neck and jaw
    brow = _in_eyes(o, pixels, BROW_REACH) & (colours.mean(1) < BROW_DARK * tone.mean())
    known &= ~brow  # nor a brow's over the lid
    hold = np.where(known, 1e4, np.where(flesh, TONE_FLESH, TONE_ELSE))
    right = hold[:, None] * np.where(known[:, None], colours, tone)
    filled = sl.splu((L + sp.diags(hold)).tocsc()).solve(right)
    filled = _fill_from_rim(model, o, filled, known, pixels)
    for eye in (LEFT_EYE_JOINT, RIGHT_EYE_JOINT):
        _fill_lids(model, filled, known, eye)
    return filled, tone


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


def _where_skin_is_expected(model: BodyModel) -> NDArray[np.bool_]:
    """(V,) face below the eyes, jaw and the neck's upper half."""
    a = anatomy.of(model)
    joint = lambda name: model.joint_regressor[JOINT[name], :] @ model.v_template  # noqa: E731
    y = model.v_template[:, 1]
    return (a.head + a.neck > 0.5) & (y < joint("left_eye_smplhf")[1]) & (y > joint("neck")[1])


def _skin_like(colours: F64, tone: F64) -> NDArray[np.bool_]:
    lab = cv2.cvtColor(np.concatenate([colours, tone[None]])[None].astype(np.float32).clip(0, 1), cv2.COLOR_RGB2LAB)[0]
    away = np.abs(lab[:-1] - lab[-1])
    return (np.hypot(away[:, 1], away[:, 2]) < SKIN_CHROMA) & (away[:, 0] < SKIN_LIGHT)


def _seen_vertices(o: Observation, mesh: UnionMesh, body: NDArray, points: F64, pixels: F64) -> NDArray[np.bool_]:
    """Vertices well inside the matte that face the camera and nothing hides."""
    H, W = o.alpha.shape
    inside = ((pixels > 1) & (pixels < [W - 2, H - 2])).all(1)
    q = np.floor(pixels).astype(int).clip(0, [W - 1, H - 1])
    depth, _ = cpu.zbuffer(o.camera.project(mesh.posed), mesh.skin.faces, W, H)
    r = 2 * round(2 * unit(o)) + 1
    safe = cv2.erode((o.alpha > 0.9).astype(np.uint8), np.ones((r, r)), borderType=cv2.BORDER_REPLICATE) > 0
    tri = points[body]
    normal = np.zeros_like(points)
    for i in range(3):
        np.add.at(normal, body[:, i], np.cross(tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0]))
    cosine = np.abs((normal * points).sum(1)) / (
        np.linalg.norm(normal, axis=1) * np.linalg.norm(points, axis=1) + 1e-12
    )
    return inside & (depth[q[:, 1], q[:, 0]] > points[:, 2] - 0.003) & safe[q[:, 1], q[:, 0]] & (cosine > 0.3)


def _in_eyes(o: Observation, pixels: F64, grow: float = 1.25) -> NDArray[np.bool_]:
    mask = np.zeros(o.alpha.shape, np.uint8)
    for ring in (RIGHT_EYE, LEFT_EYE):
        p = o.landmarks[list(ring)]
        cv2.fillConvexPoly(mask, cv2.convexHull(((p - p.mean(0)) * grow + p.mean(0)).astype(np.int32)), 1)
    H, W = o.alpha.shape
    q = np.floor(pixels).astype(int).clip(0, [W - 1, H - 1])
    return mask[q[:, 1], q[:, 0]] > 0


def _fill_from_rim(model: BodyModel, o: Observation, colours: F64, known: NDArray, pixels: F64) -> F64:
    """Hidden skin of the head above the jaw takes the colour of the matte's rim in its direction: hair stays hair."""
    a = anatomy.of(model)
    centre = o.landmarks[list(OVAL)].mean(0)
    hidden = ~known & (model.weights[:, HEAD] > 0.9) & ~a.inner_mouth & a.skin
    for eye in (LEFT_EYE_JOINT, RIGHT_EYE_JOINT):  # lids are hidden too, but not by hair
        hidden &= np.linalg.norm(model.v_template - model.joint_regressor[eye] @ model.v_template, axis=1) > SOCKET
    chosen = np.flatnonzero(hidden)
    away = pixels[chosen] - centre
    rim = _rim_colours(o, centre)
    share = np.clip((0.2 - away[:, 1] / (np.linalg.norm(away, axis=1) + 1e-6)) / 0.3, 0, 1)[:, None]
    k = ((np.arctan2(away[:, 1], away[:, 0]) + np.pi) / (2 * np.pi) * RIM_DIRECTIONS).astype(int) % RIM_DIRECTIONS
    crown = np.median(rim[int(RIM_DIRECTIONS * 0.17) : int(RIM_DIRECTIONS * 0.33)], 0)
    behind = _where_hair_is_expected(model)[chosen]
    out = colours.copy()
    out[chosen] = (1 - share) * colours[chosen] + share * rim[k]
    out[chosen] = (1 - behind[:, None]) * out[chosen] + behind[:, None] * crown
    return out


def _where_hair_is_expected(model: BodyModel) -> F64:
    """(V,) 0..1: behind the temples above the eyes, behind the ears above the nape. Metres from the eyes."""
    eye = (model.joint_regressor[[LEFT_EYE_JOINT, RIGHT_EYE_JOINT]] @ model.v_template).mean(0)
    up, back = (model.v_template - eye)[:, 1], -(model.v_template - eye)[:, 2]
    temple = np.clip((back - 0.085) / 0.02, 0, 1) * np.clip((up + 0.02) / 0.03, 0, 1)
    nape = np.clip((back - 0.136) / 0.02, 0, 1) * np.clip((up + 0.089) / 0.03, 0, 1)
    return np.maximum(temple, nape)


def _rim_colours(o: Observation, centre: NDArray) -> F64:
    """(RIM_DIRECTIONS, 3) colours inside the matte's edge, by direction from the face's centre.

    From where the matte is certain: in its soft edge, even the estimated foreground holds some background.
    """
    H, W = o.alpha.shape
    picture = cv2.GaussianBlur(o.rgb.astype(np.float32) / 255, (0, 0), max(unit(o), 0.7))
    certain = cv2.erode(o.alpha, np.ones((3, 3)), borderType=cv2.BORDER_REPLICATE) > 0.97
    inset, depth = max(round(2 * unit(o)), 1), max(round(6 * unit(o)), 3)
    s = np.arange(0.3 * o.face_width, 1.4 * o.face_width)
    rim = np.zeros((RIM_DIRECTIONS, 3))
    for k in range(RIM_DIRECTIONS):
        angle = (k + 0.5) / RIM_DIRECTIONS * 2 * np.pi - np.pi
        x = (centre[0] + np.cos(angle) * s).clip(0, W - 1).astype(int)
        y = (centre[1] + np.sin(angle) * s).clip(0, H - 1).astype(int)
        out = np.flatnonzero(~certain[y, x])
        end = max((int(out[0]) if len(out) else len(s)) - inset, 1)
        part = slice(max(0, end - depth), end)
        rim[k] = np.median(picture[y[part], x[part]], 0)
    wrapped = np.concatenate([rim[-2:], rim, rim[:2]])
    return np.stack([np.convolve(wrapped[:, c], np.ones(5) / 5, "valid") for c in range(3)], 1)


def _eye_angles(mesh: UnionMesh, seeds: Seeds, part: int) -> F64:
    """(n, 2) rad right and up from the front of an eyeball, of the Gaussians on it."""
    on = mesh.part[seeds.face] == part
    rest = mesh.skin.vertices.astype(np.float64)
    ball = eyes.sphere(rest[np.unique(mesh.skin.faces[mesh.part == part])])
    w = np.concatenate([1 - seeds.bary[on].sum(1, keepdims=True), seeds.bary[on]], 1)
    at = np.einsum("nk,nkc->nc", w, rest[mesh.skin.faces[seeds.face[on]]]) - ball.centre
    d = at / np.linalg.norm(at, axis=1, keepdims=True)
    angle = np.arccos(np.clip(d[:, 2], -1, 1))
    return d[:, :2] * (angle / np.maximum(np.sin(angle), 1e-6))[:, None]


def _eye_brushes(model: BodyModel, o: Observation, mesh: UnionMesh, seeds: Seeds, tone: F64) -> dict[int, eyes.Paint]:
    """How each eyeball is painted, after what the photo shows of it; by part."""
    brushes = {}
    for part, side in ((anatomy.LEFT_EYE, "Left"), (anatomy.RIGHT_EYE, "Right")):
        on = mesh.part[seeds.face] == part
        if not on.any():
            continue
        shown = seeds.seen[on]
        posed = eyes.sphere(mesh.posed[np.unique(mesh.skin.faces[mesh.part == part])])
        fallback = np.full(3, 0.45 + 0.5 * tone.mean()).clip(0, 0.9)
        iris = eyes.iris_angle(posed, o.landmarks, side, o.camera)
        colours = sample(o.foreground, seeds.pixel[on][shown])
        brushes[part] = eyes.paint(_eye_angles(mesh, seeds, part)[shown], colours, iris, fallback)
    return brushes


def solve(o: Observation, mesh: UnionMesh, gaussians: Gaussians, seeds: Seeds, believed: NDArray[np.bool_]) -> F64:
    """(N, 3) colours that redraw the photo over the background, as near to the first colours as that allows."""
    w = cpu.weights(mesh.posed.astype(np.float32), mesh.skin.faces, mesh.occluder, gaussians, o.camera)
    alpha = w.alpha.reshape(-1)
    keep = np.flatnonzero(alpha > 0.05)
    A = w.matrix()[keep]
    picture = o.rgb.reshape(-1, 3)[keep] / 255.0
    back = o.background.reshape(-1, 3)[keep] / 255.0
    b = picture - (1 - alpha[keep, None]) * back  # what the Gaussians must add over the background
    crowd = np.maximum(1 / seeds.step, 1.0) ** CROWDED  # more Gaussians than pixels: the photo says ever less of each
    shown = np.where(believed, RIDGE_SEEN * crowd, RIDGE_DOUBTED)
    ridge = np.where(seeds.seen, shown, np.where(seeds.drawn, RIDGE_UNDERLAY, RIDGE_HIDDEN))
    ridge = ridge * np.where(seeds.layer == LAYER["fringe"], RIDGE_FRINGE, 1 + RIDGE_EDGE * (1 - seeds.opacity))
    return ridge_solution(A, b, gaussians.colour.astype(np.float64), ridge[:, None]).clip(0, 1)


def ridge_solution(A: sp.csr_matrix, b: F64, start: F64, ridge: F64) -> F64:
    """argmin |A c - b|^2 + ridge |c - start|^2 by conjugate gradients, all columns at once."""
    At = A.T.tocsr()

    def normal(x: F64) -> F64:
        return At @ (A @ x) + ridge * x

    c = start.copy()
    residual = At @ b + ridge * start - normal(c)
    p = residual.copy()
    size = (residual**2).sum(0)
    for _ in range(STEPS):
        Ap = normal(p)
        step = size / np.maximum((p * Ap).sum(0), 1e-20)
        c += step * p
        residual -= step * Ap
        new = (residual**2).sum(0)
        p = residual + new / np.maximum(size, 1e-20) * p
        size = new
    return c
