"""An avatar without a photo: the open human, Gaussians coloured by place, a sheet of hair with a soft rim."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from avatar.asset import Avatar, FaceMap, Gaussians, State
from avatar.render.contract import LAYER, Camera
from models import body, expression
from models.motion import ARKIT, HEAD, JOINT, NECK, A
from models.skinning import F32, I32, Poser, SkinnedMesh, SparseDirections

SIZE = 512
SEEN = 0.6  # share of the Gaussians that the photo's camera sees
FRAMES = {
    "head": (0.62, 0.40),
    "half": (1.25, 0.62),
    "full": (2.3, 0.95),
}  # metres shown, metres from its top to pelvis
FACE_LAYER = {1: "eyes", 2: "eyes", 3: "tongue", 4: "teeth", 5: "teeth", 20: "shell"}


@functools.lru_cache(maxsize=8)
def avatar(count: int = 80_000, framing: str = "half", size: int = SIZE, seed: int = 0) -> Avatar:
    """An avatar of `count` Gaussians filling a size x size photo: "head", "half" or "full"."""
    human = body.load()
    mesh, part = with_hair(human.skinned(), human.face_part)
    camera = Camera(1.4 * size, size / 2, size / 2, size, size)
    photo, neutral = _states(human, framing, camera)
    correction = _photo_basis(mesh, human)
    world = Poser(mesh)(photo.pose, photo.expression, photo.translation, (photo.correction, correction)).copy()
    rng = np.random.default_rng(seed)
    gaussians = _seed(mesh.faces, part, world, camera, count, rng)
    maps = expression.face_map(human)
    y, x = np.mgrid[0:size, 0:size] / size
    background = np.stack([90 + 60 * x, 110 + 40 * y, 140 - 50 * x * y], -1).astype(np.uint8)
    return Avatar(
        name=f"synthetic {framing}",
        mesh=mesh,
        part=part,
        occluder=part < 6 if framing == "none" else (part < 6) | (part == 20),
        correction=correction,
        gaussians=gaussians,
        camera=camera,
        view=(0.0, 0.0, float(size), float(size)),
        framing=framing,
        photo=photo,
        neutral=neutral,
        face_map=FaceMap(maps.expression, maps.jaw, maps.eyes),
        limits={
            "neck": ((-0.2, 0.2), (-0.3, 0.3), (-0.15, 0.15)),
            "head": ((-0.2, 0.2), (-0.3, 0.3), (-0.15, 0.15)),
            "jaw": ((0.0, 0.36), (-0.1, 0.1), (0.0, 0.0)),
        },
        background=background,
        preview=background[::2, ::2].copy(),
        body_model={"name": human.name, "sha256": human.sha256, "licence": human.licence, "betas": []},
        quality={"rest_psnr": 40.0},
        provenance={"builder": "synthetic", "seed": seed},
    )


def tiny() -> Avatar:
    """A valid avatar of a few kilobytes: a folded strip on two joints, every field in use."""
    n = 6
    gy, gx = np.mgrid[0:n, 0:n] / (n - 1) - 0.5
    vertices = np.stack([0.2 * gx, 0.2 * gy, 0.02 * np.cos(6 * gx)], -1).reshape(-1, 3).astype(np.float32)
    faces = grid_faces(n, n)
    joints = np.zeros((55, 3), np.float32)
    parents = np.arange(-1, 54, dtype=np.int32)
    index = np.tile(np.array([0, HEAD], np.uint8), (n * n, 1))
    weight = np.stack([0.5 - 0.9 * gy.ravel(), 0.5 + 0.9 * gy.ravel()], 1).astype(np.float32)
    rng = np.random.default_rng(5)
    dense = np.zeros((n * n, 3, 3), np.float32)
    dense[: n * n // 2, 1, 0] = dense[n * n // 2 :, 1, 1] = dense[3:9, 2, 2] = 0.01
    directions = SparseDirections.from_dense(dense)
    mesh = SkinnedMesh(
        vertices, faces, joints, parents, index, weight, directions, np.array([0, 4], np.int32),
        SparseDirections.from_dense(0.1 * dense[:, :, :2]),
    )  # fmt: skip
    part = np.where(np.arange(len(faces)) % 5 == 0, 20, 0).astype(np.uint8)
    state = State(
        np.zeros((55, 3), np.float32), np.array([0, 0, -0.5], np.float32), np.array([0.2, 0, 0], np.float32),
        np.array([1.0], np.float32),
    )  # fmt: skip
    camera = Camera(64.0, 24.0, 24.0, 48, 48)
    world = Poser(mesh)(state.pose, state.expression, state.translation).copy()
    matrix = np.zeros((52, 3), np.float32)
    matrix[A["mouthSmileLeft"], 0] = matrix[A["eyeBlinkLeft"], 1] = matrix[A["browInnerUp"], 2] = 1
    jaw, eyes = np.zeros((52, 3), np.float32), np.zeros((52, 6), np.float32)
    jaw[A["jawOpen"], 0] = 0.36
    eyes[A["eyeLookUpLeft"], 0] = -0.35
    background = np.full((48, 48, 3), 120, np.uint8)
    return Avatar(
        "tiny", mesh, part, part == 0, SparseDirections.from_dense(dense[:, :, 2:] * 0.1),
        _seed(faces, part, world, camera, 200, rng), camera, (4.0, 2.0, 40.0, 44.0), "bust", state,
        replace(state, expression=np.zeros(3, np.float32), correction=np.zeros(1, np.float32)),
        FaceMap(matrix, jaw, eyes), {"head": ((-0.2, 0.2), (-0.3, 0.3), (-0.1, 0.1))}, background, background[:24, :24],
        {"name": "open", "sha256": "0" * 64, "licence": "CC0-1.0", "betas": [0.5]}, {"hands": False},
        {"rest_psnr": 40.5}, ("a warning",), {"builder": "0.1.0", "seed": 3, "consent": "mine"},
    )  # fmt: skip


def _states(human: body.BodyModel, framing: str, camera: Camera) -> tuple[State, State]:
    pose = np.zeros((55, 3), np.float32)
    pose[JOINT["left_shoulder"], 2], pose[JOINT["right_shoulder"], 2] = -1.1, 1.1
    pose[NECK], pose[HEAD] = (0.03, 0.04, 0), (0.02, 0.05, 0.02)
    shown, above = FRAMES[framing]
    depth = camera.focal * shown / camera.height
    top = camera.cy / camera.focal * depth  # y of the picture's upper edge
    head = human.joints()[HEAD]
    y = top - above if framing == "full" else top - (shown * 0.5 if framing == "head" else 0.4) - head[1]
    translation = np.array([-head[0], y, -depth], np.float32)
    face = np.zeros(human.expression_dirs.shape[2], np.float32)
    neutral = State(pose, translation, face, np.zeros(1, np.float32))
    smile = face.copy()
    for name in ("mouthSmileLeft", "mouthSmileRight", "eyeSquintLeft", "eyeSquintRight"):
        smile[human.expression_names.index(name)] = 0.4
    return State(pose, translation, smile, np.ones(1, np.float32)), neutral


def _photo_basis(mesh: SkinnedMesh, human: body.BodyModel) -> SparseDirections:
    """One basis: a tenth of the lower lip's drop, as if the photo's lips did not quite close."""
    k = human.expression_names.index("mouthLowerDownLeft")
    s = slice(mesh.expression.indptr[k], mesh.expression.indptr[k + 1])
    vertex, offset = mesh.expression.vertex[s], mesh.expression.offset[s]
    return SparseDirections(np.array([0, len(vertex)], np.int32), vertex.copy(), (0.1 * offset).astype(np.float32))


def with_hair(mesh: SkinnedMesh, part: NDArray[np.uint8]) -> tuple[SkinnedMesh, NDArray[np.uint8]]:
    """The mesh with a sheet through the middle of the head, a little wider than it, moved by the head."""
    n = 40
    head = mesh.joints[HEAD]
    radius, angle = np.meshgrid(np.linspace(0.02, 0.16, n), np.linspace(-0.6, np.pi + 0.6, n), indexing="ij")
    sheet = np.stack(
        [head[0] + radius * np.cos(angle), head[1] + 0.08 + radius * np.sin(angle), head[2] + 0.01 - 0 * radius], -1
    )
    sheet = sheet.reshape(-1, 3).astype(np.float32)
    K = mesh.joint_index.shape[1]
    index, weight = np.full((len(sheet), K), HEAD, np.uint8), np.zeros((len(sheet), K), np.float32)
    weight[:, 0] = 1
    faces = np.concatenate([mesh.faces, grid_faces(n, n) + len(mesh.vertices)]).astype(np.int32)
    extended = replace(
        mesh, vertices=np.concatenate([mesh.vertices, sheet]), faces=faces,
        joint_index=np.concatenate([mesh.joint_index, index]), joint_weight=np.concatenate([mesh.joint_weight, weight]),
    )  # fmt: skip
    return extended, np.concatenate([part, np.full(len(faces) - len(mesh.faces), 20)]).astype(np.uint8)


def grid_faces(rows: int, columns: int) -> I32:
    i = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = i[:-1, :-1].ravel(), i[:-1, 1:].ravel(), i[1:, 1:].ravel(), i[1:, :-1].ravel()
    return np.concatenate([np.stack([a, c, b], 1), np.stack([a, d, c], 1)]).astype(np.int32)


def _seed(
    faces: I32, part: NDArray[np.uint8], world: F32, camera: Camera, count: int, rng: np.random.Generator
) -> Gaussians:
    """Gaussians on the triangles in the picture: SEEN of them evenly over the screen, the rest over what faces away."""
    p = camera.project(world.astype(np.float64))
    corner, screen = world[faces].astype(np.float64), p[faces]
    inside = ((screen[..., :2] > 0) & (screen[..., :2] < (camera.width, camera.height))).all((1, 2)) & (part < 21)
    inside &= (part < 6) | (part == 20)
    ex, ey = screen[:, 1, :2] - screen[:, 0, :2], screen[:, 2, :2] - screen[:, 0, :2]
    signed = 0.5 * (ex[:, 0] * ey[:, 1] - ex[:, 1] * ey[:, 0])  # negative: wound counter-clockwise, towards the camera
    area = 0.5 * np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1)
    towards = np.where(inside & ((signed < 0) | (part == 20)), np.abs(signed), 0)
    away = np.where(inside & (signed >= 0) & (part != 20), area, 0)
    seen = int(count * SEEN) if away.any() else count
    face = np.concatenate([
        rng.choice(len(faces), seen, p=towards / towards.sum()),
        rng.choice(len(faces), count - seen, p=away / max(away.sum(), 1e-12)) if seen < count else np.zeros(0, int),
    ]).astype(np.int32)  # fmt: skip
    bary = rng.dirichlet((1, 1, 1), count)[:, 1:]
    spacing = np.sqrt(towards.sum() / seen) * p[:, 2].mean() / camera.focal  # m between Gaussians
    sigma = np.where(np.arange(count) < seen, 0.55, 1.0) * spacing
    edges = np.stack([corner[face, 1] - corner[face, 0], corner[face, 2] - corner[face, 0]], 2)
    _, r = np.linalg.qr(edges)
    shape = np.linalg.inv(r + 1e-9 * np.eye(2)) * sigma[:, None, None]
    at = corner[face, 0] + (edges @ bary[:, :, None])[:, :, 0]
    wave = np.sin(at * (41, 37, 29) + (0, 2, 4))
    colour = np.clip(0.5 + 0.25 * wave + 0.2 * np.sin(at[:, 1:2] * 90) + 0.03 * rng.normal(size=(count, 3)), 0, 1)
    layer = np.full(count, LAYER["skin"], np.uint8)
    for value, name in FACE_LAYER.items():
        layer[part[face] == value] = LAYER[name]
    sheet = np.flatnonzero(part == 20)
    rim = np.isin(face, sheet[np.linalg.norm(corner[sheet].mean(1) - corner[sheet].mean((0, 1)), axis=1) > 0.1])
    rim &= rng.random(count) < 0.5
    layer[rim] = LAYER["fringe"]
    opacity = np.where(rim, rng.random(count), 1)
    f = np.float32
    return Gaussians(
        face, bary.astype(f), shape.astype(f), colour.astype(f), opacity.astype(f), layer,
        np.where(np.arange(count) < seen, 3, 1).astype(np.uint8),
    )  # fmt: skip


def smiling(amount: float = 1.0) -> F32:
    """(52,) ARKit coefficients of a smile with the jaw half open."""
    face = np.zeros(len(ARKIT), np.float32)
    face[[A["mouthSmileLeft"], A["mouthSmileRight"]]] = amount
    face[A["jawOpen"]] = 0.5 * amount
    return face
