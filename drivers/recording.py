"""Recorded motion: a motion npz (MotionTrack.save, or any npz with SMPL-X key names), or a Live Link Face csv.

Live Link Face (Epic's iPhone app) writes a line a frame: a timecode HH:MM:SS:FF.fff, the 52 ARKit coefficients in
Pascal case, and yaw, pitch and roll of the head and of each eye in radians. The eyes are taken from the coefficients.
Yaw is to the person's right and pitch downwards, as the eyes' columns show against the coefficients; for the head the
same is assumed, and roll towards the person's left shoulder negative likewise.
"""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drivers.head_turn import neck_and_head
from models.motion import (
    ARKIT,
    GROUP,
    GROUPS,
    HEAD,
    N_ARKIT,
    N_JOINTS,
    NECK,
    MotionTrack,
    matrix_from_axis_angle,
)

MAX_BYTES = 512 * 2**20
DAY = 86400.0  # s
FRAME_RATES = (24, 25, 30, 50, 60, 120)  # a timecode's last field counts frames of one of these
HEAD_COLUMNS = ("headpitch", "headyaw", "headroll")


class RecordingError(ValueError):
    """A recording that cannot be read; the message names the file, the place and what was expected."""


def load(path: str | os.PathLike[str]) -> MotionTrack:
    """Read a recording; its time begins at 0. Raises RecordingError."""
    path = Path(path)
    if not path.is_file():
        raise RecordingError(f"{path}: no such file")
    size = path.stat().st_size
    if size == 0:
        raise RecordingError(f"{path}: the file is empty")
    if size > MAX_BYTES:
        raise RecordingError(f"{path}: {size / 2**20:.0f} MB; at most {MAX_BYTES / 2**20:.0f} MB are read")
    with path.open("rb") as f:
        start = f.read(4)
    try:
        track = MotionTrack.load(path) if start[:2] == b"PK" else _live_link_face(path)
    except RecordingError:
        raise
    except Exception as e:  # a damaged zip raises whatever its reader stumbles over
        raise RecordingError(f"{path}: not a motion npz ({e})") from e
    track.time = track.time - track.time[0]
    return track


def _live_link_face(path: Path) -> MotionTrack:
    try:
        with path.open(encoding="utf-8-sig", newline="") as f:
            rows = [row for row in csv.reader(f) if row]
    except (UnicodeDecodeError, csv.Error) as e:
        raise RecordingError(f"{path}: neither a motion npz nor a Live Link Face csv ({e})") from e
    if not rows or rows[0][0].strip().lower() != "timecode":
        raise RecordingError(f"{path}: neither a motion npz nor a Live Link Face csv (no column Timecode at its head)")
    columns = {name.strip().lower(): i for i, name in enumerate(rows[0])}
    missing = [n for n in ARKIT if n.lower() not in columns and n != "tongueOut"]  # the first versions had no tongue
    if missing:
        some = ", ".join(missing[:4]) + (" ..." if len(missing) > 4 else "")
        raise RecordingError(f"{path}: {len(missing)} of 52 ARKit columns are missing: {some}")
    if len(rows) < 2:
        raise RecordingError(f"{path}: holds a heading and no frames")
    values = _numbers(path, rows, len(columns))
    time, keep = _times(path, [row[0] for row in rows[1:]])
    return _track(time, values[keep], columns)


def _numbers(path: Path, rows: list[list[str]], width: int) -> NDArray[np.float64]:
    """(T, columns), the timecode as 0. Raises RecordingError with the line of the first bad field."""
    out = np.zeros((len(rows) - 1, width))
    for t, row in enumerate(rows[1:]):
        if len(row) < width:
            raise RecordingError(f"{path}, line {t + 2}: {len(row)} fields; the heading has {width}")
        for i in range(1, width):
            try:
                out[t, i] = float(row[i])
            except ValueError:
                raise RecordingError(f"{path}, line {t + 2}, {rows[0][i]}: {row[i]!r} is not a number") from None
    if not np.isfinite(out).all():
        t, i = np.argwhere(~np.isfinite(out))[0]
        raise RecordingError(f"{path}, line {t + 2}, {rows[0][i]}: {rows[t + 1][i]!r} is not a finite number")
    return out


def _times(path: Path, codes: list[str]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """(s, rows kept): timecodes that repeat are left out, midnight is passed. RecordingError where time runs back."""
    parts = np.zeros((len(codes), 4))
    for t, code in enumerate(codes):
        fields = code.strip().replace(";", ":").split(":")
        try:
            parts[t] = [float(x) for x in fields]
        except ValueError:
            raise RecordingError(f"{path}, line {t + 2}: timecode {code!r}; expected HH:MM:SS:FF.fff") from None
    if not np.isfinite(parts).all() or (parts < 0).any():
        raise RecordingError(f"{path}: timecodes must be finite and not negative")
    highest = parts[:, 3].max()
    fps = next((r for r in FRAME_RATES if highest < r), None)
    if fps is None:
        raise RecordingError(
            f"{path}: frame {highest:g} in a timecode; expected less than {FRAME_RATES[-1]} frames a second"
        )
    fps = max(fps, 60) if len(codes) < fps else fps  # too short to have counted a whole second
    time = parts[:, 0] * 3600 + parts[:, 1] * 60 + parts[:, 2] + parts[:, 3] / fps
    step = np.diff(time)
    time[1:] += DAY * np.cumsum(step < -DAY / 2)
    back = np.flatnonzero(np.diff(time) < -1.0 / fps)
    if len(back):
        raise RecordingError(
            f"{path}, line {back[0] + 3}: time runs backwards ({codes[back[0]]} to {codes[back[0] + 1]})"
        )
    forward = np.maximum.accumulate(time)
    keep = np.flatnonzero(np.diff(forward, prepend=-math.inf) > 0)
    return time[keep], keep


def _track(time: NDArray[np.float64], values: NDArray[np.float64], columns: dict[str, int]) -> MotionTrack:
    T = len(time)
    face = np.zeros((T, N_ARKIT), np.float32)
    for i, name in enumerate(ARKIT):
        if name.lower() in columns:
            face[:, i] = values[:, columns[name.lower()]].clip(0, 1)
    pose, weight = np.zeros((T, N_JOINTS, 3), np.float32), np.zeros((T, len(GROUPS)), np.float32)
    weight[:, [GROUP[g] for g in ("mouth", "brows", "lids", "gaze")]] = 1
    if all(c in columns for c in HEAD_COLUMNS):
        pitch, yaw, roll = (values[:, columns[c]] for c in HEAD_COLUMNS)
        if np.any(pitch) or np.any(yaw) or np.any(roll):  # a capture without the head holds zeros
            pose[:, NECK], pose[:, HEAD] = neck_and_head(_head_matrix(pitch, -yaw, -roll))
            weight[:, GROUP["head"]] = 1
    return MotionTrack(time, pose, face, np.zeros((T, 3), np.float32), weight)


def _head_matrix(pitch: NDArray, yaw: NDArray, roll: NDArray) -> NDArray[np.float64]:
    """(T,) rad about x, y, z of the body's axes -> (T, 3, 3): yaw after pitch after roll."""
    axis = np.eye(3)
    x, y, z = (matrix_from_axis_angle(a[:, None] * axis[i]) for i, a in enumerate((pitch, yaw, roll)))
    return y @ x @ z
