"""Arms: do they tear when they gesture? Needs the .avatar alone.

Each arm that moves is put through its gestures as a performance would: by motion, through the rig and its limits.
What tears is counted by avatar/build/arms/tear.py; limits stand in protocol.toml.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from avatar import asset
from avatar.asset import Avatar, State
from avatar.build.arms.tear import Tear, TearGauge
from avatar.limbs import ARM_JOINTS, FREE, Gesture, Limbs
from avatar.render import compose, cpu
from avatar.render.contract import Camera
from avatar.rig import Rig
from models.motion import JOINT, Motion, compose_rotations
from models.skinning import Poser
from stage import gestures
from stage.evaluate import sheets
from stage.evaluate.protocol import ARMS, VERSION

TILE = 420  # px, of the contact sheet
COLUMNS = 5
FPS, MOVE = 25, 20  # of the film, and its frames for a move


@dataclass(frozen=True)
class Row:
    side: str
    gesture: str
    tear: Tear


@dataclass(frozen=True)
class Result:
    kind: dict[str, str]  # of each side
    rows: list[Row]
    torso: float  # share of hiding triangles that a turned or leaning torso stretches; static arms move with it

    @property
    def figures(self) -> dict[str, float]:
        """The worst of each."""
        names = [f.name for f in fields(Tear)]
        worst = {f"arm_{k}": max((getattr(r.tear, k) for r in self.rows), default=0.0) for k in names}
        return worst | {"torso_stretched": self.torso}


def evaluate(
    path: Path,
    sheet: Path | None = None,
    film: Path | None = None,
    progress: Callable[[float], None] = lambda _: None,
) -> Result:
    """Every gesture of every arm; writes a contact sheet and a film where asked. Raises AvatarError."""
    avatar = asset.load(path)
    result = measure(avatar, progress)
    if sheet:
        sheets.write(sheet, _sheet(avatar))
    if film:
        _film(avatar, film)
    return result


def measure(avatar: Avatar, progress: Callable[[float], None] = lambda _: None) -> Result:
    limbs, rig = Limbs(avatar), Rig(avatar)
    rows: list[Row] = []
    moving = [side for side in limbs.kind if limbs.moves(side)]
    if moving:
        gauge = TearGauge(avatar, avatar.neutral)
        every = [(side, name, gesture) for side in moving for name, gesture in asked(limbs, side)]
        for i, (side, name, gesture) in enumerate(every):
            rows.append(Row(side, name, gauge(rig.state(limbs.motion(0.0, {side: gesture})))))
            progress((i + 1) / len(every))
        gauge.close()
    return Result(limbs.kind, rows, torso_stretched(avatar, rig))


def asked(limbs: Limbs, side: str) -> Iterator[tuple[str, Gesture]]:
    """The gestures an arm is put through: a beat up and down, each joint alone, fingers."""
    free = limbs.kind[side] == FREE
    for name, share in (("beat up", 1.0), ("beat down", -1.0)):
        yield name, gestures.of_beat(limbs.kind[side], side, share)
    for joint in ARM_JOINTS if free else ("wrist",):
        degrees = ARMS[f"{joint}_deg"] if free else ARMS["stiff_wrist_deg"]
        for axis in ("z",) if free and joint != "wrist" else ("x", "y", "z"):
            for way in (1, -1):
                turn = way * np.radians(degrees) * np.array([axis == a for a in "xyz"])
                yield f"{joint} {axis} {way * degrees:+g}", Gesture({joint: tuple(turn.tolist())})
    for way in (1, -1):
        yield f"fingers {way * ARMS['fingers_rad']:+g}", Gesture(fingers=way * ARMS["fingers_rad"])


def torso_stretched(avatar: Avatar, rig: Rig) -> float:
    """The worst share, over turns and leans, of the body's and the arms' hiding triangles that stretch."""
    faces = avatar.mesh.faces[avatar.occluder]
    poser = Poser(avatar.mesh)
    s = avatar.neutral
    rest = _edges(poser(s.pose, s.expression, s.translation), faces)
    worst = 0.0
    for axis in range(3):
        for way in (1, -1):
            state = turned(avatar, np.eye(3)[axis] * way * np.radians(ARMS["torso_deg"]))
            now = _edges(poser(state.pose, state.expression, state.translation), faces)
            worst = max(worst, float((now > ARMS["torso_stretch"] * np.maximum(rest, 1e-4)).any(1).mean()))
    return worst


def turned(avatar: Avatar, turn: np.ndarray) -> State:
    """The neutral with its spine turned by `turn` (3,) rad in all."""
    pose = avatar.neutral.pose.copy()
    for name in ("spine1", "spine2", "spine3"):
        pose[JOINT[name]] = compose_rotations(pose[JOINT[name]], turn / 3)
    return replace(avatar.neutral, pose=pose)


def _edges(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    t = vertices[faces]
    return np.linalg.norm(t - np.roll(t, 1, axis=1), axis=2)


def table(name: str, result: Result) -> str:
    lines = [f"{name}, protocol {VERSION}", *(f"  {side} arm: {kind}" for side, kind in result.kind.items())]
    lines.append(f"{'':26}{'bare':>10}{'stretched':>12}{'folded':>10}{'parted':>10}")
    for r in result.rows:
        t = r.tear
        shares = f"{t.bare:10.4f}{t.stretched:12.4f}{t.folded:10.4f}{t.parted:10.4f}"
        lines.append(f"  {r.side:6}{r.gesture:18}{shares}")
    limits = ARMS["limits"]
    worst = [f"{k} {v:.4f} of {limits[k]:g}{'' if v <= limits[k] else ' BROKEN'}" for k, v in result.figures.items()]
    return "\n".join([*lines, *(f"  worst {w}" for w in worst)])


def broken(result: Result) -> bool:
    return any(v > ARMS["limits"][k] for k, v in result.figures.items())


def as_json(name: str, result: Result) -> dict[str, Any]:
    rows = [{"side": r.side, "gesture": r.gesture, **vars(r.tear)} for r in result.rows]
    return {"avatar": name, "protocol": VERSION, "arms": result.kind, "gestures": rows, "worst": result.figures}


def _sheet(avatar: Avatar) -> sheets.U8:
    """The photo's state, every gesture, and the torso turned, about what moves."""
    limbs, rig = Limbs(avatar), Rig(avatar)
    still = rig.state(Motion())
    tiles: list[tuple[str, State]] = [("photo", avatar.photo), ("rest", still)]
    for side in limbs.kind:
        if limbs.moves(side):
            states = [(n, rig.state(limbs.motion(0.0, {side: g}))) for n, g in asked(limbs, side)]
            tiles += [(f"{side} {n}", s) for n, s in states]
    turn = np.radians(ARMS["torso_deg"])
    tiles += [(f"torso {w * ARMS['torso_deg']:+g}", turned(avatar, np.array([0, w * turn, 0]))) for w in (1, -1)]
    camera, background = _view(avatar)
    rasterizer = cpu.Rasterizer(avatar, threads=2)
    pictures = []
    for text, state in tiles:
        drawn = rasterizer.draw(rig.vertices(state), camera)
        pictures.append(sheets.tile(compose.over(drawn, background), text, TILE))
    rasterizer.close()
    return sheets.grid([pictures[i : i + COLUMNS] for i in range(0, len(pictures), COLUMNS)])


def _film(avatar: Avatar, path: Path) -> None:
    """The photo's state beside every gesture and turn of the torso, made and taken back."""
    rig = Rig(avatar)
    camera, background = _view(avatar)
    rasterizer = cpu.Rasterizer(avatar, threads=2)
    shown = lambda state: compose.over(rasterizer.draw(rig.vertices(state), camera), background)  # noqa: E731
    still = shown(avatar.photo)
    with sheets.Film(path, Fraction(FPS), TILE) as strip:
        for text, at in _moves(avatar, rig):
            for share in np.sin(np.arange(MOVE) / MOVE * np.pi):
                strip.add((still, "photo"), (shown(at(float(share))), text))
    rasterizer.close()


def _moves(avatar: Avatar, rig: Rig) -> Iterator[tuple[str, Callable[[float], State]]]:
    """What the film shows: a name, and the state at a share of the whole move."""
    limbs = Limbs(avatar)

    def gestured(side: str, gesture: Gesture, share: float) -> State:
        return rig.state(limbs.motion(0.0, {side: gesture.scaled(share)}))

    def leaned(degrees: float, share: float) -> State:
        return turned(avatar, np.array([0, share * np.radians(degrees), 0]))

    for side in filter(limbs.moves, limbs.kind):
        for name, gesture in asked(limbs, side):
            yield f"{side} {name}", partial(gestured, side, gesture)
    for degrees in (ARMS["torso_deg"], -ARMS["torso_deg"]):
        yield f"torso {degrees:+g}", partial(leaned, degrees)


def _view(avatar: Avatar) -> tuple[Camera, sheets.U8]:
    """The default view, TILE high, and the background in it."""
    x, y, w, h = avatar.view
    camera = avatar.camera.window(x, y, w, round(w * TILE / h), TILE)
    return camera, compose.crop(avatar.background, x, y, w, camera.width, camera.height)
