"""Photo -> avatar: the stages in their order.

avatar, report = build(Path("photo.jpg"), progress=lambda stage, fraction, message: ...)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import mediapipe
import numpy as np
from numpy.typing import NDArray

import avatar.build.fit as fitting
from avatar.asset import Avatar, Gaussians
from avatar.build import (
    assemble,
    check,
    colour,
    corrections,
    eye_colours,
    glint,
    lashes,
    lids,
    lips,
    observe,
    parts,
    refine,
    seed,
    spacing,
    stretch,
    unroll,
)
from avatar.build import mesh as meshing
from avatar.build.arms import limits as arm_limits
from avatar.build.arms import plan as arms
from avatar.build.corrections import Corrections
from avatar.build.mesh import UnionMesh
from avatar.build.observe import Observation
from avatar.build.photo import Refused, read
from avatar.build.report import Report, peak_memory_mb
from avatar.render import cpu
from models import body
from models.body import BodyModel

__all__ = ["STAGES", "VERSION", "Corrections", "Options", "Refused", "Report", "build"]

VERSION = "1"
BAD_FIT, NO_FACE_FIT = 2.2, 5.0  # % of face width that the landmarks are off the model
FIRST_STEPS = 12  # of conjugate gradients, enough to tell what a first lattice misses
SPACINGS = 3  # tries to reach the wanted number
VIEW_SIDE = 512  # px at which the default view is judged
Progress = Callable[[str, float, str], None]

STAGES = {  # name -> (share of the whole time, what it says)
    "observe": (0.42, "Looking at the photo"),
    "fit": (0.10, "Fitting a body to the person"),
    "refine": (0.06, "Matching every feature"),
    "mesh": (0.10, "Building the surface"),
    "seed": (0.15, "Placing Gaussians"),
    "colour": (0.11, "Solving colours"),
    "check": (0.06, "Checking the result"),
}


@dataclass(frozen=True)
class Options:
    gaussians: int = 95_000  # aimed at; a small photo gets fewer
    most: int = 105_000
    seed: int = 0
    name: str = ""  # default: the photo's file name
    consent: str = ""  # a note on the person's consent, kept in the file


class _Stages:
    """Times the stages and tells about them."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress, self.done = progress, 0.0
        self.seconds, self.processor = dict.fromkeys(STAGES, 0.0), dict.fromkeys(STAGES, 0.0)
        self.start = self.last = time.perf_counter()
        self.spent = time.process_time()
        self.current = ""

    def enter(self, name: str) -> None:
        now, spent = time.perf_counter(), time.process_time()
        if self.current:
            self.seconds[self.current] += now - self.last
            self.processor[self.current] += spent - self.spent
            self.done += STAGES[self.current][0]
        self.current, self.last, self.spent = name, now, spent
        if self.progress is not None and name:
            self.progress(name, min(self.done, 1.0), STAGES[name][1])

    def finish(self) -> float:
        self.enter("")
        return time.perf_counter() - self.start


def build(
    photo: Path,
    options: Options | None = None,
    progress: Progress | None = None,
    by_hand: Corrections = Corrections(),  # noqa: B008
    seen: Path | None = None,
) -> tuple[Avatar, Report]:
    """by_hand: a matte and landmarks of the user's; seen: stem of the files that show what was found (corrections.py).

    Raises Refused, with a reason a layman understands, when the photo cannot become an avatar; WeightsError when the
    nets that look at it are not there."""
    photo, options = Path(photo), options or Options()
    stages = _Stages(progress)
    stages.enter("observe")
    o = observe.observe(read(photo), by_hand)
    if by_hand.landmarks is None:
        o = lips.closed_if_they_look_it(o)
    if seen is not None:
        corrections.write(o, seen)
    model = lips.rounded(body.load())
    stages.enter("fit")
    fit = fitting.fit(model, o.camera, o.face, o.person.body)
    off = 100 * float(fit.error.mean()) / fit.face_width
    warnings = (*o.warnings, *_judge_fit(off))
    stages.enter("refine")
    refined = refine.refine(model, fit, o.landmarks, o.alpha, parts.find(model, o, fitting.posed(model, fit)))
    stages.enter("mesh")
    plan = arms.plan(model, o, fit, refined)
    o = plan.photo
    union = meshing.build(model, fit, refined, plan)
    avatar, face = assemble.assemble(model, fit, union, plan)
    avatar, union = assemble.drop_unreachable(avatar, union, model)
    stages.enter("seed")
    folds = unroll.unrolled(model, avatar)
    blink = lids.Blink(assemble.blink_stretch(avatar, model), folds.moved[unroll.BLINK])
    seeds = _seeded(model, plan, union, folds, blink, options)
    seeds = stretch.bounded(avatar, o, seeds, folds)
    avatar, union, seeds = _over_the_eyes(plan.trunk, avatar, union, seeds)
    stages.enter("colour")
    blink = replace(blink, stretch=assemble.blink_stretch(avatar, model))
    gaussians = _coloured(model, o, plan.trunk, union, seeds, blink)
    stages.enter("check")
    provenance = {"builder": VERSION, "settings": asdict(options), "seed": options.seed, "consent": options.consent}
    name = options.name or photo.stem
    avatar = replace(avatar, name=name, gaussians=gaussians, warnings=warnings, provenance=provenance)
    avatar = replace(avatar, limits=avatar.limits | arm_limits.find(avatar))
    avatar, figures = _checked(avatar, o)
    seconds = stages.finish()
    report = Report(
        seconds=seconds, stages=stages.seconds, processor=stages.processor,
        framing=o.framing, gaussians=gaussians.count, **figures,
        landmark_error=off, lip_gap_mm=face.lip_gap * 1e3, lid_gap_mm=face.lid_gap * 1e3,
        width=o.camera.width, height=o.camera.height, face_width=o.face_width, seed=options.seed,
        versions={"builder": VERSION, "numpy": np.__version__, "mediapipe": mediapipe.__version__},
        warnings=warnings, scale=o.scale, focal=o.camera.focal / max(o.camera.width, o.camera.height),
        peak_memory_mb=peak_memory_mb(),
    )  # fmt: skip
    return avatar, report


def _judge_fit(off: float) -> list[str]:
    if off > NO_FACE_FIT:
        raise Refused("what was found does not have the shape of a human face; use a photo of a real person")
    if off > BAD_FIT:
        return ["the face fits no human face well (a drawing, a mask, a hidden face?); expect a poor likeness"]
    return []


def _seeded(
    model: BodyModel, plan: arms.Plan, union: UnionMesh, folds: unroll.Unrolled, blink: lids.Blink, options: Options
) -> seed.Seeds:
    """Seeds by the photo's detail, and then by what those miss of it."""
    o, wanted = plan.photo, spacing.by_detail(plan.photo)
    seeds = _seed_to_number(model, o, union, folds, wanted, options)
    first = _coloured(model, o, plan.trunk, union, seeds, blink, FIRST_STEPS)
    posed, skin = union.posed.astype(np.float32), union.skin
    drawn = cpu.draw(posed, skin.faces, union.occluder, first, o.camera)
    return _seed_to_number(model, o, union, folds, spacing.by_error(o, drawn, wanted), options)


def _seed_to_number(
    model: BodyModel, o: Observation, union: UnionMesh, folds: unroll.Unrolled, wanted: NDArray, options: Options
) -> seed.Seeds:
    """Seeds at the spacing that gives the wanted number; a photo of few pixels gets fewer, not finer ones."""
    scale = seed.default_spacing(o)
    seeds = seed.seed(model, o, union, folds, wanted, scale, options.seed)
    for _ in range(SPACINGS):
        ratio = seeds.count / options.gaussians
        if 0.97 < ratio < 1.03 or (scale == seed.FINEST and ratio < 1):
            break
        visible = max(options.gaussians - int((~seeds.seen).sum()), options.gaussians // 4)
        scale = max(scale * (seeds.seen.sum() / visible) ** 0.5, seed.FINEST)  # what is hidden follows little
        seeds = seed.seed(model, o, union, folds, wanted, scale, options.seed)
    while seeds.count > options.most:
        scale *= 1.05
        seeds = seed.seed(model, o, union, folds, wanted, scale, options.seed)
    return seeds


def _over_the_eyes(
    trunk: Observation, avatar: Avatar, union: UnionMesh, seeds: seed.Seeds
) -> tuple[Avatar, UnionMesh, seed.Seeds]:
    """All three with what does not turn with the eyeballs that it is seen on."""
    sampled = colour.sample(trunk.foreground, seeds.pixel)
    balls = eye_colours.eyes_of(trunk, union, seeds, sampled.mean(0), colour.sample)
    avatar, union, seeds = lashes.added(trunk, avatar, union, seeds, balls, sampled)
    return glint.added(trunk, avatar, union, seeds)


def _coloured(
    model: BodyModel,
    o: Observation,
    trunk: Observation,
    union: UnionMesh,
    seeds: seed.Seeds,
    blink: lids.Blink,
    steps: int = colour.STEPS,
) -> Gaussians:
    """Gaussians with their solved colours; trunk: the photo without its moving arms."""
    first, doubt = colour.first_colours(model, trunk, union, seeds, blink)
    gaussians = Gaussians(
        face=seeds.face.astype(np.int32), bary=seeds.bary.astype(np.float32), shape=seeds.shape.astype(np.float32),
        colour=first.astype(np.float32), opacity=seeds.opacity.clip(0, 1).astype(np.float32), layer=seeds.layer,
        confidence=np.where(seeds.seen, 3, 1).astype(np.uint8),
    )  # fmt: skip
    opacity = colour.solve_opacity(o, union, gaussians, seeds)
    gaussians = replace(gaussians, opacity=opacity.astype(np.float32))
    return replace(gaussians, colour=colour.solve(o, union, gaussians, seeds, doubt, steps).astype(np.float32))


def _checked(avatar: Avatar, o: Observation) -> tuple[Avatar, dict[str, Any]]:
    """The avatar with its quality figures and preview, and the figures for the report."""
    psnr, ssim = check.likeness(avatar, o.rgb, o.alpha, avatar.camera)
    view_psnr, view_ssim = check.likeness_of_view(avatar, o.rgb, o.alpha, VIEW_SIDE)
    holes = check.holes(avatar)
    quality = {"rest_psnr": psnr, "rest_ssim": ssim, "view_psnr": view_psnr, "worst_holes": max(holes.values())}
    figures = {
        "rest_psnr": psnr, "rest_ssim": ssim, "view_psnr": view_psnr, "view_ssim": view_ssim,
        "holes": {str(yaw): share for yaw, share in holes.items()},
    }  # fmt: skip
    return replace(avatar, quality=quality, preview=check.preview(avatar)), figures
