"""A contact sheet of an avatar: the photo beside what it does live, to be looked at."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.asset import Avatar
from avatar.render import cpu
from avatar.render.contract import Camera
from avatar.rig import Rig
from models.motion import HEAD, NECK, A, Motion

TILE = 384  # px


def moves() -> Iterator[tuple[str, Motion]]:
    """What a sheet shows, by name: live motions."""
    yield "neutral", _motion()
    for yaw in (-20, -15, 15, 20):
        yield f"yaw {yaw:+d}", _motion(yaw=yaw)
    for pitch in (-10, 10):
        yield f"pitch {pitch:+d}", _motion(pitch=pitch)
    yield "smile", _motion(mouthSmileLeft=0.9, mouthSmileRight=0.9)
    yield "jaw wide", _motion(jawOpen=0.8)
    yield (
        "aa",
        _motion(
            jawOpen=0.4, mouthLowerDownLeft=0.3, mouthLowerDownRight=0.3, mouthUpperUpLeft=0.2, mouthUpperUpRight=0.2
        ),
    )
    yield "blink", _motion(eyeBlinkLeft=1, eyeBlinkRight=1)
    yield "half blink", _motion(eyeBlinkLeft=0.5, eyeBlinkRight=0.5)
    yield "pucker", _motion(mouthPucker=1)
    yield "gaze left", _motion(eyeLookOutLeft=0.6, eyeLookInRight=0.6)
    yield "gaze up", _motion(eyeLookUpLeft=0.6, eyeLookUpRight=0.6)


def _motion(yaw: float = 0, pitch: float = 0, **face: float) -> Motion:
    m = Motion()
    m.weight[:] = 1
    m.weight[6:] = 0  # arms and hands say nothing
    for joint, share in ((NECK, 0.4), (HEAD, 0.6)):
        m.pose[joint] = np.radians([pitch * share, yaw * share, 0])
    for name, value in face.items():
        m.face[A[name]] = value
    return m


def tiles(
    avatar: Avatar, photo: NDArray[np.uint8] | None = None, zoom: str = "face"
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """(name, (TILE, TILE, 3) sRGB): the photo, if given, the photo state ("rest") and every move."""
    camera, back = _frame(avatar, zoom)
    rig, raster = Rig(avatar), cpu.Rasterizer(avatar)

    def draw(vertices: NDArray[np.float32]) -> NDArray[np.uint8]:
        d = raster.draw(vertices, camera)
        return (d[..., :3] * 255 + (1 - d[..., 3:]) * back).round().clip(0, 255).astype(np.uint8)

    if photo is not None:
        yield "photo", _crop(photo, avatar, zoom)
    yield "rest", draw(rig.vertices(avatar.photo))
    for name, motion in moves():
        yield name, draw(rig.vertices(rig.state(motion)))
    raster.close()


def sheet(
    avatar: Avatar, photo: NDArray[np.uint8] | None = None, zoom: str = "face", columns: int = 6
) -> NDArray[np.uint8]:
    """(H, W, 3) sRGB. photo (h, w, 3) at the avatar camera's size; zoom: face, eyes, mouth or view."""
    pictures = [_label(picture, name) for name, picture in tiles(avatar, photo, zoom)]
    while len(pictures) % columns:
        pictures.append(np.zeros_like(pictures[0]))
    return np.vstack([np.hstack(pictures[i : i + columns]) for i in range(0, len(pictures), columns)])


def _box(avatar: Avatar, zoom: str) -> tuple[float, float, float]:
    """x0, y0, side of the square that is shown, in camera pixels."""
    if zoom == "view":
        x0, y0, w, h = avatar.view
        side = max(w, h)
        return x0 - (side - w) / 2, y0 - (side - h) / 2, side
    v = Rig(avatar).vertices(avatar.photo)
    parts = {"face": (1, 2, 4, 5), "eyes": (1, 2), "mouth": (4, 5)}[zoom]
    p = avatar.camera.project(v[np.unique(avatar.mesh.faces[np.isin(avatar.part, parts)])])[:, :2]
    centre = (p.min(0) + p.max(0)) / 2
    side = {"face": 4.2, "eyes": 1.5, "mouth": 2.6}[zoom] * float(np.ptp(p[:, 0]))
    return centre[0] - side / 2, centre[1] - side / 2, side


def _frame(avatar: Avatar, zoom: str) -> tuple[Camera, NDArray]:
    x0, y0, side = _box(avatar, zoom)
    return avatar.camera.window(x0, y0, side, TILE, TILE), _crop(avatar.background, avatar, zoom).astype(np.float32)


def _crop(picture: NDArray[np.uint8], avatar: Avatar, zoom: str) -> NDArray[np.uint8]:
    x0, y0, side = _box(avatar, zoom)
    k = TILE / side
    move = np.array([[k, 0, -x0 * k + 0.5 * (k - 1)], [0, k, -y0 * k + 0.5 * (k - 1)]])
    mode = cv2.INTER_AREA if k < 1 else cv2.INTER_CUBIC
    return np.asarray(
        cv2.warpAffine(picture, move, (TILE, TILE), flags=mode, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def _label(tile: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    out = np.ascontiguousarray(tile)
    for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(out, text, (8, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.6, colour, width, cv2.LINE_AA)
    return out
