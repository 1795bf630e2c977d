"""The lips on the mesh and in films: their gap in millimetres, how they follow a real mouth; errors of vertices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avatar.asset import Avatar
from avatar.rig import Rig
from models import body
from models.motion import ARKIT, GROUP, GROUPS, A, Motion

F64 = NDArray[np.float64]
PAIRS = ((82, 87), (13, 14), (312, 317))  # inner rims of upper and lower lip among the 468 landmarks


class LipGap:
    """How far an avatar's lips stand apart, beyond its neutral face whose lips are sealed.

    Apart is measured along the way on which the jaw parts them: lips that roll in or press into each other are shut.
    """

    def __init__(self, avatar: Avatar) -> None:
        """Raises ValueError for an avatar of another body model than the one with landmarks."""
        self.rig, self.model = Rig(avatar), body.load()
        if avatar.body_model.get("sha256") != self.model.sha256:
            raise ValueError("the avatar was built on another body model; build it again to measure its lips")
        self._sealed = self._apart(np.zeros(len(ARKIT), np.float32))
        opened = np.zeros(len(ARKIT), np.float32)
        opened[A["jawOpen"]] = 0.5
        way = (self._apart(opened) - self._sealed).mean(0)
        self._way = way / np.linalg.norm(way)

    def _apart(self, face: NDArray) -> F64:
        """(pairs, 3) from lower to upper lip, m."""
        weight = np.zeros(len(GROUPS), np.float32)
        weight[GROUP["mouth"]] = 1
        state = self.rig.state(Motion(face=np.asarray(face, np.float32), weight=weight))
        assert self.model.landmarks is not None
        points = self.model.landmarks.points(self.rig.vertices(state), self.model.faces).astype(np.float64)
        return np.array([points[a] - points[b] for a, b in PAIRS])

    def mm(self, face: NDArray) -> float:
        """The widest of the pairs' gaps for ARKit coefficients (52,)."""
        return float(((self._apart(face) - self._sealed) @ self._way).max().clip(0) * 1000)

    def track(self, faces: NDArray) -> F64:
        """(n, 52) -> (n,) mm; alike faces are posed once."""
        known: dict[bytes, float] = {}
        return np.array([known.setdefault(f.tobytes(), self.mm(f)) if f.tobytes() not in known else known[f.tobytes()]
                         for f in np.asarray(faces, np.float32)])  # fmt: skip


# ---- films ----------------------------------------------------------------------------------------------------------


def openings(video: Path, opening: Callable[[NDArray[np.uint8]], float | None]) -> tuple[F64, F64]:
    """(times, openings) of the tracked mouth of a film, frames without a face left out."""
    from stage.film import read_frames

    seen = [(t, o) for t, rgb in read_frames(video) if (o := opening(rgb)) is not None]
    if len(seen) < 10:
        raise ValueError(f"{video}: a face in {len(seen)} frames only")
    times, values = np.array(seen).T
    return times - times[0], values


def correlation(times: F64, seen: F64, track_times: F64, track: F64, lag: float) -> float:
    """Of what is seen with a track that is shown `lag` s later."""
    shown = np.interp(times, track_times + lag, track)
    inside = (times >= lag) & (times <= track_times[-1])
    if shown[inside].std() < 1e-9 or seen[inside].std() < 1e-9:
        return 0.0
    return float(np.corrcoef(shown[inside], seen[inside])[0, 1])


# ---- vertices -------------------------------------------------------------------------------------------------------


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


def of_folder(folder: Path) -> dict[str, float]:
    """LVE and FDD of the pairs truth/NAME.npy, predicted/NAME.npy (T, V, 3), with lips.txt, upper.txt (indices of
    vertices) and still/NAME.npy (V, 3), the layout that VOCASET's and BIWI's own files are brought into easily.
    """
    lips, upper = (np.loadtxt(folder / f"{name}.txt", dtype=np.int64, ndmin=1) for name in ("lips", "upper"))
    names = sorted(p.name for p in (folder / "truth").glob("*.npy"))
    if not names:
        raise ValueError(f"{folder / 'truth'}: no .npy tracks of vertices")
    lve, fdd = [], []
    for name in names:
        truth, predicted, still = (np.load(folder / part / name) for part in ("truth", "predicted", "still"))
        n = min(len(truth), len(predicted))
        lve.append(lip_vertex_error(truth[:n], predicted[:n], lips))
        fdd.append(upper_face_dynamics_deviation(truth[:n], predicted[:n], still, upper))
    return {"tracks": len(names), "LVE m2": float(np.mean(lve)), "FDD m": float(np.mean(fdd))}
