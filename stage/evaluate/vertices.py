"""Errors of vertices against scans of people who speak: LVE and FDD, on VOCASET, BIWI or tracks of one's own.

A folder holds, for each sentence NAME: truth/NAME.npy (T, V, 3) m, still/NAME.npy (V, 3), the speaker's neutral face,
and predicted/NAME.npy (T, V, 3) or sound/NAME.wav; lips.txt and upper.txt list indices of vertices. What is not
predicted is said by the speech driver to a face model of the truth's topology (VOCASET: a licensed FLAME file; for BIWI
predictions have to be brought along), whose way from its neutral face is added to `still`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models import body
from models.body import BodyModel
from models.expression import face_map
from models.skinning import Poser

F64 = NDArray[np.float64]
Speak = Callable[[Path], NDArray[np.float32]]  # a sound -> ARKit coefficients (n, 52) at SPOKEN a second
SPOKEN = 50.0


def lip_vertex_error(truth: F64, predicted: F64, lips: NDArray[np.int64]) -> float:
    """LVE: mean over frames of the largest squared distance of any lip vertex; (T, V, 3) m -> m^2.

    Richard et al. 2021, "MeshTalk"; as used on VOCASET and BIWI. Raises ValueError where the shapes differ.
    """
    _alike(truth, predicted)
    away = ((truth[:, lips] - predicted[:, lips]) ** 2).sum(-1)
    return float(away.max(1).mean())


def upper_face_dynamics_deviation(truth: F64, predicted: F64, still: F64, upper: NDArray[np.int64]) -> float:
    """FDD: mean over upper-face vertices of std(truth's way) - std(prediction's way), m; 0 where both move as lively.

    still (V, 3): the speaker's neutral face, from which ways are measured. Xing et al. 2023, "CodeTalker".
    """
    _alike(truth, predicted)
    ways = [np.linalg.norm(x[:, upper] - still[upper], axis=-1).std(0) for x in (truth, predicted)]
    return float((ways[0] - ways[1]).mean())


def _alike(truth: F64, predicted: F64) -> None:
    if truth.shape != predicted.shape or truth.ndim != 3 or truth.shape[2] != 3 or not len(truth):
        raise ValueError(f"vertices {truth.shape} and {predicted.shape}; wanted two tracks of the same (T, V, 3)")


def of_folder(folder: Path, speak: Speak, model: Path | None = None, fps: float = 60.0) -> dict[str, float]:
    """Means over a folder's sentences. model: of those that the driver predicts; None: the open human's FLAME-format
    head. fps: of the truth. Raises ValueError naming what is absent or does not fit."""
    lips, upper = (_indices(folder / f"{name}.txt") for name in ("lips", "upper"))
    names = sorted(p.stem for p in (folder / "truth").glob("*.npy"))
    if not names:
        raise ValueError(f"{folder / 'truth'}: no .npy tracks of vertices")
    lve, fdd = [], []
    for name in names:
        truth, still = _vertices(folder / "truth" / f"{name}.npy", 3), _vertices(folder / "still" / f"{name}.npy", 2)
        predicted = _predicted(folder, name, speak, model, fps, still)
        n = min(len(truth), len(predicted))
        lve.append(lip_vertex_error(truth[:n], predicted[:n], lips))
        fdd.append(upper_face_dynamics_deviation(truth[:n], predicted[:n], still, upper))
    return {"tracks": len(names), "LVE m2": float(np.mean(lve)), "FDD m": float(np.mean(fdd))}


def _indices(path: Path) -> NDArray[np.int64]:
    if not path.is_file():
        raise ValueError(f"{path}: absent; it lists the indices of vertices")
    return np.loadtxt(path, dtype=np.int64, ndmin=1)


def _vertices(path: Path, dimensions: int) -> F64:
    if not path.is_file():
        raise ValueError(f"{path}: absent")
    x = np.load(path, allow_pickle=False)
    if x.ndim != dimensions or x.shape[-1] != 3 or not np.isfinite(x).all():
        raise ValueError(f"{path}: vertices {x.shape}; wanted {dimensions} axes, the last of 3, all finite")
    return x.astype(np.float64)


def _predicted(folder: Path, name: str, speak: Speak, model: Path | None, fps: float, still: F64) -> F64:
    made, sound = folder / "predicted" / f"{name}.npy", folder / "sound" / f"{name}.wav"
    if made.is_file():
        return _vertices(made, 3)
    if not sound.is_file():
        raise ValueError(f"{made}: absent, and so is {sound} for the driver to say")
    head = body.load(model or body.OPEN_HUMAN_HEAD)
    if len(head.v_template) != len(still):
        raise ValueError(f"{head.path}: {len(head.v_template)} vertices, the truth of {name} has {len(still)}")
    return still + ways(head, at_rate(speak(sound), fps))


def at_rate(faces: NDArray[np.float32], fps: float) -> NDArray[np.float32]:
    """(n, 52) at SPOKEN a second -> the same at fps."""
    times = np.arange(int(len(faces) / SPOKEN * fps)) / fps
    known = np.arange(len(faces)) / SPOKEN
    return np.stack([np.interp(times, known, c) for c in faces.T], 1).astype(np.float32)


def ways(head: BodyModel, faces: NDArray[np.float32]) -> F64:
    """ARKit coefficients (T, 52) -> (T, V, 3) m, each vertex's way from the model's neutral face."""
    shown, poser = face_map(head), Poser(head.skinned())
    pose, nowhere = np.zeros((len(head.joint_names), 3), np.float32), np.zeros(3, np.float32)
    jaw = head.joint_names.index("jaw")
    out = []
    for face in np.vstack([np.zeros_like(faces[:1]), faces]):
        pose[jaw] = face @ shown.jaw
        out.append(poser(pose, face @ shown.expression, nowhere).astype(np.float64))
    return np.stack(out[1:]) - out[0]
