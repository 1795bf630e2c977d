"""What a user sets right by hand: a matte, face landmarks; and the files that show what the nets saw.

`FILE.landmarks.json` is {"width": W, "height": H, "points": {"0": [x, y], ..., "477": [x, y]}}: MediaPipe's face
landmarks in pixels of the upright photo, (0, 0) at its upper left corner. Points left out follow their named
neighbours. `FILE.matte.png` is a picture of the photo's shape, white where the person is, greys for half-covered
pixels; of a picture with an alpha channel that channel counts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from avatar.build.landmarks import LEFT_EYE_RING, LEFT_IRIS, LIPS_INNER, LIPS_OUTER, OVAL, RIGHT_EYE_RING, RIGHT_IRIS
from avatar.build.photo import Refused

if TYPE_CHECKING:
    from avatar.build.observe import Observation

POINTS = 478
FOLLOW = 0.08  # of the face's width, over which points that are not named follow those that are
FARTHEST = 0.5  # of the face's width that a corrected point may lie from where the net sees it
SAME_SHAPE = 0.01  # by which a matte's aspect ratio may differ from the photo's
ROUNDING = 0.003  # by which the width and height in a file of landmarks may be off the photo's
SEEN_SIDE = 1024  # px of the picture that shows landmarks and matte
_RINGS = (OVAL, LIPS_OUTER, LIPS_INNER, RIGHT_EYE_RING, LEFT_EYE_RING, RIGHT_IRIS[1:], LEFT_IRIS[1:])


@dataclass(frozen=True)
class Corrections:
    """Raises Refused, when they are read, with what is wrong with a file."""

    matte: Path | None = None
    landmarks: Path | None = None


def read_matte(path: Path, width: int, height: int) -> NDArray[np.float32]:
    """(height, width) 0..1, whatever the file's resolution."""
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            has_alpha = upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info
            grey = upright.convert("RGBA").getchannel("A") if has_alpha else upright.convert("L")
    except OSError as e:
        raise Refused(f"{path.name}: the matte cannot be read as a picture ({e})") from e
    if abs(grey.width / grey.height / (width / height) - 1) > SAME_SHAPE:
        raise Refused(
            f"{path.name}: the matte is {grey.width} x {grey.height}, the photo has another shape "
            f"({width} x {height} as it is used); save the matte in the photo's own shape, not cropped"
        )
    way = cv2.INTER_AREA if grey.width > width else cv2.INTER_LINEAR
    alpha = np.asarray(cv2.resize(np.asarray(grey, np.float32) / 255, (width, height), interpolation=way), np.float32)
    if not 0.002 < (alpha > 0.5).mean() < 0.999:
        what = "no person: nearly nothing is white" if alpha.mean() < 0.5 else "no background: nearly all is white"
        raise Refused(f"{path.name}: the matte has {what}; the person must be white, the background black")
    return alpha


def read_landmarks(path: Path, seen: NDArray, scale: float, size: tuple[int, int]) -> NDArray[np.float32]:
    """seen (478, 2) px of the working resolution -> the same corrected; scale: working pixels per pixel of the photo,
    size: the photo's width and height."""
    points = _parsed(path, size)
    named = np.array(sorted(points), int)
    target = np.array([points[i] for i in named]) * scale
    width = float(np.ptp(seen[:468, 0]))
    way = target - seen[named]
    far = np.linalg.norm(way, axis=1)
    if far.max() > FARTHEST * width:
        k = int(far.argmax())
        raise Refused(
            f"{path.name}: point {named[k]} lies {far[k] / scale:.0f} pixels from where the net sees it, more than "
            "half the face's width; give pixels of the upright photo, counted from its upper left corner"
        )
    away = np.linalg.norm(seen[:, None] - seen[named][None], axis=2) / (FOLLOW * width)
    weight = np.exp(-(away**2))
    out = seen + (weight @ way) / np.maximum(weight.sum(1, keepdims=True), 1)
    out[named] = target
    return np.asarray(out, np.float32)


def _parsed(path: Path, size: tuple[int, int]) -> dict[int, tuple[float, float]]:
    try:
        data = json.loads(path.read_text())
    except OSError as e:
        raise Refused(f"{path.name}: the landmarks cannot be read: {e.strerror}") from e
    except ValueError as e:
        raise Refused(f"{path.name}: the landmarks are no JSON ({e})") from e
    if not isinstance(data, dict) or not isinstance(data.get("points"), dict) or not data["points"]:
        raise Refused(f'{path.name}: wanted {{"width": W, "height": H, "points": {{"61": [x, y], ...}}}}')
    given = (data.get("width"), data.get("height"))
    if not all(isinstance(g, int | float) and abs(g - n) <= 1 + ROUNDING * n for g, n in zip(given, size)):
        raise Refused(
            f"{path.name}: width and height are {given[0]} x {given[1]}, the upright photo's are {size[0]} x {size[1]}"
        )
    out = {}
    for key, value in data["points"].items():
        if not key.isdecimal() or int(key) >= POINTS:
            raise Refused(f"{path.name}: there is no landmark {key!r}; they are numbered 0 to {POINTS - 1}")
        try:
            x, y = (float(v) for v in value)
        except (TypeError, ValueError) as e:
            raise Refused(f"{path.name}: landmark {key} is {value!r}; wanted [x, y] in pixels") from e
        if not (np.isfinite([x, y]).all() and -size[0] < x < 2 * size[0] and -size[1] < y < 2 * size[1]):
            raise Refused(f"{path.name}: landmark {key} at [{x}, {y}] is far outside the photo")
        out[int(key)] = (x, y)
    return out


def write(o: Observation, stem: Path) -> None:
    """stem.landmarks.json, stem.matte.png and stem.jpg, the picture of both, for who wants to correct them."""
    width, height = (round(n / o.scale) for n in (o.camera.width, o.camera.height))
    points = {str(i): [round(float(v), 1) for v in p / o.scale] for i, p in enumerate(o.landmarks)}
    text = json.dumps({"width": width, "height": height, "points": points}, indent=1)
    stem.with_name(stem.name + ".landmarks.json").write_text(text + "\n")
    matte = Image.fromarray((o.alpha * 255).round().clip(0, 255).astype(np.uint8))
    matte.save(stem.with_name(stem.name + ".matte.png"))
    Image.fromarray(seen(o)).save(stem.with_name(stem.name + ".jpg"), quality=88)


def seen(o: Observation) -> NDArray[np.uint8]:
    """(h, w, 3) the photo with the matte's outline, what it leaves out dimmed, and the landmarks."""
    k = SEEN_SIDE / max(o.rgb.shape[:2])
    size = (round(o.rgb.shape[1] * k), round(o.rgb.shape[0] * k))
    rgb = cv2.resize(o.rgb, size, interpolation=cv2.INTER_CUBIC if k > 1 else cv2.INTER_AREA)
    alpha = cv2.resize(o.alpha, size, interpolation=cv2.INTER_LINEAR)[..., None]
    out = np.ascontiguousarray((rgb * (0.35 + 0.65 * alpha)).round().clip(0, 255).astype(np.uint8))
    outline, _ = cv2.findContours((alpha[..., 0] > 0.5).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(out, outline, -1, (255, 120, 0), 1, cv2.LINE_AA)
    p = o.landmarks * k
    for x, y in p[:468]:
        cv2.circle(out, (round(x * 16), round(y * 16)), 12, (0, 220, 255), -1, cv2.LINE_AA, 4)
    for ring in _RINGS:
        corners = (p[list(ring)] * 16).round().astype(np.int32)
        cv2.polylines(out, [corners[:, None]], True, (60, 255, 90), 1, cv2.LINE_AA, 4)
    return out
