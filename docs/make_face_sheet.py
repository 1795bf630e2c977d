"""docs/face.webp: mouth and eyes of an avatar at close range.

.venv/bin/python docs/make_face_sheet.py [NAME.avatar OUT.webp]
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from avatar import asset  # noqa: E402
from avatar.render import cpu  # noqa: E402
from avatar.rig import Rig  # noqa: E402
from models.motion import A, Motion  # noqa: E402

WIDTH = 240  # px of a tile
TEETH, EYES = (4, 5), (1, 2)  # of Avatar.part
MOUTH_MOVES: tuple[dict[str, float], ...] = (
    {}, {"jawOpen": 0.3}, {"jawOpen": 0.8}, {"mouthRollLower": 0.8, "mouthUpperUp": 0.3}, {"mouthPucker": 1.0},
)  # fmt: skip
EYE_MOVES = (
    {},
    {"eyeBlink": 1.0},
    {"eyeBlink": 0.5},
    {"eyeLookOutLeft": 0.8, "eyeLookInRight": 0.8},
    {"eyeLookUp": 0.8},
)


def main(avatar_path: Path, out: Path) -> None:
    avatar = asset.load(avatar_path)
    rows = [_row(avatar, TEETH, MOUTH_MOVES, 1.9, 0.9), _row(avatar, EYES, EYE_MOVES, 1.3, 0.5)]
    Image.fromarray(cv2.vconcat(rows)).save(out, quality=86)


def _row(avatar, parts, moves, zoom, ratio):  # type: ignore[no-untyped-def]
    """(h, w, 3): the moves side by side, about the parts' place in the neutral face."""
    rig = Rig(avatar)
    at = np.unique(avatar.mesh.faces[np.isin(avatar.part, parts)])
    p = avatar.camera.project(rig.vertices(avatar.neutral)[at].astype(np.float64))[:, :2]
    side = zoom * float(np.ptp(p[:, 0]))
    x, y = (p.min(0) + p.max(0)) / 2 - [side / 2, side * ratio / 2]
    camera = avatar.camera.window(x, y, side, WIDTH, round(WIDTH * ratio))
    tiles = []
    for move in moves:
        motion = Motion(weight=np.ones(8, np.float32))
        motion.weight[6:] = 0
        for name, value in move.items():
            for full in [name] if name in A else [name + "Left", name + "Right"]:
                motion.face[A[full]] = value
        d = cpu.draw(rig.vertices(rig.state(motion)), avatar.mesh.faces, avatar.occluder, avatar.gaussians, camera)
        tiles.append(((d[..., :3] + 0.5 * (1 - d[..., 3:])) * 255).clip(0, 255).astype(np.uint8))
    return cv2.hconcat(tiles)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3] or (ROOT / "avatars/demo.avatar", ROOT / "docs/face.webp")))
