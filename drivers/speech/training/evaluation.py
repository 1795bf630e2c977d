"""How well the driver hears and shows, at true streaming hops, on recorded speech it was not trained on.

Reference labels are pocketsphinx alignments of transcribed recordings: they carry that aligner's own errors. Besides
the head's figures there are those of an energy-only mouth, the least that a learned head must beat.
"""

from __future__ import annotations

import csv
import re
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drivers.speech.articulation import aperture
from drivers.speech.audio import load
from drivers.speech.driver import Settings, SpeechDriver
from drivers.speech.ears import Ear
from drivers.speech.features import FRAME_RATE, Hop
from drivers.speech.head import Articulation
from drivers.speech.solver import SEAL_ON
from drivers.speech.training.alignment import Aligner, AlignmentError
from drivers.speech.training.baselines import energy_only
from drivers.speech.training.corpus import LABEL_RATE, RATE, Utterance
from drivers.speech.training.fit import JAW_OPENING
from drivers.speech.visemes import MOUTH_GROUP, N_VISEMES, PP, SIL

EVENT_TOLERANCE = 2  # frames, +-40 ms
ONSET_REACH = 8  # frames within which a change of mouth group is looked for
SHUT = 0.03  # aperture of a mouth that counts as sealed
LABELS_PER_FRAME = LABEL_RATE // FRAME_RATE
GROUP_OF = np.array(MOUTH_GROUP)


@dataclass
class Heard:
    """One clip: what was heard, what the mouth did and what was said, per frame."""

    name: str
    articulation: Articulation
    aperture: NDArray  # (n,)
    labels: NDArray  # (n,) viseme
    faces: NDArray  # (n, 52) ARKit


def material(testdata: Path, aligner: Aligner, more: Path | None = None) -> list[Utterance]:
    """The transcribed English speech of testdata/manifest.csv, and the pairs of .wav and .txt in the folder `more`
    (`drivers.speech.training.clips` makes one).

    What cannot be aligned is left out and named.
    """
    clips = []
    for path, text in transcribed(testdata, more):
        samples = loaded(path)
        try:
            clips.append(aligner.align(path.stem, samples, text))
        except AlignmentError as e:
            print(f"left out: {e}")
    return clips


def transcribed(testdata: Path, more: Path | None = None) -> list[tuple[Path, str]]:
    """The sounds of `material`, each with its words."""
    texts: list[tuple[Path, str]] = []
    manifest = testdata / "manifest.csv"
    if manifest.is_file():
        with manifest.open(encoding="utf8", newline="") as f:
            rows = [r for r in csv.DictReader(f) if r["file"].startswith(("speech/", "videos/")) and r["lang"] == "en"]
        texts += [(testdata / r["file"], r["transcript"]) for r in rows if r.get("transcript")]
    if more:
        texts += [
            (p, p.with_suffix(".txt").read_text())
            for p in sorted(more.glob("*.wav"))
            if p.with_suffix(".txt").is_file()
        ]
    return texts


def loaded(path: Path) -> NDArray:
    """(n,) at RATE, at a common level."""
    samples = load(path, RATE)
    return samples / (np.abs(samples).max() + 1e-6) * 0.5


class Noting(SpeechDriver):
    """A driver that keeps what its head heard in the frames it hands out."""

    def reset(self, epoch: int | None = None) -> None:
        super().reset(epoch)
        self.noted: list[Articulation] = []

    def _listen(self, hop: Hop, frames: int, awake: bool) -> Articulation:
        heard = super()._listen(hop, frames, awake)
        keep = slice(max(0, -hop.first), hop.final)
        assert heard.jaw is not None  # a head hears it
        self.noted.append(Articulation(heard.visemes[keep], heard.closure[keep], heard.jaw[keep]))
        return heard


def hear(u: Utterance, ear: Ear, settings: Settings) -> Heard:
    """Run the streaming driver over a clip: what its head hears and what its mouth does."""
    labels = u.labels[::LABELS_PER_FRAME]
    driver = Noting(settings, ear)
    faces = np.stack([m.face for m in driver.push(u.samples) + driver.flush()])
    v, c, j = (np.concatenate([getattr(a, k) for a in driver.noted]) for k in ("visemes", "closure", "jaw"))
    n = min(len(labels), len(v), len(faces))
    return Heard(u.name, Articulation(v[:n], c[:n], j[:n]), aperture(faces[:n]), labels[:n], faces[:n])


def cost(u: Utterance, ear: Ear, settings: Settings) -> tuple[float, float]:
    """(median, 95th percentile) CPU ms of one hop of the whole driver on this thread, over a clip of speech."""
    driver = SpeechDriver(settings, ear)
    n = round(settings.hop * RATE)
    spent = []
    for i in range(0, len(u.samples) - n, n):
        start = time.thread_time()
        driver.push(u.samples[i : i + n])
        spent.append((time.thread_time() - start) * 1000)
    return float(np.median(spent)), float(np.percentile(spent, 95))


SEEN = ("LJ",)  # voices trained on; told apart
CHOSEN = ("asterisk", "aiortc")  # voice by whose other recordings settings were chosen; told apart
Figures = dict[str, dict[str, float]]  # voice, "all" or "energy only" -> name -> figure


def voice_of(name: str) -> str:
    """The voice of a clip, by its name up to the first mark."""
    return re.split(r"[-_\d]", name)[0]


def evaluate(clips: list[Utterance], ear: Ear, settings: Settings) -> Figures:
    """Figures of "all" voices that neither training nor choices knew, of each voice, and of the energy-only mouth."""
    heard = [hear(u, ear, settings) for u in clips]
    if not heard:
        return {}
    fresh = [h for h in heard if voice_of(h.name) not in SEEN + CHOSEN]
    out = {"all": scores(fresh or heard)}
    for voice in sorted({voice_of(h.name) for h in heard}):
        out[voice] = scores([h for h in heard if voice_of(h.name) == voice])
    said = {h.name: h.labels for h in fresh or heard}
    pairs = [(energy_only(u)[: len(said[u.name])], said[u.name]) for u in clips if u.name in said]
    guess, labels = (np.concatenate(x) for x in zip(*((g, s[: len(g)]) for g, s in pairs)))
    out["energy only"] = {"seconds": len(labels) / FRAME_RATE, **accuracy(guess, labels)}
    return out


# ---- scores ---------------------------------------------------------------------------------------------------------


def scores(clips: list[Heard]) -> dict[str, float]:
    """Figures over all frames of all clips."""
    said = np.concatenate([c.labels for c in clips])
    heard = np.concatenate([c.articulation.visemes.argmax(1) for c in clips])
    closure = np.concatenate([c.articulation.closure for c in clips]) > SEAL_ON
    jaw = np.concatenate([j for c in clips if (j := c.articulation.jaw) is not None])
    out = {"seconds": len(said) / FRAME_RATE, **accuracy(heard, said)}
    out["closure frames recall"], out["closure frames precision"] = ratio(closure, said == PP)
    head = [(c.articulation.closure > SEAL_ON, c.labels == PP) for c in clips]
    out["closure events"], out["closure events recall"], out["closure events precision"] = events(head)
    # the silences around speech are shut without a bilabial: they are no false seals
    shown = [((c.aperture < SHUT) & (c.labels != SIL), c.labels == PP) for c in clips]
    _, out["mouth shut events recall"], out["mouth shut events precision"] = events(shown)
    out["jaw correlation"] = float(np.corrcoef(jaw, np.concatenate([_jaw(c.labels) for c in clips]))[0, 1])
    out["onset error ms"] = onset_error([(c.articulation.visemes.argmax(1), c.labels) for c in clips])
    out["mouth lag ms"] = lag(clips)
    return out


def accuracy(heard: NDArray, said: NDArray) -> dict[str, float]:
    g, h = GROUP_OF[said], GROUP_OF[heard]
    return {
        "mouth group accuracy": float((g == h).mean()), "mouth group macro F1": _macro_f1(h, g, max(MOUTH_GROUP) + 1),
        "viseme accuracy": float((heard == said).mean()), "viseme macro F1": _macro_f1(heard, said, N_VISEMES),
    }  # fmt: skip


def ratio(found: NDArray, true: NDArray) -> tuple[float, float]:
    """(recall, precision)"""
    hit = (found & true).sum()
    return float(hit / max(1, true.sum())), float(hit / max(1, found.sum()))


def _macro_f1(heard: NDArray, said: NDArray, classes: int) -> float:
    f = []
    for c in range(classes):
        if (said == c).sum() >= 3:
            r, p = ratio(heard == c, said == c)
            f.append(2 * r * p / max(1e-9, r + p))
    return float(np.mean(f))


def runs(mask: NDArray) -> list[tuple[int, int]]:
    edge = np.diff(np.concatenate([[0], mask.astype(int), [0]]))
    return list(zip(np.flatnonzero(edge == 1), np.flatnonzero(edge == -1)))


def events(pairs: list[tuple[NDArray, NDArray]]) -> tuple[int, float, float]:
    """(found, true) masks -> (number of true events, recall, precision), each allowed EVENT_TOLERANCE frames."""
    hit = true = right = found = 0
    for f, t in pairs:
        for these, those, count in ((t, f, 0), (f, t, 1)):
            spans = runs(these)
            good = sum(bool(those[max(0, a - EVENT_TOLERANCE) : b + EVENT_TOLERANCE].any()) for a, b in spans)
            if count == 0:
                hit, true = hit + good, true + len(spans)
            else:
                right, found = right + good, found + len(spans)
    return true, hit / max(1, true), right / max(1, found)


def onset_error(pairs: list[tuple[NDArray, NDArray]]) -> float:
    """ms, mean of how far a change into a mouth group is heard from where it was said, among those found."""
    errors = []
    for heard, said in pairs:
        h, s = GROUP_OF[heard], GROUP_OF[said]
        changes = [(i, h[i]) for i in range(1, len(h)) if h[i] != h[i - 1]]
        for i in range(1, len(s)):
            if s[i] != s[i - 1]:
                near = [abs(k - i) for k, g in changes if g == s[i] and abs(k - i) <= ONSET_REACH]
                errors += [min(near)] if near else []
    return float(np.mean(errors)) * 1000 / FRAME_RATE if errors else 0.0


def _jaw(labels: NDArray) -> NDArray:
    window = np.hanning(7)[1:-1]
    return np.convolve(np.array(JAW_OPENING)[labels], window / window.sum(), mode="same")


def lag(clips: list[Heard], reach: int = 10) -> float:
    """ms by which the shown opening follows the opening that the labels call for (negative: it leads)."""
    best = []
    for shift in range(-reach, reach + 1):
        pairs = [(np.roll(c.aperture, -shift)[reach:-reach], _jaw(c.labels)[reach:-reach]) for c in clips]
        a, b = (np.concatenate(x) for x in zip(*pairs))
        best.append((float(np.corrcoef(a, b)[0, 1]), shift))
    return max(best)[1] * 1000 / FRAME_RATE
