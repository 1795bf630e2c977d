"""Pose correctives (SMPL's posedirs): what linear blend skinning alone gets wrong at the jaw and the arms.

Jaw: the artist's jawOpen shape minus what the jaw joint does to the mesh, so that turning the jaw by JAW_OPEN about x
is that shape exactly. Arms: ridge regression on random arm poses towards the full rig (with its twist bones) posed
straight from the A-pose sculpt; the right arm is the left one mirrored.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from models.motion import JAW, JOINT, JOINTS, N_JOINTS
from models.open_human.makehuman import F64, MakeHuman
from models.open_human.skeleton import PARENTS, joint_of_bone
from models.open_human.tpose import pose_bones, t_pose_rotations, turn

LEFT_ARM = [JOINT[f"left_{n}"] for n in ("collar", "shoulder", "elbow", "wrist")]
RIGHT_ARM = [JOINT[f"right_{n}"] for n in ("collar", "shoulder", "elbow", "wrist")]
POSES, SEED = 150, 3
RIDGE = 0.3
SMALLEST = 2e-4  # m per unit; smaller entries are dropped
LARGEST = 0.05  # m, a corrective beyond this is a fault of the target


def blend(rest_joints: F64, weights: F64, local: F64) -> tuple[F64, F64]:
    """Linear blend skinning by local rotations (55, 3, 3): per vertex the matrix (V, 3, 3) and the shift (V, 3)."""
    rotation, position = np.zeros((N_JOINTS, 3, 3)), np.zeros((N_JOINTS, 3))
    for j, p in enumerate(PARENTS):
        rotation[j] = local[j] if p < 0 else rotation[p] @ local[j]
        step = rest_joints[j] - rest_joints[p]
        position[j] = rest_joints[j] if p < 0 else position[p] + rotation[p] @ step
    shift = position - np.einsum("jab,jb->ja", rotation, rest_joints)
    matrix: F64 = (weights @ rotation.reshape(N_JOINTS, 9)).reshape(-1, 3, 3)
    return matrix, weights @ shift


def unposed(target: F64, matrix: F64, shift: F64) -> F64:
    """(V, 3) where rest vertices would have to lie for skinning to put them on target."""
    return np.linalg.solve(matrix, (target - shift)[:, :, None])[:, :, 0].astype(np.float64)


def rest_pose() -> F64:
    return np.tile(np.eye(3), (N_JOINTS, 1, 1))


def jaw_open_turn(rest: F64, opened: F64) -> float:
    """The angle (rad) about x by which the rigid lower teeth (n, 3) turn."""
    a, b = rest - rest.mean(0), opened - opened.mean(0)
    rotation, _ = Rotation.align_vectors(b, a)
    return float(rotation.as_rotvec()[0])


def jaw(posedirs: F64, template: F64, joints: F64, weights: F64, jaw_open: F64, angle: float) -> F64:
    """Add the jaw's corrective to posedirs (V, 3, 54, 9) in place; returns what it corrects (V, 3) m.

    Only the entries sin(angle) and -sin(angle) of R - I are used, so it grows with the opening and is odd in it.
    """
    local = rest_pose()
    local[JAW] = turn([angle, 0, 0])
    residual = unposed(template + jaw_open, *blend(joints, weights, local)) - template
    still = (np.linalg.norm(jaw_open, axis=1) <= 1e-5) & (weights[:, JAW] <= 1e-4)
    residual[still] = 0
    half = residual / (2 * np.sin(angle))
    posedirs[:, :, JAW - 1, 7] += half  # (R - I)[2, 1] = sin
    posedirs[:, :, JAW - 1, 5] -= half  # (R - I)[1, 2] = -sin
    return residual


def random_arm_pose(rng: np.random.Generator) -> F64:
    """(4, 3) axis-angle of the left collar, shoulder, elbow and wrist."""
    collar = rng.normal(0, 0.08, 3)
    shoulder = [rng.normal(0, 0.3), rng.normal(-0.3, 0.5), rng.uniform(-1.35, 0.5)]
    elbow = [rng.normal(0, 0.15), -rng.uniform(0, 2.1), rng.normal(0, 0.15)]
    wrist = [rng.uniform(-1.2, 1.2), rng.normal(0, 0.25), rng.normal(0, 0.35)]
    return np.array([collar, shoulder, elbow, wrist])


def full_rig_target(human: MakeHuman, base: F64, t_rotations: dict[str, F64], local: F64) -> F64:
    """(N, 3) the A-posed base posed by the 163-bone rig like local SMPL-X rotations; twist is shared over the bones."""
    world = rest_pose()
    for j, p in enumerate(PARENTS):
        world[j] = local[j] if p < 0 else world[p] @ local[j]
    rest: list[F64] = []
    rotations = {}
    for bone, j in zip(human.bones, joint_of_bone(human)):
        rest.append(t_rotations.get(bone.name, np.eye(3) if bone.parent < 0 else rest[bone.parent]))
        rotations[bone.name] = world[j] @ _twist_share(bone.name, j, local) @ rest[-1]
    return pose_bones(human, base, rotations)


def _twist_share(bone: str, j: int, local: F64) -> F64:
    stem = bone.partition(".")[0]
    if stem.startswith("lowerarm"):  # takes its share of the wrist's roll
        roll = Rotation.from_matrix(local[JOINT[JOINTS[j].replace("elbow", "wrist")]]).as_rotvec()[0]
        return turn([roll * (0.2 if stem.endswith("1") else 0.65), 0, 0])
    if stem == "upperarm01":  # gives back most of the shoulder's roll
        x, _, _, w = Rotation.from_matrix(local[j]).as_quat()
        roll = (2 * np.arctan2(x, w) + np.pi) % (2 * np.pi) - np.pi
        return turn([-0.6 * roll, 0, 0])
    return np.eye(3)


def arms(
    posedirs: F64, human: MakeHuman, used: NDArray, base: F64, rest: F64, joints: F64, weights: F64, mirror: NDArray
) -> tuple[F64, F64]:
    """Add both arms' correctives to posedirs (V, 3, 54, 9) in place.

    base (N, 3): the A-posed base mesh; rest (V, 3), joints (55, 3): the same body in the T-pose. Returns the errors (m)
    of held-out poses, one per vertex and pose, without and with the correctives.
    """
    rng = np.random.default_rng(SEED)
    t_rotations = t_pose_rotations(human, base)
    pelvis_shift = rest.mean(0) - pose_bones(human, base, t_rotations)[used].mean(0)
    region = np.flatnonzero(weights[:, LEFT_ARM].sum(1) > 0.02)
    features, residuals = [], []
    for _ in range(POSES):
        local = rest_pose()
        local[LEFT_ARM] = Rotation.from_rotvec(random_arm_pose(rng)).as_matrix()
        target = full_rig_target(human, base, t_rotations, local)[used] + pelvis_shift
        matrix, shift = blend(joints, weights, local)
        residuals.append(
            (unposed(target[region], matrix[region], shift[region]) - rest[region]).clip(-LARGEST, LARGEST)
        )
        features.append((local[LEFT_ARM] - np.eye(3)).ravel())
    x, y = np.array(features), np.array(residuals).reshape(POSES, -1)
    train = int(0.8 * POSES)
    gram = x[:train].T @ x[:train] + RIDGE * np.eye(x.shape[1])
    directions = np.linalg.solve(gram, x[:train].T @ y[:train])
    directions[np.abs(directions) < SMALLEST] = 0
    left = y[train:] - x[train:] @ directions
    _add_both_sides(posedirs, directions.reshape(len(LEFT_ARM), 9, len(region), 3), region, mirror)
    before, after = (np.sqrt((e.reshape(-1, 3) ** 2).sum(1)) for e in (y[train:], left))
    return before, after


def _add_both_sides(posedirs: F64, directions: F64, region: NDArray, mirror: NDArray) -> None:
    """directions (4, 9, n, 3) of the left arm's joints; mirroring negates x of vectors and R's mixed entries."""
    flip = np.array([-1.0, 1.0, 1.0])
    parity = np.outer(flip, flip).ravel()
    for k, (left, right) in enumerate(zip(LEFT_ARM, RIGHT_ARM)):
        posedirs[region, :, left - 1] += directions[k].transpose(1, 2, 0)
        posedirs[mirror[region], :, right - 1] += (directions[k] * parity[:, None, None] * flip).transpose(1, 2, 0)
