"""What becomes of a photo's arms, found before the mesh is built: classes, fits, regions, the trunk's own picture."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.build import glasses
from avatar.build.arms import classify, gaps, owner, sheet
from avatar.build.arms.classify import MOVING, Arm
from avatar.build.arms.fit import chain
from avatar.build.arms.owner import Region
from avatar.build.arms.sheet import Sheet
from avatar.build.fit import Fit
from avatar.build.glasses import Glasses
from avatar.build.kinematics import F64
from avatar.build.observe import Observation
from avatar.build.refine import Refined
from avatar.limbs import FREE
from avatar.render import cpu
from models.body import BodyModel
from models.motion import JOINTS

OF_ARM = 0.55  # weight of an arm's joints from which a vertex goes with the arm's sheet, not with the body


AROUND = 0.1  # of the shown arm's size that the view leaves around it


@dataclass(frozen=True)
class Plan:
    arms: tuple[Arm, Arm]  # left, right
    photo: Observation  # with the matte opened between the moving arms and their fingers
    trunk: Observation  # the same as if without its moving arms
    regions: tuple[Region, ...]  # of the moving arms
    dropped: NDArray[np.bool_]  # (V,) body vertices that sheets stand for
    worn: Glasses | None = None  # taken off the trunk

    @property
    def pose(self) -> dict[str, tuple[float, float, float]]:
        """SMPL-X rotations of the moving arms' joints in the photo."""
        pairs = [(j, r.fit.pose[j]) for r in self.regions for j in chain(r.arm.side)]
        return {JOINTS[j]: (float(x), float(y), float(z)) for j, (x, y, z) in pairs}

    def joints(self, joints: NDArray, transform: F64, translation: F64) -> NDArray:
        """(55, 3) m at rest with the moving arms' where the photo has them; transform (3, 4): of what they hang on."""
        out = joints.copy()
        for r in self.regions:
            own = chain(r.arm.side)
            out[own] = (r.fit.places - translation - transform[:, 3]) @ transform[:, :3]
        return out

    def sheets(self, trunk_depth: NDArray) -> list[Sheet]:
        """trunk_depth (H, W) m; inf where the trunk is not."""
        arms = [s for r in self.regions for s in sheet.build(self.photo, r, trunk_depth)]
        return arms if self.worn is None else [*arms, glasses.sheet(self.photo, self.worn, trunk_depth)]


def plan(model: BodyModel, o: Observation, fit: Fit, refined: Refined) -> Plan:
    arms = classify.classify(model, o, fit)
    moving = [a for a in arms if a.kind in MOVING]
    o = gaps.open_gaps(o, moving)
    limbs = [j for a in arms for j in chain(a.side)[1:]]
    trunk_faces = model.faces[(model.weights[:, limbs].sum(1) < 0.4)[model.faces].all(1)]
    depth, _ = cpu.zbuffer(o.camera.project(refined.vertices), trunk_faces, o.camera.width, o.camera.height)
    body = cv2.erode(np.isfinite(depth).astype(np.uint8) & (o.alpha > 0.5), np.ones((3, 3))) > 0
    o = replace(o, view=_with_arms(o, moving))
    trunk, regions = owner.split(o, moving, body)
    dropped = np.zeros(len(model.v_template), bool)
    for r in regions:
        if r.arm.kind == FREE:
            dropped |= model.weights[:, chain(r.arm.side)[1:]].sum(1) > OF_ARM
    worn = glasses.find(trunk)
    if worn is not None:
        rgb, colours = (glasses.taken_off(a, worn) for a in (trunk.rgb, trunk.foreground))
        trunk = replace(trunk, rgb=rgb, foreground=colours)
    return Plan(arms, o, trunk, tuple(regions), dropped, worn)


def _with_arms(o: Observation, moving: list[Arm]) -> tuple[float, float, float, float]:
    """The default view, wide enough to show the arms that move."""
    x, y, w, h = o.view
    low, high = np.array([x, y]), np.array([x + w, y + h])
    for arm in moving:
        assert arm.fit is not None
        points = np.concatenate([arm.fit.pixels, arm.fit.hand_pixels])
        margin = AROUND * np.ptp(points, axis=0).max()
        low, high = np.minimum(low, points.min(0) - margin), np.maximum(high, points.max(0) + margin)
    low, high = np.maximum(low, 0), np.minimum(high, [o.camera.width, o.camera.height])
    return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])
