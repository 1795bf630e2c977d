"""A moving arm as a sheet with depth: a grid over its pixels, bulging like an arm, with the weights of its bones.

Depth is that of the fitted bones plus a round cross-section from the distance to the outline. Weights are shared by
the bones near by in the picture, a finger's with its own bones only. Where two fingers, or hand and upper arm, meet in
the picture the sheet is cut: a cell at a cut keeps its pixels, but has four vertices of its own that move as its
front-most corner does, so nothing webs and nothing is missing at rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from avatar.build.arms.fit import FINGERS
from avatar.build.arms.owner import FADE, Region, smoothstep, swept, to_segment
from avatar.build.kinematics import F64
from avatar.build.observe import Observation
from avatar.limbs import FORESHORTENED, FREE
from models.matting import push_pull
from models.motion import JOINT

F32 = NDArray[np.float32]

CELL = 0.005  # m, within CELL_PX
CELL_PX = (2.0, 4.0)
BORDER = 0.02  # m that the sheet goes on beyond the picture's border
BULGE_ARM, BULGE_PALM, BULGE_FINGER = 0.045, 0.016, 0.010  # m at most
SLOPE, LIFTED = 1.5, 24  # m of depth a metre across, at most; px over which what is deeper is lifted for that
STUB = 0.02  # m behind the wrist that a foreshortened forearm's far end lies
IN_FRONT = 0.004  # m before the bones
CLEAR = {FREE: 0.012, FORESHORTENED: 0.045}  # m that an arm keeps before the trunk it hides
STEEP = 0.25  # cosine to the view under which a sheet's triangle bridges two depths and may hide nothing
SOLID = 0.6  # alpha of all corners from which a triangle may hide what is behind it
TRUNK_JOINT = JOINT["spine3"]
_ARM, _PALM, _FINGER = range(3)
_TAU = np.array([0.014, 0.007, 0.004])  # m over which a bone's share fades
_BIAS = np.array([0.0, -0.012, -0.004])  # m by which a bone is preferred
_RADIUS = np.array([0.05, 0.022, 0.013])  # m from a bone beyond which it counts three times as far
_RADIUS_UPPER = 0.075
_CAP = np.array([BULGE_ARM, BULGE_PALM, BULGE_FINGER])
BLUR_WEIGHT = 0.009  # m
UPPER_ARM = 0.05  # m from the bone to the surface
LEAST_HIDDEN = 0.1  # of the upper arm's pixels that must be hidden, and that must be seen, to complete it
RADIUS_TUBE = 0.032  # m, of a completed forearm
SWEEP = 0.12  # m that the upper arm goes on in its own direction
EVEN = 0.02  # m over which its depth is evened out
ROUND_SHADE = 0.1  # how much darker the completed forearm is at its sides
UNDER = 0.04  # m that it lies under the hand, whose fingers bend towards it
WITHIN, ROUND_PX = 7, 2.0  # px across that its outline is drawn in by, px over which it is rounded
SLEEVE = 0.8  # of the way to the wrist, where it still looks as it does behind
BEHIND = 0.008  # m
APART = 12.0  # in CIE Lab, from which sleeve and skin can be told apart
CLOTH_PUSH = 0.06  # m that cloth is kept from hand and bare forearm
CUT_FROM = 0.45  # of a finger's first bone, from which fingers are apart
CROOK = 0.2  # of upper arm and of forearm, about the elbow, that stay together
MOST_JOINTS = 4  # of a vertex


@dataclass(frozen=True)
class Sheet:
    vertices: F64  # (n, 3) world m as in the photo
    faces: NDArray[np.int64]  # (f, 3)
    weights: F64  # (n, 55)
    solid: NDArray[np.bool_]  # (f,)
    alpha: F32  # (H, W) the arm's own
    foreground: F32  # (H, W, 3) its colours, continued beyond its edge
    behind: bool = False  # the photo shows nothing of it


@dataclass(frozen=True)
class _Bones:
    joint: NDArray[np.int64]  # (b,) that moves it; TRUNK_JOINT: nothing does
    kind: NDArray[np.int64]  # (b,) _ARM, _PALM or _FINGER
    finger: NDArray[np.int64]  # (b,) 1..5, 0 of none
    order: NDArray[np.int64]  # (b,) from the finger's root
    ends: F64  # (b, 2, 2) px
    depth: F64  # (b, 2) m
    per_metre: F64  # (b,) px


def build(o: Observation, region: Region, behind: NDArray) -> list[Sheet]:
    """behind (H, W): the trunk's depth, m; inf where there is none."""
    grid = _Grid(o, region)
    b = _bones(region)
    near = _Near(o, region, grid, b)
    depth = _depth(region, grid, b, near, behind)
    weights = _weights(region, grid, b, near)
    alpha = _alpha(o, region)
    hides = np.where(_hold(region) > 0.99, alpha, 0)  # where the arm fades into the trunk it hides nothing
    vertices, faces, vertex_weights, solid = _mesh(o, grid, near, b, depth, weights, alpha, hides)
    sheets = [Sheet(vertices, faces, vertex_weights, solid, alpha, _continued(o, region.mask))]
    completed = _upper_arm_behind if region.arm.kind == FREE else _forearm_behind
    return sheets + completed(o, region, grid, near, b, depth, behind)


def _continued(o: Observation, own: NDArray[np.bool_]) -> F32:
    """(H, W, 3) the colours of pixels `own`, continued beyond their edge."""
    core = cv2.erode((own & (o.alpha > 0.85)).astype(np.uint8), np.ones((3, 3))) > 0
    filled = push_pull(o.foreground, core.astype(np.float32))
    return np.where(core[..., None], o.foreground, filled).astype(np.float32)


def _upper_arm_behind(o, region, grid, near, b, depth, _):  # type: ignore[no-untyped-def]
    """Of a folded arm the upper arm under forearm and hand, which an opening elbow shows -> one sheet, or none."""
    capsule = (near.distance[0] < UPPER_ARM * b.per_metre[0]) & (near.along[0] > 0) & (near.along[0] < 1) & grid.mask
    capsule &= grid.padded(region.sway) > 0.9
    hidden, own = capsule & (near.best != 0), capsule & (near.best == 0)
    if hidden.sum() < LEAST_HIDDEN * capsule.sum() or own.sum() < LEAST_HIDDEN * capsule.sum():
        return []
    weights = np.zeros((*depth.shape, 55), np.float32)
    weights[..., b.joint[0]] = 1
    alpha = grid.unpadded(cv2.GaussianBlur(capsule.astype(np.float32), (0, 0), 0.8)) * o.alpha
    mesh = _mesh(o, grid, _alone(near), b, depth + BEHIND, weights, alpha, alpha)
    vertices, faces, weight, solid = mesh
    elbow = (near.best == 1) & (near.along[1] < CROOK) & grid.mask  # a sleeve that ends above it ends on skin
    continued = _continued(o, grid.unpadded(own | elbow))
    return [Sheet(vertices, faces, weight, solid, alpha.astype(np.float32), continued, behind=True)]


def _forearm_behind(o, region, grid, near, b, depth, behind):  # type: ignore[no-untyped-def]
    """Of a foreshortened arm what hand and forearm hide of it: from the upper arm, which stays, over the elbow to the
    wrist, with which its end goes -> one sheet, or none."""
    f, px = region.fit, region.per_metre
    to_fore, along = to_segment(grid.x, grid.y, region.elbow, f.hand_pixels[0])
    across = to_fore / (RADIUS_TUBE * px[1])
    upper = swept(region.skin, region.elbow - f.pixels[0], SWEEP * px[1])
    tube = (across < 1) | grid.padded(upper)
    inside = cv2.erode((o.alpha > 0.9).astype(np.uint8), np.ones((5, 5)), borderValue=1) > 0
    hidden = tube & grid.padded(inside & region.mask & (_hold(region) > 0.99))
    hidden = cv2.erode(hidden.astype(np.uint8), np.ones((WITHIN, WITHIN)))
    hidden = cv2.GaussianBlur(hidden.astype(np.float32), (0, 0), ROUND_PX) > 0.5
    if not hidden.any():
        return []
    weights = np.zeros((*depth.shape, 55), np.float32)
    weights[..., b.joint[0]] = along
    weights[..., TRUNK_JOINT] = 1 - along
    alpha = grid.unpadded(cv2.GaussianBlur(hidden.astype(np.float32), (0, 0), 0.8)) * o.alpha
    trunk = grid.padded(behind)
    even, sigma = hidden.astype(np.float32), EVEN * float(px[1])
    flat = cv2.GaussianBlur(depth * even, (0, 0), sigma) / np.maximum(cv2.GaussianBlur(even, (0, 0), sigma), 1e-3)
    deep = np.where(even > 0, flat, depth) + UNDER
    deep = np.maximum(np.where(np.isfinite(trunk), np.minimum(deep, trunk - BEHIND), deep), depth + BEHIND)
    vertices, faces, weight, solid = _mesh(o, grid, _alone(near), b, deep, weights, alpha, alpha)
    colours = _continued(o, _of_forearm(o, region, grid.unpadded(across < 1)))
    colours *= 1 - ROUND_SHADE * grid.unpadded(np.minimum(across, 1) ** 2)[..., None]
    return [Sheet(vertices, faces, weight, solid, alpha.astype(np.float32), colours, behind=True)]


def _of_forearm(o: Observation, region: Region, tube: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) pixels that look as the hidden part of a foreshortened arm does: a bare arm's skin, or its sleeve."""
    hand = region.mask & (region.grip > 0.99) & (o.alpha > 0.9)
    seen = region.mask & (region.grip < 0.3) & (o.alpha > 0.9)
    if region.skin.any():
        return region.skin | seen & (region.sway < SLEEVE)
    seen |= tube & ~region.mask & (o.alpha > 0.9)
    return seen if seen.sum() > LEAST_HIDDEN * tube.sum() else hand


def _alone(near: _Near) -> _Near:
    """As if there were one bone: nothing to part."""
    alone = _Near.__new__(_Near)
    alone.best, alone.along = np.zeros_like(near.best), near.along
    alone.kind, alone.finger = np.zeros_like(near.best), np.zeros_like(near.best)
    return alone


class _Grid:
    """The arm's part of the picture, continued beyond the picture's border where the arm is cut by it."""

    def __init__(self, o: Observation, region: Region) -> None:
        px = float(region.per_metre.max())
        self.pad = round(BORDER * px)
        self.mask = np.pad(region.mask, self.pad, mode="edge")
        self.shape = self.mask.shape
        ys, xs = np.nonzero(cv2.dilate(self.mask.astype(np.uint8), np.ones((13, 13))))
        self.rows, self.columns = slice(ys.min(), ys.max() + 1), slice(xs.min(), xs.max() + 1)
        self.mask = self.mask[self.rows, self.columns]
        yy, xx = np.mgrid[self.rows, self.columns]
        self.x, self.y = xx + 0.5 - self.pad, yy + 0.5 - self.pad  # pixels of the picture
        self.step = float(np.clip(CELL * px, *CELL_PX))

    def unpadded(self, part: NDArray) -> NDArray:
        """A part (h, w) put into an image (H, W) of zeros."""
        out = np.zeros(self.shape, part.dtype)
        out[self.rows, self.columns] = part
        m = self.pad
        return out[m : self.shape[0] - m, m : self.shape[1] - m]

    def padded(self, image: NDArray) -> NDArray:
        """An image (H, W, ...) on this part."""
        m = self.pad
        return np.pad(image, ((m, m), (m, m), *((0, 0),) * (image.ndim - 2)), mode="edge")[self.rows, self.columns]


def _bones(region: Region) -> _Bones:
    f, side, h = region.fit, region.arm.side, region.fit.hand_pixels
    free = region.arm.kind == FREE
    elbow, wrist = JOINT[f"{side}_elbow"], JOINT[f"{side}_wrist"]
    z, hz = -f.points[:, 2], -f.hand[:, 2]
    px = region.per_metre
    rows = []
    if free:
        rows.append((JOINT[f"{side}_shoulder"], _ARM, 0, 0, f.pixels[0], f.pixels[1], z[0], z[1], px[0]))
    # A forearm towards the viewer is flat: at its true depth a few pixels of it would bridge its whole length.
    rows.append((elbow, _ARM, 0, 0, f.pixels[1], h[0], z[1] if free else z[2] + STUB, z[2], px[1]))
    rows += [(wrist, _PALM, 0, 0, h[0], h[root], hz[0], hz[root], px[2]) for root in (5, 9, 13, 17, 1)]
    for i, name in enumerate(FINGERS):
        for k in range(3):
            u = 1 + 4 * i + k
            joint = JOINT[f"{side}_{name}{k + 1}"]
            rows.append((joint, _FINGER, 1 + i, k, h[u], h[u + 1], hz[u], hz[u + 1], px[2]))
    column = [np.array(c) for c in zip(*rows)]
    ends, depths = np.stack(column[4:6], 1), np.stack(column[6:8], 1)
    return _Bones(column[0], column[1], column[2], column[3], ends, depths, column[8])


class _Near:
    """How near each pixel is to each bone: (b, h, w) px, places along the bones, the nearest bone."""

    def __init__(self, o: Observation, region: Region, grid: _Grid, b: _Bones) -> None:
        both = [to_segment(grid.x, grid.y, e[0], e[1]) for e in b.ends]
        self.distance = np.stack([d for d, _ in both])
        self.along = np.stack([t for _, t in both])
        radius = np.where((b.kind == _ARM) & (np.arange(len(b.kind)) == 0), _RADIUS_UPPER, _RADIUS[b.kind])
        scale = b.per_metre[:, None, None]
        cost = self.distance + _BIAS[b.kind][:, None, None] * scale
        cost += 3 * np.maximum(0, self.distance - radius[:, None, None] * scale)
        if region.arm.kind == FREE:
            _tell_cloth(o, region, grid, b, self, cost)
        self.cost = cost
        self.best = cost.argmin(0)
        self.kind, self.finger = b.kind[self.best], b.finger[self.best]


def _tell_cloth(o: Observation, region: Region, grid: _Grid, b: _Bones, near: _Near, cost: NDArray) -> None:
    """Where sleeve and skin differ, cloth is neither hand nor bare forearm, and skin near a bare forearm that hides the
    upper arm is forearm. Changes cost in place."""
    smooth = cv2.GaussianBlur(o.rgb, (0, 0), 1.5).astype(np.float32) / 255
    lab = grid.padded(cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB) * np.array([0.5, 1, 1], np.float32))
    d, t, px = near.distance, near.along, b.per_metre
    hand = (d[2:7].min(0) < 0.012 * px[2]) & grid.mask
    sleeve = (d[0] < 0.03 * px[0]) & (t[0] > 0.05) & (t[0] < 0.5) & grid.mask & (d[1:].min(0) > 0.06 * px[2])
    if hand.sum() < 6 or sleeve.sum() < 6:
        return
    skin, cloth = np.median(lab[hand], 0), np.median(lab[sleeve], 0)
    if np.linalg.norm(skin - cloth) < APART:
        return
    nearer = np.linalg.norm(lab - cloth, axis=-1) - np.linalg.norm(lab - skin, axis=-1)
    skinness = 1 / (1 + np.exp(-nearer / 5))
    fore = (d[1] < 0.02 * px[1]) & (t[1] > 0.3) & (t[1] < 0.8) & grid.mask
    bare = fore.sum() > 5 and np.median(skinness[fore]) > 0.5
    cost[1 if bare else 2 :] += CLOTH_PUSH * px[2] * (1 - skinness)
    in_front = region.fit.points[2, 2] > region.fit.points[1, 2] + 0.02
    if bare and in_front:
        cost[0] += CLOTH_PUSH * px[0] * skinness * (d[1] < 0.06 * px[1])


def _shares(b: _Bones, near: _Near) -> NDArray:
    """(b, h, w) that sum to 1: soft minimum of the cost; a finger's pixel knows its own finger and the palm."""
    tau = (_TAU[b.kind] * b.per_metre)[near.best]
    allowed = (b.finger[:, None, None] == 0) | (b.finger[:, None, None] == near.finger)
    shares = np.where(allowed, np.exp(-np.clip((near.cost - near.cost.min(0)) / tau, 0, 30)), 0)
    return shares / shares.sum(0)


def _depth(region: Region, grid: _Grid, b: _Bones, near: _Near, behind: NDArray) -> NDArray:
    """(h, w) m, of the surface."""
    along = b.depth[:, :1, None] + (b.depth[:, 1:, None] - b.depth[:, :1, None]) * near.along
    flat = (_shares(b, near) * along).sum(0)
    z = flat.copy()
    for kind in (_FINGER, _PALM, _ARM):  # smoothed inside each, never across: a finger's pixel at the forearm's depth
        on = ((near.kind == kind) & grid.mask).astype(np.float32)  # would fly off when it curls
        total = cv2.GaussianBlur(on, (0, 0), 2.0)
        z = np.where(on > 0, cv2.GaussianBlur(flat * on, (0, 0), 2.0) / np.maximum(total, 1e-3), z)
    z = cv2.GaussianBlur(z, (0, 0), 1.0)
    px = b.per_metre[near.best]
    cap = _CAP[near.kind] * px
    inside = np.minimum(distance_transform_edt(np.pad(grid.mask, 1))[1:-1, 1:-1], cap)
    bulge = np.sqrt(np.maximum(inside * (2 * cap - inside), 0)) / px
    z = z - cv2.GaussianBlur(bulge, (0, 0), 1.5) - IN_FRONT
    hidden = grid.padded(behind)
    nearest = np.where(np.isfinite(hidden), hidden, 0) - CLEAR[region.arm.kind]
    excess = np.where(grid.mask & np.isfinite(hidden), z - nearest, 0)
    excess = np.maximum(excess, 0) * smoothstep((grid.padded(region.sway) - 0.4) / 0.5)
    r = round(0.01 * float(region.per_metre.max())) | 1
    z = z - cv2.GaussianBlur(cv2.dilate(excess, np.ones((r, r))), (0, 0), r / 2)
    upper = (near.best == 0) & (region.arm.kind == FREE)  # cut from what lies before it, so not lifted beside that
    for part in (upper, ~upper):
        z = np.where(part, _no_steps(np.where(part, z, np.inf), SLOPE / px), z)
    return z


def _no_steps(z: NDArray, most: NDArray) -> NDArray:
    """Depth lifted beside what is nearer, so that it falls by at most `most` (h, w) m a pixel: nothing is edge-on."""
    out = z.copy()
    for _ in range(LIFTED):
        for axis in (0, 1):
            for way in (1, -1):
                near = np.roll(out, way, axis)
                edge = 0 if way == 1 else -1
                if axis == 0:
                    near[edge] = np.inf
                else:
                    near[:, edge] = np.inf
                np.minimum(out, near + most, out=out)
    return out


def _weights(region: Region, grid: _Grid, b: _Bones, near: _Near) -> F32:
    """(h, w, 55)."""
    shares = _shares(b, near)
    out = np.zeros((*near.best.shape, 55), np.float32)
    for i, joint in enumerate(b.joint):
        out[..., joint] += shares[i]
    arm = (grid.mask & (near.kind != _FINGER)).astype(np.float32)
    sigma = BLUR_WEIGHT * float(region.per_metre[1])
    total = cv2.GaussianBlur(arm, (0, 0), sigma)
    for joint in np.unique(b.joint):
        smooth = cv2.GaussianBlur(out[..., joint] * arm, (0, 0), sigma) / np.maximum(total, 1e-3)
        out[..., joint] = np.where((arm > 0) & (total > 0.05), smooth, out[..., joint])
    sway = grid.padded(region.sway)
    if region.arm.kind == FREE:
        shoulder = JOINT[f"{region.arm.side}_shoulder"]
        held = out[..., shoulder] * (1 - sway)
        out[..., shoulder] -= held
        out[..., TRUNK_JOINT] += held
    else:  # hand and wrist as one, fading into the forearm, and that into the trunk
        elbow, wrist = (JOINT[f"{region.arm.side}_{n}"] for n in ("elbow", "wrist"))
        grip = grid.padded(region.grip)
        out[..., wrist] += out[..., elbow]
        out[..., elbow] = 0
        out *= grip[..., None]
        out[..., elbow] = sway - grip
        out[..., TRUNK_JOINT] = 1 - sway
    return out / np.maximum(out.sum(-1, keepdims=True), 1e-6)


def _alpha(o: Observation, region: Region) -> F32:
    """(H, W): the matte, soft at the cut from the trunk and fading out where the arm hangs on it."""
    soft = cv2.GaussianBlur(region.mask.astype(np.float32), (0, 0), 0.8)
    return (o.alpha * soft * _hold(region)).astype(np.float32)


def _hold(region: Region) -> F32:
    """(H, W) 0 where the arm is left to the trunk, 1 where it is its own."""
    start, over = FADE[region.arm.kind]
    return smoothstep((region.sway - start) / over).astype(np.float32)


def _corners(image: NDArray) -> NDArray:
    """Values at the four corners of each cell, (rows, columns, 4), around it."""
    return np.stack([image[:-1, :-1], image[:-1, 1:], image[1:, 1:], image[1:, :-1]], -1)


def _mesh(o, grid, near, b, depth, weights, alpha, hides):  # type: ignore[no-untyped-def]
    """-> vertices (n, 3) world, triangles, weights (n, 55), solid (f,)."""
    h, w = depth.shape
    alpha, hides = grid.padded(alpha), grid.padded(hides)
    g = grid.step
    at_y, at_x = (np.unique(np.minimum(np.arange(0, n + g, g), n - 1).astype(int)) for n in (h, w))
    pick = np.ix_(at_y, at_x)
    cell = _any_in_cells(cv2.dilate(alpha, np.ones((3, 3))) > 0.02, at_y, at_x)
    z = depth[pick].ravel()
    quads = _corners(np.arange(z.size).reshape(len(at_y), len(at_x)))
    whole, own, like = _parted(quads, cell, _labels(b, near, pick), z)
    used, inverse = np.unique(whole, return_inverse=True)
    quad = np.concatenate([inverse.reshape(-1, 4), len(used) + np.arange(own.size).reshape(-1, 4)])
    faces = np.concatenate([quad[:, [0, 2, 1]], quad[:, [0, 3, 2]]])
    place, like = np.concatenate([used, own.ravel()]), np.concatenate([used, like.ravel()])
    px, py, d = grid.x[pick].ravel()[place], grid.y[pick].ravel()[place], z[like]
    c = o.camera
    vertices = np.stack([(px - c.cx) / c.focal * d, -(py - c.cy) / c.focal * d, -d], 1)
    chosen = weights[pick].reshape(-1, weights.shape[-1])[like].astype(np.float64)
    solid = (hides[pick].ravel()[place][faces].min(1) > SOLID) & (facing(vertices[faces]) > STEEP)
    return vertices, faces, _few(chosen), solid


def facing(triangles: F64) -> F64:
    """(f,) cosine between the normals of world triangles (f, 3, 3) and the view."""
    normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    view = triangles.mean(1)
    return np.abs((normal * view).sum(1)) / (np.linalg.norm(normal, axis=1) * np.linalg.norm(view, axis=1) + 1e-15)


def _any_in_cells(mask: NDArray, at_y: NDArray, at_x: NDArray) -> NDArray[np.bool_]:
    """(rows - 1, columns - 1): does the cell between grid lines hold a set pixel?"""
    total = np.pad(mask.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    y0, y1, x0, x1 = at_y[:-1], at_y[1:] + 1, at_x[:-1], at_x[1:] + 1
    return total[np.ix_(y1, x1)] - total[np.ix_(y0, x1)] - total[np.ix_(y1, x0)] + total[np.ix_(y0, x0)] > 0


def _labels(b: _Bones, near: _Near, pick: tuple[NDArray, ...]) -> list[tuple[NDArray, NDArray]]:
    """What must not hang together: pairs of labels (rows, columns), 0 for what hangs with any, and where they count.

    Fingers beyond their roots; and an upper arm with the hand or forearm that hides it, away from the elbow.
    """
    best = near.best[pick]
    along = np.take_along_axis(near.along, near.best[None], 0)[0][pick]
    finger = near.finger[pick]
    beyond = (finger > 0) & ((b.order[best] > 0) | (along > CUT_FROM))
    upper = (b.kind == _ARM) & (b.joint == b.joint[0]) & (np.arange(len(b.kind)) == 0) & (b.kind[1] == _ARM)
    crossing = np.where(upper[best], along < 1 - CROOK, 0) + 2 * (
        ~upper[best] & ((b.kind[best] != _ARM) | (along > CROOK))
    )
    return [(finger, beyond), (crossing * upper.any(), np.ones_like(beyond))]


def _parted(quads, cell, labels, z):  # type: ignore[no-untyped-def]
    """Cells -> whole ones (n, 4); and corners (k, 4) of those in which labels meet, once for each label, with the
    corners (k, 4) whose depth and weights they take: their own, or of the cell's front-most with that label."""
    corners, likes = [np.zeros((0, 4), np.int64)], [np.zeros((0, 4), np.int64)]
    for label, counts in labels:
        of = _corners(label)
        least = np.where(of == 0, 99, of).min(-1)
        cut = cell & (least < 99) & (of.max(-1) != least) & _corners(counts).any(-1)
        q, group = quads[cut], of[cut]
        cell = cell & ~cut
        for k in np.unique(group[group > 0]):
            some = (group == k).any(1)
            mine = (group[some] == k) | (group[some] == 0)
            chosen = q[some]
            front = chosen[np.arange(len(chosen)), np.where(mine, z[chosen], np.inf).argmin(1)]
            corners.append(chosen)
            likes.append(np.where(mine, chosen, front[:, None]))
    return quads[cell], np.concatenate(corners), np.concatenate(likes)


def _few(weights: F64) -> F64:
    """At most MOST_JOINTS joints a vertex."""
    least = np.sort(weights, axis=1)[:, -MOST_JOINTS, None]
    out = np.where((weights >= least) & (weights > 1e-3), weights, 0)
    return np.asarray(out / out.sum(1, keepdims=True))
