"""The arms of an avatar for whoever moves them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avatar import asset
from avatar.archive import AvatarError
from avatar.asset import Avatar
from avatar.limbs import FORESHORTENED, FREE, OUT_OF_VIEW, PAIR, Axes, Gesture, Limbs, still
from avatar.rig import Rig
from models.motion import GROUP, JOINT, JOINTS, Motion, compose_rotations, matrix_from_axis_angle
from tests.avatar import synthetic

LEFT = [
    n for n in JOINTS if n.startswith("left_") and (JOINT[n] >= 25 or n[5:] in ("collar", "shoulder", "elbow", "wrist"))
]
PHOTO = {"left_shoulder": (-1.2, 0.3, -0.9), "left_elbow": (0.1, -1.7, 0.0), "left_index1": (0.0, 0.1, -0.5)}


def bound(limits: bool = True) -> Avatar:
    """A synthetic avatar whose left arm is said to be held as PHOTO in its photo, and free."""
    avatar = synthetic.avatar(4000)
    pose = dict.fromkeys(LEFT, (0.0, 0.0, 0.0)) | PHOTO
    reach = {n: ((-0.2, 0.2),) * 3 for n in LEFT} if limits else {}
    arms = {"left": FREE, "right": OUT_OF_VIEW}
    root = avatar.photo.pose.copy()
    root[JOINT["pelvis"]] = (0.0, 0.3, 0.0)
    root[[JOINT[n] for n in LEFT]] = 0  # where the mesh is bound
    photo = replace(avatar.photo, pose=root)
    return replace(
        avatar, arms=arms, limb_pose=pose, limits=avatar.limits | reach | still("right"), photo=photo,
        neutral=replace(avatar.neutral, pose=root),
    )  # fmt: skip


def test_no_gesture_is_the_photo() -> None:
    avatar = bound()
    rig = Rig(avatar)
    motion = Limbs(avatar).motion(1.0, {})
    assert motion.time == 1.0
    for absolute in (False, True):
        np.testing.assert_allclose(rig.state(motion, absolute).pose, avatar.photo.pose, atol=2e-6)


def test_motion_is_absolute_smplx(photo: tuple[float, float, float] = PHOTO["left_elbow"]) -> None:
    motion = Limbs(bound()).motion(0.0, {"left": Gesture({"elbow": (0.0, 0.0, 0.1)})})
    np.testing.assert_allclose(motion.pose[JOINT["left_shoulder"]], PHOTO["left_shoulder"], atol=1e-6)
    turned = compose_rotations(-np.array(photo), motion.pose[JOINT["left_elbow"]])
    assert np.linalg.norm(turned) == pytest.approx(0.1, abs=1e-5)


@pytest.mark.parametrize("joint", ["shoulder", "elbow", "wrist"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_turn_is_about_the_worlds_axes(joint: str, axis: int) -> None:
    """What hangs on the joint turns about it by the angle asked for, about the photo's own x, y or z."""
    avatar = bound()
    rig, limbs = Rig(avatar), Limbs(avatar)
    hand = avatar.mesh.joint_weight[:, 0] > 0.999
    hand &= np.isin(avatar.mesh.joint_index[:, 0], [JOINT["left_wrist"], JOINT["left_middle2"]])
    angle = 0.12
    before = rig.vertices(avatar.photo)[hand].astype(np.float64)
    turn = angle * np.eye(3)[axis]
    motion = limbs.motion(0.0, {"left": Gesture({joint: tuple(turn)})})
    after = rig.vertices(rig.state(motion))[hand].astype(np.float64)
    a, b = before - before.mean(0), after - after.mean(0)
    np.testing.assert_allclose(b, a @ matrix_from_axis_angle(turn).T, atol=2e-4)


def test_fingers_bend_about_their_own_axis_and_the_thumb_stays() -> None:
    avatar = bound(limits=False)
    motion = Limbs(avatar).motion(0.0, {"left": Gesture(fingers=0.3)})
    index = compose_rotations(-np.array(PHOTO["left_index1"]), motion.pose[JOINT["left_index1"]])
    np.testing.assert_allclose(index, (0, 0, -0.3), atol=1e-5)
    assert not motion.pose[JOINT["left_thumb1"]].any()


def test_limits_hold_whatever_is_asked() -> None:
    avatar = bound()
    state = Rig(avatar).state(Limbs(avatar).motion(0.0, {"left": Gesture({"elbow": (0.0, 0.0, 2.0)}, 2.0)}))
    axes = Axes(avatar)
    j = JOINT["left_elbow"]
    turn = axes.of_limits[j] @ axes.of_mesh[j].T @ state.pose[j]
    assert 0.19 < turn[2] <= 0.2 and np.abs(turn[:2]).max() < 1e-5
    assert np.linalg.norm(state.pose[JOINT["left_index2"]]) <= 0.2


@pytest.mark.parametrize("kind", [PAIR, OUT_OF_VIEW])
def test_a_static_arm_stays(kind: str) -> None:
    avatar = replace(bound(), arms={"left": kind, "right": kind}, limb_pose={})
    avatar = replace(avatar, limits=avatar.limits | still("left") | still("right"))
    limbs = Limbs(avatar)
    assert not limbs.moves("left")
    motion = limbs.motion(0.0, {"left": Gesture({"shoulder": (0.0, 0.0, 0.3)}, 0.3)})
    np.testing.assert_allclose(motion.pose, avatar.photo.pose * (motion.pose != 0), atol=1e-6)
    everything = Motion(pose=np.full((55, 3), 0.5, np.float32), weight=np.ones(8, np.float32))
    arms = [JOINT[n] for n in still("left") | still("right")]
    np.testing.assert_allclose(Rig(avatar).state(everything).pose[arms], avatar.photo.pose[arms], atol=1e-6)


def test_who_says_nothing_of_arms_leaves_them() -> None:
    avatar = bound()
    motion = Motion(pose=np.full((55, 3), 0.3, np.float32))
    motion.weight[GROUP["head"]] = 1
    arms = [JOINT[n] for n in LEFT]
    np.testing.assert_array_equal(Rig(avatar).state(motion).pose[arms], avatar.neutral.pose[arms])


def test_the_file_carries_classes_and_pose(tmp_path: Path) -> None:
    avatar = replace(bound(), arms={"left": FORESHORTENED, "right": PAIR})
    asset.save(avatar, tmp_path / "a.avatar")
    again = asset.load(tmp_path / "a.avatar")
    assert again.arms == avatar.arms
    assert again.limb_pose == avatar.limb_pose
    assert Limbs(again).kind == {"left": FORESHORTENED, "right": PAIR}
    assert Limbs(replace(again, arms={})).kind == {"left": OUT_OF_VIEW, "right": OUT_OF_VIEW}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"arms": {"left": "loose"}}, "arms left"),
        ({"arms": {"third": FREE}}, "arms third"),
        ({"limb_pose": {"left_tail": (0.0, 0.0, 0.0)}}, "limb_pose left_tail"),
        ({"limb_pose": {"left_elbow": (0.0, float("nan"), 0.0)}}, "limb_pose left_elbow"),
    ],
)
def test_a_wrong_class_or_pose_is_named(tmp_path: Path, wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(AvatarError, match=named):
        asset.save(replace(bound(), **wrong), tmp_path / "a.avatar")
