"""How well nods and hands keep time with what is said: the beat alignment score.

After Li et al. 2021 ("AI Choreographer"), as gesture studies use it (Ao et al. 2022, "Rhythmic Gesticulator"): of the
kinematic beats m of a motion and the beats s of the sound

    BA = mean over m of exp(-min over s of (m - s)^2 / (2 sigma^2))          sigma = SPEECH["beat_sigma"]

A kinematic beat is a local minimum of speed after a stroke, that is after a speed above a share (SPEECH["beat_stroke"])
of the motion's own 98th percentile. A beat of the sound is the beginning of a stressed vowel: the vowel that carries
the primary stress of a word that is not one of WEAK. Where vowels lie is told by pocketsphinx's alignment of recordings
and by espeak-ng's own times of typed text, which vowel of a word has the stress by espeak-ng in both.

BA knows no early and late. So the strokes that the driver itself makes are counted, too: each one's apex against the
nearest stressed vowel's beginning, signed (positive: the apex is late).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drivers.gesture import FREE, Arms
from drivers.prosody import RISE
from drivers.speech.audio import resample
from drivers.speech.training import evaluation
from drivers.speech.training.alignment import Aligner, AlignmentError, Phone
from drivers.speech.training.corpus import RATE
from drivers.text.espeak import Espeak
from drivers.text.lips import LABEL_SHIFT
from drivers.text.reading import WORDS_A_MINUTE
from models import body
from models.motion import HEAD, JOINT, N_JOINTS, matrix_from_axis_angle
from stage.evaluate.protocol import SPEECH
from stage.life import Life

F64 = NDArray[np.float64]

_WEAK = """
    a an the this that these those my your his her its our their i you he she it we they me him us them who which what
    of in on at to for from by with as into onto upon about than but and or nor so if though because while when where is
    am are was were be been being do does did have has had having will would shall should can could may might must there
    not no some any all such how
"""
WEAK = frozenset(_WEAK.split())  # words that running speech leaves without an accent
IPA_VOWELS = re.compile("[aeiouyæøœɐɑɒɔəɘɚɛɜɝɤɨɪɯɵɶʉʊʌʏᵻ](?:\\^[aeiouyɪʊə])?")
ARPABET_VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
FRAMES = 60  # a second, of the motions looked at
DRAWS = 50  # of random shifts
POINTS = {"hands": ("left_wrist", "right_wrist"), "head": ("head",)}
NOSE = np.array([0.0, 0.05, 0.12])  # m from the head's joint
CHIN_UP = np.array([0.0, 0.1, 0.0])  # m from a wrist's joint, across which a hand's turn is seen as well


@dataclass(frozen=True)
class Said:
    """A sound (n,) at RATE and where its stressed vowels begin, s."""

    name: str
    samples: NDArray[np.float32]
    stressed: F64


# ---- what is said ---------------------------------------------------------------------------------------------------


def material(testdata: Path, more: Path | None) -> dict[str, list[Said]]:
    """The recordings that neither training nor choices knew of those that `evaluate speech` hears, and the same words
    typed, in espeak-ng's voice."""
    aligner, espeak = Aligner(), Espeak()
    out: dict[str, list[Said]] = {"recorded": [], "typed": []}
    try:
        for path, text in evaluation.transcribed(testdata, more):
            if evaluation.voice_of(path.stem) not in evaluation.SEEN + evaluation.CHOSEN:
                samples = evaluation.loaded(path)
                try:
                    words = aligner.words(path.stem, samples, text)
                except AlignmentError:
                    continue
                out["recorded"].append(Said(path.stem, samples, recorded(words, espeak)))
                out["typed"].append(typed(path.stem, text, espeak))
    finally:
        espeak.close()
    return out


def recorded(words: list[tuple[str, list[Phone]]], espeak: Espeak) -> F64:
    """Aligned words -> starts of their stressed vowels, s."""
    spoken = [(w, phones) for w, phones in words if w[0] not in "<["]  # no silence, no noise
    return stressed([(re.sub(r"\(\d+\)$", "", w), [(t, p) for t, _, p in phones]) for w, phones in spoken], espeak)


def typed(name: str, text: str, espeak: Espeak) -> Said:
    """As espeak-ng says it."""
    said = espeak.say(text, "en-us", WORDS_A_MINUTE, 50)
    starts = [*(t for t, _ in said.words), np.inf]
    words = []
    for (_, at), start, end in zip(said.words, starts, starts[1:]):
        phones = [(t - LABEL_SHIFT, p) for t, p in said.phonemes if start <= t < end and p]
        word = re.match(r"\W*([\w']+)", text[at:])
        if word:
            words.append((word[1].lower(), phones))
    return Said(name, resample(said.samples, said.rate), stressed(words, espeak))


def stressed(words: list[tuple[str, list[tuple[float, str]]]], espeak: Espeak) -> F64:
    """Words with their phones (start s, IPA or ARPABET) -> starts of the vowels that bear the stress, s."""
    out = []
    for (word, phones), ipa in zip(words, espeak.phonemes([w for w, _ in words], "en-us")):
        vowels = [t for t, p in phones if p in ARPABET_VOWELS or IPA_VOWELS.match(p)]
        if vowels and word not in WEAK:
            out.append(vowels[min(len(IPA_VOWELS.findall(ipa.partition("ˈ")[0])), len(vowels) - 1)])
    return np.array(out)


# ---- what moves -----------------------------------------------------------------------------------------------------


def life_of(samples: NDArray[np.float32] | None, seed: int, live: bool = False) -> Life:
    """A performance with two free arms that hears a sound, at once or as a microphone records it; None: nothing."""
    rest = np.zeros((N_JOINTS, 3), np.float32)
    for side, sign in (("left", -1), ("right", 1)):
        rest[JOINT[f"{side}_shoulder"], 2] = 1.15 * sign
        rest[JOINT[f"{side}_elbow"], 1] = 1.7 * sign
    life = Life(seed, Arms(rest, FREE, FREE))
    if samples is not None:
        life.hear(samples, 0.0, True, True, live)
    return life


def speeds(life: Life, seconds: float) -> dict[str, F64]:
    """(frames,) m/s of hands and head, by parts."""
    poses = np.array([life.motion(k / FRAMES).pose for k in range(round(seconds * FRAMES))], np.float64)
    model = body.load()
    places = _places(poses, model.joints().astype(np.float64), model.parents)
    return {part: _speed(np.concatenate([places[name] for name in names], 1)) for part, names in POINTS.items()}


def _places(poses: F64, joints: F64, parents: NDArray) -> dict[str, F64]:
    """(T, 55, 3) rad -> the way (T, 2 x 3) of each point of POINTS: of the joint, and of something it carries."""
    turns, place = matrix_from_axis_angle(poses), np.zeros_like(poses)
    for j, parent in enumerate(parents):
        if parent >= 0:
            turns[:, j] = turns[:, parent] @ turns[:, j]
            place[:, j] = place[:, parent] + turns[:, parent] @ (joints[j] - joints[parent])
    out = {}
    for name in (n for names in POINTS.values() for n in names):
        j = JOINT[name]
        out[name] = np.concatenate([place[:, j], place[:, j] + turns[:, j] @ (NOSE if j == HEAD else CHIN_UP)], 1)
    return out


def _speed(way: F64) -> F64:
    step = np.diff(way, axis=0, prepend=way[:1]) * FRAMES
    return np.convolve(np.linalg.norm(step, axis=1), np.full(3, 1 / 3), "same")


def kinematic_beats(speed: F64) -> F64:
    """(frames,) -> times s of the local minima of speed, each after a stroke."""
    fast = SPEECH["beat_stroke"] * np.percentile(speed, 98)
    found, peak = [], 0.0
    for k in range(1, len(speed) - 1):
        peak = max(peak, speed[k])
        if speed[k] <= speed[k - 1] and speed[k] < speed[k + 1] and peak > max(fast, 2 * speed[k]):
            found.append(k / FRAMES)
            peak = 0.0
    return np.array(found)


def nearness(beats: F64, stresses: F64) -> F64:
    """What BA is the mean of, for each beat."""
    if not len(beats) or not len(stresses):
        return np.zeros(0)
    away = np.abs(beats[:, None] - stresses[None]).min(1)
    return np.exp(-(away**2) / (2 * SPEECH["beat_sigma"] ** 2))


# ---- the table ------------------------------------------------------------------------------------------------------


def figures(said: list[Said]) -> dict[str, dict[str, float]]:
    """By part: BA of the driver, of the same motion shifted at random, of idle life alone. Then the strokes."""
    rng = np.random.default_rng(0)
    rows: dict[str, dict[str, list[F64]]] = {part: {} for part in POINTS}
    for k, clip in enumerate(said):
        length = len(clip.samples) / RATE
        moved, still = (speeds(life_of(x, k), length) for x in (clip.samples, None))
        for part, f in rows.items():
            beats = kinematic_beats(moved[part])
            f.setdefault("driver", []).append(nearness(beats, clip.stressed))
            for shift in rng.uniform(0, length, DRAWS):
                f.setdefault("shifted at random", []).append(nearness((beats + shift) % length, clip.stressed))
            f.setdefault("idle alone", []).append(nearness(kinematic_beats(still[part]), clip.stressed))
    out = {part: {k: float(np.concatenate(v).mean()) for k, v in f.items()} for part, f in rows.items()}
    return out | {"strokes": strokes(said, False), "strokes, microphone": strokes(said, True)}


def strokes(said: list[Said], live: bool) -> dict[str, float]:
    """How many, on what syllables, and when their apexes come."""
    late, total, count = [], 0, 0
    for k, clip in enumerate(said):
        accents = life_of(clip.samples, k, live).prosody.accents
        count, total = count + len(accents), total + len(clip.stressed)
        for a in accents:
            before = a.peak - clip.stressed
            inside = clip.stressed[(before > -SPEECH["beat_near"] / 4) & (before < SPEECH["beat_near"])]
            late += [1000 * (a.time + RISE - inside[-1])] if len(inside) else []
    p10, median, p90 = np.percentile(late, (10, 50, 90))
    seconds = sum(len(clip.samples) for clip in said) / RATE
    return {
        "seconds": seconds, "stressed vowels": total, "strokes": count, "of stressed vowels": len(late) / count,
        "stressed vowels with a stroke": len(late) / total,
        "apex after the vowel's beginning, median ms": float(median), "p10": float(p10), "p90": float(p90),
    }  # fmt: skip
