"""Demonstrations of what an avatar's arms can do, as motion tracks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from avatar.limbs import FREE, Gesture, Limbs, Turn
from models.motion import MotionTrack

FPS = 30
BEAT = 0.9  # s from one beat of the hands to the next
STROKE = 0.3  # of it, in which the hand goes down; the rest is the way back
SHOULDER, ELBOW, WRIST = np.radians([6.0, 10.0, 8.0])  # of a beat of a free arm
STIFF_ELBOW, STIFF_WRIST = np.radians([4.0, 4.0])  # of an arm whose forearm points at the viewer
FINGERS = 0.3  # rad of each joint
LAG = 0.35  # of a beat, that the second hand comes later


def beat(limbs: Limbs, seconds: float) -> MotionTrack:
    """Both hands beat time, within the avatar's limits. Raises ValueError where no arm can move."""
    sides = [side for side in ("left", "right") if limbs.moves(side)]
    if not sides:
        kinds = " and ".join(f"the {side} arm is {kind}" for side, kind in limbs.kind.items())
        raise ValueError(f"this avatar cannot gesture: {kinds}; use a photo with raised or open hands")
    motions = []
    for k in range(max(round(seconds * FPS), 1)):
        t = k / FPS
        ramp = min(1.0, t / BEAT, max(seconds - t, 0) / BEAT)
        gestures: Mapping[str, Gesture] = {
            side: of_beat(limbs.kind[side], side, ramp * _phase(t / BEAT - LAG * i)) for i, side in enumerate(sides)
        }
        motions.append(limbs.motion(t, gestures))
    return MotionTrack.of(motions)


def of_beat(kind: str, side: str, share: float) -> Gesture:
    """One arm at a share -1 (down) .. 1 (up) of a beat; below the middle the fingers close."""
    up = share if side == "left" else -share  # a left arm rises about +z
    if kind == FREE:
        turns: dict[str, Turn] = {
            "shoulder": (0.0, 0.0, float(up * SHOULDER)),
            "elbow": (0.0, 0.0, float(up * ELBOW)),
            "wrist": (0.0, 0.0, float(up * WRIST)),
        }
    else:
        turns = {
            "elbow": (float(-share * STIFF_ELBOW), 0.0, 0.0),
            "wrist": (float(-share * STIFF_WRIST), 0.0, float(0.5 * up * STIFF_WRIST)),
        }
    return Gesture(turns, float(max(-share, 0.0) * FINGERS))


def _phase(beats: float) -> float:
    """-1..1: a quick stroke down, a slow return."""
    at = beats % 1.0
    if at < STROKE:
        return float(np.cos(np.pi * at / STROKE))
    return float(-np.cos(np.pi * (at - STROKE) / (1 - STROKE)))
