"""The lips on the mesh and in films: their gap in millimetres, how they follow a real mouth."""

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
    """(times, openings) of the tracked mouth of a film, frames without a face left out; times in s from the first
    sample of its sound."""
    from stage.film import read_frames, sound_begins

    seen = [(t, o) for t, rgb in read_frames(video) if (o := opening(rgb)) is not None]
    if len(seen) < 10:
        raise ValueError(f"{video}: a face in {len(seen)} frames only")
    times, values = np.array(seen).T
    return times - sound_begins(video), values


def correlation(times: F64, seen: F64, track_times: F64, track: F64, lag: float) -> float:
    """Of what is seen with a track that is shown `lag` s later."""
    shown = np.interp(times, track_times + lag, track)
    inside = (times >= max(lag, 0)) & (times <= track_times[-1] + min(lag, 0))
    if shown[inside].std() < 1e-9 or seen[inside].std() < 1e-9:
        return 0.0
    return float(np.corrcoef(shown[inside], seen[inside])[0, 1])
