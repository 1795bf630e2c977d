"""Speech of flite's voices, made from recordings of real readers, with the times of its phones (a program of its own).

Flite (Black and Lenzo 2001, BSD-style) carries voices trained on CMU ARCTIC (Kominek and Black 2004, free for any use):
`slt` and `rms`, an American woman and man, and `awb`, a Scottish man; `kal16` is spliced from recorded diphones.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from drivers.speech.audio import load
from drivers.speech.training.corpus import LABEL_RATE, RATE, Utterance
from drivers.speech.visemes import from_arpabet

VOICES, SHARES = ("slt", "rms", "awb", "kal16"), (0.3, 0.3, 0.3, 0.1)
STRETCH = (0.8, 1.25)  # of durations
LABEL_SHIFT = 0.006  # s: its times lie this much after the sound, against pocketsphinx's alignment
TIMEOUT = 30.0  # s for a sentence


def utterance(text: str, voice: str, stretch: float = 1.0) -> Utterance:
    """One utterance with its viseme labels; stretch: of its durations. RuntimeError where flite is absent or fails."""
    if not shutil.which("flite"):
        raise RuntimeError("flite is missing; install it (Debian: apt install flite)")
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "said.wav"
        stretched = f"duration_stretch={stretch:.3f}"
        command = ["flite", "-voice", voice, "-psdur", "--setf", stretched, "-t", text, "-o", str(wav)]
        said = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
        if said.returncode or not wav.is_file():
            raise RuntimeError(f"flite could not say {text!r} with voice {voice}: {said.stderr.strip()}")
        samples = load(wav, RATE)
    return Utterance(f"flite:{voice}", samples, labels_of(said.stdout, len(samples)))


def labels_of(segments: str, samples: int) -> np.ndarray:
    """`phone:end` of each segment (s, one after the other) -> viseme per 10 ms."""
    labels = np.zeros(samples * LABEL_RATE // RATE, np.int64)
    start = 0
    for phone, _, end in (s.partition(":") for s in segments.split()):
        stop = max(0, round((float(end) - LABEL_SHIFT) * LABEL_RATE))
        labels[start:stop] = from_arpabet({"ax": "AH"}.get(phone, phone.upper()))
        start = stop
    return labels
