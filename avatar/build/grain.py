"""Fine structure for what the photo does not show, and clean colours along the person's outline.

Behind the outline hair goes on as it is before it: each hidden point takes the fine structure of the photo at the same
distance from the outline inwards, folded back and forth over as much hair as there is along that ray.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.build import anatomy
from avatar.build.kinematics import F64
from avatar.build.mesh import UnionMesh
from avatar.build.observe import Observation, unit
from avatar.build.parts import HAIR
from avatar.build.seed import Seeds

F32 = NDArray[np.float32]

EDGE = 3.0  # px of a face 140 px wide along the matte's edge whose colours are not the person's alone
COARSE = 5.0  # px, sigma of what counts as coarse
LEAST_RUN = 8.0  # px of hair along a ray that are needed
CONTRAST = 1.5  # of the fine structure, against the averaging of overlapping Gaussians
STRONGEST = 2.0  # usual deviations of its brightness that it may have: gleams and partings are where they are alone
INNER = 0.6  # share of the hair's inner colours against the fill, which comes from its rim
ASIDE = 0.3  # rad by which each fold is turned
STEP = 0.5  # px
DIRECTIONS = 720


def _from_edge(o: Observation, other: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
    """(H, W) px inside the matte from its edge, and from what is of another part, (H, W)."""
    within = o.alpha > 0.5 if other is None else (o.alpha > 0.5) & ~other
    inside = np.pad(within, 1, mode="edge").astype(np.uint8)
    out: NDArray = cv2.GaussianBlur(cv2.distanceTransform(inside, cv2.DIST_L2, 5)[1:-1, 1:-1], (0, 0), 1.0)
    return np.asarray(out, np.float32)


def at_edge(o: Observation, pixels: F64) -> F64:
    """(N,) 1 on the matte's edge, 0 where pixels (N, 2) are clear of it."""
    H, W = o.alpha.shape
    q = np.floor(pixels).astype(int).clip(0, [W - 1, H - 1])
    return np.clip(1 - _from_edge(o)[q[:, 1], q[:, 0]] / (EDGE * unit(o)), 0, 1).astype(np.float64)


def inwards(o: Observation, pixels: F64, other: NDArray[np.bool_] | None = None) -> F64:
    """Pixels (N, 2) nearer than EDGE to the matte's edge, or to what is of another part (H, W), moved that far away."""
    d = _from_edge(o, other)
    gy, gx = (np.asarray(g) for g in np.gradient(d))
    H, W = d.shape
    out = pixels.copy()
    for _ in range(2):
        q = np.floor(out).astype(int).clip(0, [W - 1, H - 1])
        g = np.stack([gx[q[:, 1], q[:, 0]], gy[q[:, 1], q[:, 0]]], 1)
        length = np.linalg.norm(g, axis=1, keepdims=True)
        lack = np.maximum(EDGE * unit(o) - d[q[:, 1], q[:, 0]], 0)[:, None]
        out += np.where(length > 0.2, g / np.maximum(length, 1e-6), 0) * lack
    return out.clip(0.5, [W - 0.5, H - 0.5])


def of_hidden(o: Observation, mesh: UnionMesh, seeds: Seeds, hidden: NDArray[np.bool_], fill: F64) -> F64:
    """(n, 3) colours of the hidden (N,) Gaussians: hair on the scalp, `fill` (n, 3) where none goes on."""
    out = fill.copy()
    on = mesh.part[seeds.face[hidden]] == anatomy.SCALP
    if not on.any():
        return out
    face, bary = seeds.face[hidden][on], seeds.bary[hidden][on]
    w = np.concatenate([1 - bary.sum(1, keepdims=True), bary], 1)
    points = np.einsum("nk,nkc->nc", w, mesh.posed[mesh.skin.faces[face]])
    first = mesh.body_vertices
    centre = mesh.posed[first : first + len(mesh.scalp.vertices)].mean(0)
    middle = o.camera.project(centre[None])[0, :2]
    start, length = _runs(o, mesh, middle)
    d = points - centre
    angle = np.arctan2(-d[:, 1], d[:, 0])
    direction = lambda a: np.floor((a + np.pi) / (2 * np.pi) * DIRECTIONS).astype(int) % DIRECTIONS  # noqa: E731
    k = direction(angle)
    behind = np.linalg.norm(d, axis=1) * np.arctan2(-d[:, 2], np.hypot(d[:, 0], d[:, 1]))  # m of arc
    behind = behind.clip(0) * o.camera.focal / -centre[2]
    run = np.maximum(length[k], 1.0)
    fold = np.floor(behind / run)
    aside = angle + ASIDE * fold * np.sign(np.cos(angle))  # no fold repeats the one before it
    j = direction(aside)
    j = np.where(length[j] > 0.7 * run, j, k)
    aside = (j + 0.5) / DIRECTIONS * 2 * np.pi - np.pi
    folded = np.where(fold % 2 == 0, behind - fold * run, (fold + 1) * run - behind)
    coarse, mean = _coarse(o, mesh)
    at = middle + (start[j] - folded)[:, None] * np.stack([np.cos(aside), np.sin(aside)], 1)
    inner = middle + (start[k] - 0.6 * run)[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    H, W = o.alpha.shape
    q, i = (np.floor(x).astype(int).clip(0, [W - 1, H - 1]) for x in (at, inner))
    fine = _fine(o, mesh, coarse, mean)[q[:, 1], q[:, 0]]
    share = np.clip(length[k] / (LEAST_RUN * unit(o)) - 0.5, 0, 1)[:, None]
    out[on] += share * (INNER * (0.5 * (coarse[i[:, 1], i[:, 0]] + mean) - out[on]) + fine)
    return out


def _fine(o: Observation, mesh: UnionMesh, coarse: F32, mean: F32) -> F32:
    """(H, W, 3) the fine structure of hair: of its brightness alone, in its mean colour (3,), for what shines through
    thin hair has another."""
    light = (o.foreground - coarse).mean(2)
    hair = _hair(o, mesh)
    usual = 1.4826 * float(np.median(np.abs(light[hair]))) if hair.any() else 0.0
    tint = mean / max(float(mean.mean()), 1e-3)
    return np.asarray(CONTRAST * np.clip(light, -STRONGEST * usual, STRONGEST * usual)[..., None] * tint, np.float32)


def _hair(o: Observation, mesh: UnionMesh) -> NDArray[np.bool_]:
    """(H, W) surely hair, clear of the matte's edge; the matte may be a little thin within."""
    sure = (_from_edge(o) > EDGE * unit(o)) & (o.alpha > 0.7)
    return np.asarray(sure & (mesh.parts.probability[..., HAIR] > 0.6))


def _coarse(o: Observation, mesh: UnionMesh) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(H, W, 3) the hair's coarse structure, about the hair; (3,) its mean."""
    hair = _hair(o, mesh).astype(np.float32)
    sigma = COARSE * unit(o)
    weight = cv2.GaussianBlur(hair, (0, 0), sigma)[..., None]
    coarse = cv2.GaussianBlur(o.foreground * hair[..., None], (0, 0), sigma) / np.maximum(weight, 1e-4)
    return np.asarray(coarse, np.float32), (o.foreground * hair[..., None]).sum((0, 1)) / max(float(hair.sum()), 1.0)


def _runs(o: Observation, mesh: UnionMesh, middle: NDArray) -> tuple[F64, F64]:
    """By direction from `middle` (2,) px: the radius of the outermost hair, and how far hair goes on inwards."""
    H, W = o.alpha.shape
    hair = _hair(o, mesh)
    s = np.arange(0, 1.2 * o.face_width, STEP)
    angle = (np.arange(DIRECTIONS) + 0.5) / DIRECTIONS * 2 * np.pi - np.pi
    x = np.floor(middle[0] + np.cos(angle)[:, None] * s).astype(int)
    y = np.floor(middle[1] + np.sin(angle)[:, None] * s).astype(int)
    inside = (x >= 0) & (y >= 0) & (x < W) & (y < H)
    on = hair[y.clip(0, H - 1), x.clip(0, W - 1)] & inside
    last = np.where(on.any(1), len(s) - 1 - on[:, ::-1].argmax(1), 0)
    beyond = np.arange(len(s)) > last[:, None]
    gap = np.where(on | beyond, -1, np.arange(len(s))).max(1)  # the outermost place under it that is no hair
    length = np.where(on.any(1), (last - gap) * STEP, 0.0)
    return last * STEP, length
