"""Speech to face, measured at true streaming hops: what is heard, what the lips on the mesh do, and how fast.

Reference labels of recorded speech are pocketsphinx alignments with the known words; of other languages espeak-ng's own
times. Wants pocketsphinx and, for the comparison, openfacefx (`pip install pocketsphinx openfacefx`).
"""

from __future__ import annotations

import csv
import gc
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from avatar import asset
from drivers.speech.articulation import aperture
from drivers.speech.audio import load
from drivers.speech.driver import Settings, SpeechDriver
from drivers.speech.ears import Ear, ear
from drivers.speech.features import FRAME, FRAME_RATE
from drivers.speech.training import baselines, evaluation
from drivers.speech.training.alignment import Aligner
from drivers.speech.training.augmentation import not_speech
from drivers.speech.training.corpus import RATE, Utterance
from drivers.speech.visemes import MOUTH_GROUP, PP, SIL
from stage.evaluate import beats, lips, vertices
from stage.evaluate.protocol import SPEECH, VERSION

PARTS = ("hearing", "lips", "noise", "films", "languages", "beats", "drift")
VOWELS = [v for v, g in enumerate(MOUTH_GROUP) if g >= 4]
SETTINGS = Settings(hop=SPEECH["hop"], lookahead=SPEECH["lookahead"])
Figures = dict[str, dict[str, float]]
WORDLESS_SEED = 1000  # the training draws its noises from other seeds


@dataclass(frozen=True)
class Task:
    testdata: Path
    more: Path | None = None
    avatar: Path = Path("avatars/demo.avatar")
    model: str = "auto"
    vertices: Path | None = None
    face_model: Path | None = None  # of the vertices
    vertices_fps: float = 60.0


class Bench:
    """What the parts share."""

    def __init__(self, task: Task) -> None:
        if not (task.testdata / "manifest.csv").is_file():
            raise ValueError(f"{task.testdata}: no manifest.csv in it; name a folder with speech, words and films")
        self.task, self.ear = task, ear(task.model)
        self._clips: list[Utterance] | None = None
        self._heard: list[evaluation.Heard] | None = None

    @property
    def clips(self) -> list[Utterance]:
        if self._clips is None:
            self._clips = evaluation.material(self.task.testdata, Aligner(), self.task.more)
        return self._clips

    @property
    def heard(self) -> list[evaluation.Heard]:
        if self._heard is None:
            self._heard = [evaluation.hear(u, self.ear, SETTINGS) for u in self.clips]
        return self._heard

    @property
    def fresh(self) -> list[tuple[Utterance, evaluation.Heard]]:
        known = evaluation.SEEN + evaluation.CHOSEN
        return [(u, h) for u, h in zip(self.clips, self.heard) if evaluation.voice_of(u.name) not in known]


def evaluate(
    task: Task,
    parts: tuple[str, ...] = PARTS,
    sheet: Path | None = None,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Raises ValueError for a part that does not exist or material that is not there."""
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise ValueError(f"no part is called {unknown[0]!r}; known are {', '.join(PARTS)}")
    bench = Bench(task)
    result: dict[str, Any] = {"protocol": VERSION, "model": bench.ear.name}
    makers: dict[str, Callable[[Bench], Figures]] = dict(
        hearing=hearing, lips=lip_gaps, noise=noise, films=films, languages=languages, beats=beats_of, drift=drift
    )
    for i, part in enumerate(parts):
        result[part] = makers[part](bench)
        if progress:
            progress((i + 1) / len(parts))
    if task.vertices:
        speak = lambda sound: _faces(load(sound, RATE), bench.ear)  # noqa: E731
        result["vertices"] = {"": vertices.of_folder(task.vertices, speak, task.face_model, task.vertices_fps)}
    if sheet:
        from stage.evaluate.speech_sheet import write

        write(sheet, shown(task.testdata), bench.ear, task.avatar)
    return result


def shown(testdata: Path) -> list[Path]:
    """A recording of each language of testdata/manifest.csv for the sheet: its digits, else its shortest."""
    with (testdata / "manifest.csv").open(encoding="utf8", newline="") as f:
        rows = [r for r in csv.DictReader(f) if r["file"].startswith("speech/") and r["lang"]]
    rows.sort(key=lambda r: (r["lang"], "digits" not in r["file"], float(r["seconds"])))
    first = {r["lang"]: testdata / r["file"] for r in reversed(rows)}
    return [path for _, path in sorted(first.items()) if path.is_file()]


# ---- what is heard --------------------------------------------------------------------------------------------------


def hearing(bench: Bench) -> Figures:
    """By voice; "all" are those that neither training nor choices knew, and the baselines are on the same frames."""
    out: Figures = {"all": evaluation.scores([h for _, h in bench.fresh])}
    for voice in sorted({evaluation.voice_of(h.name) for h in bench.heard}):
        out[voice] = evaluation.scores([h for h in bench.heard if evaluation.voice_of(h.name) == voice])
    guesses: dict[str, Callable[[Utterance, evaluation.Heard], Any]] = {
        "energy only": lambda u, h: baselines.energy_only(u),
        "pocketsphinx allphone": lambda u, h: baselines.allphone(u, SETTINGS.hop, SETTINGS.lookahead),
        "openfacefx on the labels": lambda u, h: baselines.openfacefx_curves(h.labels).argmax(1),
    }
    for name, guess in guesses.items():
        pairs = [(guess(u, h), h.labels) for u, h in bench.fresh]
        cut = [(g[: len(s)], s[: len(g)]) for g, s in pairs]
        heard, said = (np.concatenate(x) for x in zip(*cut))
        f = {"seconds": len(said) / FRAME_RATE, **evaluation.accuracy(heard, said)}
        f["closure frames recall"], f["closure frames precision"] = evaluation.ratio(heard == PP, said == PP)
        n, r, p = evaluation.events([(a == PP, b == PP) for a, b in cut])
        f |= {"closure events": n, "closure events recall": r, "closure events precision": p}
        out[name] = f | {"onset error ms": evaluation.onset_error(cut)}
    return out


# ---- what is shown --------------------------------------------------------------------------------------------------


def lip_gaps(bench: Bench) -> Figures:
    """Of the avatar's mesh, mm: at closures, elsewhere; how it trembles; how it goes with openfacefx's mouth."""
    gap = lips.LipGap(asset.load(bench.task.avatar))
    at_closures, vowels, silence, tremble, calm, oracle = [], [], [], [], [], []
    for _, h in bench.fresh:
        mm = gap.track(h.faces)
        for a, b in evaluation.runs(h.labels == PP):
            at_closures.append(mm[max(0, a - SPEECH["event_tolerance"]) : b + SPEECH["event_tolerance"]].min())
        vowels += list(mm[np.isin(h.labels, VOWELS)])
        silence += list(mm[h.labels == SIL])
        for v in VOWELS:
            tremble += [
                _jitter(mm[a + 1 : b - 1]) for a, b in evaluation.runs(h.labels == v) if b - a >= SPEECH["held"]
            ]
        calm += [_jitter(mm[a + 5 : b - 5]) for a, b in evaluation.runs(h.labels == SIL) if b - a >= 15]
        wide = baselines.openfacefx_curves(h.labels) @ np.array(evaluation.JAW_OPENING)
        oracle.append(float(np.corrcoef(wide, mm)[0, 1]))
    closed = np.array(at_closures)
    return {
        bench.task.avatar.stem: {
            "closures": len(closed), "gap at closures, median mm": float(np.median(closed)),
            "gap at closures, mean mm": float(closed.mean()),
            "closures under 1 mm, share": float((closed < SPEECH["shut_mm"]).mean()),
            "gap in vowels, median mm": float(np.median(vowels)),
            "gap in silence, median mm": float(np.median(silence)),
            "jitter in held vowels, mm": float(np.mean(tremble)), "jitter in silence, mm": float(np.mean(calm or [0])),
            "correlation with openfacefx": float(np.mean(oracle)),
        }
    }  # fmt: skip


def _jitter(mm: Any) -> float:
    """Mean absolute second difference, what the eye sees as trembling; mm per frame of 20 ms, twice."""
    return float(np.abs(np.diff(mm, 2)).mean()) if len(mm) > 2 else 0.0


def noise(bench: Bench) -> Figures:
    """The widest gap, mm, that sounds of no voice make: keyboard, breath, hum, noise."""
    gap = lips.LipGap(asset.load(bench.task.avatar))
    out: Figures = {}
    for seed in range(SPEECH["noises"]):
        u = not_speech(np.random.default_rng(WORDLESS_SEED + seed), SPEECH["noise_seconds"])
        mm = gap.track(_faces(u.samples, bench.ear)).max()
        f = out.setdefault(u.name.partition(":")[2], {"sounds": 0, "widest gap mm": 0.0})
        f["sounds"] += 1
        f["widest gap mm"] = max(f["widest gap mm"], float(mm))
    return out


def _faces(samples: Any, listening: Ear) -> Any:
    driver = SpeechDriver(SETTINGS, listening)
    return np.stack([m.face for m in driver.push(samples) + driver.flush()])


def films(bench: Bench) -> Figures:
    """Correlation of the opening shown for a film's sound with its tracked mouth, at the declared lags."""
    from stage.evaluate.metrics import Meter

    meter = Meter()
    out: Figures = {}
    for pattern in SPEECH["films"]:
        rows = []
        for film in sorted((bench.task.testdata / "videos").glob(pattern)):
            samples = load(film, RATE)
            times, seen = lips.openings(film, meter.mouth_opening)
            shown = aperture(_faces(samples, bench.ear))
            sound = Utterance(film.stem, samples, np.zeros(0))
            loud = baselines.energy_opening(sound), baselines.energy_opening(sound, foreseen=True)
            f = {}
            for lag in SPEECH["lags"]:
                for name, track in zip(("", "energy ", "energy, peak foreseen, "), (shown, *loud)):
                    at = np.arange(len(track)) / FRAME_RATE
                    f[f"{name}r at {lag * 1000:.0f} ms"] = lips.correlation(times, seen, at, track, lag)
            at = np.arange(len(shown)) / FRAME_RATE
            best = max(np.arange(-10, 11) / 50, key=lambda s: lips.correlation(times, seen, at, shown, s))
            f["best lag ms"] = float(best) * 1000
            out[film.stem] = f
            rows.append(f)
        if len(rows) > 1:
            out[f"mean of {pattern}"] = {k: float(np.mean([r[k] for r in rows])) for k in rows[0]}
    return out


def languages(bench: Bench) -> Figures:
    """By language, on espeak-ng's exact times; its voices +m8 and +f5 took no part in the training."""
    from drivers.speech.training.synthesis import utterance
    from drivers.text.espeak import Espeak

    espeak = Espeak()
    try:
        out = {}
        for voice, sentences in SPEECH["languages"].items():
            said = [
                utterance(espeak, s, voice + v, 165, 50) for s, v in zip(sentences, ("+m8", "+f5") * len(sentences))
            ]
            out[voice] = evaluation.scores([evaluation.hear(u, bench.ear, SETTINGS) for u in said])
    finally:
        espeak.close()
    return out


def beats_of(bench: Bench) -> Figures:
    """How nods and hands keep time with recorded and with typed speech (stage/evaluate/beats.py)."""
    said = beats.material(bench.task.testdata, bench.task.more)
    return {f"{kind}: {part}": f for kind, clips in said.items() for part, f in beats.figures(clips).items()}


# ---- how fast -------------------------------------------------------------------------------------------------------


def drift(bench: Bench) -> Figures:
    """Minutes of speech pushed piece by piece: latency from a sample to its motion, skew, real-time factor, memory."""
    sound = np.concatenate([u.samples for u, _ in bench.fresh])
    driver = SpeechDriver(SETTINGS, bench.ear)
    piece = RATE // 100  # 10 ms, as a microphone gives
    total = int(SPEECH["drift_seconds"] * RATE)
    count, spent, delays, skews = 0, 0.0, [], []
    before = after_first = 0
    cpu = time.process_time()
    for i in range(0, total, piece):
        start = time.perf_counter()
        at = i % (len(sound) - piece)
        motions = driver.push(sound[at : at + piece])
        busy = time.perf_counter() - start
        spent += busy
        pushed = (i + piece) / RATE
        for m in motions:
            delays.append(pushed - m.time + busy)  # a frame's sample came in at its own time
            skews.append(abs(m.time - count / FRAME_RATE))
            count += 1
        if i // piece == total // piece // 5:
            gc.collect()
            after_first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu = time.process_time() - cpu
    ms = 1000 * np.array(delays)
    expected = (total // FRAME - count) / FRAME_RATE
    return {
        "": {
            "seconds": total / RATE, "latency median ms": float(np.median(ms)),
            "latency p95 ms": float(np.percentile(ms, 95)), "skew p95 ms": float(np.percentile(skews, 95)) * 1000,
            "frames owed at the end ms": expected * 1000, "processor share of real time": cpu / (total / RATE),
            "wall share of real time": spent / (total / RATE),
            "memory MB": before / 1024, "growth over the last four fifths MB": (before - after_first) / 1024,
        }
    }  # fmt: skip


# ---- words ----------------------------------------------------------------------------------------------------------


def table(result: dict[str, Any]) -> str:
    lines = [f"speech to face, model {result['model']}, protocol {result['protocol']}"]
    for part, rows in result.items():
        if not isinstance(rows, dict):
            continue
        keys = list(dict.fromkeys(k for f in rows.values() for k in f))
        lines += ["", f"{part}: " + " | ".join(keys)]
        for name, f in rows.items():
            lines.append(f"  {name:26s}" + " | ".join(f"{f[k]:.3g}" if k in f else "-" for k in keys))
    return "\n".join(lines)
