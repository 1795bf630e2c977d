"""The arrays of an avatar file: names, shapes, precision, and what must hold before any of them is used.

float16 holds what needs no more: shapes, colours (.12 of a code value), opacities, skinning weights (made to sum to 1
again) and displacement directions (.05 % of each); together they leave a picture 63 dB close. Rest vertices, joints,
poses, the face map and barycentrics (52 dB, were they halved) stay float32. A half-precision array whose values do not
fit is kept in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from avatar.archive import AvatarError

MAX_COUNT = {
    "V": 2_000_000,
    "F": 4_000_000,
    "N": 1_000_000,
    "E": 1_000,
    "P": 1_000,
    "B": 8,
    "K": 32,
    "Q": 2_000_000,
    "R": 2_000_000,
    "G": 4_000_000,
    "H": 4_000_000,
    "L": 32,
}
JOINTS = 55
HALF_MAX = 6e4
Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Spec:
    """One array: its dtype in memory, its shape in letters (free sizes) and numbers, what its values are bound by."""

    dtype: type[np.generic]
    shape: str  # "V 3"; letters are free sizes, the same everywhere; "*" is free for this array alone
    half: bool = False
    below: str | None = None  # 0 <= value < this size
    limits: tuple[float, float] | None = None


def _sparse(name: str, columns: str) -> dict[str, Spec]:
    return {
        f"{name}.indptr": Spec(np.int32, columns + "+1"),
        f"{name}.vertex": Spec(np.int32, "*", below="V"),
        f"{name}.offset": Spec(np.float32, "* 3", half=True, limits=(-10, 10)),
    }


def _state(name: str) -> dict[str, Spec]:
    return {
        f"{name}.pose": Spec(np.float32, f"{JOINTS} 3", limits=(-20, 20)),
        f"{name}.translation": Spec(np.float32, "3", limits=(-1e3, 1e3)),
        f"{name}.expression": Spec(np.float32, "E", limits=(-1e3, 1e3)),
        f"{name}.correction": Spec(np.float32, "B", limits=(-1e3, 1e3)),
    }


COMMON = {
    "part": Spec(np.uint8, "F"),
    "occluder": Spec(np.bool_, "F"),
    **_sparse("correction", "B"),
    "gaussians.face": Spec(np.int32, "N", below="F"),
    "gaussians.bary": Spec(np.float32, "N 2", limits=(-8, 8)),
    "gaussians.shape": Spec(np.float32, "N 2 2", half=True, limits=(-1e9, 1e9)),
    "gaussians.colour": Spec(np.float32, "N 3", half=True, limits=(-4, 4)),
    "gaussians.opacity": Spec(np.float32, "N", half=True, limits=(0, 1)),
    "gaussians.layer": Spec(np.uint8, "N"),
    "gaussians.confidence": Spec(np.uint8, "N", limits=(1, 3)),
    **_state("photo"),
    **_state("neutral"),
    "face_map.expression": Spec(np.float32, "52 E", limits=(-1e3, 1e3)),
    "face_map.jaw": Spec(np.float32, "52 3", limits=(-20, 20)),
    "face_map.eyes": Spec(np.float32, "52 6", limits=(-20, 20)),
}
MESH = {
    "mesh.vertices": Spec(np.float32, "V 3", limits=(-1e3, 1e3)),
    "mesh.faces": Spec(np.int32, "F 3", below="V"),
    "mesh.joints": Spec(np.float32, f"{JOINTS} 3", limits=(-1e3, 1e3)),
    "mesh.parents": Spec(np.int32, f"{JOINTS}"),
    "mesh.joint_index": Spec(np.uint8, "V K", limits=(0, JOINTS - 1)),
    "mesh.joint_weight": Spec(np.float32, "V K", half=True, limits=(-0.01, 1.01)),
    "mesh.pose_feature": Spec(np.int32, "P", limits=(0, 9 * (JOINTS - 1) - 1)),
    **_sparse("mesh.expression", "E"),
    **_sparse("mesh.pose_corrective", "P"),
}


def encode(tensors: Tensors, specs: dict[str, Spec]) -> bytes:
    """Check the arrays, bring them to the file's precision, and serialize them. Raises AvatarError."""
    check(tensors, specs)
    stored = {}
    for name, array in tensors.items():
        half = specs[name].half and (not array.size or np.abs(array).max() < HALF_MAX)
        stored[name] = np.ascontiguousarray(array.astype(np.float16) if half else array)
    return safetensors.numpy.save(stored)


def decode(data: bytes, specs: dict[str, Spec]) -> Tensors:
    """Arrays in memory's precision, checked. Raises AvatarError naming the array, what was found and wanted."""
    try:
        stored = safetensors.numpy.load(data)
    except Exception as e:  # SafetensorError, and whatever NumPy thinks of an odd dtype
        raise AvatarError(f"its arrays cannot be read ({e})") from e
    tensors = {}
    for name, array in stored.items():
        spec = specs.get(name)
        if spec is not None and spec.half and array.dtype == np.float16:
            array = array.astype(np.float32)
        tensors[name] = array
    check(tensors, specs)
    return tensors


def check(tensors: Tensors, specs: dict[str, Spec]) -> dict[str, int]:
    """Names, dtypes, shapes, finiteness, ranges. Returns the sizes. Raises AvatarError."""
    missing, unknown = specs.keys() - tensors.keys(), tensors.keys() - specs.keys()
    if missing or unknown:
        text = [f"lacks {', '.join(sorted(missing))}"] if missing else []
        text += [f"has unknown {', '.join(sorted(unknown))}"] if unknown else []
        raise AvatarError(f"its set of arrays {' and '.join(text)}")
    sizes: dict[str, int] = {}
    for name, spec in specs.items():
        array = tensors[name]
        if array.dtype != spec.dtype:
            raise AvatarError(f"{name} holds {array.dtype}, expected {np.dtype(spec.dtype)}")
        _match(name, array.shape, spec.shape, sizes)
    for name, spec in specs.items():
        _check_values(name, tensors[name], spec, sizes)
    for name in specs:
        if name.endswith(".indptr"):
            _check_indptr(name, tensors[name], tensors[name.replace(".indptr", ".vertex")])
            if len(tensors[name.replace(".indptr", ".offset")]) != len(tensors[name.replace(".indptr", ".vertex")]):
                raise AvatarError(f"{name.removesuffix('.indptr')} has offsets and vertices of different length")
    return sizes


def _match(name: str, shape: tuple[int, ...], pattern: str, sizes: dict[str, int]) -> None:
    words = pattern.split()
    good = len(words) == len(shape)
    for word, n in zip(words, shape) if good else ():
        letter, extra = (word[0], 1) if word.endswith("+1") else (word, 0)
        if letter == "*":
            good &= n <= 50_000_000
        elif letter.isdigit():
            good &= n == int(word)
        else:
            good &= 0 <= n - extra <= MAX_COUNT[letter] and sizes.setdefault(letter, n - extra) == n - extra
    if not good:
        fixed = {k: v for k, v in sizes.items() if k in pattern}
        known = f" with {fixed}" if fixed else ""
        raise AvatarError(f"{name} has shape {shape}, expected ({', '.join(words)}){known}")


def _check_values(name: str, array: NDArray, spec: Spec, sizes: dict[str, int]) -> None:
    if not array.size:
        return
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise AvatarError(f"{name} holds values that are not finite")
    low, high = spec.limits if spec.limits else (-np.inf, np.inf)
    if spec.below:
        low, high = 0, sizes.get(spec.below, MAX_COUNT[spec.below]) - 1  # unknown: checked once the body is there
    found = float(array.min()), float(array.max())
    if array.dtype != np.bool_ and not (low <= found[0] and found[1] <= high):
        raise AvatarError(f"{name} ranges over {found[0]:g} to {found[1]:g}, allowed is {low:g} to {high:g}")


def _check_indptr(name: str, indptr: NDArray, vertex: NDArray) -> None:
    if len(indptr) == 0 or indptr[0] != 0 or indptr[-1] != len(vertex) or (np.diff(indptr) < 0).any():
        raise AvatarError(f"{name} does not rise from 0 to {len(vertex)}")
