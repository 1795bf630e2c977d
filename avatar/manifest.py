"""The manifest of an avatar file: everything that is not an array or a picture, checked field by field."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from avatar.archive import AvatarError
from avatar.limbs import KINDS, SIDES
from models.motion import JOINT

if TYPE_CHECKING:
    from avatar.asset import Avatar

MAX_SIDE = 8192
TRANSLATION = "translation"  # key of limits for the root's way, m; the others are joints, rad
FRAMINGS = ("head", "bust", "half", "full")


def encode(avatar: Avatar) -> dict[str, Any]:
    """Raises AvatarError where a field would not be read back."""
    manifest = {
        "name": avatar.name,
        "framing": avatar.framing,
        "camera": asdict(avatar.camera),
        "view": [float(x) for x in avatar.view],
        "limits": {k: [[float(a), float(b)] for a, b in v] for k, v in avatar.limits.items()},
        "body_model": avatar.body_model,
        "capabilities": avatar.capabilities,
        "arms": avatar.arms,
        "limb_pose": {k: [float(x) for x in v] for k, v in avatar.limb_pose.items()},
        "quality": {k: float(v) for k, v in avatar.quality.items()},
        "warnings": list(avatar.warnings),
        "provenance": avatar.provenance,
    }
    decode(manifest)
    return manifest


def decode(m: dict[str, Any]) -> dict[str, Any]:
    """The fields of an Avatar that a manifest holds; the camera as keywords. Raises AvatarError naming the field."""
    return {
        "name": _text(m, "name"),
        "framing": _one_of(m, "framing", FRAMINGS),
        "camera": _camera(m),
        "view": _view(m),
        "limits": _limits(m),
        "body_model": _body_model(m),
        "capabilities": _object(m, "capabilities"),
        "arms": _arms(m),
        "limb_pose": _limb_pose(m),
        "quality": {k: _number(v, f"quality {k}") for k, v in _object(m, "quality").items()},
        "warnings": tuple(_strings(m, "warnings")),
        "provenance": _object(m, "provenance"),
    }


def _wrong(field: str, found: object, wanted: str) -> AvatarError:
    return AvatarError(f"its manifest's {field} is {str(found)[:80]!r}, expected {wanted}")


def _text(m: dict[str, Any], key: str, longest: int = 200) -> str:
    x = m.get(key)
    if not isinstance(x, str) or len(x) > longest:
        raise _wrong(key, x, f"a text of at most {longest} characters")
    return x


def _one_of(m: dict[str, Any], key: str, choices: tuple[str, ...]) -> str:
    x = m.get(key)
    if x not in choices:
        raise _wrong(key, x, f"one of {', '.join(choices)}")
    return str(x)


def _number(x: object, field: str) -> float:
    if isinstance(x, bool) or not isinstance(x, int | float) or not abs(x) < 1e9:
        raise _wrong(field, x, "a finite number")
    return float(x)


def _object(m: dict[str, Any], key: str) -> dict[str, Any]:
    x = m.get(key)
    if not isinstance(x, dict) or not all(isinstance(k, str) for k in x):
        raise _wrong(key, x, "an object")
    return x


def _arms(m: dict[str, Any]) -> dict[str, str]:
    """Files from before arms could move have none."""
    arms = _object(m, "arms") if "arms" in m else {}
    for side, kind in arms.items():
        if side not in SIDES or kind not in KINDS:
            raise _wrong(f"arms {side}", kind, f"left and right, each one of {', '.join(KINDS)}")
    return arms


def _limb_pose(m: dict[str, Any]) -> dict[str, tuple[float, ...]]:
    out = {}
    for name, turn in (_object(m, "limb_pose") if "limb_pose" in m else {}).items():
        if name not in JOINT or not isinstance(turn, list) or len(turn) != 3:
            raise _wrong(f"limb_pose {name}", turn, "a joint with three numbers")
        out[name] = tuple(_number(x, f"limb_pose {name}") for x in turn)
    return out


def _strings(m: dict[str, Any], key: str) -> list[str]:
    x = m.get(key)
    if not isinstance(x, list) or not all(isinstance(s, str) for s in x):
        raise _wrong(key, x, "a list of texts")
    return x


def _camera(m: dict[str, Any]) -> dict[str, Any]:
    c = _object(m, "camera")
    camera: dict[str, Any] = {k: _number(c.get(k), f"camera's {k}") for k in ("focal", "cx", "cy")}
    for side in ("width", "height"):
        x = c.get(side)
        if isinstance(x, bool) or not isinstance(x, int) or not 1 <= x <= MAX_SIDE:
            raise _wrong(f"camera's {side}", x, f"a whole number from 1 to {MAX_SIDE}")
        camera[side] = x
    if not 1 <= camera["focal"] <= 1e6:
        raise _wrong("camera's focal length", camera["focal"], "1 to 1000000 px")
    return camera


def _view(m: dict[str, Any]) -> tuple[float, float, float, float]:
    x = m.get("view")
    if not isinstance(x, list) or len(x) != 4:
        raise _wrong("view", x, "x, y, width and height in pixels")
    left, top, width, height = (_number(v, "view") for v in x)
    if not (4 <= width <= 4 * MAX_SIDE and 4 <= height <= 4 * MAX_SIDE):
        raise _wrong("view", x, f"a width and a height from 4 to {4 * MAX_SIDE} px")
    return left, top, width, height


def _limits(m: dict[str, Any]) -> dict[str, tuple[tuple[float, float], ...]]:
    limits = {}
    for name, ranges in _object(m, "limits").items():
        if name not in JOINT and name != TRANSLATION:
            raise _wrong("limits", name, f"names of joints, or {TRANSLATION}")
        if (
            not isinstance(ranges, list)
            or len(ranges) != 3
            or not all(isinstance(r, list) and len(r) == 2 for r in ranges)
        ):
            raise _wrong(f"limit of {name}", ranges, "three pairs, lowest and highest for x, y, z")
        pairs = tuple((_number(a, f"limit of {name}"), _number(b, f"limit of {name}")) for a, b in ranges)
        if any(a > 0 or b < 0 for a, b in pairs):
            raise _wrong(f"limit of {name}", ranges, "ranges that hold 0, the photo's own pose")
        limits[name] = pairs
    return limits


def _body_model(m: dict[str, Any]) -> dict[str, Any]:
    b = _object(m, "body_model")
    sha = b.get("sha256")
    if not isinstance(sha, str) or len(sha) != 64 or set(sha) - set("0123456789abcdef"):
        raise _wrong("body_model's sha256", sha, "64 hexadecimal digits")
    for key in ("name", "licence"):
        if not isinstance(b.get(key), str):
            raise _wrong(f"body_model's {key}", b.get(key), "a text")
    betas = b.get("betas")
    if not isinstance(betas, list) or len(betas) > 1000:
        raise _wrong("body_model's betas", betas, "a list of numbers")
    return b | {"betas": [_number(x, "body_model's betas") for x in betas]}
