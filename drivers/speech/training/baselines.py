"""What the driver is compared with: a mouth by loudness, a phone recognizer while it listens, and another's solver."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from drivers.speech.features import FRAME, FRAME_RATE, HOP, LOOKAHEAD
from drivers.speech.training.alignment import phone_model_path
from drivers.speech.training.corpus import RATE, Utterance
from drivers.speech.visemes import N_VISEMES, SIL, VISEME, from_arpabet

SHUT_BELOW, OPEN_ABOVE = -25.0, -10.0  # dB below the running peak
OPEN_SPAN = 25.0  # dB from shut to wide
# a phone for each viseme, for a solver that wants phones
PHONES = ("SIL", "P", "F", "TH", "D", "K", "SH", "S", "N", "R", "AA", "EH", "IY", "OW", "UW")


def loudness(u: Utterance, foreseen: bool = False) -> NDArray:
    """(n,) dB of each frame below the peak so far, or below the whole clip's where that is foreseen."""
    n = len(u.samples) // FRAME
    level = 10 * np.log10(np.mean(u.samples[: n * FRAME].reshape(n, FRAME) ** 2, 1) + 1e-9)
    return level - (level.max() if foreseen else np.maximum.accumulate(level))


def energy_only(u: Utterance) -> NDArray:
    """(n,) viseme of a mouth that knows loudness alone: shut when faint, half open, open."""
    level = loudness(u)
    return np.where(level < SHUT_BELOW, SIL, np.where(level < OPEN_ABOVE, VISEME["DD"], VISEME["aa"]))


def energy_opening(u: Utterance, foreseen: bool = False) -> NDArray:
    """(n,) 0..1: the same mouth without steps, smoothed over 60 ms. With the peak foreseen it does not take the noise
    before the first word for a voice."""
    opening = np.clip(loudness(u, foreseen) / OPEN_SPAN + 1, 0, 1)
    return np.convolve(opening, np.ones(3) / 3, mode="same")


def allphone(u: Utterance, hop: float = HOP, lookahead: float = LOOKAHEAD) -> NDArray:
    """(n,) visemes of pocketsphinx's phone recognition, each frame as it stands when the driver too must answer."""
    from pocketsphinx import Decoder

    decoder = Decoder(lm=None, allphone=phone_model_path(), lw=2.0, beam=1e-20, pbeam=1e-20, loglevel="FATAL")
    pcm = (np.concatenate([u.samples, np.zeros(RATE // 2)]) * 32767).clip(-32768, 32767).astype("<i2")
    n = round(hop * FRAME_RATE)
    ahead = round(lookahead * FRAME_RATE)
    out = np.zeros(len(u.samples) // FRAME, np.int64)
    decoder.start_utt()
    for i in range(0, len(pcm) - n * FRAME + 1, n * FRAME):
        decoder.process_raw(pcm[i : i + n * FRAME].tobytes())
        last = i // FRAME + n - ahead
        seen = np.zeros(last + ahead, np.int64)
        for s in decoder.seg() or ():
            a, b = s.start_frame // 2, (s.end_frame + 1) // 2
            seen[a:b] = from_arpabet(s.word)
            seen[b:] = seen[max(b - 1, 0)]  # the last phone goes on until another is heard
        new = slice(max(last - n, 0), min(last, len(out)))
        out[new] = seen[new]
    decoder.end_utt()
    return out


def openfacefx_curves(labels: NDArray) -> NDArray:
    """(n,) visemes at 50 Hz, exactly timed -> (n, 15) viseme weights by openfacefx's co-articulation (MIT)."""
    from openfacefx import CoartParams, PhonemeSegment, build_viseme_curves
    from openfacefx.visemes import VISEMES

    edges = np.flatnonzero(np.diff(labels, prepend=-1))
    ends = np.append(edges[1:], len(labels))
    segments = [PhonemeSegment(PHONES[labels[a]], a / FRAME_RATE, b / FRAME_RATE) for a, b in zip(edges, ends)]
    times, weights = build_viseme_curves(segments, FRAME_RATE, params=CoartParams(jali=True))
    at = np.arange(len(labels)) / FRAME_RATE
    out = np.zeros((len(labels), N_VISEMES))
    for column, name in enumerate(VISEMES):
        out[:, VISEME[name]] = np.interp(at, times, weights[:, column])
    return out
