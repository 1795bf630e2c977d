"""Body models in SMPL-X or FLAME format: load any such file safely, shape it, hand it to the skinning kernels.

`load()` gives the open human that comes with the project; `load(path)` a user's own SMPLX_NEUTRAL.npz, FLAME npz or
pickle. Formats: SMPL-X (Pavlakos et al. 2019, 55 joints), FLAME (Li et al. 2017, 5 joints). Metres, y up, z forward,
the person's left is +x.
"""

from __future__ import annotations

import functools
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models import model_file
from models.model_file import BodyModelError
from models.motion import JOINT, JOINTS
from models.skinning import F32, I32, SkinnedMesh, SparseDirections

__all__ = ["OPEN_HUMAN", "OPEN_HUMAN_HEAD", "REGIONS", "BodyModel", "BodyModelError", "Landmarks", "load"]

OPEN_HUMAN = Path(__file__).parent / "open_human" / "SMPLX_NEUTRAL.npz"
OPEN_HUMAN_HEAD = Path(__file__).parent / "open_human" / "FLAME_NEUTRAL.npz"

STATIC_EMBEDDING = "flame_static_embedding.pkl"
SHAPE_SPACE, EXPRESSION_SPACE = 300, 100  # columns of shapedirs; files with fewer hold 10 of each
FLAME_JOINTS = ("neck", "head", "jaw", "left_eye_smplhf", "right_eye_smplhf")  # FLAME's root turns head and neck
SKIN, LEFT_EYEBALL, RIGHT_EYEBALL = 0, 1, 2  # of face_part; the open human also has 3 tongue, 4 5 teeth, 6-9 lashes

REGIONS = (  # bits of the open human's `vertex_region`
    "inner_mouth",
    "upper_lip",
    "lower_lip",
    "left_upper_lid",
    "left_lower_lid",
    "right_upper_lid",
    "right_lower_lid",
    "head",
)

_MODEL_KEYS = "v_template f shapedirs posedirs J_regressor kintree_table weights expr_names licence"
_EXTRA_KEYS = "face_part mirror vertex_region smplx_vertex vt ft arkit_jaw arkit_eyes"
_LANDMARK_KEYS = "mp468_faces_idx mp468_bary_coords iris_faces_idx iris_bary_coords lmk_faces_idx lmk_bary_coords"
_KEYS = f"{_MODEL_KEYS} {_EXTRA_KEYS} {_LANDMARK_KEYS}".split()


@dataclass(frozen=True)
class Landmarks:
    """Points on a mesh: a triangle and its barycentric weights each."""

    faces_idx: I32  # (N,) rows of the model's faces
    bary: F32  # (N, 3)

    def points(self, vertices: NDArray, faces: NDArray) -> NDArray:
        """(N, 3) positions on posed vertices (V, 3)."""
        return np.einsum("nk,nkd->nd", self.bary, vertices[faces[self.faces_idx]])


@dataclass(frozen=True, eq=False)
class BodyModel:
    """One body model; arrays are read-only and shared between its users."""

    kind: str  # "smplx" (55 joints) or "flame" (5 joints)
    path: Path
    sha256: str  # of the file: the identity of its shape and expression space
    licence: str
    v_template: F32  # (V, 3) m
    faces: I32  # (F, 3)
    face_part: NDArray[
        np.uint8
    ]  # (F,) 0 skin, 1 2 left and right eyeball, 3 tongue, 4 5 upper and lower teeth, 6-9 lashes
    shapedirs: NDArray  # (V, 3, S) m per standard deviation, in the file's precision
    expression_dirs: F32  # (V, 3, E) m per unit
    expression_names: tuple[str, ...]  # (E,) the open human's are ARKit's; empty when the file names none
    posedirs: NDArray  # (V, 3, P) m per unit of the pose feature, only columns that are not zero
    pose_feature: I32  # (P,) column of R - I, flattened over joints 1..J-1
    joint_regressor: F32  # (J, V)
    parents: I32  # (J,) -1 for the root
    weights: F32  # (V, J)
    joint_names: tuple[str, ...]  # (J,) in SMPL-X names
    motion_joints: I32  # (J,) the row of Motion.pose that turns each joint
    landmarks: Landmarks | None  # MediaPipe's 468 face mesh points
    iris: Landmarks | None  # MediaPipe's points 468-477 looking ahead: centre and four on the rim; right eye, then left
    landmarks51: Landmarks | None  # the static face landmarks of SMPL-X files (the 68 of dlib without the contour)
    mirror: I32 | None  # (V,) the vertex on the other side
    vertex_region: NDArray[np.uint16] | None  # (V,) bits of REGIONS
    smplx_vertex: I32 | None  # (V,) of a head cut from an SMPL-X mesh: the vertex it was
    arkit_jaw: F32 | None  # (52, 3) rad, the jaw's turn per ARKit coefficient, of a model that knows
    arkit_eyes: F32 | None  # (52, 6) rad, left eye, then right
    uv: tuple[F32, I32] | None  # texture coordinates (T, 2) and the triangles on them (F, 3)

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.sha256[:12]}"

    @property
    def is_arkit(self) -> bool:
        """Whether the expression directions are ARKit's own shapes."""
        return len(self.expression_names) > 0

    def region(self, name: str) -> NDArray[np.int64]:
        """Indices of the vertices of one of REGIONS. Raises BodyModelError when the file has no such sets."""
        if self.vertex_region is None or name not in REGIONS:
            raise BodyModelError(f"{self.path}: has no vertex set {name!r}")
        return np.flatnonzero(self.vertex_region >> REGIONS.index(name) & 1)

    def shaped(self, betas: ArrayLike) -> F32:
        """(V, 3) rest vertices of shape coefficients (<= S,)."""
        b = np.asarray(betas, np.float32).reshape(-1)
        if len(b) > self.shapedirs.shape[2]:
            raise BodyModelError(f"{len(b)} betas given, {self.path} has {self.shapedirs.shape[2]}")
        return self.v_template + self.shapedirs[:, :, : len(b)].astype(np.float32) @ b

    def joints(self, betas: ArrayLike = ()) -> F32:
        """(J, 3) rest joints of shape coefficients."""
        return self.joint_regressor @ self.shaped(betas)

    def skinned(self, betas: ArrayLike = (), offsets: NDArray | None = None) -> SkinnedMesh:
        """The shaped mesh ready for `skinning.Poser`. offsets (V, 3) m are added to the rest vertices; joints stay."""
        vertices = self.shaped(betas)
        joints = self.joint_regressor @ vertices
        if offsets is not None:
            vertices = vertices + np.asarray(offsets, np.float32)
        index, weight = self._influences
        expression, pose = self._sparse
        return SkinnedMesh(
            np.ascontiguousarray(vertices), self.faces, np.ascontiguousarray(joints), self.parents, index, weight,
            expression, self.pose_feature, pose, self._joint_expression,
        )  # fmt: skip

    @functools.cached_property
    def _influences(self) -> tuple[NDArray[np.uint8], F32]:
        """Joint indices and weights (V, K), heaviest first."""
        k = int((self.weights != 0).sum(1).max())
        index = np.argsort(-np.abs(self.weights), axis=1, kind="stable")[:, :k]
        return index.astype(np.uint8), np.take_along_axis(self.weights, index, 1)

    @functools.cached_property
    def _joint_expression(self) -> F32 | None:
        """(J, 3, E) how expressions carry the joints along; None under 0.1 mm, as on the open human."""
        moved = np.einsum("jv,vde->jde", self.joint_regressor, self.expression_dirs, optimize=True)
        return np.ascontiguousarray(moved) if np.abs(moved).max(initial=0) > 1e-4 else None

    @functools.cached_property
    def _sparse(self) -> tuple[SparseDirections, SparseDirections]:
        return SparseDirections.from_dense(self.expression_dirs), SparseDirections.from_dense(self.posedirs)


def load(path: str | os.PathLike[str] | None = None) -> BodyModel:
    """The model in `path` (npz or pickle, SMPL-X or FLAME format); the open human when none is given.

    Loaded once per file and shared. Raises BodyModelError naming the file, the array and what was expected.
    """
    file = Path(OPEN_HUMAN if path is None else path).resolve()
    try:
        stamp = file.stat().st_mtime_ns
    except OSError as e:
        raise BodyModelError(f"{file}: cannot be read ({e.strerror})") from e
    return _load(file, stamp)


@functools.lru_cache(maxsize=4)
def _load(file: Path, stamp: int) -> BodyModel:
    data = _Checked(file, _landmarks_beside(file) | model_file.read(file, _KEYS))
    v_template = data.floats("v_template", (None, 3))
    V = len(v_template)
    parents, kind = _parents(data)
    J = len(parents)
    faces = data.indices("f", (None, 3), V)
    shape, expression, names = _directions(data, V)
    posedirs, pose_feature = _pose_correctives(data, V, J)
    weights = data.floats("weights", (V, J))
    if np.abs(weights.sum(1) - 1).max() > 1e-2 or weights.min() < -1e-4:
        raise BodyModelError(f"{file}: weights must be positive and sum to 1 for each vertex")
    joint_names = tuple(JOINTS) if kind == "smplx" else FLAME_JOINTS
    region = data.arrays.get("vertex_region")
    if region is not None and region.shape != (V,):
        raise BodyModelError(f"{file}: vertex_region has shape {region.shape}, expected {(V,)}")
    model = BodyModel(
        kind=kind,
        path=file,
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        licence=str(
            data.arrays.get("licence", "the user's own file; SMPL-X and FLAME are for non-commercial research")
        ),
        v_template=v_template,
        faces=faces,
        face_part=_face_part(data, faces, weights, joint_names),
        shapedirs=shape,
        expression_dirs=expression,
        expression_names=names,
        posedirs=posedirs,
        pose_feature=pose_feature,
        joint_regressor=data.floats("J_regressor", (J, V)),
        parents=parents,
        weights=weights,
        joint_names=joint_names,
        motion_joints=np.array([JOINT[n] for n in joint_names], np.int32),
        landmarks=data.landmarks("mp468", 468, len(faces)),
        iris=data.landmarks("iris", 10, len(faces)),
        landmarks51=data.landmarks("lmk", 51, len(faces)),
        mirror=data.indices("mirror", (V,), V) if "mirror" in data.arrays else None,
        vertex_region=None if region is None else region.astype(np.uint16),
        smplx_vertex=data.indices("smplx_vertex", (V,), 1 << 30) if "smplx_vertex" in data.arrays else None,
        arkit_jaw=data.floats("arkit_jaw", (52, 3)) if "arkit_jaw" in data.arrays else None,
        arkit_eyes=data.floats("arkit_eyes", (52, 6)) if "arkit_eyes" in data.arrays else None,
        uv=_uv(data, len(faces)),
    )
    for value in vars(model).values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    return model


def _landmarks_beside(file: Path) -> dict[str, Any]:
    """FLAME keeps its static face landmarks in a file of their own, in the same folder."""
    beside = file.with_name(STATIC_EMBEDDING)
    if not beside.is_file():
        return {}
    found = model_file.read(beside, ("lmk_face_idx", "lmk_b_coords"))
    names = {"lmk_face_idx": "lmk_faces_idx", "lmk_b_coords": "lmk_bary_coords"}
    return {names[k]: v for k, v in found.items()}


class _Checked:
    """Arrays of one file, with names, shapes and finiteness checked as they are taken."""

    def __init__(self, path: Path, arrays: dict[str, Any]) -> None:
        self.path, self.arrays = path, arrays

    def array(self, name: str, shape: tuple[int | None, ...], kinds: str) -> NDArray:
        """The array `name`; None in shape stands for any positive length."""
        if name not in self.arrays:
            raise BodyModelError(f"{self.path}: has no array {name!r}; is it a body model in SMPL-X or FLAME format?")
        x = np.asarray(self.arrays[name])
        fits = x.ndim == len(shape) and all(n == w if w is not None else n > 0 for n, w in zip(x.shape, shape))
        if not fits or x.dtype.kind not in kinds:
            wanted = tuple("n" if n is None else n for n in shape)
            raise BodyModelError(
                f"{self.path}: {name} is {x.dtype} of shape {x.shape}, expected numbers of shape {wanted}"
            )
        return x

    def floats(self, name: str, shape: tuple[int | None, ...]) -> F32:
        return self.finite(name, np.ascontiguousarray(self.array(name, shape, "fiu"), np.float32))

    def finite(self, name: str, x: NDArray) -> NDArray:
        if not np.isfinite(x).all():
            raise BodyModelError(f"{self.path}: {name} holds values that are not finite")
        return x

    def indices(self, name: str, shape: tuple[int | None, ...], limit: int) -> I32:
        x = self.array(name, shape, "iu")
        if x.size and (int(x.min()) < 0 or int(x.max()) >= limit):
            raise BodyModelError(f"{self.path}: {name} points outside 0..{limit - 1}")
        return np.ascontiguousarray(x, np.int32)

    def landmarks(self, prefix: str, count: int, faces: int) -> Landmarks | None:
        if f"{prefix}_faces_idx" not in self.arrays:
            return None
        index = self.indices(f"{prefix}_faces_idx", (count,), faces)
        return Landmarks(index, self.floats(f"{prefix}_bary_coords", (count, 3)))


def _parents(data: _Checked) -> tuple[I32, str]:
    """Parents with -1 for the root, and the format the joint count speaks of."""
    table = data.array("kintree_table", (2, None), "iuf")
    kind = {55: "smplx", 5: "flame"}.get(table.shape[1])
    if kind is None:
        raise BodyModelError(
            f"{data.path}: has {table.shape[1]} joints; Talkshot reads SMPL-X (55) and FLAME (5) models, "
            "because SMPL and SMPL+H have no face"
        )
    parents = table[0].astype(np.int64)
    parents[0] = -1
    if (parents[1:] < 0).any() or (parents[1:] >= np.arange(1, len(parents))).any():
        raise BodyModelError(f"{data.path}: kintree_table must name each joint's parent before the joint")
    return parents.astype(np.int32), kind


def _directions(data: _Checked, V: int) -> tuple[NDArray, F32, tuple[str, ...]]:
    """Shape (V, 3, S) and expression (V, 3, E) directions without their empty columns, and the expressions' names."""
    x = data.array("shapedirs", (V, 3, None), "f")
    wide = x.shape[2] >= SHAPE_SPACE + EXPRESSION_SPACE
    split = SHAPE_SPACE if wide else min(10, x.shape[2])
    shape = data.finite("shapedirs", np.ascontiguousarray(_without_empty_tail(x[:, :, :split])))
    if shape.dtype == np.float64:
        shape = shape.astype(np.float32)
    width = EXPRESSION_SPACE if wide else 10
    expression = np.ascontiguousarray(_without_empty_tail(x[:, :, split : split + width]), np.float32)
    names = tuple(str(n) for n in np.atleast_1d(data.arrays.get("expr_names", ())))
    if names and len(names) < expression.shape[2]:
        raise BodyModelError(f"{data.path}: expr_names names {len(names)} of {expression.shape[2]} expressions")
    if names:
        expression = np.ascontiguousarray(x[:, :, split : split + len(names)], np.float32)
    return shape, data.finite("shapedirs", expression), names


def _without_empty_tail(x: NDArray) -> NDArray:
    used = np.flatnonzero(x.any(axis=(0, 1)))
    return x[:, :, : used[-1] + 1 if len(used) else 0]


def _pose_correctives(data: _Checked, V: int, J: int) -> tuple[NDArray, I32]:
    """The pose directions that are not zero (V, 3, P) and their columns (P,)."""
    x = data.array("posedirs", (V, 3, 9 * (J - 1)), "f")
    used = np.flatnonzero(x.any(axis=(0, 1)))
    kept = data.finite("posedirs", np.ascontiguousarray(x[:, :, used]))
    return kept.astype(np.float32) if kept.dtype == np.float64 else kept, used.astype(np.int32)


def _face_part(data: _Checked, faces: I32, weights: F32, joint_names: tuple[str, ...]) -> NDArray[np.uint8]:
    """The file's own parts; else skin, and what turns with an eye alone is that eyeball."""
    if "face_part" in data.arrays:
        return data.indices("face_part", (len(faces),), 256).astype(np.uint8)
    part = np.full(len(faces), SKIN, np.uint8)
    for code, joint in ((LEFT_EYEBALL, "left_eye_smplhf"), (RIGHT_EYEBALL, "right_eye_smplhf")):
        part[(weights[:, joint_names.index(joint)] > 0.99)[faces].all(1)] = code
    return part


def _uv(data: _Checked, F: int) -> tuple[F32, I32] | None:
    if "vt" not in data.arrays or "ft" not in data.arrays:
        return None
    vt = data.floats("vt", (None, 2))
    return vt, data.indices("ft", (F, 3), len(vt))
