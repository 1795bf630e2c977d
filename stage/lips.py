"""The mouth on the media clock: what the speech driver makes, read at any time in between."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from itertools import islice

import numpy as np

from models.motion import Motion, interpolate_rotations


class Lips:
    """The speech driver's motions on the media clock, 50 a second, read at any time in between. Thread-safe.

    Where there is no motion there is none to show; how a mouth comes to rest is the mixer's business.
    """

    HOLD = 0.06  # s that the first motion is shown ahead of its time; gaps up to twice that are bridged
    LATE = 0.15  # s that the last one stands: where the next come late, lips that lag are better than none

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._motions: deque[Motion] = deque()
        self._epoch = 0

    def add(self, motions: list[Motion], epoch: int) -> int:
        """Append, unless they were made for what has been interrupted meanwhile. Returns how many were taken."""
        with self._lock:
            if epoch != self._epoch:
                return 0
            self._motions.extend(motions)
            return len(motions)

    def cut(self, epoch: int) -> None:
        """Forget everything, and take motions of the new epoch only."""
        with self._lock:
            self._epoch = epoch
            self._motions.clear()

    def at(self, time: float) -> Motion | None:
        """Times must not run backwards: what lies before is forgotten."""
        with self._lock:
            while len(self._motions) > 1 and self._motions[1].time <= time:
                self._motions.popleft()
            near = list(islice(self._motions, 2))
        if len(near) == 2 and near[0].time <= time and near[1].time - near[0].time <= 2 * self.HOLD:
            return _between(near[0], near[1], time)
        held = [m for m in near if -self.LATE <= m.time - time <= self.HOLD]
        return replace(held[0], time=time) if held else None


def _between(a: Motion, b: Motion, time: float) -> Motion:
    t = np.float32(np.clip((time - a.time) / max(b.time - a.time, 1e-6), 0, 1))
    turned = np.flatnonzero((a.pose != b.pose).any(1))
    pose = a.pose.copy()
    if len(turned):
        pose[turned] = interpolate_rotations(a.pose[turned], b.pose[turned], float(t))
    mix = lambda x, y: x * (1 - t) + y * t  # noqa: E731
    return Motion(time, a.epoch, pose, mix(a.face, b.face), mix(a.translation, b.translation), mix(a.weight, b.weight))
