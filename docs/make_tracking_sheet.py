"""Draw what the tracker and the matte see of a photo: landmarks, skeleton, matte over green, the background behind.

    python docs/make_tracking_sheet.py                     # the demo's photo -> docs/tracking.webp
    python docs/make_tracking_sheet.py PHOTO... -o OUT.png  # one row a photo

A developer's command, run from the project's folder.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from models.matting import inpaint_background, matte  # noqa: E402
from models.person import Person  # noqa: E402
from models.tracking import Tracker  # noqa: E402

HEIGHT = 440  # px of a row
GREEN = np.array([0.1, 0.8, 0.2])
BONES = (
    (11, 12),
    (11, 13),
    (13, 15),
    (12, 14),
    (14, 16),
    (11, 23),
    (12, 24),
    (23, 24),
    (23, 25),
    (25, 27),
    (24, 26),
    (26, 28),
)
FACE, IRIS, BONE, LEFT, RIGHT, BOX = (
    (60, 255, 60),
    (255, 0, 255),
    (255, 160, 0),
    (60, 120, 255),
    (255, 60, 60),
    (0, 255, 255),
)
U8 = NDArray[np.uint8]


def overlay(rgb: U8, persons: list[Person]) -> U8:
    """The picture with each person's landmarks; the left hand blue, the right one red."""
    picture = rgb.copy()
    unit = max(1, round(max(rgb.shape[:2]) / 600))
    for person in persons:
        if person.body is not None:
            k = person.body.keypoints
            for a, b in BONES:
                if min(k[a, 3], k[b, 3]) > 0.5:
                    ends = np.round(k[[a, b], :2]).astype(int).tolist()
                    cv2.line(picture, ends[0], ends[1], BONE, 2 * unit, cv2.LINE_AA)
        if person.face is not None:
            dots(picture, person.face.landmarks[:468], FACE, unit)
            dots(picture, person.face.landmarks[468:], IRIS, unit)
        for hand in person.hands:
            dots(picture, hand.landmarks, LEFT if hand.side == "left" else RIGHT, 2 * unit)
        x0, y0, x1, y1 = (round(v) for v in person.box)
        cv2.rectangle(picture, (x0, y0), (x1, y1), BOX, unit)
    return picture


def dots(picture: U8, points: NDArray, colour: tuple[int, int, int], radius: int) -> None:
    for x, y in np.round(points[:, :2] * 4).astype(int).tolist():
        cv2.circle(picture, (x, y), 3 * radius, colour, -1, cv2.LINE_AA, shift=2)


def row(rgb: U8, tracker: Tracker) -> U8:
    """Overlay, matte over green, alpha and background side by side."""
    persons = tracker.track(rgb)
    panels = [overlay(rgb, persons)]
    if persons:
        cut = matte(rgb, persons[0], others=persons[1:])
        alpha = cut.alpha[..., None]
        panels += [
            np.round(255 * (cut.foreground * alpha + GREEN * (1 - alpha))).astype(np.uint8),
            np.repeat(np.round(255 * alpha), 3, 2).astype(np.uint8),
            np.round(255 * inpaint_background(rgb, cut.alpha)).astype(np.uint8),
        ]
    size = (round(rgb.shape[1] * HEIGHT / rgb.shape[0]), HEIGHT)
    return np.hstack([cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in panels]).astype(np.uint8)


def read(path: str) -> U8:
    picture = cv2.imread(path)
    if picture is None:
        raise SystemExit(f"{path}: not a picture that OpenCV reads")
    return np.ascontiguousarray(picture[..., ::-1]).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", nargs="*", help="pictures; default the astronaut that scikit-image carries")
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "docs" / "tracking.webp")
    arguments = parser.parse_args()
    with Tracker() as tracker:
        rows = [row(rgb, tracker) for rgb in map(read, arguments.photo)] or [row(data.astronaut(), tracker)]
    width = max(r.shape[1] for r in rows)
    sheet = np.vstack([np.pad(r, ((0, 4), (0, width - r.shape[1]), (0, 0)), constant_values=40) for r in rows])
    if not cv2.imwrite(str(arguments.out), sheet[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 80]):
        raise SystemExit(f"{arguments.out} could not be written")
    print(f"{arguments.out}: {arguments.out.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()
