"""From the photo's union mesh to an avatar's: neutral face, photo and neutral states, limits; without Gaussians yet."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from avatar.asset import Avatar, FaceMap, Gaussians, State
from avatar.build import anatomy, eyes, neutral, prune, suitability, teeth
from avatar.build.arms.plan import Plan
from avatar.build.fit import Fit
from avatar.build.kinematics import F64
from avatar.build.landmarks import LEFT_EYE_RING, RIGHT_EYE_RING
from avatar.build.mesh import UnionMesh
from avatar.build.neutral import Neutral
from avatar.limbs import FREE
from models import expression
from models.body import BodyModel
from models.motion import HEAD, JAW, LEFT_EYE, NECK, RIGHT_EYE, axis_angle_from_matrix, matrix_from_axis_angle
from models.skinning import Poser, SkinnedMesh, SparseDirections

FRONT_TEETH = 20.0  # mm of arc length to each side that lips cover; cheeks lie beside the rest
TRUST = 1e-5  # m: smaller displacements of expressions and corrections are not kept


def assemble(model: BodyModel, fit: Fit, union: UnionMesh, plan: Plan) -> tuple[Avatar, Neutral]:
    """The avatar with its mesh at the neutral face and no Gaussians."""
    o = plan.photo
    rest = union.skin.vertices[: union.body_vertices].astype(np.float64) - _correctives(model, union.pose)
    sides = (("Left", LEFT_EYE_RING), ("Right", RIGHT_EYE_RING))
    opening = float(np.linalg.norm(o.landmarks[13] - o.landmarks[14])) / o.face_width
    face = neutral.neutral(
        model, rest, union.posed[: union.body_vertices], fit.expression,
        {s: suitability.aperture(o.face, r) for s, r in sides}, opening,
    )  # fmt: skip
    mesh, correction, shown = _at_neutral(model, union, rest, face, fit.expression)
    move = union.translation.astype(np.float32)
    photo = State(union.pose.astype(np.float32), move, shown.astype(np.float32), np.ones(2, np.float32))
    pose = _neutral_pose(union).astype(np.float32)
    still = State(pose, move, face.expression.astype(np.float32), np.zeros(2, np.float32))
    arkit = expression.face_map(model)
    yaw = float(axis_angle_from_matrix(_head_rotation(union.pose))[1])
    kinds = {a.kind for a in plan.arms}
    limits = prune.limits(yaw, float(union.pose[JAW, 0]), float(arkit.jaw[:, 0].max()))
    avatar = Avatar(
        name="", mesh=mesh, part=union.part, occluder=union.occluder, correction=correction, gaussians=_no_gaussians(),
        camera=o.camera, view=o.view, framing=o.framing, photo=photo, neutral=still,
        face_map=FaceMap(arkit.expression, arkit.jaw, arkit.eyes), limits=limits, background=o.background,
        preview=o.background,
        body_model={"name": model.name, "sha256": model.sha256, "licence": model.licence, "betas": fit.betas.tolist()},
        capabilities={"head": True, "face": True, "torso": True, "arms": FREE in kinds, "hands": bool(plan.regions)},
        arms={a.side: a.kind for a in plan.arms}, limb_pose=plan.pose,
    )  # fmt: skip
    return avatar, face


def _at_neutral(
    model: BodyModel, union: UnionMesh, photo: F64, face: Neutral, fitted: F64
) -> tuple[SkinnedMesh, SparseDirections, F64]:
    """The mesh whose rest is the neutral face, the corrections that lead back to the photo's face (rig.TEETH_AWAY is of
    the teeth behind closed lips), and the photo's expression on it. The lids' channels are part of the rest: eyeBlink
    counts from this person's open lids."""
    n = union.body_vertices
    lids = np.array([name.startswith(neutral.LIDS) for name in model.expression_names])
    shown = np.where(lids, 0.0, fitted)
    vertices = union.skin.vertices.astype(np.float64)
    was = vertices.copy()
    was[:n] = photo - face.directions @ shown
    vertices[:n] = face.rest - face.directions @ face.expression
    if union.teeth is not None:
        _teeth_at_neutral(model, union, face.rest, vertices)
    away = np.zeros(len(vertices), bool)
    if union.teeth is not None and union.teeth.closed:
        away[union.teeth_start : union.teeth_start + union.teeth.count] = True
    back = np.stack([np.where(away[:, None] == hidden, was - vertices, 0) for hidden in (False, True)], -1)
    correction = SparseDirections.from_dense(back, TRUST)
    directions = SparseDirections.from_dense(face.directions, TRUST)
    return replace(union.skin, vertices=vertices.astype(np.float32), expression=directions), correction, shown


def _teeth_at_neutral(model: BodyModel, union: UnionMesh, rest: F64, vertices: F64) -> None:
    """Both arches where the closed lips of the neutral face (V, 3) hide them; in place."""
    assert union.teeth is not None
    seam = (anatomy.of(model).landmark_matrix()[[13, 14]] @ rest).mean(0)
    first = union.teeth_start
    for arch in (union.teeth.upper, union.teeth.lower):
        at = slice(first, first + len(arch.points))
        vertices[at] = teeth.at_neutral(arch, vertices[at], seam)
        front = np.abs(arch.uv[:, 0]) < FRONT_TEETH
        vertices[at, 2] -= neutral.behind_lips(model, rest, vertices[at][front])
        first = at.stop


def _correctives(model: BodyModel, pose: F64) -> F64:
    """(V, 3) what the pose correctives add to the rest vertices."""
    R = matrix_from_axis_angle(pose)
    feature = (R[1:] - np.eye(3)).reshape(-1)[model.pose_feature]
    return np.asarray(model.posedirs, np.float64) @ feature


def _neutral_pose(union: UnionMesh) -> F64:
    """The photo's pose with the jaw closed and the eyes ahead."""
    pose = union.pose.copy()
    pose[JAW] = 0
    both = [LEFT_EYE, RIGHT_EYE]
    pose[both] = eyes.ahead(union.pose[both], np.stack([_towards_camera(union, eye) for eye in both]))
    return pose


def _head_rotation(pose: F64) -> F64:
    """(3, 3) world rotation of the head of a pose without spine rotations."""
    R = matrix_from_axis_angle(pose[[0, NECK, HEAD]])
    return R[0] @ R[1] @ R[2]


def _towards_camera(union: UnionMesh, eye: int) -> F64:
    """(3,) the eye joint's axis-angle that looks into the camera at the photo's pose."""
    part = anatomy.LEFT_EYE if eye == LEFT_EYE else anatomy.RIGHT_EYE
    centre = union.posed[np.unique(union.skin.faces[union.part == part])].mean(0)
    return eyes.turn_of(_head_rotation(union.pose).T @ (-centre / np.linalg.norm(centre)))


def drop_unreachable(avatar: Avatar, union: UnionMesh, model: BodyModel) -> tuple[Avatar, UnionMesh]:
    """Both without the triangles that no allowed motion shows."""
    jaw_open = float(avatar.face_map.jaw[:, 0].max())
    states = prune.extremes(avatar.photo, avatar.neutral, avatar.limits, model.expression_names, jaw_open)
    hides = avatar.occluder & (union.part != anatomy.ARM)  # what an arm hides it may give free
    keep = prune.reachable(avatar.mesh, avatar.correction, hides, states, avatar.camera)
    keep |= np.isin(union.part, [anatomy.SHELL, anatomy.ARM]) | _mouth_and_eyes(union, model)
    faces = np.ascontiguousarray(avatar.mesh.faces[keep])
    part, occluder = union.part[keep], union.occluder[keep]
    avatar = replace(avatar, mesh=replace(avatar.mesh, faces=faces), part=part, occluder=occluder)
    return avatar, replace(union, skin=replace(union.skin, faces=faces), part=part, occluder=occluder)


def _mouth_and_eyes(union: UnionMesh, model: BodyModel) -> NDArray[np.bool_]:
    """(F,) the mouth's inside and the eyeballs' fronts: too many ways of opening show too many corners to try them."""
    corners = union.skin.faces
    out = np.zeros(len(corners), bool)
    body = corners.max(1) < union.body_vertices
    out[body] = anatomy.of(model).inner_mouth[corners[body]].any(1)
    for part in (anatomy.LEFT_EYE, anatomy.RIGHT_EYE):
        on = np.flatnonzero(union.part == part)
        if len(on):
            z = union.skin.vertices[corners[on], 2].mean(1)
            out[on[z > (z.min() + z.max()) / 2]] = True
    return out


def blink_stretch(avatar: Avatar, model: BodyModel) -> NDArray[np.float64]:
    """(F,) how many times its size, seen from the front, a triangle of lid skin grows when the eyes close."""
    blink = np.array([n.startswith("eyeBlink") for n in model.expression_names], np.float32)
    poser = Poser(avatar.mesh)
    area = []
    for coefficients in (0 * blink, blink):
        t = poser.rest(coefficients)[avatar.mesh.faces].astype(np.float64)
        area.append(np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0])[:, 2])
    moved = np.abs(area[1] - area[0]) > 1e-9  # m^2: a hundredth of a triangle
    return np.where(moved & (area[1] > 0), area[1] / np.maximum(area[0], 0.1 * np.abs(area[1]) + 1e-15), 1.0)


def _no_gaussians() -> Gaussians:
    f = np.zeros
    return Gaussians(
        f(0, np.int32), f((0, 2), np.float32), f((0, 2, 2), np.float32), f((0, 3), np.float32), f(0, np.float32),
        f(0, np.uint8), f(0, np.uint8),
    )  # fmt: skip
