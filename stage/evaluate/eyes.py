"""The eyes' part of the leaks: is the white that a gaze uncovers like the white that was there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.render import cpu
from avatar.render.contract import LAYER
from stage.evaluate.protocol import LEAKS

if TYPE_CHECKING:
    from avatar.asset import State
    from stage.evaluate.leaks import Stand

RINGS = (  # of the person's right and left eye
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
)
BALLS = (1, 2)  # of Avatar.part
WHITE_FROM = 0.55  # rad from the ball's front: beyond every iris
SIDE = 400  # px of the picture of both eyes


def figures(stand: Stand) -> dict[str, float]:
    """eye_white: largest change of the white's mean lightness under gazes to both sides, of the neutral's: of each eye
    and each side of its iris against itself, as others may lie in shadow. eye_holes: largest share of the eyes'
    openings that next to nothing covers."""
    turn = LEAKS["gaze"]
    left = {"eyeLookOutLeft": turn, "eyeLookInRight": turn}
    right = {"eyeLookInLeft": turn, "eyeLookOutRight": turn}
    up = {"eyeLookUpLeft": turn, "eyeLookUpRight": turn}
    still, _ = _seen(stand, stand.face())
    white, holes = 0.0, 0.0
    for gaze in (left, right, up):
        light, bare = _seen(stand, stand.face(**gaze))
        holes = max(holes, bare)
        for was, now in zip(still, light):
            if was is not None and now is not None and gaze is not up:
                white = max(white, abs(now - was) / was)
    return {"eye_white": white, "eye_holes": holes}


def _seen(stand: Stand, state: State) -> tuple[list[float | None], float]:
    """Mean CIE L of the visible white on each side of each iris, None for too little; share of the eyes' openings not
    covered."""
    vertices = stand.vertices(state)
    p = stand.landmarks(vertices)[:, :2]
    rings = [p[list(ring)] for ring in RINGS]
    corner, far = np.concatenate(rings).min(0), np.concatenate(rings).max(0)
    side = 1.2 * float((far - corner)[0])
    x0, y0 = (corner + far) / 2 - [side / 2, side / 4]
    camera = stand.camera.window(float(x0), float(y0), side, SIDE, SIDE // 2)
    openings = [np.zeros((camera.height, camera.width), np.uint8) for _ in rings]
    for opening, ring in zip(openings, rings):
        cv2.fillPoly(opening, [((ring - [x0, y0]) * SIDE / side).round().astype(np.int32)], 1)
    insides = [cv2.erode(opening, np.ones((3, 3))) > 0 for opening in openings]
    a, g = stand.avatar, stand.avatar.gaussians
    share = np.zeros((g.count, 3), np.float32)
    on_white = _on_white(stand)
    share[on_white < 0, 0] = share[on_white > 0, 1] = 1
    drawn, classes = (
        cpu.draw(vertices, a.mesh.faces, a.occluder, gaussians, camera) for gaussians in (g, replace(g, colour=share))
    )
    both = insides[0] | insides[1]
    bare = float((drawn[both][:, 3] < LEAKS["hole_alpha"]).mean()) if both.any() else 0.0
    lab = cv2.cvtColor(drawn[..., :3].clip(0, 1), cv2.COLOR_RGB2LAB)
    least = LEAKS["eye_white_px"] * (camera.focal / a.camera.focal) ** 2
    whites = [inside & (classes[..., k] > 0.5) for inside in insides for k in (0, 1)]
    return [float(lab[w][:, 0].mean()) if w.sum() >= least else None for w in whites], bare


def _on_white(stand: Stand) -> NDArray[np.int64]:
    """(N,) Gaussians on the white of an eyeball: -1 to the person's right of its front, 1 to the left; 0 for others."""
    a, g = stand.avatar, stand.avatar.gaussians
    out = np.zeros(g.count, np.int64)
    rest = a.mesh.vertices.astype(np.float64)
    w = np.concatenate([1 - g.bary.sum(1, keepdims=True), g.bary], 1)
    for ball in BALLS:
        on = np.flatnonzero((a.part[g.face] == ball) & (g.layer == LAYER["eyes"]))
        if not len(on):
            continue
        points = rest[np.unique(a.mesh.faces[a.part == ball])]
        A = np.concatenate([2 * points, np.ones((len(points), 1))], 1)
        centre = np.linalg.lstsq(A, (points**2).sum(1), rcond=None)[0][:3]
        away = np.einsum("nk,nkc->nc", w[on], rest[a.mesh.faces[g.face[on]]]) - centre
        white = np.arccos((away[:, 2] / np.linalg.norm(away, axis=1)).clip(-1, 1)) > WHITE_FROM
        out[on] = np.where(white, np.where(away[:, 0] > 0, 1, -1), 0)
    return out
