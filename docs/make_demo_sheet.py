"""docs/demo.webp and docs/contact_sheet.webp: the demo photo and what the demo avatar does live.

.venv/bin/python docs/make_demo_sheet.py [NAME.avatar PHOTO OUT_FOLDER]
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
from avatar.build import sheet  # noqa: E402

TILE = 300
STRIP = ("photo", "neutral", "yaw +15", "smile", "jaw wide", "blink")


def main(avatar_path: Path, photo_path: Path, folder: Path) -> None:
    avatar = asset.load(avatar_path)
    size = (avatar.camera.width, avatar.camera.height)
    photo = np.asarray(Image.open(photo_path).convert("RGB").resize(size))
    whole = sheet.sheet(avatar, photo, "face")
    small = cv2.resize(whole, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    Image.fromarray(small).save(folder / "contact_sheet.webp", quality=82)
    tiles = dict(sheet.tiles(avatar, photo, "face"))
    strip = [cv2.resize(tiles[name], (TILE, TILE), interpolation=cv2.INTER_AREA) for name in STRIP]
    Image.fromarray(cv2.hconcat(strip)).save(folder / "demo.webp", quality=88)


if __name__ == "__main__":
    demo = (ROOT / "avatars/demo.avatar", Path(str(skimage.data.__file__)).with_name("astronaut.png"), ROOT / "docs")
    main(*map(Path, sys.argv[1:4] or demo))
