"""Sets of vertices the builder asks for: the inside of the mouth, lips, lids, the head's skin; bits of one number."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from models.body import REGIONS
from models.motion import ARKIT, HEAD, JAW, NECK
from models.open_human import rims, shade
from models.open_human.detect import Surface
from models.open_human.makehuman import MakeHuman
from models.open_human.shade import View

LID_MOVES = 5e-4  # m down in a blink; less is brow
LID_REACH = 0.022  # m from the eye's centre
LOWER_LID = 0.005  # m from the lower rim; a blink hardly moves it
ANGLES = [(yaw, pitch) for yaw in range(-60, 61, 20) for pitch in (-30, 0, 30)]


def of_vertices(human: MakeHuman, body: dict[str, Any]) -> NDArray[np.uint16]:
    """(V,) bits in the order of REGIONS."""
    surface = Surface.of(human, body)
    skin = np.isin(np.arange(len(surface.vertices)), surface.faces[surface.skin])
    upper, lower = lip_sets(surface, body)
    sets = {
        "inner_mouth": inner_mouth(human, body, surface),
        "upper_lip": upper,
        "lower_lip": lower,
        **lid_sets(surface, body, skin),
        "head": skin & (body["weights"][:, [NECK, HEAD, JAW]].sum(1) > 0.5),
    }
    out = np.zeros(len(skin), np.uint16)
    for bit, name in enumerate(REGIONS):
        side, _, rest = name.partition("_")
        twin = sets[{"left": "right_", "right": "left_"}[side] + rest] if side in ("left", "right") else sets[name]
        out |= np.where(sets[name] | twin[surface.mirror], 1 << bit, 0).astype(np.uint16)
    return out


def expression(body: dict[str, Any], name: str) -> NDArray:
    return body["shapedirs"][:, :, 300 + ARKIT.index(name)]


def inner_mouth(human: MakeHuman, body: dict[str, Any], surface: Surface) -> NDArray[np.bool_]:
    """Skin that MakeHuman paints as the mouth's inside and that no view of the closed mouth shows."""
    painted = human.wheel.mask("inside-mouth", body["vt"])[body["ft"]] > 0.5
    inside = np.zeros(len(surface.vertices), bool)
    inside[surface.faces[surface.part == 0][painted[surface.part == 0]]] = True
    x, y, z = surface.vertices[inside].mean(0)
    nothing = np.zeros((len(surface.faces), 3))
    for yaw, pitch in ANGLES:
        view = View((x, y, z), 8000, (800, 560), yaw, pitch)
        seen = np.unique(shade.draw(surface.vertices, surface.faces, nothing, view).face)
        inside[surface.faces[seen[seen >= 0]]] = False
    return inside


def lip_sets(surface: Surface, body: dict[str, Any]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Painted lips, parted where jawOpen parts them: halfway between the two sides of the seam at the same distance."""
    lip = np.zeros(len(surface.vertices), bool)
    lip[surface.faces[surface.lips > 0.5]] = True
    fall = -expression(body, "jawOpen")[:, 1]
    m = rims.mouth(surface, body)
    sides = []
    for side in (0, 1):
        points = [m.window.skin_point(surface, int(c), int(r)) for c, r in zip(m.columns, m.seam[:, side])]
        face, bary = np.array([f for f, _ in points]), np.array([b for _, b in points])
        sides.append((fall[surface.faces[face]] * bary).sum(1))
    distance = np.abs((m.columns + 0.5 - m.window.face.shape[1] / 2) * rims.PIXEL)[::-1]
    parting = np.interp(np.abs(surface.vertices[:, 0]), distance, (sum(sides) / 2)[::-1])
    return lip & (fall < parting), lip & (fall >= parting)


def lid_sets(surface: Surface, body: dict[str, Any], skin: NDArray) -> dict[str, NDArray[np.bool_]]:
    """Upper lid: skin near an eye that a blink carries down. Lower lid: the rest near the lower rim."""
    sets = {}
    landmarks = surface.points(body["mp468_faces_idx"], body["mp468_bary_coords"])
    for side, eye in zip(("left", "right"), surface.eyes):
        rise = expression(body, f"eyeBlink{side.capitalize()}")[:, 1]
        near = skin & (np.linalg.norm(surface.vertices - eye, axis=1) < LID_REACH)
        upper = near & (rise < -LID_MOVES)
        ids = np.array(rims.LOWER_LID)
        rim = landmarks[body["mp468_mirror"][ids] if side == "left" else ids]
        close = cKDTree(rim).query(surface.vertices)[0] < LOWER_LID
        sets[f"{side}_upper_lid"] = upper
        sets[f"{side}_lower_lid"] = near & close & ~upper & (surface.vertices[:, 1] < rim[:, 1].max())
    return sets
