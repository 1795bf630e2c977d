"""What each viseme does with the mouth, as ARKit coefficients, and how stubbornly it does it.

The shapes follow the ARKit correspondence of the Oculus visemes in common use, with the jaw in the range of
conversational speech. How far each parts the lips, beside a wide "a", is what the mouths of four people in films do
(docs/benchmarks.md): o holds them nearly together while the jaw is open, e and k part them wide. Dominance is
Cohen and Massaro's (1993, "Modeling coarticulation in synthetic visual speech"): a segment's hold on a part of the
mouth decays exponentially with distance in time, and a part's shape is the mean of the segments' targets weighted by
their hold. Lips hold firm for p, f, sh and the rounded vowels; the tongue's consonants let the vowels around them
have the lips. The hard rules are those of JALI (Edwards et al. 2016): bilabials shut the lips, labiodentals bring the
lower lip to the teeth, sibilants keep the jaw high.
"""

from __future__ import annotations

import numpy as np

from drivers.speech.visemes import N_VISEMES, VISEME
from models.motion import ARKIT, FACE_GROUP, GROUP, A

# viseme -> ARKit coefficients; a name without a side stands for Left and Right
_SHAPES: dict[str, dict[str, float]] = {
    "sil": {},
    "PP": {"mouthPress": 0.22, "mouthRollLower": 0.18, "mouthRollUpper": 0.14},
    "FF": {"jawOpen": 0.07, "mouthRollLower": 0.42, "mouthUpperUp": 0.18, "mouthShrugLower": 0.12},
    "TH": {"jawOpen": 0.13, "mouthLowerDown": 0.22, "mouthUpperUp": 0.14, "tongueOut": 0.22},
    "DD": {"jawOpen": 0.11, "mouthLowerDown": 0.20, "mouthUpperUp": 0.09, "mouthStretch": 0.06},
    "kk": {"jawOpen": 0.25, "mouthLowerDown": 0.18, "mouthUpperUp": 0.10},
    "CH": {"jawOpen": 0.08, "mouthFunnel": 0.48, "mouthPucker": 0.14, "mouthLowerDown": 0.20, "mouthUpperUp": 0.16},
    "SS": {"jawOpen": 0.05, "mouthLowerDown": 0.36, "mouthUpperUp": 0.20, "mouthStretch": 0.16, "mouthSmile": 0.08},
    "nn": {"jawOpen": 0.10, "mouthLowerDown": 0.18, "mouthUpperUp": 0.08, "mouthStretch": 0.04},
    "RR": {"jawOpen": 0.08, "mouthFunnel": 0.25, "mouthPucker": 0.18, "mouthLowerDown": 0.10},
    "aa": {"jawOpen": 0.46, "mouthLowerDown": 0.28, "mouthUpperUp": 0.16, "mouthStretch": 0.06},
    "E": {"jawOpen": 0.33, "mouthLowerDown": 0.26, "mouthUpperUp": 0.15, "mouthSmile": 0.14, "mouthStretch": 0.12},
    "I": {"jawOpen": 0.15, "mouthLowerDown": 0.24, "mouthUpperUp": 0.13, "mouthSmile": 0.24, "mouthStretch": 0.16},
    "O": {"jawOpen": 0.22, "mouthClose": 0.19, "mouthFunnel": 0.38, "mouthPucker": 0.42},
    "U": {"jawOpen": 0.04, "mouthFunnel": 0.12, "mouthPucker": 0.75},
}  # fmt: skip

# How far each viseme opens the jaw: what a head learns to hear (0 shut, 1 as wide as speech goes)
JAW_OPENING = (0.0, 0.0, 0.10, 0.2, 0.22, 0.3, 0.15, 0.08, 0.2, 0.2, 0.9, 0.6, 0.3, 0.5, 0.1)

# ... how far it parts the lips, and how far it rounds them: heard as well
LIP_OPENING = (0.0, 0.0, 0.2, 0.3, 0.3, 0.35, 0.35, 0.35, 0.3, 0.25, 0.9, 0.65, 0.45, 0.45, 0.12)
LIP_ROUNDING = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.6, 0.0, 0.0, 0.4, 0.0, 0.0, 0.0, 0.8, 1.0)

LIPS, JAW_PART = 0, 1
# viseme -> strength of its hold on (lips, jaw)
_HOLD: dict[str, tuple[float, float]] = {
    "sil": (1.0, 1.0), "PP": (3.0, 1.2), "FF": (2.6, 1.4), "TH": (1.0, 0.9), "DD": (0.5, 0.8), "kk": (0.35, 0.5),
    "CH": (1.8, 1.8), "SS": (0.9, 2.0), "nn": (0.5, 0.7), "RR": (0.9, 0.6), "aa": (1.0, 1.1), "E": (0.8, 0.9),
    "I": (1.0, 0.9), "O": (1.5, 1.0), "U": (1.7, 0.9),
}  # fmt: skip
# time constant (s) of the hold before the segment (anticipation) and after it (carry-over), per part
ANTICIPATION = (0.045, 0.035)
CARRY_OVER = (0.030, 0.040)

MOUTH = np.flatnonzero(GROUP["mouth"] == FACE_GROUP)  # ARKit indices that speech owns


def _indices(name: str) -> list[int]:
    return [A[name]] if name in A else [A[name + "Left"], A[name + "Right"]]


def _shape_table() -> np.ndarray:
    table = np.zeros((N_VISEMES, len(ARKIT)), np.float32)
    for viseme, shape in _SHAPES.items():
        for name, value in shape.items():
            table[VISEME[viseme], _indices(name)] = value
    return table


SHAPES = _shape_table()  # (15, 52)
OPENING = np.array([i for n in ("mouthLowerDown", "mouthUpperUp") for i in _indices(n)])  # the lips' part of an opening
ROUNDING = np.array([A["mouthFunnel"], A["mouthPucker"]])
HOLD = np.array([_HOLD[v] for v in VISEME], np.float32)  # (15, 2)
PART = np.where(np.char.startswith(np.array(ARKIT), "jaw"), JAW_PART, LIPS)  # (52,)

# A sealed mouth: the shape of p, b and m, and the jaw's room behind closed lips
SEALED = SHAPES[VISEME["PP"]]
SEALED_JAW = 0.05
SIBILANT_JAW = 0.13
LABIODENTAL_JAW = 0.13


def aperture(face: np.ndarray) -> np.ndarray:
    """(..., 52) -> (...) a stand-in for the gap between the lips: 0 sealed, about 1 as wide as they go."""
    jaw = np.clip(face[..., A["jawOpen"]] - face[..., A["mouthClose"]], 0, None)
    lips = sum(face[..., _indices(n)].mean(-1) for n in ("mouthLowerDown", "mouthUpperUp", "mouthFunnel"))
    return jaw + 0.25 * lips
