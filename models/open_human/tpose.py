"""From MakeHuman's A-pose to SMPL-X's T-pose, with the full rig so that the twist bones share the forearm's roll."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from models.open_human.makehuman import F64, MakeHuman

CLAVICLE_SHARE = 0.18  # of the raise of the arm (scapulo-humeral rhythm)
STRAIGHTEN = 0.45  # how far fingers turn from their own direction towards the arm's


def turn(axis_angle: F64 | list[float]) -> F64:
    return Rotation.from_rotvec(axis_angle).as_matrix()


def between(a: F64, b: F64) -> F64:
    """The shortest rotation (3, 3) that takes direction a to direction b."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    axis = np.cross(a, b)
    sine = np.linalg.norm(axis)
    return np.eye(3) if sine < 1e-9 else turn(axis / sine * np.arctan2(sine, a @ b))


def pose_bones(human: MakeHuman, vertices: F64, world: dict[str, F64]) -> F64:
    """(N, 3): linear blend skinning by world rotations per bone name; the other bones go with their parents."""
    B = len(human.bones)
    heads = np.array([vertices[b.head].mean(0) for b in human.bones])
    rotation, position = np.zeros((B, 3, 3)), np.zeros((B, 3))
    for i, bone in enumerate(human.bones):
        p = bone.parent
        position[i] = heads[i] if p < 0 else position[p] + rotation[p] @ (heads[i] - heads[p])
        rotation[i] = world.get(bone.name, np.eye(3) if p < 0 else rotation[p])
    shift = position - np.einsum("jab,jb->ja", rotation, heads)
    blend = (human.bone_weights @ rotation.reshape(B, 9)).reshape(-1, 3, 3)
    return np.einsum("vab,vb->va", blend, vertices) + human.bone_weights @ shift


def t_pose_rotations(human: MakeHuman, vertices: F64) -> dict[str, F64]:
    """World rotation of each arm and hand bone that brings this A-posed body into the T-pose."""
    world: dict[str, F64] = {}
    for side, k, x in (("L", "l", 1.0), ("R", "r", -1.0)):
        arm, forearm = _arm(human, vertices, side, k, x, world)
        _hand(human, vertices, side, k, x, forearm @ arm, world)
    return world


def t_pose(human: MakeHuman, vertices: F64) -> F64:
    """(N, 3) the A-posed body in the T-pose; the head stays where it is."""
    return pose_bones(human, vertices, t_pose_rotations(human, vertices))


def _arm(human: MakeHuman, v: F64, side: str, k: str, x: float, world: dict[str, F64]) -> tuple[F64, F64]:
    """Fill clavicle and upper arm; returns the upper arm's rotation and the forearm's turn on top of it."""
    along = np.array([x, 0.0, 0.0])
    shoulder, elbow, wrist = (human.centre(v, f"{k}-{n}") for n in ("shoulder", "elbow", "hand"))
    raised = between(elbow - shoulder, along)
    lift = Rotation.from_matrix(raised).as_rotvec()
    clavicle = turn(lift * [0, 0, CLAVICLE_SHARE])
    bent = raised @ (wrist - elbow)
    roll = float(np.arctan2(bent[1], bent[2]))  # so that the elbow flexes forward, about y
    arm = turn([roll, 0, 0]) @ raised
    world |= {f"clavicle.{side}": clavicle, f"shoulder01.{side}": clavicle}
    world |= {f"upperarm01.{side}": turn([roll * 0.5, 0, 0]) @ raised, f"upperarm02.{side}": arm}
    return arm, between(arm @ (wrist - elbow), along)


def _hand(human: MakeHuman, v: F64, side: str, k: str, x: float, forearm: F64, world: dict[str, F64]) -> None:
    """Fill forearm twist, wrist and fingers: palm down, thumb forward, fingers straight in the palm's plane."""
    along = np.array([x, 0.0, 0.0])
    wrist = human.centre(v, f"{k}-hand")

    def finger(number: int, i: int) -> F64:
        return human.centre(v, f"{k}-finger-{number}-{i}")

    out = (finger(3, 1) + finger(4, 1)) / 2 - wrist
    out /= np.linalg.norm(out)
    across = finger(2, 1) - finger(5, 1)
    across -= out * (across @ out)
    across /= np.linalg.norm(across)
    own = np.stack([out, np.cross(across, out), across], 1)
    forward = np.array([0.0, 0.0, 1.0])
    hand = np.stack([along, np.cross(forward, along), forward], 1) @ own.T
    twist = Rotation.from_matrix(hand @ forearm.T).as_rotvec()[0]
    world |= {f"lowerarm0{i}.{side}": turn([twist * s, 0, 0]) @ forearm for i, s in ((1, 0.25), (2, 0.75))}
    rigid = ["wrist", *(f"metacarpal{q}" for q in range(1, 5)), *(f"finger1-{i}" for i in (1, 2, 3))]
    world |= {f"{bone}.{side}": hand for bone in rigid}
    for number in range(2, 6):
        joints = [finger(number, i) for i in (1, 2, 3, 4)]
        natural = hand @ (joints[3] - joints[0]) * [1, 0, 1]
        aim = natural / np.linalg.norm(natural) * (1 - STRAIGHTEN) + along * STRAIGHTEN
        for i in range(3):
            own_direction = hand @ (joints[i + 1] - joints[i])
            world[f"finger{number}-{i + 1}.{side}"] = between(own_direction, aim) @ hand
