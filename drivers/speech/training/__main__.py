"""Train the viseme head and write it with its card.

    python -m drivers.speech.training --recordings ../shared/traindata/ljspeech --testdata ../shared/testdata

Needs espeak-ng (the library, in a process of its own), pocketsphinx (`pip install pocketsphinx`) and the encoder's
weights. With the same data and seed it writes the same head.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from drivers.speech.driver import Settings
from drivers.speech.head import DEFAULT, Head
from drivers.speech.training import card
from drivers.speech.training.alignment import Aligner
from drivers.speech.training.dataset import Amounts, build, importance
from drivers.speech.training.evaluation import Figures, cost, evaluate, material
from drivers.speech.training.fit import fit
from models.speech_encoder import SpeechEncoder

SHARED = Path(__file__).resolve().parents[4] / "shared"


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    encoder = SpeechEncoder(blocks=3)
    log: list[str] = []
    start = time.process_time()

    def report(line: str) -> None:
        log.append(line)
        print(f"{time.process_time() - start:6.0f} s  {line}", flush=True)

    if options.evaluate_only:
        head = Head.load(options.out)
    else:
        amounts = Amounts(english=options.english, other=options.other, recorded_copies=options.copies)
        windows = build(encoder, amounts, options.recordings, options.seed, report)
        head = fit(windows, importance(windows), options.iterations, options.seed)
        report(f"fitted in {options.iterations} steps, seed {options.seed}")
    clips = material(options.testdata, Aligner(), options.more)
    figures: dict[str, Figures] = {}
    for hop in (0.080, 0.040):
        figures[f"hop {hop * 1000:.0f} ms"] = evaluate(clips, encoder, head, Settings(hop=hop))
        report(card.line(figures[f"hop {hop * 1000:.0f} ms"]))
    if clips:
        median, high = cost(clips[0], encoder, head, Settings())
        latency = (Settings().hop + Settings().lookahead) * 1000
        report(f"latency {latency:.0f} ms, and for each hop {median:.0f} ms of CPU time (95 % within {high:.0f} ms)")
    if not options.evaluate_only:
        head.save(options.out)
        card.write(options.out.with_suffix(".md"), log, figures, clips, time.process_time() - start)
        print(f"wrote {options.out} ({options.out.stat().st_size / 1024:.0f} kB)")


def _options() -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="python -m drivers.speech.training", description="Train and test the viseme head.")
    p.add_argument("--recordings", type=Path, default=SHARED / "traindata" / "ljspeech", help="folder of LJSpeech wavs")
    p.add_argument("--testdata", type=Path, default=SHARED / "testdata", help="folder with manifest.csv and speech/")
    p.add_argument("--more", type=Path, help="folder of further test clips, .wav and .txt of the same name")
    p.add_argument("--english", type=float, default=10.0, help="minutes of synthesized English (default %(default)s)")
    p.add_argument("--other", type=float, default=3.0, help="minutes of other languages (default %(default)s)")
    p.add_argument("--copies", type=int, default=4, help="augmentations of each recording (default %(default)s)")
    p.add_argument("--iterations", type=int, default=1300)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--out", type=Path, default=DEFAULT, help="the head to write; its card lies beside it")
    p.add_argument("--evaluate-only", action="store_true", help="test the head at --out and write nothing")
    return p.parse_args()


if __name__ == "__main__":
    main()
