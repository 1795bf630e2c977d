"""The arms of an avatar for whoever moves them: which can move, how the photo holds them, and how far they go.

    limbs = Limbs(avatar)
    if limbs.kind["left"] == FREE:
        motion = limbs.motion(time, {"left": Gesture({"shoulder": (0, 0, 0.1)}, fingers=0.3)})

A gesture is a turn away from the photo's arm, so nothing needs to be known of how the photo holds it. Shoulder, elbow
and wrist turn about the photo's axes (x to the right of the picture, y up, z to the viewer): z turns in the picture.
Motion itself is absolute for arms and hands (SMPL-X rotations); the rig keeps it within avatar.limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.motion import GROUP, JOINT, JOINT_GROUP, JOINTS, Motion, compose_rotations, matrix_from_axis_angle

if TYPE_CHECKING:
    from avatar.asset import Avatar

FREE, FORESHORTENED, PAIR, OUT_OF_VIEW = "free", "foreshortened", "pair", "out of view"
KINDS = (FREE, FORESHORTENED, PAIR, OUT_OF_VIEW)
SIDES = ("left", "right")
ARM_JOINTS = ("shoulder", "elbow", "wrist")
FINGERS = ("index", "middle", "ring", "pinky")

Turn = tuple[float, float, float]


@dataclass(frozen=True)
class Gesture:
    """Turns of one arm away from the photo's, rad."""

    turns: Mapping[str, Turn] = field(default_factory=dict)  # of ARM_JOINTS, about the photo's axes
    fingers: float = 0.0  # that each finger joint but the thumb's bends further

    def scaled(self, share: float) -> Gesture:
        turns = {joint: (share * x, share * y, share * z) for joint, (x, y, z) in self.turns.items()}
        return Gesture(turns, share * self.fingers)


class Limbs:
    """What a gesture driver needs of an avatar."""

    def __init__(self, avatar: Avatar) -> None:
        self.kind: dict[str, str] = {side: avatar.arms.get(side, OUT_OF_VIEW) for side in SIDES}
        axes = Axes(avatar)
        self.photo, self.frames = axes.photo, axes.of_limits
        self.limits: Mapping[str, tuple[tuple[float, float], ...]] = avatar.limits

    def moves(self, side: str) -> bool:
        return self.kind[side] in (FREE, FORESHORTENED)

    def range(self, side: str, joint: str) -> NDArray[np.float64]:
        """(3, 2) lowest and highest turn (rad) of "shoulder", "elbow" or "wrist" about the photo's axes; of
        "fingers" about x, y, z of their own, the last of which bends them as in SMPL-X."""
        name = f"{side}_index2" if joint == "fingers" else f"{side}_{joint}"
        return np.array(self.limits.get(name, ((0.0, 0.0),) * 3))

    def motion(self, time: float, gestures: Mapping[str, Gesture]) -> Motion:
        """A motion of arms and hands alone. A side without a gesture, or that cannot move, stays as in the photo."""
        out = Motion(time)
        out.pose[_LIMBS] = self.photo[_LIMBS]
        out.weight[[GROUP["arms"], GROUP["hands"]]] = 1
        for side, gesture in gestures.items():
            if self.moves(side):
                self._turn(out, side, gesture)
        return out

    def _turn(self, motion: Motion, side: str, gesture: Gesture) -> None:
        for name, turn in gesture.turns.items():
            j = JOINT[f"{side}_{name}"]
            motion.pose[j] = compose_rotations(motion.pose[j], self.frames[j].T @ np.asarray(turn, np.float64))
        bend = np.array([0, 0, gesture.fingers if side == "right" else -gesture.fingers])
        for finger in FINGERS:
            for k in (1, 2, 3):
                j = JOINT[f"{side}_{finger}{k}"]
                motion.pose[j] = compose_rotations(motion.pose[j], bend)


_LIMBS = np.isin(JOINT_GROUP, [GROUP["arms"], GROUP["hands"]])


class Axes:
    """Between the three ways to count a joint's turn away from the photo's rotation.

    A Motion turns it about its parent's axes, as SMPL-X does. The limits of collars, shoulders, elbows and wrists are
    about the world's axes in the photo, those of all others, the fingers too, about the parent's. The mesh of an arm
    that moves is bound to its joints as in the photo, so about the axes of the trunk that carries it.
    """

    def __init__(self, avatar: Avatar) -> None:
        self.photo = avatar.photo.pose.copy()  # (55, 3) SMPL-X
        for name, turn in avatar.limb_pose.items():
            self.photo[JOINT[name]] = turn
        local, parents = matrix_from_axis_angle(self.photo), avatar.mesh.parents
        world = np.empty_like(local)
        self.of_limits = np.tile(np.eye(3), (len(local), 1, 1))  # (55, 3, 3) from the parent's axes
        self.of_mesh = self.of_limits.copy()  # likewise
        carrier = np.zeros_like(local)  # world rotation of what a bound limb hangs on
        for j, p in enumerate(parents):
            world[j] = local[j] if p < 0 else world[p] @ local[j]
            if p >= 0 and JOINT_GROUP[j] == GROUP["arms"]:
                self.of_limits[j] = world[p]
            if JOINTS[j] in avatar.limb_pose:
                carrier[j] = carrier[p] if JOINTS[p] in avatar.limb_pose else world[p]
                self.of_mesh[j] = carrier[j].T @ world[p]


def still(side: str) -> dict[str, tuple[tuple[float, float], ...]]:
    """Limits of an arm that does not move, by joint."""
    return {name: ((0.0, 0.0),) * 3 for name in JOINTS if name.startswith(side) and _LIMBS[JOINT[name]]}
