"""Timed phonemes -> lips: no net, since what is said and when is known; the solver looks ahead over all of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from drivers.speech.features import FRAME_RATE
from drivers.speech.head import Articulation
from drivers.speech.solver import Solver
from drivers.speech.visemes import N_VISEMES, PP, SIL, from_ipa
from models.motion import GROUP, GROUPS, Motion

LABEL_SHIFT = 0.010  # s: espeak's phoneme events lie this much after the sound, against pocketsphinx's alignment
AHEAD = 6  # frames that are anticipated; beyond 120 ms a segment has no hold on the lips any more
WAKE = 4  # frames that the mouth wakes before the first phoneme


def motions(
    phonemes: list[tuple[float, str]], samples: NDArray[np.int16], rate: int, shift: float = LABEL_SHIFT
) -> list[Motion]:
    """Phoneme starts (s, IPA; each lasts until the next) and their sound -> motions at 50 Hz, weight on the mouth.

    Times are seconds from the first sample; the last motion lies at the sound's end. shift: s that the starts lie after
    the sound they are of.
    """
    frames = int(len(samples) / rate * FRAME_RATE) + 1
    heard = articulation(phonemes, frames + AHEAD, shift)
    speech = heard.visemes[:, SIL] < 0.5
    voiced = np.convolve(speech, np.ones(2 * WAKE + 1), "same") > 0.5
    faces = Solver().solve(heard, voiced, levels(samples, rate, frames), frames)
    weight = np.zeros(len(GROUPS), np.float32)
    weight[GROUP["mouth"]] = 1
    return [Motion(time=f / FRAME_RATE, face=face, weight=weight.copy()) for f, face in enumerate(faces)]


def articulation(phonemes: list[tuple[float, str]], frames: int, shift: float = LABEL_SHIFT) -> Articulation:
    """What a perfect ear would hear: each viseme's share of each 20 ms, frame f's centre being f / 50 s."""
    share = np.zeros((frames, N_VISEMES), np.float32)
    closure = np.zeros(frames, np.float32)
    edges = (np.arange(frames + 1) - 0.5) / FRAME_RATE
    viseme = SIL
    starts = [t - shift for t, _ in phonemes]
    for (_, ipa), start, end in zip(phonemes, starts, [*starts[1:], edges[-1]]):
        found = from_ipa(ipa) if ipa else SIL
        viseme = viseme if found is None else found
        share[:, viseme] += np.clip(np.minimum(edges[1:], end) - np.maximum(edges[:-1], start), 0, None) * FRAME_RATE
        if viseme == PP and end > start:  # however short, it shuts the lips
            closure[min(round((start + end) / 2 * FRAME_RATE), frames - 1)] = 1
    share[:, SIL] += np.clip(1 - share.sum(1), 0, None)
    share /= share.sum(1, keepdims=True)
    return Articulation(share, np.maximum(closure, share[:, PP]))


def levels(samples: NDArray[np.int16], rate: int, frames: int) -> NDArray[np.float32]:
    """(frames,) dB of full scale of the 20 ms about each frame."""
    n = rate // FRAME_RATE
    x = np.zeros(frames * n + n, np.float32)
    kept = samples[: len(x) - n // 2].astype(np.float32) / 32768
    x[n // 2 : n // 2 + len(kept)] = kept
    return (10 * np.log10(np.mean(x[: frames * n].reshape(frames, n) ** 2, 1) + 1e-9)).astype(np.float32)
