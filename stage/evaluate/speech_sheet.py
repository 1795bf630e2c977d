"""A sheet of recordings: spectrogram, what is heard, the lips' gap and the face, above each other on one time axis."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar import asset
from drivers.speech.audio import load
from drivers.speech.driver import Settings
from drivers.speech.ears import Ear
from drivers.speech.features import FRAME_RATE
from drivers.speech.mel import MelEncoder
from drivers.speech.training import evaluation
from drivers.speech.training.corpus import RATE, Utterance
from drivers.speech.visemes import VISEMES
from models.motion import GROUP, GROUPS, Motion
from stage.evaluate import sheets
from stage.evaluate.lips import LipGap

U8 = NDArray[np.uint8]
COLUMN = 4  # px of a frame of 20 ms
SPECTRUM, ROW, GAP = 90, 11, 70  # px high: spectrogram, each viseme, the gap's curve
FACE_EVERY = 0.24  # s between two faces
GAP_MM = 12.0  # of the curve's height


def write(path: Path, recordings: list[Path], ear: Ear, avatar: Path, seconds: float = 11.0) -> None:
    """One strip a recording, at most `seconds` of it."""
    face = _Face(avatar)
    strips = [strip(load(r, RATE)[: round(seconds * RATE)], r.stem, ear, face) for r in recordings]
    width = max(s.shape[1] for s in strips)
    sheets.write(path, np.vstack([np.pad(s, ((0, 8), (0, width - s.shape[1]), (0, 0))) for s in strips]))


class _Face:
    """The avatar's mouth, drawn for ARKit coefficients."""

    def __init__(self, path: Path) -> None:
        from stage.evaluate import leaks, mouth

        avatar = asset.load(path)
        self.gap, self.stand = LipGap(avatar), leaks.Stand(avatar)
        x0, y0, x1, y1 = mouth.box(self.stand, self.stand.vertices(avatar.neutral))
        side = int(0.2 * (x1 - x0))
        self.box = max(x0 - side, 0), max(y0 - side, 0), x1 + side, y1 + side

    def draw(self, face: NDArray, width: int) -> U8:
        weight = np.zeros(len(GROUPS), np.float32)
        weight[GROUP["mouth"]] = 1
        picture = self.stand.shown(self.stand.rig.state(Motion(face=face, weight=weight)))
        x0, y0, x1, y1 = self.box
        part = picture[y0:y1, x0:x1]
        return np.asarray(cv2.resize(part, (width, round(width * part.shape[0] / part.shape[1]))), np.uint8)


def strip(samples: NDArray, name: str, ear: Ear, face: _Face) -> U8:
    samples = samples / (np.abs(samples).max() + 1e-6) * 0.5
    n = len(samples) // 320
    heard = evaluation.hear(Utterance(name, samples, np.zeros(2 * n, np.int64)), ear, Settings())
    n = len(heard.labels)
    spectrum = MelEncoder().features(samples)[:n].reshape(2 * n, -1).T[::-1]
    rows = [_stretch((spectrum + 1) / 2, n * COLUMN, SPECTRUM)]
    tracks = np.vstack([heard.articulation.visemes.T, heard.articulation.closure[None]])
    rows.append(_named(_stretch(tracks, n * COLUMN, ROW * len(tracks)), (*VISEMES, "closure")))
    rows.append(_curve(face.gap.track(heard.faces), n * COLUMN))
    every = round(FACE_EVERY * FRAME_RATE)
    faces = [face.draw(heard.faces[min(i + every // 2, n - 1)], every * COLUMN) for i in range(0, n, every)]
    rows.append(np.hstack(faces)[:, : n * COLUMN])
    width = max(r.shape[1] for r in rows)
    out = np.vstack([np.pad(r, ((0, 2), (0, width - r.shape[1]), (0, 0))) for r in rows])
    return sheets.tile(out, name, out.shape[0])


def _stretch(values: NDArray, width: int, height: int) -> U8:
    """(rows, n) 0..1 -> a grey picture."""
    grey = (np.clip(values, 0, 1) * 255).astype(np.uint8)
    return np.repeat(cv2.resize(grey, (width, height), interpolation=cv2.INTER_NEAREST)[..., None], 3, 2)


def _named(picture: U8, names: tuple[str, ...]) -> U8:
    for i, name in enumerate(names):
        cv2.putText(picture, name, (2, ROW * (i + 1) - 2), cv2.FONT_HERSHEY_PLAIN, 0.7, (255, 190, 60), 1)
    return picture


def _curve(mm: NDArray, width: int) -> U8:
    """The gap over time, red where the lips are shut (under 1 mm)."""
    out = np.full((GAP, width, 3), 24, np.uint8)
    for i, value in enumerate(mm):
        top = GAP - 1 - round(min(value / GAP_MM, 1) * (GAP - 2))
        out[top:, i * COLUMN : (i + 1) * COLUMN] = (220, 60, 50) if value < 1 else (90, 170, 240)
        if value < 1:
            out[-6:, i * COLUMN : (i + 1) * COLUMN] = (220, 60, 50)
    return out
