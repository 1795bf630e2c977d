"""Photo -> avatar: the stages in their order.

avatar, report = build(Path("photo.jpg"), progress=lambda stage, fraction, message: ...)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

import avatar.build.fit as fitting
from avatar.asset import Avatar, FaceMap, Gaussians, State
from avatar.build import anatomy, check, colour, eyes, neutral, observe, prune, refine, seed, suitability
from avatar.build import mesh as meshing
from avatar.build.fit import Fit
from avatar.build.landmarks import LEFT_EYE_RING, RIGHT_EYE_RING
from avatar.build.mesh import UnionMesh
from avatar.build.observe import Observation
from avatar.build.photo import Photo, Refused, read
from avatar.build.report import Report
from avatar.render.contract import Camera
from models import body, expression
from models.body import BodyModel
from models.motion import HEAD, JAW, LEFT_EYE, NECK, RIGHT_EYE, axis_angle_from_matrix, matrix_from_axis_angle
from models.skinning import Poser, SparseDirections

__all__ = ["VERSION", "Options", "Refused", "Report", "build"]

VERSION = "1"
BAD_FIT, NO_FACE_FIT = 2.2, 5.0  # % of face width that the landmarks are off the model
Progress = Callable[[str, float, str], None]

STAGES = {  # name -> (share of the whole time, what it says)
    "observe": (0.30, "Looking at the photo"),
    "fit": (0.15, "Fitting a body to the person"),
    "refine": (0.08, "Matching every feature"),
    "mesh": (0.12, "Building the surface"),
    "seed": (0.12, "Placing Gaussians"),
    "colour": (0.13, "Solving colours"),
    "check": (0.10, "Checking the result"),
}


@dataclass(frozen=True)
class Options:
    gaussians: int = 85_000  # aimed at; a small photo gets fewer
    most: int = 100_000
    seed: int = 0
    name: str = ""  # default: the photo's file name
    consent: str = ""  # a note on the person's consent, kept in the file


class _Stages:
    """Times the stages and tells about them."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress, self.seconds, self.done = progress, dict.fromkeys(STAGES, 0.0), 0.0
        self.start = self.last = time.perf_counter()
        self.current = ""

    def enter(self, name: str) -> None:
        now = time.perf_counter()
        if self.current:
            self.seconds[self.current] += now - self.last
            self.done += STAGES[self.current][0]
        self.current, self.last = name, now
        if self.progress is not None and name:
            self.progress(name, min(self.done, 1.0), STAGES[name][1])

    def finish(self) -> float:
        self.enter("")
        return time.perf_counter() - self.start


def build(photo: Path, options: Options = Options(), progress: Progress | None = None) -> tuple[Avatar, Report]:  # noqa: B008
    """Raises Refused, with a reason a layman understands, when the photo cannot become an avatar; WeightsError when the
    nets that look at it are not there."""
    stages = _Stages(progress)
    stages.enter("observe")
    photo = Path(photo)
    options = replace(options, name=options.name or photo.stem)
    picture = read(photo)
    model = body.load()
    o = observe.observe(picture)
    stages.enter("fit")
    fit = fitting.fit(model, o.camera, o.face, o.person.body)
    off = 100 * float(fit.error.mean()) / fit.face_width
    warnings = [*o.warnings, *_judge_fit(off)]
    stages.enter("refine")
    refined = refine.refine(model, fit, o.landmarks, o.alpha)
    stages.enter("mesh")
    union = meshing.build(model, o, fit, refined)
    avatar, face = _mesh_of_avatar(model, o, fit, union, options, tuple(warnings))
    avatar, union, reachable = _pruned(avatar, union, model)
    stages.enter("seed")
    seeds = _seed_to_number(model, o, union, reachable, options)
    stages.enter("colour")
    first, fill = colour.first_colours(model, o, union, seeds)
    gaussians = _gaussians(seeds, first)
    solved = colour.soften_lids(colour.solve(o, union, gaussians, seeds), fill, _blink_stretch(avatar, model)[seeds.face])
    gaussians = replace(gaussians, colour=solved.astype(np.float32))
    avatar = replace(avatar, gaussians=gaussians)
    stages.enter("check")
    avatar, figures = _checked(avatar, o)
    seconds = stages.finish()
    report = Report(
        seconds=seconds, stages=stages.seconds, framing=o.framing, gaussians=gaussians.count, **figures,
        landmark_error=off, lip_gap_mm=face.lip_gap * 1e3, lid_gap_mm=face.lid_gap * 1e3,
        width=o.camera.width, height=o.camera.height, face_width=o.face_width, seed=options.seed,
        versions=_versions(), warnings=avatar.warnings, scale=o.scale,
    )  # fmt: skip
    return avatar, report


def _judge_fit(off: float) -> list[str]:
    if off > NO_FACE_FIT:
        raise Refused("what was found does not have the shape of a human face; use a photo of a real person")
    if off > BAD_FIT:
        return ["the face fits no human face well (a drawing, a mask, a hidden face?); expect a poor likeness"]
    return []


def _mesh_of_avatar(
    model: BodyModel, o: Observation, fit: Fit, union: UnionMesh, options: Options, warnings: tuple[str, ...]
) -> tuple[Avatar, neutral.Neutral]:
    """The avatar without Gaussians: its mesh at the neutral face, photo and neutral states, limits."""
    n = union.body_vertices
    photo_rest = union.skin.vertices[:n].astype(np.float64) - _jaw_correctives(model, union)
    apertures = {s: suitability.aperture(o.face, r) for s, r in (("Left", LEFT_EYE_RING), ("Right", RIGHT_EYE_RING))}
    lips = float(np.linalg.norm(o.landmarks[13] - o.landmarks[14])) / o.face_width
    face = neutral.neutral(model, photo_rest, fit.expression, apertures, lips > neutral.OPEN_LIPS)
    e_photo = np.where([name.startswith(neutral.LIDS) for name in model.expression_names], 0.0, fit.expression)
    vertices = union.skin.vertices.copy()
    vertices[:n] = face.rest - face.directions @ face.expression
    card = np.unique(union.skin.faces[union.part == anatomy.CARD])
    photo_vertices = vertices[card].astype(np.float64)
    if len(card):
        vertices[card, 2] -= neutral.behind_lips(model, face.rest, photo_vertices)
    basis = np.zeros((*vertices.shape, 1))
    basis[card, :, 0] = photo_vertices - vertices[card]
    basis[:n, :, 0] = photo_rest - vertices[:n] - face.directions @ e_photo
    directions = SparseDirections.from_dense(face.directions, 1e-5)
    mesh = replace(union.skin, vertices=vertices, expression=directions)
    zero, one = np.zeros(1, np.float32), np.ones(1, np.float32)
    move = union.translation.astype(np.float32)
    photo_state = State(union.pose.astype(np.float32), move, e_photo.astype(np.float32), one)
    pose = union.pose.copy()
    pose[JAW] = 0
    both = [LEFT_EYE, RIGHT_EYE]
    pose[both] = eyes.ahead(union.pose[both], np.stack([_towards_camera(union, eye) for eye in both]))
    neutral_state = State(pose.astype(np.float32), move, face.expression.astype(np.float32), zero)
    fmap = expression.face_map(model)
    yaw = axis_angle_from_matrix(_head_rotation(union.pose))[1]
    avatar = Avatar(
        name=options.name, mesh=mesh, part=union.part, occluder=union.occluder,
        correction=SparseDirections.from_dense(basis, 1e-5), gaussians=_no_gaussians(), camera=o.camera, view=o.view,
        framing=o.framing, photo=photo_state, neutral=neutral_state,
        face_map=FaceMap(fmap.expression, fmap.jaw, fmap.eyes), limits=prune.limits(float(yaw), float(union.pose[JAW, 0]), float(fmap.jaw[:, 0].max())),
        background=o.background, preview=o.background,
        body_model={"name": model.name, "sha256": model.sha256, "licence": model.licence, "betas": fit.betas.tolist()},
        capabilities={"head": True, "face": True, "torso": True, "arms": False, "hands": False},
        warnings=warnings,
        provenance={"builder": VERSION, "settings": asdict(options), "seed": options.seed, "consent": options.consent},
    )  # fmt: skip
    return avatar, face


def _jaw_correctives(model: BodyModel, union: UnionMesh):  # type: ignore[no-untyped-def]
    """(V, 3) what the pose correctives add to the rest vertices in the photo's pose."""
    R = matrix_from_axis_angle(union.pose)
    feature = (R[1:] - np.eye(3)).reshape(-1)[model.pose_feature]
    return np.asarray(model.posedirs, np.float64) @ feature


def _head_rotation(pose):  # type: ignore[no-untyped-def]
    """(3, 3) world rotation of the head of a pose without spine rotations."""
    R = matrix_from_axis_angle(pose[[0, NECK, HEAD]])
    return R[0] @ R[1] @ R[2]


def _towards_camera(union: UnionMesh, eye: int):  # type: ignore[no-untyped-def]
    """(3,) the eye joint's axis-angle that looks into the camera at the photo's pose."""
    part = anatomy.LEFT_EYE if eye == LEFT_EYE else anatomy.RIGHT_EYE
    centre = union.posed[np.unique(union.skin.faces[union.part == part])].mean(0)
    return eyes.turn_of(_head_rotation(union.pose).T @ (-centre / np.linalg.norm(centre)))


def _pruned(avatar: Avatar, union: UnionMesh, model: BodyModel):  # type: ignore[no-untyped-def]
    """Drop the triangles that no allowed motion shows -> avatar, union, reachable (F,)."""
    jaw_open = float(avatar.face_map.jaw[:, 0].max())
    states = prune.extremes(avatar.photo, avatar.neutral, avatar.limits, model.expression_names, jaw_open)
    keep = prune.reachable(avatar.mesh, avatar.correction, avatar.occluder, states, avatar.camera)
    keep |= union.part == anatomy.SHELL
    faces = np.ascontiguousarray(avatar.mesh.faces[keep])
    part, occluder = union.part[keep], union.occluder[keep]
    avatar = replace(avatar, mesh=replace(avatar.mesh, faces=faces), part=part, occluder=occluder)
    union = replace(union, skin=replace(union.skin, faces=faces), part=part, occluder=occluder)
    return avatar, union, np.ones(len(faces), bool)


def _seed_to_number(model, o, union, reachable, options):  # type: ignore[no-untyped-def]
    """Seeds at the spacing that gives the wanted number; a photo of few pixels gets fewer, not finer ones."""
    spacing = seed.default_spacing(o)
    seeds = seed.seed(model, o, union, reachable, spacing, options.seed)
    for _ in range(2):
        ratio = (seeds.count / options.gaussians) ** 0.5
        if 0.96 < ratio < 1.04:
            break
        spacing = max(spacing * ratio, seed.FINEST)
        seeds = seed.seed(model, o, union, reachable, spacing, options.seed)
        if spacing == seed.FINEST and seeds.count <= options.most:
            break
    while seeds.count > options.most:
        spacing *= 1.05
        seeds = seed.seed(model, o, union, reachable, spacing, options.seed)
    return seeds


def _gaussians(seeds: seed.Seeds, colours) -> Gaussians:  # type: ignore[no-untyped-def]
    return Gaussians(
        face=seeds.face.astype(np.int32), bary=seeds.bary.astype(np.float32), shape=seeds.shape.astype(np.float32),
        colour=colours.astype(np.float32), opacity=seeds.opacity.clip(0, 1).astype(np.float32), layer=seeds.layer,
        confidence=np.where(seeds.seen, 3, 1).astype(np.uint8),
    )  # fmt: skip


def _blink_stretch(avatar: Avatar, model: BodyModel):  # type: ignore[no-untyped-def]
    """(F,) how many times its size a triangle grows when the eyes close."""
    blink = np.array([n.startswith("eyeBlink") for n in model.expression_names], np.float32)
    poser = Poser(avatar.mesh)
    area = []
    for expression in (0 * blink, blink):
        t = poser.rest(expression)[avatar.mesh.faces].astype(np.float64)
        area.append(np.linalg.norm(np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0]), axis=1))
    return area[1] / np.maximum(area[0], 1e-12)


def _no_gaussians() -> Gaussians:
    f = np.zeros
    return Gaussians(
        f(0, np.int32), f((0, 2), np.float32), f((0, 2, 2), np.float32), f((0, 3), np.float32), f(0, np.float32),
        f(0, np.uint8), f(0, np.uint8),
    )  # fmt: skip


def _checked(avatar: Avatar, o: Observation):  # type: ignore[no-untyped-def]
    """The avatar with its quality figures and preview, and the figures for the report."""
    psnr, ssim = check.likeness(avatar, o.rgb, o.alpha, avatar.camera)
    view = view_camera(avatar.camera, avatar.view, 512)
    x0, y0, w, h = avatar.view
    crop = lambda a: a[round(y0) : round(y0 + h), round(x0) : round(x0 + w)]  # noqa: E731
    view_psnr, view_ssim = check.likeness(
        replace(avatar, background=crop(avatar.background)), crop(o.rgb), crop(o.alpha), view
    )
    holes = check.holes(avatar)
    quality = {"rest_psnr": psnr, "rest_ssim": ssim, "view_psnr": view_psnr, "worst_holes": max(holes.values())}
    figures = dict(rest_psnr=psnr, rest_ssim=ssim, view_psnr=view_psnr, view_ssim=view_ssim)
    figures["holes"] = {str(k): v for k, v in holes.items()}
    return replace(avatar, quality=quality, preview=check.preview(avatar)), figures


def view_camera(camera: Camera, view: tuple[float, float, float, float], long_side: int) -> Camera:
    """The camera that shows the view with its longer side at long_side px, on whole pixels of the photo."""
    x0, y0, w, h = round(view[0]), round(view[1]), round(view[2]), round(view[3])
    k = long_side / max(w, h)
    return camera.window(x0, y0, w, round(w * k), round(h * k))


def _versions() -> dict[str, str]:
    import mediapipe
    import numpy

    return {"builder": VERSION, "numpy": numpy.__version__, "mediapipe": mediapipe.__version__}
