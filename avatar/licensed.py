"""Avatars on a licensed body model: what may not be copied is left out of the file and put back when it is opened.

The file then holds the model's sha256 and betas, our own offsets from the shaped body, which of its triangles are used,
and whatever the union mesh has beyond the body (shell, mouth card). The body's vertices come first, in the model's
order.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatar.archive import AvatarError
from avatar.tensors import JOINTS, Spec, Tensors, _sparse
from models import body
from models.skinning import SkinnedMesh, SparseDirections

FOLDER = Path(__file__).parent.parent / "models" / "licensed"
ENVIRONMENT = "TALKSHOT_MODELS"  # further folders, separated as in PATH
_SUFFIXES = (".npz", ".pkl")

SPECS = {
    "body.offset": Spec(np.float32, "Q 3", limits=(-10, 10)),
    "body.face": Spec(np.int32, "G"),
    "extra.vertices": Spec(np.float32, "R 3", limits=(-1e3, 1e3)),
    "extra.faces": Spec(np.int32, "H 3"),
    "extra.joint_index": Spec(np.uint8, "R L", limits=(0, JOINTS - 1)),
    "extra.joint_weight": Spec(np.float32, "R L", half=True, limits=(-0.01, 1.01)),
    **_sparse("extra.expression", "E"),
    **_sparse("extra.pose_corrective", "P"),
}


def is_open(body_model: dict[str, Any]) -> bool:
    """Whether a body model's licence lets its mesh travel in an avatar file."""
    return str(body_model.get("licence", "")).startswith("CC0") or body_model.get("sha256") == body.load().sha256


def find(sha256: str, name: str, folders: Sequence[Path] = ()) -> body.BodyModel:
    """The body model with this hash. Raises AvatarError saying where it was looked for."""
    places = [*folders, FOLDER, *(Path(p) for p in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if p)]
    for folder in places:
        for file in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if file.suffix in _SUFFIXES and _hash(file, file.stat().st_mtime_ns) == sha256:
                return body.load(file)
    raise AvatarError(
        f"it stands on the body model {name} (sha256 {sha256[:16]}...), whose licence keeps it out of avatar files; "
        f"put that model's file into {FOLDER.parent.name}/{FOLDER.name}/ or name its folder in {ENVIRONMENT}"
    )


@lru_cache(maxsize=64)
def _hash(file: Path, stamp: int) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def strip(mesh: SkinnedMesh, body_model: dict[str, Any], folders: Sequence[Path] = ()) -> Tensors:
    """The arrays that stand for `mesh` in the file. Raises AvatarError when `restore` would not give it back."""
    human = find(body_model["sha256"], body_model["name"], folders)
    Q = len(human.v_template)
    row = {tuple(f): i for i, f in enumerate(human.faces.tolist())}
    own = np.array([tuple(f) in row for f in mesh.faces.tolist()], bool)
    count = int(own.sum())
    if len(mesh.vertices) < Q or not own[:count].all():
        raise AvatarError("a union mesh on a licensed body must begin with the body's vertices and triangles")
    weight = mesh.joint_weight[Q:]
    tensors: Tensors = {
        "body.offset": mesh.vertices[:Q] - human.shaped(body_model["betas"]),
        "body.face": np.array([row[tuple(f)] for f in mesh.faces[:count].tolist()], np.int32),
        "extra.vertices": mesh.vertices[Q:],
        "extra.faces": mesh.faces[count:],
        "extra.joint_index": mesh.joint_index[Q:],
        "extra.joint_weight": weight,
        **_beyond("extra.expression", mesh.expression, Q),
        **_beyond("extra.pose_corrective", mesh.pose_corrective, Q),
    }
    again = restore(tensors, body_model, folders)
    for name in ("vertices", "faces", "joints", "joint_weight", "pose_feature"):
        a, b = getattr(mesh, name), getattr(again, name)
        if a.shape != b.shape or np.abs(a.astype(np.float64) - b).max(initial=0) > 1e-5:
            raise AvatarError(f"mesh.{name} cannot be made again from the body model {body_model['name']}")
    return tensors


def restore(tensors: Tensors, body_model: dict[str, Any], folders: Sequence[Path] = ()) -> SkinnedMesh:
    """The union mesh, from the file's arrays and the body model. Raises AvatarError when they do not fit together."""
    human = find(body_model["sha256"], body_model["name"], folders)
    t, Q = tensors, len(human.v_template)
    V = Q + len(t["extra.vertices"])
    if len(t["body.offset"]) != Q or t["body.face"].max(initial=0) >= len(human.faces) or len(human.parents) != JOINTS:
        raise AvatarError(f"its arrays do not fit the body model {body_model['name']}")
    if t["body.face"].min(initial=0) < 0 or t["extra.faces"].min(initial=0) < 0 or t["extra.faces"].max(initial=0) >= V:
        raise AvatarError(f"its triangles refer to vertices or triangles the body model {body_model['name']} lacks")
    for name in ("extra.expression.vertex", "extra.pose_corrective.vertex"):
        if not Q <= t[name].min(initial=Q) <= t[name].max(initial=Q) <= max(V - 1, Q):
            raise AvatarError(f"{name} refers to vertices outside {Q} to {V - 1}")
    base = human.skinned(body_model["betas"], t["body.offset"])
    index, weight = _stack(base.joint_index, t["extra.joint_index"]), _stack(base.joint_weight, t["extra.joint_weight"])
    return SkinnedMesh(
        np.concatenate([base.vertices, t["extra.vertices"]]),
        np.concatenate([human.faces[t["body.face"]], t["extra.faces"]]).astype(np.int32),
        base.joints, base.parents, index, weight,
        _merge(base.expression, _directions(t, "extra.expression"), "expression"),
        base.pose_feature, _merge(base.pose_corrective, _directions(t, "extra.pose_corrective"), "pose"),
    )  # fmt: skip


def _stack(a: NDArray, b: NDArray) -> NDArray:
    """(Q, K) above (R, L), the narrower padded with zeros."""
    width = max(a.shape[1], b.shape[1])
    pad = [np.pad(x, ((0, 0), (0, width - x.shape[1]))) for x in (a, b)]
    return np.ascontiguousarray(np.concatenate(pad).astype(a.dtype))


def _directions(t: Tensors, name: str) -> SparseDirections:
    return SparseDirections(t[f"{name}.indptr"], t[f"{name}.vertex"], t[f"{name}.offset"])


def _columns(d: SparseDirections) -> NDArray[np.int64]:
    """(nnz,) the direction of each entry."""
    return np.repeat(np.arange(d.count), np.diff(d.indptr))


def _beyond(name: str, d: SparseDirections, first: int) -> Tensors:
    """The entries of vertices from `first` on."""
    keep = d.vertex >= first
    indptr = np.append(0, np.cumsum(np.bincount(_columns(d)[keep], minlength=d.count)))
    return {
        f"{name}.indptr": indptr.astype(np.int32),
        f"{name}.vertex": d.vertex[keep],
        f"{name}.offset": d.offset[keep],
    }


def _merge(a: SparseDirections, b: SparseDirections, what: str) -> SparseDirections:
    if a.count != b.count:
        raise AvatarError(f"it has {b.count} {what} directions, its body model {a.count}")
    order = np.argsort(np.concatenate([_columns(a), _columns(b)]), kind="stable")
    return SparseDirections(
        (a.indptr + b.indptr).astype(np.int32),
        np.concatenate([a.vertex, b.vertex])[order],
        np.ascontiguousarray(np.concatenate([a.offset, b.offset])[order]),
    )
