"""Draw docs/open_human.webp: the open human at rest, with its arms down, waving, with fists, and its face at work.

python docs/make_open_human_sheet.py [OUT.webp]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from models import body, expression  # noqa: E402
from models.motion import JOINT, LEFT_EYE, N_ARKIT, N_JOINTS, RIGHT_EYE, A  # noqa: E402
from models.open_human import shade  # noqa: E402
from models.skinning import Poser  # noqa: E402

BODY_TILE, FACE_TILE, OVERSAMPLE = (300, 400), (300, 300), 2
ARMS_DOWN = {
    "left_shoulder": (0, 0, -1.15),
    "right_shoulder": (0, 0, 1.15),
    "left_elbow": (0, -0.25, 0),
    "right_elbow": (0, 0.25, 0),
}
WAVE = ARMS_DOWN | {
    "right_collar": (0, 0, -0.1),
    "right_shoulder": (-1.2, 0.2, 0.35),
    "right_elbow": (0, 1.9, 0),
    "head": (0, 0.25, 0.05),
}
BENT = ARMS_DOWN | {"left_elbow": (0, -1.7, 0), "right_elbow": (0, 1.7, 0)}
FACES: dict[str, dict[str, float]] = {
    "neutral": {},
    "jawOpen": {"jawOpen": 1},
    "mouthSmile": {"mouthSmileLeft": 1, "mouthSmileRight": 1},
    "open smile": {"mouthSmileLeft": 0.9, "mouthSmileRight": 0.9, "jawOpen": 0.4},
    "eyeBlink": {"eyeBlinkLeft": 1, "eyeBlinkRight": 1},
    "mouthPucker": {"mouthPucker": 1},
    "mouthFunnel": {"mouthFunnel": 1},
    "tongueOut": {"tongueOut": 1, "jawOpen": 0.8},
    "browInnerUp, eyeWide": {"browInnerUp": 1, "eyeWideLeft": 1, "eyeWideRight": 1},
    "browDown, mouthPress": {"browDownLeft": 1, "browDownRight": 1, "mouthPressLeft": 1, "mouthPressRight": 1},
    "eyeLook to its left": {"eyeLookOutLeft": 1, "eyeLookInRight": 1},
    "eyeLookDown": {"eyeLookDownLeft": 1, "eyeLookDownRight": 1},
}


class Studio:
    """The open human before a camera."""

    def __init__(self) -> None:
        self.model = body.load()
        self.mesh = self.model.skinned()
        self.poser = Poser(self.mesh)
        self.map = expression.face_map(self.model)
        eyes = self.mesh.joints[[LEFT_EYE, RIGHT_EYE]]
        self.colours = shade.colours(self.mesh.vertices, self.mesh.faces, self.model.face_part, eyes)
        self.eyes = eyes.mean(0)

    def tile(self, title: str, pose: np.ndarray, face: np.ndarray, view: shade.View) -> Image.Image:
        pose = pose.copy()
        pose[JOINT["jaw"]] += face @ self.map.jaw
        pose[[LEFT_EYE, RIGHT_EYE]] += (face @ self.map.eyes).reshape(2, 3)
        vertices = self.poser(pose.astype(np.float32), face @ self.map.expression, np.zeros(3, np.float32))
        w, h = view.size
        big = shade.View(view.centre, view.scale * OVERSAMPLE, (w * OVERSAMPLE, h * OVERSAMPLE), view.yaw, view.pitch)
        image = Image.fromarray(shade.draw(vertices, self.mesh.faces, self.colours, big).image).resize(view.size)
        ImageDraw.Draw(image).text(
            (8, view.size[1] - 18), title, fill=(20, 20, 20), stroke_width=2, stroke_fill="white"
        )
        return image

    def body_tile(self, title: str, joints: dict, hands: float, yaw: float = 0, close: bool = False) -> Image.Image:
        """hands: 0 flat, 1 fists."""
        pose = np.zeros((N_JOINTS, 3))
        for name, turn in joints.items():
            pose[JOINT[name]] = turn
        pose[25:37, 2], pose[37:40, 1] = -1.35 * hands, -0.5 * hands
        pose[40:52, 2], pose[52:55, 1] = 1.35 * hands, 0.5 * hands
        x, y, z = self.eyes
        view = (
            shade.View((x, y - 0.38, z), 330, BODY_TILE, yaw)
            if close
            else shade.View((0, -0.43, 0), 158, BODY_TILE, yaw)
        )
        return self.tile(title, pose, np.zeros(N_ARKIT, np.float32), view)

    def face_tile(self, title: str, coefficients: dict[str, float], yaw: float = 0) -> Image.Image:
        face = np.zeros(N_ARKIT, np.float32)
        for name, value in coefficients.items():
            face[A[name]] = value
        x, y, z = self.eyes
        return self.tile(title, np.zeros((N_JOINTS, 3)), face, shade.View((x, y - 0.035, z), 1250, FACE_TILE, yaw))


def sheet(rows: list[list[Image.Image]]) -> Image.Image:
    out = Image.new("RGB", (max(sum(t.width for t in r) for r in rows), sum(r[0].height for r in rows)), "white")
    y = 0
    for row in rows:
        for i, tile in enumerate(row):
            out.paste(tile, (i * tile.width, y))
        y += row[0].height
    return out


def main(out: Path) -> None:
    s = Studio()
    bodies = [
        s.body_tile("rest", {}, 0),
        s.body_tile("arms down", ARMS_DOWN, 0.25, close=True),
        s.body_tile("wave", WAVE, 0, yaw=-15, close=True),
        s.body_tile("fists", BENT, 1, close=True),
    ]
    faces = [s.face_tile(title, c) for title, c in FACES.items()]
    turned = [s.face_tile(title, FACES[title], yaw=40) for title in ("neutral", "jawOpen", "open smile", "eyeBlink")]
    sheet([bodies, *(faces[i : i + 4] for i in range(0, len(faces), 4)), turned]).save(out, quality=82, method=6)
    print(f"{out}: {out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "open_human.webp")
