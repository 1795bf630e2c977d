"""Train a viseme head and write it with its card.

    python -m drivers.speech.training --recordings ../shared/traindata/ljspeech --testdata ../shared/testdata \\
        --more TESTS --choices CHOICES

TESTS and CHOICES are made by `drivers.speech.training.clips`; without CHOICES a closure's own output alone counts.
Needs espeak-ng (the library, in a process of its own), flite (`apt install flite`), pocketsphinx (`pip install
pocketsphinx`) and the encoder's weights. With the same data and seed it writes the same head.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from drivers.speech.driver import Settings
from drivers.speech.ears import Ear, encoder_of, head_path
from drivers.speech.features import Encoder
from drivers.speech.head import Head
from drivers.speech.training import card
from drivers.speech.training.alignment import Aligner
from drivers.speech.training.calibration import calibrated
from drivers.speech.training.dataset import Amounts, build, importance
from drivers.speech.training.evaluation import Figures, cost, evaluate, hear, material
from drivers.speech.training.fit import SHAPES, Shape, fit
from drivers.speech.training.windows import Windows

SHARED = Path(__file__).resolve().parents[4] / "shared"


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    encoder, window = encoder_of(options.encoder)
    out = options.out or head_path(options.encoder)
    log: list[str] = []
    start = time.process_time()

    def report(line: str) -> None:
        log.append(line)
        print(f"{time.process_time() - start:6.0f} s  {line}", flush=True)

    if options.evaluate_only:
        head = Head.load(out)
    else:
        amounts = Amounts(
            english=options.english, other=options.other, recorded_copies=options.copies, flite=options.flite
        )
        asked = f"--english {amounts.english:g} --flite {amounts.flite:g} --other {amounts.other:g}"
        asked += f" --copies {amounts.recorded_copies} --nets {options.nets}"
        report(f"--encoder {options.encoder} {asked} --iterations {options.iterations} --seed {options.seed}")
        windows, before = _windows(options, encoder, amounts, window, report)
        shape = SHAPES.get(options.encoder, Shape())
        seeds = range(options.seed, options.seed + options.nets)
        head = Head.mean([fit(windows, importance(windows), options.iterations, seed, shape) for seed in seeds])
        report(f"{options.nets} nets fitted in {options.iterations} steps each, seeds from {options.seed}")
        if options.choices:
            head, found = _calibrated(options, head, encoder, window)
            report(found)
    ear = Ear(options.encoder, encoder, head, window)
    clips = material(options.testdata, Aligner(), options.more)
    figures: dict[str, Figures] = {}
    title = f"hop {Settings().hop * 1000:.0f} ms"
    figures[title] = evaluate(clips, ear, Settings())
    report(card.line(figures[title]))
    if clips:
        median, high = cost(clips[0], ear, Settings())
        latency = (Settings().hop + Settings().lookahead) * 1000
        report(f"latency {latency:.0f} ms, and for each hop {median:.0f} ms of CPU time (95 % within {high:.0f} ms)")
    if not options.evaluate_only:
        head.save(out)
        card.write(out.with_suffix(".md"), ear, log, figures, clips, time.process_time() - start + before)
        print(f"wrote {out} ({out.stat().st_size / 1024:.0f} kB)")


def _windows(
    options: argparse.Namespace, encoder: Encoder, amounts: Amounts, window: float, report: Callable[[str], None]
) -> tuple[Windows, float]:
    """Built, or as an earlier run has kept them, for fitting is tried more often than the material; and the CPU seconds
    that the earlier run took."""
    if options.windows and options.windows.is_file():
        windows, notes, spent = Windows.load(options.windows)
        for note in notes:
            report(note)
        return windows, spent
    start, notes = time.process_time(), []

    def noted(line: str) -> None:
        notes.append(line)
        report(line)

    windows = build(encoder, amounts, options.recordings, options.seed, noted, window)
    if options.windows:
        windows.save(options.windows, notes, time.process_time() - start)
    return windows, 0.0


def _calibrated(options: argparse.Namespace, head: Head, encoder: Encoder, window: float) -> tuple[Head, str]:
    clips = material(options.choices, Aligner(), options.choices)
    ear = Ear(options.encoder, encoder, head, window)
    return calibrated(head, lambda h: [hear(u, replace(ear, head=h), Settings()) for u in clips])


def _options() -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="python -m drivers.speech.training", description="Train and test the viseme head.")
    p.add_argument("--recordings", type=Path, default=SHARED / "traindata" / "ljspeech", help="folder of LJSpeech wavs")
    p.add_argument("--testdata", type=Path, default=SHARED / "testdata", help="folder with manifest.csv and speech/")
    p.add_argument("--more", type=Path, help="folder of further test clips, .wav and .txt of the same name")
    p.add_argument("--choices", type=Path, help="folder of clips, .wav and .txt, by which the closure's bias is set")
    p.add_argument("--english", type=float, default=40.0, help="minutes of synthesized English (default %(default)s)")
    p.add_argument("--flite", type=float, default=30.0, help="minutes of flite's voices (default %(default)s)")
    p.add_argument("--other", type=float, default=20.0, help="minutes of other languages (default %(default)s)")
    p.add_argument("--copies", type=int, default=16, help="augmentations of each recording (default %(default)s)")
    p.add_argument("--windows", type=Path, help="file that keeps the material's features; used when it is there")
    p.add_argument("--iterations", type=int, default=2600)
    p.add_argument("--nets", type=int, default=3, help="nets whose mean is the head (default %(default)s)")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument(
        "--encoder", default="tiny.en", help="tiny.en, base, mel or an openai-whisper .pt (default %(default)s)"
    )
    p.add_argument("--out", type=Path, help="the head to write, its card beside it (default: where the driver looks)")
    p.add_argument("--evaluate-only", action="store_true", help="test the head at --out and write nothing")
    return p.parse_args()


if __name__ == "__main__":
    main()
