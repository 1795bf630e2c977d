"""Eyeballs' colours: the iris from the photo, the white without a seam between what was seen and what was not."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.build import anatomy, eyes, glint
from avatar.build.kinematics import F64
from avatar.build.landmarks import LEFT_EYE_RING, RIGHT_EYE_RING
from avatar.build.mesh import UnionMesh
from avatar.build.observe import Observation
from avatar.build.seed import Seeds

RING = {"Left": LEFT_EYE_RING, "Right": RIGHT_EYE_RING}
LASHES = (0.10, 0.28)  # of an eye's height from its rim: pixels of lashes and lid shadow, and where they end
WHITE_FROM = 1.05  # iris radii
FOREIGN_FROM = 1.3  # iris radii: nearer, the iris's own soft rim is darker than the white
FOREIGN = (0.2, 0.5)  # of the white's lightness that a pixel's colour is off it: still white, none of it


@dataclass(frozen=True)
class Eye:
    side: str
    at: NDArray[np.int64]  # (n,) the Gaussians on it
    angles: F64  # (n, 2) rad right and up from its front
    brush: eyes.Paint
    lit: NDArray[np.bool_]  # (H, W) pixels of its highlights, which are Gaussians of their own


def eyes_of(o: Observation, mesh: UnionMesh, seeds: Seeds, tone: F64, sample) -> list[Eye]:  # type: ignore[no-untyped-def]
    """Both eyes, with how each is painted after what the photo shows of it; tone (3,) the face's mean colour."""
    out = []
    for part, side in ((anatomy.LEFT_EYE, "Left"), (anatomy.RIGHT_EYE, "Right")):
        at = np.flatnonzero(mesh.part[seeds.face] == part)
        if not len(at):
            continue
        shown = at[seeds.seen[at]]
        posed = eyes.sphere(mesh.posed[np.unique(mesh.skin.faces[mesh.part == part])])
        fallback = np.full(3, 0.45 + 0.5 * tone.mean()).clip(0, 0.9)
        iris = eyes.iris_angle(posed, o.landmarks, side, o.camera)
        lit = np.any([np.zeros(o.alpha.shape, bool), *(g.mask for g in glint.find(o, side))], axis=0)
        clear = (inside_of_eye(o, side, seeds.pixel[shown]) > LASHES[0]) & ~_at(lit, seeds.pixel[shown])
        angles = _angles(mesh, seeds, part, at)
        seen = angles[seeds.seen[at]]
        brush = eyes.paint(seen[clear], sample(o.foreground, seeds.pixel[shown[clear]]), iris, fallback)
        out.append(Eye(side, at, angles, brush, lit))
    return _sharing_white(out)


def _sharing_white(balls: list[Eye]) -> list[Eye]:
    """The same eyes; one whose white is not seen has the other's."""
    white = next((b.brush.sides for b in balls if b.brush.told), None)
    if white is None:
        return balls
    return [b if b.brush.told else replace(b, brush=replace(b.brush, sides=white, told=True)) for b in balls]


def colours(o: Observation, eye: Eye, seeds: Seeds, sampled: F64) -> tuple[NDArray[np.int64], F64]:
    """Indices (n,) of an eye's Gaussians that are painted, and their colours (n, 3): all that is hidden, and the white
    next to the lids, whose pixels show lashes and shadow. These belong to the lids and must not turn with the ball;
    nor must highlights."""
    paint = eye.brush(eye.angles)
    seen = seeds.seen[eye.at]
    depth = np.zeros(len(eye.at))
    depth[seen] = inside_of_eye(o, eye.side, seeds.pixel[eye.at[seen]])
    t = np.clip((depth - LASHES[0]) / (LASHES[1] - LASHES[0]), 0, 1)
    white = np.linalg.norm(eye.angles, axis=1) > WHITE_FROM * eye.brush.iris
    share = np.where(seen & ~white, np.where(depth > 0, 1.0, 0.0), t)[:, None]
    share *= 1 - foreign(eye, seeds, sampled)[:, None]
    share[seen & _at(eye.lit, seeds.pixel[eye.at])] = 0
    painted = share[:, 0] < 0.99
    mixed = paint + share * (sampled[eye.at] - paint)
    return eye.at[painted], mixed[painted]


def foreign(eye: Eye, seeds: Seeds, sampled: F64) -> F64:
    """(n,) of an eye's Gaussians: how far the photo shows something there that is not the ball's; sampled (N, 3)."""
    paint = eye.brush(eye.angles)
    off = np.abs(sampled[eye.at] - paint).max(1) / np.maximum(paint.mean(1), 1e-3)
    t = np.clip((off - FOREIGN[0]) / (FOREIGN[1] - FOREIGN[0]), 0, 1)
    white = np.linalg.norm(eye.angles, axis=1) > FOREIGN_FROM * eye.brush.iris
    return np.where(seeds.seen[eye.at] & white & eye.brush.told, t, 0.0)


def _at(mask: NDArray[np.bool_], pixels: NDArray) -> NDArray[np.bool_]:
    """(n,) the mask (H, W) at pixels (n, 2)."""
    q = np.floor(pixels).astype(int).clip(0, np.array(mask.shape[::-1]) - 1)
    return np.asarray(mask[q[:, 1], q[:, 0]])


def inside_of_eye(o: Observation, side: str, pixels: NDArray) -> F64:
    """(n,) how deep pixels (n, 2) lie inside the eye's outline, in parts of its height; 0 outside."""
    ring = o.landmarks[list(RING[side])].astype(np.float32)
    height = max(float(np.ptp(ring[:, 1])), 1.0)
    away = [cv2.pointPolygonTest(ring, (float(x), float(y)), True) for x, y in pixels]
    return np.maximum(np.array(away, np.float64), 0.0) / height


def _angles(mesh: UnionMesh, seeds: Seeds, part: int, at: NDArray) -> F64:
    """(n, 2) rad right and up from the front of an eyeball, of the Gaussians `at` on it."""
    rest = mesh.skin.vertices.astype(np.float64)
    ball = eyes.sphere(rest[np.unique(mesh.skin.faces[mesh.part == part])])
    w = np.concatenate([1 - seeds.bary[at].sum(1, keepdims=True), seeds.bary[at]], 1)
    away = np.einsum("nk,nkc->nc", w, rest[mesh.skin.faces[seeds.face[at]]]) - ball.centre
    d = away / np.linalg.norm(away, axis=1, keepdims=True)
    angle = np.arccos(np.clip(d[:, 2], -1, 1))
    return d[:, :2] * (angle / np.maximum(np.sin(angle), 1e-6))[:, None]
