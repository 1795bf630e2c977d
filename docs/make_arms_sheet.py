"""Draw docs/arms.webp: a made-up person's raised arm fitted, cut out, completed and moved.

python docs/make_arms_sheet.py [OUT.webp]
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from avatar.build import check, fit, parts, refine  # noqa: E402
from avatar.build.arms import plan as planning  # noqa: E402
from avatar.build.arms.owner import HAND_BONES  # noqa: E402
from avatar.build.arms.plan import Plan  # noqa: E402
from avatar.limbs import FREE, Gesture, Limbs  # noqa: E402
from avatar.render import compose  # noqa: E402
from avatar.rig import Rig  # noqa: E402
from models import body  # noqa: E402
from stage import gestures  # noqa: E402
from tests.avatar.build import made_up  # noqa: E402

TILE, COLUMNS, GAUSSIANS = 340, 4, 80_000
GREEN = np.array([0, 150, 0])


def main(out: Path) -> None:
    o = made_up.observed(made_up.scene())
    model = body.load()
    fitted = fit.fit(model, o.camera, o.face, o.person.body)
    seen = parts.find(model, o, fit.posed(model, fitted))
    plan = planning.plan(model, o, fitted, refine.refine(model, fitted, o.landmarks, o.alpha, seen))
    avatar = made_up.built(o, GAUSSIANS)
    limbs, rig = Limbs(avatar), Rig(avatar)
    shown = {"fitted bones": bones(plan), "whose pixels": owners(plan), "the trunk alone": trunk(plan)}
    moved = {
        "redrawn": {},
        "beat, up": {"left": gestures.of_beat(FREE, "left", 1.0)},
        "beat, down": {"left": gestures.of_beat(FREE, "left", -1.0)},
        "elbow alone": {"left": Gesture({"elbow": (0.0, 0.0, -0.25)})},
        "fingers": {"left": Gesture(fingers=0.4)},
    }
    for text, gesture in moved.items():
        state = rig.state(limbs.motion(0.0, gesture), absolute=text == "redrawn")
        shown[text] = compose.over(check.draw(avatar, state), avatar.background)
    tiles = [tile(picture, text) for text, picture in shown.items()]
    rows = [np.hstack(tiles[i : i + COLUMNS]) for i in range(0, len(tiles), COLUMNS)]
    Image.fromarray(np.vstack(rows)).save(out, "WEBP", quality=85, method=6)


def bones(plan: Plan) -> NDArray[np.uint8]:
    picture = plan.photo.rgb.copy()
    for r in plan.regions:
        points = [(r.fit.pixels[a], r.fit.pixels[b]) for a, b in ((0, 1), (1, 2))]
        points += [(r.fit.hand_pixels[a], r.fit.hand_pixels[b]) for a, b in HAND_BONES]
        for a, b in points:
            cv2.line(picture, a.astype(int).tolist(), b.astype(int).tolist(), (255, 220, 0), 2, cv2.LINE_AA)
    return picture


def owners(plan: Plan) -> NDArray[np.uint8]:
    """The arm in red where it moves by itself, in yellow where it still hangs with the trunk."""
    picture = plan.photo.rgb * 0.5
    for r in plan.regions:
        tint = np.stack([np.full_like(r.sway, 255), 255 * (1 - r.sway), np.zeros_like(r.sway)], -1)
        picture[r.mask] = 0.5 * picture[r.mask] + 0.5 * tint[r.mask]
    return picture.astype(np.uint8)


def trunk(plan: Plan) -> NDArray[np.uint8]:
    alpha = plan.trunk.alpha[..., None]
    return (plan.trunk.foreground * 255 * alpha + GREEN * (1 - alpha)).clip(0, 255).astype(np.uint8)


def tile(picture: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    image = Image.fromarray(picture).resize((TILE, round(TILE * picture.shape[0] / picture.shape[1])))
    ImageDraw.Draw(image).text((8, 6), text, fill="white", stroke_width=2, stroke_fill="black", font_size=16)
    return np.asarray(image)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "arms.webp")
