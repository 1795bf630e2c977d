"""Stage mesh: body + scalp + teeth + shell become one skinned mesh, every part of which will carry Gaussians.

Static arms and legs do not move: their weights go to the bone they hang from, in the body and in the shell (shell.py)
alike, so that nothing tears where the two meet. Arms that move are sheets of their own (arms/sheet.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from avatar.build import anatomy, completion, ears, eyes, parts, scalp, shell, teeth
from avatar.build.arms.fit import chain
from avatar.build.arms.plan import Plan
from avatar.build.arms.sheet import Sheet
from avatar.build.fit import Fit
from avatar.build.kinematics import F64
from avatar.build.observe import Observation, unit
from avatar.build.parts import CLOTH
from avatar.build.refine import Refined, adjacency
from avatar.build.teeth import Teeth
from avatar.render import cpu
from models.body import BodyModel
from models.motion import JOINT, JOINTS, LEFT_EYE, RIGHT_EYE, matrix_from_axis_angle
from models.skinning import Poser, SkinnedMesh, SparseDirections

COLLAR_RINGS = 4  # over which what a collar holds fades into what turns with the head

TORSO, HEAD, NECK = JOINT["spine3"], JOINT["head"], JOINT["neck"]


@dataclass(frozen=True)
class UnionMesh:
    """In the photo's pose and expression: `rest` is what skinning alone (no expression, no correctives) poses."""

    skin: SkinnedMesh  # vertices: the open rest shape of the photo, expression and pose correctives included
    part: NDArray[np.uint8]  # (F,)
    occluder: NDArray[np.bool_]  # (F,)
    body_vertices: int  # the first ones
    scalp: scalp.Scalp  # its vertices follow the body's
    parts: parts.Parts  # what the photo's pixels are
    pose: F64  # (55, 3) of the photo, limbs at rest
    translation: F64  # (3,)
    posed: F64  # (V, 3) m as in the photo
    teeth: Teeth | None  # their arches follow the scalp's vertices, the upper one first
    sheets: tuple[Sheet, ...] = ()  # of the moving arms
    trunk_alpha: NDArray[np.float32] | None = None  # (H, W) the matte without them, where there are any

    @property
    def teeth_start(self) -> int:
        """The first of the teeth's vertices."""
        return self.body_vertices + len(self.scalp.vertices)

    @property
    def hides(self) -> NDArray[np.bool_]:
        """(F,) skin and scalp that hide what is behind them."""
        return self.occluder & np.isin(self.part, [anatomy.SKIN, anatomy.SCALP])

    @property
    def sheet_of(self) -> NDArray[np.int64]:
        """(F,) which sheet a triangle belongs to, -1 for none."""
        out = np.full(len(self.part), -1)
        out[self.part == anatomy.ARM] = np.repeat(np.arange(len(self.sheets)), [len(s.faces) for s in self.sheets])
        return out


def build(model: BodyModel, fit: Fit, refined: Refined, plan: Plan) -> UnionMesh:
    o = plan.trunk
    classes = parts.find(model, o, refined.vertices)
    hidden = ears.covered(model, o, refined.vertices, classes)
    hair = scalp.build(model, o, refined.vertices, classes, hidden)
    n = len(refined.vertices)
    surface = np.concatenate([refined.vertices, hair.vertices])
    body_faces = _body_faces(model, o, refined.vertices, plan.dropped | hidden)
    kept = np.concatenate([model.faces[body_faces], hair.faces + n]).astype(np.int32)
    pixels = o.camera.project(surface)
    front = kept[np.concatenate([np.ones(len(body_faces), bool), ~hair.behind])]
    depth, ids = cpu.zbuffer(pixels, front, *o.alpha.shape[::-1])
    cloth = completion.vertex_classes(model, o, surface, kept, hair, classes).probability[:n, CLOTH]
    weights = np.concatenate([_clothes_on_the_trunk(model, _moving_weights(model), cloth), hair.weights])
    coat = shell.build(o, depth, ids, front, weights)
    arches = teeth.teeth(model, o, model.skinned(fit.betas).vertices.astype(np.float64), refined.vertices)
    teeth_v, teeth_f, teeth_w, teeth_part = _of_arches(arches)
    m, c = len(surface), len(teeth_v)
    posed = np.concatenate([surface, teeth_v, coat.vertices])
    weights = np.concatenate([weights, teeth_w, coat.weights])
    faces = np.concatenate([kept, teeth_f + m, coat.faces + m + c])
    in_matte = _in_matte(plan.photo, pixels[:, :2])  # what an arm hides is drawn as well
    occluder = np.concatenate([in_matte[kept].all(1), np.ones(len(teeth_f), bool), coat.solid])
    sheets = _sheets(plan, posed, faces)
    for s in sheets:
        faces = np.concatenate([faces, s.faces + len(posed)])
        posed, weights = np.concatenate([posed, s.vertices]), np.concatenate([weights, s.weights])
    more = [(anatomy.SHELL, len(coat.faces)), *((anatomy.ARM, len(s.faces)) for s in sheets)]
    of_hair = np.full(len(hair.faces), anatomy.SCALP)
    part = np.concatenate(
        [model.face_part[body_faces], of_hair, teeth_part, *(np.full(count, code) for code, count in more)]
    )
    occluder = np.concatenate([occluder, *(s.solid for s in sheets)])
    skin, pose, posed = _unpose(model, o, fit, posed, weights, plan)
    skin = replace(skin, faces=faces.astype(np.int32))
    return UnionMesh(
        skin, part.astype(np.uint8), occluder, n, hair, classes, pose, fit.translation, posed, arches, tuple(sheets),
        o.alpha if sheets else None,
    )  # fmt: skip


def _of_arches(arches: Teeth | None) -> tuple[F64, NDArray[np.int64], F64, NDArray[np.uint8]]:
    """Both arches' vertices (n, 3), triangles, weights (n, J) and part of each triangle."""
    if arches is None:
        return np.zeros((0, 3)), np.zeros((0, 3), np.int64), np.zeros((0, len(JOINTS))), np.zeros(0, np.uint8)
    upper, lower = arches.upper, arches.lower
    n, m = len(upper.points), len(lower.points)
    weights = np.zeros((n + m, len(JOINTS)))
    weights[:n, HEAD] = weights[n:, JOINT["jaw"]] = 1
    part = np.repeat([upper.part, lower.part], [len(upper.triangles), len(lower.triangles)]).astype(np.uint8)
    triangles = np.concatenate([upper.triangles, lower.triangles + n])
    return np.concatenate([upper.points, lower.points]), triangles, weights, part


def _sheets(plan: Plan, posed: F64, faces: NDArray) -> list[Sheet]:
    """The moving arms and the glasses, before the trunk of `posed` and `faces`."""
    if not plan.regions and plan.worn is None:
        return []
    c = plan.photo.camera
    depth, ids = cpu.zbuffer(c.project(posed), faces.astype(np.int32), c.width, c.height)
    return plan.sheets(np.where(ids >= 0, depth, np.inf))


def _body_faces(model: BodyModel, o: Observation, vertices: F64, dropped: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Triangles of the body that take part: no teeth or lashes, no forearms, nothing dropped (V,) (moving arms, covered
    ears), nothing far outside picture or matte."""
    a = anatomy.of(model)
    p = o.camera.project(vertices)[:, :2]
    margin = 60 * unit(o)
    size = np.array([o.camera.width, o.camera.height])
    outside = np.any((p < -margin) | (p > size + margin), axis=1)
    distance = cv2.distanceTransform((o.alpha < 0.35).astype(np.uint8), cv2.DIST_L2, 3)
    q = np.floor(p).astype(int).clip(0, size - 1)
    stray = distance[q[:, 1], q[:, 0]] > 3 * unit(o) + 1
    f = model.faces
    keep = (model.face_part < anatomy.UPPER_TEETH) & ~(a.lower_arm | dropped)[f].any(1)
    keep &= ~outside[f].all(1) & ~stray[f].all(1)
    return np.flatnonzero(keep)


def _in_matte(o: Observation, pixels: F64) -> NDArray[np.bool_]:
    """(V,) inside the matte, or beside the picture. A triangle that sticks out is drawn but may hide nothing: where the
    photo shows background it carries no Gaussians, and would cut a hole in what a turn brings behind it."""
    H, W = o.alpha.shape
    q = np.floor(pixels).astype(int)
    beside = ((q < 0) | (q >= [W, H])).any(1)
    q = q.clip(0, [W - 1, H - 1])
    return beside | (o.alpha[q[:, 1], q[:, 0]] > 0.5)


def _moving_weights(model: BodyModel) -> F64:
    """(V, J) weights with the limbs fixed to the trunk."""
    w = model.weights.astype(np.float64).copy()
    arms = [j for j, n in enumerate(JOINTS) if j >= 25 or any(k in n for k in ("collar", "shoulder", "elbow", "wrist"))]
    legs = [j for j, n in enumerate(JOINTS) if any(k in n for k in ("hip", "knee", "ankle", "foot"))]
    for limb, bone in ((arms, TORSO), (legs, JOINT["pelvis"])):
        w[:, bone] += w[:, limb].sum(1)
        w[:, limb] = 0
    return w


def _clothes_on_the_trunk(model: BodyModel, weights: F64, cloth: F64) -> F64:
    """(V, J) weights with what is cloth (V,) about the neck fixed to the trunk: a head turns inside its collar."""
    A = adjacency(model.faces, len(weights))
    mean = sp.diags(1 / np.maximum(np.asarray(A.sum(1)).ravel(), 1)) @ A
    for _ in range(COLLAR_RINGS):  # the skin between collar and chin shares the turn
        cloth = 0.5 * cloth + 0.5 * (mean @ cloth)
    turning = [NECK, HEAD, JOINT["jaw"]]
    fixed = weights[:, turning] * np.where(anatomy.of(model).skin, cloth, 0.0)[:, None]
    out = weights.copy()
    out[:, turning] -= fixed
    out[:, TORSO] += fixed.sum(1)
    return out


def _unpose(
    model: BodyModel, o: Observation, fit: Fit, posed: F64, weights: F64, plan: Plan
) -> tuple[SkinnedMesh, F64, F64]:
    """The skinned mesh that the photo's pose (static limbs at rest, eyes where they look) carries to `posed`, before
    expression and correctives; that pose; and `posed` with the eyeballs turned."""
    pose = np.zeros_like(fit.pose)
    moving = [0, NECK, HEAD, JOINT["jaw"]]
    pose[moving] = fit.pose[moving]
    base = model.skinned(fit.betas)
    corrective = _of_trunk(base.pose_corrective, base.pose_feature)
    base = replace(base, pose_corrective=corrective)
    poser = Poser(base)
    poser(pose.astype(np.float32), np.zeros(base.expression.count, np.float32), np.zeros(3, np.float32))
    T = np.tensordot(weights, poser.transforms.astype(np.float64), 1)  # (V, 3, 4)
    rest = np.linalg.solve(T[:, :, :3], (posed - fit.translation - T[:, :, 3])[:, :, None])[:, :, 0]
    # Moving arms are bound as the photo has them: there all of their joints move as the trunk does.
    joints = plan.joints(base.joints, poser.transforms[TORSO].astype(np.float64), fit.translation)
    head = poser.transforms[HEAD, :, :3].astype(np.float64)
    posed = posed.copy()
    for side, part, joint in (("Left", anatomy.LEFT_EYE, LEFT_EYE), ("Right", anatomy.RIGHT_EYE, RIGHT_EYE)):
        ball = np.flatnonzero(anatomy.of(model).of_part(part))
        joints[joint] = eyes.sphere(rest[ball]).centre  # the offsets moved the ball away from its joint
        seen = eyes.sphere(posed[ball])
        iris = o.landmarks[eyes.IRIS[side][0]].astype(np.float64)
        pose[joint] = eyes.turn_of(head.T @ eyes.direction(seen, iris, o.camera))
        turn = head @ matrix_from_axis_angle(pose[joint]) @ head.T
        posed[ball] = seen.centre + (posed[ball] - seen.centre) @ turn.T
    k = int((weights > 1e-6).sum(1).max())
    index = np.argsort(-weights, axis=1, kind="stable")[:, :k]
    heavy = np.take_along_axis(weights, index, 1)
    heavy /= heavy.sum(1, keepdims=True)
    skin = replace(
        base,
        vertices=rest.astype(np.float32),
        joints=joints,
        joint_index=index.astype(np.uint8),
        joint_weight=heavy.astype(np.float32),
    )
    return skin, pose, posed


_LIMB_JOINTS = np.array([j for side in ("left", "right") for j in chain(side)])


def _of_trunk(correctives: SparseDirections, feature: NDArray) -> SparseDirections:
    """Pose correctives without those of the arms: what they correct is the body's own arm, which no moving arm is."""
    lengths = np.diff(correctives.indptr)
    kept = np.where(np.isin(feature // 9 + 1, _LIMB_JOINTS), 0, lengths)
    entries = np.repeat(kept > 0, lengths)
    indptr = np.append(0, np.cumsum(kept)).astype(np.int32)
    return SparseDirections(indptr, correctives.vertex[entries], correctives.offset[entries])
