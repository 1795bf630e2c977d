"""The avatar: what the builder makes and every runtime reads, in memory and as NAME.avatar.

The file is a zip of plainly stored members: manifest.json (schema version, sha256 of the others, whatever is not an
array or a picture), tensors.safetensors, background.webp, preview.webp. Nothing in it can run. With an open body
model everything needed is inside; of a licensed one only its sha256 and parameters are (see licensed.py).
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from avatar import archive, licensed, manifest, migrate, tensors
from avatar.archive import BACKGROUND, PREVIEW, TENSORS, AvatarError
from avatar.manifest import FRAMINGS, MAX_SIDE
from avatar.migrate import SCHEMA
from avatar.render.contract import LAYERS, Camera
from models.skinning import F32, I32, SkinnedMesh, SparseDirections

__all__ = ["FRAMINGS", "SCHEMA", "Avatar", "AvatarError", "FaceMap", "Gaussians", "State", "load", "save", "summary"]

MAX_PREVIEW = 1024  # px
MAX_PIXELS = 40_000_000


@dataclass(frozen=True)
class State:
    """Parameters that pose an avatar's mesh: what the rig makes of a Motion."""

    pose: F32  # (55, 3) axis-angle
    translation: F32  # (3,) m
    expression: F32  # (E,) of the avatar's face model
    correction: F32  # (B,) of the avatar's correction bases


@dataclass(frozen=True)
class Gaussians:
    """N surface Gaussians, each bound to a triangle of the union mesh."""

    face: I32  # (N,)
    bary: F32  # (N, 2) weights of the triangle's second and third corner; may lie a little outside
    shape: F32  # (N, 2, 2) square-root covariance in the triangle's edge basis (columns: edges 1-0 and 2-0)
    colour: F32  # (N, 3) linear in sRGB code values, 0..1
    opacity: F32  # (N,) 0..1
    layer: NDArray[np.uint8]  # (N,) index into LAYERS
    confidence: NDArray[np.uint8]  # (N,) 3 seen in the photo, 2 mirrored, 1 filled in

    @property
    def count(self) -> int:
        return len(self.face)


@dataclass(frozen=True)
class FaceMap:
    """ARKit coefficients -> the avatar's face model: x = coefficients @ matrix."""

    expression: F32  # (52, E)
    jaw: F32  # (52, 3) rad
    eyes: F32  # (52, 6) rad, left then right


@dataclass(frozen=True)
class Avatar:
    """A hybrid avatar in memory. `photo` redraws the photo; `neutral` has sealed lips, open lids, the gaze ahead."""

    name: str
    mesh: SkinnedMesh  # union mesh: body + mouth card + shell
    # (F,) of each triangle: 0 skin, 1 2 eyes, 3 tongue, 4 5 teeth, 6-9 lashes, 20 shell, 21 card, 22 arm, 23 scalp,
    # 24 before an eye
    part: NDArray[np.uint8]
    occluder: NDArray[np.bool_]  # (F,) drawn in the depth pre-pass
    correction: (
        # (B <= 8) linear bases in the rest pose, which redraw the photo's face at 1; basis 1 is of teeth that closed
        # lips hide there, basis 0 of all else
        SparseDirections
    )
    gaussians: Gaussians
    camera: Camera  # of the photo, at the resolution of `background`
    view: tuple[float, float, float, float]  # x0, y0, width, height in camera pixels: the default live framing
    framing: str
    photo: State
    neutral: State
    face_map: FaceMap
    limits: dict[
        str, tuple[tuple[float, float], ...]
    ]  # joint name -> ((min, max) rad) for x, y, z, relative to the photo; about which axes: limbs.frames
    background: NDArray[np.uint8]  # (H, W, 3) sRGB, the photo with the person painted out
    preview: NDArray[np.uint8]  # (h, w, 3) sRGB
    body_model: dict[str, Any]  # name, sha256, licence, betas
    capabilities: dict[str, Any] = field(default_factory=dict)
    quality: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)  # builder version, settings, seed, consent note
    arms: dict[str, str] = field(default_factory=dict)  # side -> one of limbs.KINDS; none: out of view
    # joint -> its SMPL-X rotation in the photo, of arms that move; the mesh is bound to them there, so that all of its
    # own poses hold zeros for them and turns away from the photo count about the axes of the mesh (limbs.Axes)
    limb_pose: dict[str, tuple[float, float, float]] = field(default_factory=dict)


# ---- the file -------------------------------------------------------------------------------------------------------


def save(avatar: Avatar, path: str | os.PathLike[str], model_folders: Sequence[Path] = ()) -> None:
    """Write NAME.avatar, whole or not at all; the same avatar gives the same bytes.

    Raises AvatarError naming what about the avatar would not be read back, OSError when the folder cannot be written.
    """
    path = Path(path)
    try:
        fields = manifest.encode(avatar)
        is_open = licensed.is_open(avatar.body_model)
        arrays, specs = _flatten(avatar), dict(tensors.COMMON)
        if is_open:
            arrays, specs = arrays | _mesh_arrays(avatar.mesh), specs | tensors.MESH
        else:
            arrays |= licensed.strip(avatar.mesh, avatar.body_model, model_folders)
            specs |= licensed.SPECS
        _check_together(avatar)
        data = tensors.encode(arrays, specs)
    except AvatarError as e:
        raise AvatarError(f"{path.name} was not written: {e}") from e
    members = {TENSORS: data, BACKGROUND: _webp(avatar.background, 92), PREVIEW: _webp(avatar.preview, 85)}
    archive.write(path, {"schema": SCHEMA, "mesh": "stored" if is_open else "licensed", **fields}, members)


def load(path: str | os.PathLike[str], model_folders: Sequence[Path] = ()) -> Avatar:
    """Read and check NAME.avatar of this or an older schema. Raises AvatarError: the thing, what was found, what to do.

    model_folders: where to look for a licensed body model, besides models/licensed/ and $TALKSHOT_MODELS.
    """
    path = Path(path)
    found, members = archive.read(path)
    try:
        found, members = migrate.migrate(found, members)
        fields = manifest.decode(found)
        is_open = found.get("mesh") != "licensed"
        arrays = tensors.decode(members[TENSORS], tensors.COMMON | (tensors.MESH if is_open else licensed.SPECS))
        mesh = _mesh(arrays) if is_open else licensed.restore(arrays, fields["body_model"], model_folders)
        avatar = _avatar(fields, arrays, mesh, members)
        _check_together(avatar)
    except AvatarError as e:
        raise AvatarError(f"{path}: {e}") from e
    return avatar


def summary(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a gallery shows of a file: name, framing, width, height, warnings, quality, preview (webp).

    Raises AvatarError.
    """
    path = Path(path)
    found, members = archive.read(path)
    try:
        found, members = migrate.migrate(found, members)
        fields = manifest.decode(found)
    except AvatarError as e:
        raise AvatarError(f"{path}: {e}") from e
    camera = fields["camera"]
    size = {"width": camera["width"], "height": camera["height"], "preview": members[PREVIEW]}
    return {k: fields[k] for k in ("name", "framing", "warnings", "quality")} | size


def _flatten(a: Avatar) -> tensors.Tensors:
    """Every array but the mesh's and the pictures."""
    arrays: tensors.Tensors = {"part": a.part, "occluder": a.occluder}
    arrays |= _directions_arrays("correction", a.correction)
    parts = {"gaussians": a.gaussians, "photo": a.photo, "neutral": a.neutral, "face_map": a.face_map}
    for prefix, thing in parts.items():
        arrays |= {f"{prefix}.{k}": v for k, v in vars(thing).items()}
    return arrays


def _mesh_arrays(m: SkinnedMesh) -> tensors.Tensors:
    names = ("vertices", "faces", "joints", "parents", "joint_index", "joint_weight", "pose_feature")
    arrays: tensors.Tensors = {f"mesh.{k}": getattr(m, k) for k in names}
    return (
        arrays
        | _directions_arrays("mesh.expression", m.expression)
        | _directions_arrays("mesh.pose_corrective", m.pose_corrective)
    )


def _directions_arrays(name: str, d: SparseDirections) -> tensors.Tensors:
    return {f"{name}.{k}": v for k, v in vars(d).items()}


def _directions(arrays: tensors.Tensors, name: str) -> SparseDirections:
    return SparseDirections(*(arrays[f"{name}.{k}"] for k in ("indptr", "vertex", "offset")))


def _mesh(t: tensors.Tensors) -> SkinnedMesh:
    """The stored mesh; skinning weights are made to sum to 1 after half precision."""
    weight = t["mesh.joint_weight"]
    total = weight.sum(1, keepdims=True)
    if weight.size and np.abs(total - 1).max() > 0.02:
        raise AvatarError("mesh.joint_weight has rows that do not sum to 1")
    return SkinnedMesh(
        t["mesh.vertices"], t["mesh.faces"], t["mesh.joints"], t["mesh.parents"], t["mesh.joint_index"],
        weight / total, _directions(t, "mesh.expression"), t["mesh.pose_feature"],
        _directions(t, "mesh.pose_corrective"),
    )  # fmt: skip


def _avatar(fields: dict[str, Any], t: tensors.Tensors, mesh: SkinnedMesh, members: dict[str, bytes]) -> Avatar:
    def part(cls: type[Any], name: str) -> Any:
        return cls(**{f.name: t[f"{name}.{f.name}"] for f in dataclass_fields(cls)})

    camera = Camera(**fields.pop("camera"))
    return Avatar(
        mesh=mesh, part=t["part"], occluder=t["occluder"], correction=_directions(t, "correction"),
        gaussians=part(Gaussians, "gaussians"), photo=part(State, "photo"), neutral=part(State, "neutral"),
        face_map=part(FaceMap, "face_map"), camera=camera,
        background=_picture(members[BACKGROUND], BACKGROUND, MAX_SIDE),
        preview=_picture(members[PREVIEW], PREVIEW, MAX_PREVIEW), **fields,
    )  # fmt: skip


def _check_together(a: Avatar) -> None:
    """What no single array or field can tell. Raises AvatarError."""
    if a.background.shape != (a.camera.height, a.camera.width, 3):
        size = f"{a.camera.width}x{a.camera.height}"
        raise AvatarError(f"the background has shape {a.background.shape}, the camera is {size}")
    m = a.mesh
    if m.parents[0] != -1 or (m.parents[1:] < 0).any() or (m.parents[1:] >= np.arange(1, len(m.parents))).any():
        raise AvatarError("mesh.parents is no tree with its root first and parents before children")
    if ((m.joint_weight[:, :-1] == 0) & (m.joint_weight[:, 1:] != 0)).any():
        raise AvatarError("mesh.joint_weight has an unused slot before a used one; unused slots come last")
    if a.gaussians.count and a.gaussians.layer.max() >= len(LAYERS):
        raise AvatarError(f"gaussians.layer goes up to {a.gaussians.layer.max()}, the last layer is {len(LAYERS) - 1}")
    V, F = len(m.vertices), len(m.faces)
    if len(a.part) != F or len(a.occluder) != F or a.correction.vertex.max(initial=0) >= V:
        raise AvatarError(f"part, occluder or correction do not fit the mesh of {V} vertices and {F} triangles")
    if a.gaussians.face.max(initial=0) >= F or a.mesh.expression.count != len(a.neutral.expression):
        raise AvatarError(f"gaussians.face or the expressions do not fit the mesh of {F} triangles")


def _webp(rgb: NDArray[np.uint8], quality: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(out, "WEBP", quality=quality, method=4)
    return out.getvalue()


def _picture(data: bytes, name: str, longest: int) -> NDArray[np.uint8]:
    """(H, W, 3); the size is looked at before anything is decoded."""
    try:
        with Image.open(io.BytesIO(data), formats=("WEBP",)) as image:
            W, H = image.size
            if max(W, H) > longest or W * H > MAX_PIXELS:
                raise AvatarError(f"{name} is {W}x{H}, at most {longest} px a side are allowed")
            return np.asarray(image.convert("RGB"))
    except AvatarError:
        raise
    except Exception as e:  # Pillow raises UnidentifiedImageError, OSError, ValueError, DecompressionBombError, ...
        raise AvatarError(f"{name} is no WebP picture ({e})") from e
