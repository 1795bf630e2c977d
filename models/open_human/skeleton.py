"""SMPL-X's 55 joints on MakeHuman's rig: where they lie, which bones they gather, whom each vertex follows."""

from __future__ import annotations

import numpy as np

from models.motion import HEAD, JAW, JOINT, JOINTS, LEFT_EYE, N_JOINTS, RIGHT_EYE
from models.open_human.makehuman import F64, MakeHuman
from models.open_human.topology import Topology

PARENTS = np.array(
    [
        *(-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 15, 15, 15),  # body, jaw, eyes
        *(20, 25, 26, 20, 28, 29, 20, 31, 32, 20, 34, 35, 20, 37, 38),  # left hand
        *(21, 40, 41, 21, 43, 44, 21, 46, 47, 21, 49, 50, 21, 52, 53),  # right hand
    ]
)


def other_side(name: str) -> str:
    """left_knee -> right_knee, eyeBlinkRight -> eyeBlinkLeft; names without a side stay."""
    for one, two in (("left", "right"), ("Left", "Right")):
        if one in name or two in name:
            return name.replace(one, two) if one in name else name.replace(two, one)
    return name


JOINT_MIRROR = np.array([JOINT[other_side(n)] for n in JOINTS])
PELVIS = np.array([0.0, -0.3514, 0.012])  # m, where SMPL-X has it at rest
FINGERS = {"thumb": 1, "index": 2, "middle": 3, "ring": 4, "pinky": 5}  # MakeHuman's numbers

_MIDDLE = {"pelvis": "pelvis", "spine1": "spine-4", "neck": "neck", "head": "head", "jaw": "mouth"}
_LIMB = {
    "hip": "upper-leg",
    "knee": "knee",
    "ankle": "ankle",
    "shoulder": "shoulder",
    "elbow": "elbow",
    "wrist": "hand",
    "eye": "eye",
}


def joint_positions(human: MakeHuman, vertices: F64) -> F64:
    """(55, 3) joints from the joint cubes of a whole mesh (N, 3)."""
    return np.array([_position(human, vertices, name) for name in JOINTS])


def _position(human: MakeHuman, vertices: F64, name: str) -> F64:
    def cube(n: str) -> F64:
        return human.centre(vertices, n)

    if name in _MIDDLE:
        return cube(_MIDDLE[name])
    if name == "spine2":
        return 0.35 * cube("spine-3") + 0.65 * cube("spine-2")
    if name == "spine3":
        return 0.35 * cube("spine-2") + 0.65 * cube("spine-1")
    side, part = name.split("_")[:2]
    k = side[0]
    if part in _LIMB:
        return cube(f"{k}-{_LIMB[part]}")
    if part == "foot":
        return np.mean([cube(f"{k}-toe-{i}-1") for i in range(1, 6)], axis=0)
    if part == "collar":
        return 0.5 * cube(f"{k}-clavicle") + 0.5 * cube(f"{k}-scapula")
    return cube(f"{k}-finger-{FINGERS[part[:-1]]}-{part[-1]}")


_BONE = {  # MakeHuman bone, without its side and number -> SMPL-X joint
    "root": "pelvis", "pelvis": "pelvis", "spine05": "pelvis", "spine04": "spine1", "spine03": "spine2",
    "spine02": "spine2", "spine01": "spine3", "breast": "spine3", "neck": "neck",
}  # fmt: skip
_SIDED_BONE = {
    "clavicle": "collar", "shoulder": "collar", "upperarm": "shoulder", "lowerarm": "elbow", "wrist": "wrist",
    "metacarpal": "wrist", "upperleg": "hip", "lowerleg": "knee", "foot": "ankle", "toe": "foot",
}  # fmt: skip


def joint_of_bone(human: MakeHuman) -> list[int]:
    """For each bone the SMPL-X joint that takes it over; face bones go to the jaw below `jaw`, else to the head."""
    return [JOINT[_joint_of_bone(human, b)] for b in range(len(human.bones))]


def _joint_of_bone(human: MakeHuman, b: int) -> str:
    stem, _, side = human.bones[b].name.partition(".")
    side = {"L": "left_", "R": "right_"}.get(side, "")
    if stem in _BONE or stem.startswith("neck"):
        return _BONE.get(stem, "neck")
    for start, joint in _SIDED_BONE.items():
        if stem.startswith(start):
            return side + joint
    if stem.startswith("finger"):
        finger = next(f for f, n in FINGERS.items() if n == int(stem[6]))
        return f"{side}{finger}{stem[-1]}"
    if stem == "eye":
        return f"{side}eye_smplhf"
    while b >= 0 and human.bones[b].name != "head":
        if human.bones[b].name == "jaw":
            return "jaw"
        b = human.bones[b].parent
    return "head"


def skinning_weights(human: MakeHuman, topology: Topology) -> F64:
    """(V, 55), rows sum to 1. Eyeballs and teeth are rigid; lids and lashes follow the head, not the eyeball."""
    gather = np.zeros((len(human.bones), N_JOINTS))
    gather[np.arange(len(human.bones)), joint_of_bone(human)] = 1
    w = np.asarray(human.bone_weights[topology.used] @ gather)
    eyes = [LEFT_EYE, RIGHT_EYE]
    w[:, HEAD] += w[:, eyes].sum(1)
    w[:, eyes] = 0
    rigid = {"l-eye": LEFT_EYE, "r-eye": RIGHT_EYE, "upper-teeth": HEAD, "lower-teeth": JAW}
    for part, joint in rigid.items():
        w[topology.of_part("helper-" + part)] = np.eye(N_JOINTS)[joint]
    return w / w.sum(1, keepdims=True)
