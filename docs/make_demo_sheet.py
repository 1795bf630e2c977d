"""docs/demo.webp: the demo photo and the demo avatar in five states, through the same rig and rasterizer as live.

.venv/bin/python docs/make_demo_sheet.py [NAME.avatar PHOTO OUT.webp]
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from PIL import Image

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from avatar import asset  # noqa: E402
from avatar.render import compose  # noqa: E402
from avatar.render.cpu import Rasterizer  # noqa: E402
from avatar.rig import Rig  # noqa: E402
from models.motion import HEAD, A, Motion  # noqa: E402

SIDE = 300
STATES: tuple[tuple[dict[str, float], float], ...] = (  # ARKit coefficients, turn of the head in degrees
    ({}, 0),
    ({}, 14),
    ({"mouthSmileLeft": 0.7, "mouthSmileRight": 0.7}, -8),
    ({"jawOpen": 0.6}, 0),
    ({"eyeBlinkLeft": 1, "eyeBlinkRight": 1, "mouthPucker": 0.6}, 0),
)


def main(avatar_path: Path, photo: Path, out: Path) -> None:
    avatar = asset.load(avatar_path)
    rig, rasterizer = Rig(avatar), Rasterizer(avatar)
    x, y, side = _head_window(avatar)
    camera = avatar.camera.window(x, y, side, SIDE, SIDE)
    background = compose.crop(avatar.background, x, y, side, SIDE, SIDE)
    source = np.asarray(Image.open(photo).convert("RGB").resize((avatar.camera.width, avatar.camera.height)))
    pictures = [compose.crop(source, x, y, side, SIDE, SIDE)]
    for coefficients, yaw in STATES:
        motion = Motion(weight=np.ones(8, np.float32))
        for name, value in coefficients.items():
            motion.face[A[name]] = value
        motion.pose[HEAD, 1] = np.radians(yaw)
        drawn = rasterizer.draw(rig.vertices(rig.state(motion)), camera)
        pictures.append(compose.over(drawn, background))
    Image.fromarray(cv2.hconcat(pictures)).save(out, quality=88)


def _head_window(avatar: asset.Avatar) -> tuple[float, float, float]:
    """A square around the head, by the neutral pose's joints: left, top, side in camera pixels."""
    rig = Rig(avatar)
    vertices = rig.vertices(avatar.neutral)
    skin = vertices[np.unique(avatar.mesh.faces[avatar.part < 10])]
    pixels = avatar.camera.project(skin[skin[:, 1] > np.percentile(skin[:, 1], 45)])
    centre, height = pixels[:, :2].mean(0), np.ptp(pixels[:, 1])
    side = min(2.1 * height, avatar.camera.width, avatar.camera.height)
    left = np.clip(centre[0] - side / 2, 0, avatar.camera.width - side)
    top = np.clip(centre[1] - 0.45 * side, 0, avatar.camera.height - side)
    return float(left), float(top), float(side)


if __name__ == "__main__":
    demo = (ROOT / "avatars/demo.avatar", Path(str(skimage.data.__file__)).with_name("astronaut.png"))
    main(*map(Path, sys.argv[1:4] or (*demo, ROOT / "docs/demo.webp")))
