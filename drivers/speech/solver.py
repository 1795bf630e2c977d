"""Co-articulation: what is heard frame by frame -> a mouth that moves as one, in ARKit coefficients, streaming.

Each frame's shape is the dominance-weighted mean of the segments before it and of those already heard after it
(articulation.py); hard rules for the lips' seal, the labiodentals and the sibilants come on top. The solver adds no
delay of its own: how far it anticipates is what its input holds beyond the frame.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from drivers.speech import articulation as art
from drivers.speech.features import FRAME_RATE
from drivers.speech.head import COUNTS, Articulation
from drivers.speech.visemes import CH, FF, N_VISEMES, SIL, SS
from models.motion import A

F32 = NDArray[np.float32]

DT = 1 / FRAME_RATE  # s

SEAL_ON, SEAL_OFF = COUNTS, 0.30  # closure probabilities: the lips meet above the first, part below the second
SEAL_HOLD = 2  # frames a seal lasts at least, so that a film of 25 pictures a second shows it
SEAL_APPROACH = (0.7, 0.3)  # how far the lips are shut one and two frames before a seal
SEAL_RELEASE = (0.6, 0.2)  # and after it

LOUDNESS_PER_DB = 0.03  # the jaw opens this much wider per dB above the voice's running level
LOUDNESS_RANGE = (0.72, 1.25)
LEVEL_START, LEVEL_TIME = -26.0, 2.0  # dB of full scale, s: the running level's beginning and its inertia

FREEDOM = (0.75, 1.3)  # how far heard lip opening and rounding may bend the visemes' shapes
CERTAIN = 0.2  # of both: what is heard of a small opening counts little

SILENT_SHAPE = 0.1  # of silence's hold counts in the mean of shapes: it shuts the mouth as a whole, little by little

GATE_OPENING, GATE_CLOSING = 0.06, 0.14  # s that the mouth takes to wake and to come to rest
ACTIVITY = (0.20, 0.70)  # share of the sound that is speech: below the first the mouth is shut, above the second free


def smoothstep(low: float, high: float, x: float) -> float:
    u = min(max((x - low) / (high - low), 0.0), 1.0)
    return u * u * (3 - 2 * u)


class Solver:
    def __init__(self) -> None:
        self._decay = np.exp(-DT / np.array(art.CARRY_OVER))[:, None]  # (2, 1)
        self.reset()

    def reset(self) -> None:
        self._past = np.zeros((2, N_VISEMES))  # decaying sums of what was heard, per part
        self._gate = 0.0
        self._level = LEVEL_START
        self._sealed = 0  # frames the present seal has lasted
        self._since = len(SEAL_RELEASE)  # frames since the last one

    def solve(self, heard: Articulation, voiced: NDArray, level: NDArray, frames: int) -> F32:
        """The first `frames` of what is heard -> (frames, 52); what is heard beyond them is anticipated.

        voiced (n,) bool: somebody speaks; level (n,) dB of full scale.
        """
        visemes, closure = self._gated(heard, voiced, frames)
        horizon = len(visemes) - frames  # the same for every frame, or the mouth would tremble at the hop's pace
        lips = _heard_over_expected(heard.aperture, heard.visemes, art.LIP_OPENING)
        round_ = _heard_over_expected(heard.rounding, heard.visemes, art.LIP_ROUNDING)
        faces = []
        for i in range(frames):
            part = slice(i, i + 1 + horizon)
            bent = (float(lips[i]), float(round_[i]))
            faces.append(self._frame(visemes[part], closure[part], bent, float(level[i])))
        return np.stack(faces)

    def _gated(self, heard: Articulation, voiced: NDArray, frames: int) -> tuple[NDArray, NDArray]:
        """Posteriors and closure with silence in the place of what is no voice."""
        gate, g = np.empty(len(voiced)), self._gate
        for i, v in enumerate(voiced):
            g = min(1.0, g + DT / GATE_OPENING) if v else max(0.0, g - DT / GATE_CLOSING)
            gate[i] = g
            if i == frames - 1:
                self._gate = g
        visemes = heard.visemes * gate[:, None]
        visemes[:, SIL] += 1 - gate
        return visemes, heard.closure * gate

    def _frame(self, visemes: NDArray, closure: NDArray, bent: tuple[float, float], level: float) -> F32:
        """The first frame of visemes (1 + horizon, 15) and closure (1 + horizon,) -> (52,)

        bent: by how much the lips open and round more than the visemes say.
        """
        opening, rounding = bent
        hold = self._dominance(visemes)  # (2, 15)
        active = smoothstep(*ACTIVITY, 1 - float(hold[art.LIPS, SIL] / hold[art.LIPS].sum()))
        hold[:, SIL] *= SILENT_SHAPE
        share = hold / hold.sum(1, keepdims=True)
        face = np.where(art.PART == art.LIPS, share[art.LIPS] @ art.SHAPES, share[art.JAW_PART] @ art.SHAPES)
        voice = 1 - float(visemes[0, SIL])
        face[A["jawOpen"]] = self._capped(face[A["jawOpen"]] * self._loudness(level, voice), visemes[0])
        face[art.OPENING] *= opening
        face[art.ROUNDING] *= rounding
        face *= active
        self._past = (self._past + visemes[0]) * self._decay
        return self._sealing(closure, face, active).clip(0, 1).astype(np.float32)

    def _dominance(self, visemes: NDArray) -> NDArray:
        ahead = visemes[1:]
        steps = np.arange(1, len(ahead) + 1)[:, None] * DT
        total = self._past + visemes[0]
        for part in (art.LIPS, art.JAW_PART):
            total[part] += (ahead * np.exp(-steps / art.ANTICIPATION[part])).sum(0)
        return total * art.HOLD.T

    def _loudness(self, level: float, voice: float) -> float:
        """How much wider than usual the jaw opens; the running level follows while there is a voice."""
        factor = 1 + LOUDNESS_PER_DB * (level - self._level)
        self._level += (max(level, -60.0) - self._level) * (1 - math.exp(-DT / LEVEL_TIME)) * voice
        return min(max(factor, LOUDNESS_RANGE[0]), LOUDNESS_RANGE[1])

    @staticmethod
    def _capped(jaw: float, visemes: NDArray) -> float:
        for cap, p in ((art.SIBILANT_JAW, visemes[SS] + visemes[CH]), (art.LABIODENTAL_JAW, visemes[FF])):
            jaw += (min(jaw, cap) - jaw) * smoothstep(0.3, 0.7, float(p))
        return jaw

    def _sealing(self, closure: NDArray, face: NDArray, active: float) -> NDArray:
        """Shut the lips where p, b or m is heard, wholly and for SEAL_HOLD frames at least; approach it and let go."""
        threshold = SEAL_OFF if self._sealed else SEAL_ON
        if closure[0] > threshold or 0 < self._sealed < SEAL_HOLD:
            self._sealed, self._since = self._sealed + 1, 0
            return sealed(face, 1.0, active)
        self._sealed = 0
        coming = [a for a, c in zip(SEAL_APPROACH, closure[1:]) if c > SEAL_ON]
        gone = SEAL_RELEASE[self._since : self._since + 1]
        self._since += 1
        return sealed(face, max([0.0, *coming, *gone]), active)


def _heard_over_expected(heard: NDArray | None, visemes: NDArray, table: tuple[float, ...]) -> NDArray:
    """(n,) factor by which a part of the mouth moves more than its visemes would have it, within FREEDOM."""
    expected = visemes @ np.array(table)
    if heard is None:
        return np.ones(len(expected))
    return np.clip((heard + CERTAIN) / (expected + CERTAIN), *FREEDOM)


def sealed(face: NDArray, seal: float, active: float = 1.0) -> NDArray:
    """A face (52,) with its lips shut by the share `seal`; the jaw keeps a little room, round lips stay forward.

    active: how much of the moment is speech; lips that rest are shut without pressing.
    """
    if seal == 0:
        return face
    shut = art.SEALED * active
    shut[A["jawOpen"]] = shut[A["mouthClose"]] = min(face[A["jawOpen"]], art.SEALED_JAW)
    shut[A["mouthPucker"]] = 0.4 * face[A["mouthPucker"]]
    return face + seal * (shut - face)
