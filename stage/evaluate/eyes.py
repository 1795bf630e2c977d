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
LEAST = 60  # of its px that show white, for a mean to be worth something


def figures(stand: Stand) -> dict[str, float]:
    """eye_white: largest change of the whites' mean lightness under gazes to both sides, of the neutral's;
    eye_holes: largest share of the eyes' openings that next to nothing covers."""
    turn = LEAKS["gaze"]
    left = {"eyeLookOutLeft": turn, "eyeLookInRight": turn}
    right = {"eyeLookInLeft": turn, "eyeLookOutRight": turn}
    up = {"eyeLookUpLeft": turn, "eyeLookUpRight": turn}
    still, _ = _seen(stand, stand.face())
    white, holes = 0.0, 0.0
    for gaze in (left, right, up):
        light, bare = _seen(stand, stand.face(**gaze))
        holes = max(holes, bare)
        if still is not None and light is not None and gaze is not up:
            white = max(white, abs(light - still) / still)
    return {"eye_white": white, "eye_holes": holes}


def _seen(stand: Stand, state: State) -> tuple[float | None, float]:
    """Mean CIE L of the visible white of both eyes, None for too little; share of their openings not covered."""
    vertices = stand.vertices(state)
    p = stand.landmarks(vertices)[:, :2]
    rings = [p[list(ring)] for ring in RINGS]
    corner, far = np.concatenate(rings).min(0), np.concatenate(rings).max(0)
    side = 1.2 * float((far - corner)[0])
    x0, y0 = (corner + far) / 2 - [side / 2, side / 4]
    camera = stand.camera.window(float(x0), float(y0), side, SIDE, SIDE // 2)
    opening = np.zeros((camera.height, camera.width), np.uint8)
    for ring in rings:
        cv2.fillPoly(opening, [((ring - [x0, y0]) * SIDE / side).round().astype(np.int32)], 1)
    a, g = stand.avatar, stand.avatar.gaussians
    share = np.zeros((g.count, 3), np.float32)
    share[_on_white(stand), 0] = 1
    drawn, classes = (
        cpu.draw(vertices, a.mesh.faces, a.occluder, gaussians, camera) for gaussians in (g, replace(g, colour=share))
    )
    inside = cv2.erode(opening, np.ones((3, 3))) > 0
    bare = float((drawn[inside][:, 3] < LEAKS["hole_alpha"]).mean()) if inside.any() else 0.0
    white = inside & (classes[..., 0] > 0.8)
    if white.sum() < LEAST:
        return None, bare
    lab = cv2.cvtColor(drawn[..., :3].clip(0, 1), cv2.COLOR_RGB2LAB)
    return float(lab[white][:, 0].mean()), bare


def _on_white(stand: Stand) -> NDArray[np.bool_]:
    """(N,) Gaussians on the white of an eyeball."""
    a, g = stand.avatar, stand.avatar.gaussians
    out = np.zeros(g.count, bool)
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
        out[on] = np.arccos((away[:, 2] / np.linalg.norm(away, axis=1)).clip(-1, 1)) > WHITE_FROM
    return out
