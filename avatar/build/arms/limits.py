"""How far each arm may go: the extremes are drawn, and shrunk until nothing tears.

Each joint and direction alone first, then all joints together as a gesture moves them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from avatar.asset import Avatar
from avatar.build.arms.tear import Tear, TearGauge
from avatar.limbs import ARM_JOINTS, FINGERS, FORESHORTENED, FREE, Gesture, Limbs, Turn, still
from avatar.rig import Rig

Limits = dict[str, tuple[tuple[float, float], ...]]

# rad, to either side, about the photo's x, y, z: asked for where nothing tears.
MOST = {
    FREE: {"shoulder": (0.10, 0.10, 0.21), "elbow": (0.18, 0.14, 0.35), "wrist": (0.21, 0.14, 0.26)},
    FORESHORTENED: {"shoulder": (0.0, 0.0, 0.0), "elbow": (0.08, 0.06, 0.06), "wrist": (0.10, 0.10, 0.10)},
}  # fmt: skip
MOST_CURL = {FREE: (-0.4, 0.4), FORESHORTENED: (-0.15, 0.3)}  # rad that each finger joint stretches and bends
ALLOWED = Tear(bare=0.002, stretched=0.004, folded=0.035, parted=0.0008)
ALLOWED_HAND = replace(ALLOWED, folded=0.002)  # of a foreshortened hand's fingers, which soon shred
SHARES = (1.0, 0.85, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)  # of the most, tried in turn; nothing where all tear
TOGETHER = 0.85  # factor on all of an arm's limits while their combinations tear
LEAST = 0.15  # share of the most below which an arm is left still


def find(avatar: Avatar) -> Limits:
    """Limits of all joints of both arms, for an avatar that has its Gaussians."""
    limits: Limits = still("left") | still("right")
    limbs, rig = Limbs(avatar), Rig(avatar)
    sides = [s for s in ("left", "right") if limbs.moves(s)]
    if not sides:
        return limits
    gauge = TearGauge(avatar)
    try:
        for side in sides:
            limits |= _of_arm(rig, limbs, gauge, side)
    finally:
        gauge.close()
    return limits


def _of_arm(rig: Rig, limbs: Limbs, gauge: TearGauge, side: str) -> Limits:
    most = MOST[limbs.kind[side]]
    found = {name: np.zeros((3, 2)) for name in ARM_JOINTS}
    curl = np.zeros(2)

    def tears(gesture: Gesture) -> bool:
        state = rig.state(limbs.motion(0.0, {side: gesture}), absolute=True)  # whatever the avatar's limits
        fragile = limbs.kind[side] == FORESHORTENED and gesture.fingers
        return not gauge(state).within(ALLOWED_HAND if fragile else ALLOWED)

    for name in ARM_JOINTS:
        for axis in range(3):
            for way in (0, 1):
                end = most[name][axis] * (1 if way else -1)
                found[name][axis, way] = end * _share(Gesture({name: _about(axis, end)}), tears) if end else 0.0
    for way, end in enumerate(MOST_CURL[limbs.kind[side]]):
        curl[way] = end * _share(Gesture(fingers=end), tears)
    together = 1.0
    while together > LEAST and any(tears(g.scaled(together)) for g in corners(found, curl)):
        together *= TOGETHER
    together = together if together > LEAST else 0.0
    return _named(side, {k: v * together for k, v in found.items()}, curl * together)


def _about(axis: int, angle: float) -> Turn:
    x, y, z = (angle if a == axis else 0.0 for a in range(3))
    return x, y, z


def _share(gesture: Gesture, tears: Callable[[Gesture], bool]) -> float:
    """The largest of SHARES of a gesture at which nothing tears, or 0."""
    return next((s for s in SHARES if not tears(gesture.scaled(s))), 0.0)


def corners(turns: dict[str, np.ndarray], curl: np.ndarray) -> Iterator[Gesture]:
    """All joints at their ends at once: within the picture to both sides, and out of it to both sides, fingers bent
    and stretched."""
    for way in (0, 1):
        for bent in (0, 1):
            yield Gesture({k: (0.0, 0.0, float(v[2, way])) for k, v in turns.items()}, float(curl[bent]))
        yield Gesture({k: (float(v[0, way]), float(v[1, way]), 0.0) for k, v in turns.items()})


def _named(side: str, turns: dict[str, np.ndarray], curl: np.ndarray) -> Limits:
    pair = lambda ends: (float(ends[0]), float(ends[1]))  # noqa: E731
    out: Limits = {f"{side}_{name}": tuple(pair(axis) for axis in v) for name, v in turns.items()}
    # Bending is about -z of a left finger, +z of a right one.
    z = pair(curl) if side == "right" else (-float(curl[1]), -float(curl[0]))
    for finger in FINGERS:
        for k in (1, 2, 3):
            out[f"{side}_{finger}{k}"] = ((0.0, 0.0), (0.0, 0.0), z)
    return out
