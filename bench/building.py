"""What a build takes: seconds of every stage, processor time, memory; as an upload's, in a process of its own."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from avatar.build import worker

RUNS = 3


def run(photo: Path, runs: int = RUNS) -> dict[str, Any]:
    """Medians over builds of the photo, whose kernels a first one, not counted, has compiled.

    -> {"photo", "runs", "stages": {name: {"seconds", "processor"}}, "seconds" from the start of the process to the
    saved avatar, "processor" of the stages, "peak_memory_mb", "gaussians", "load" of the machine before}. "around"
    among the stages is what the process does besides them: it starts, loads packages and writes the file. Raises
    ValueError where the photo is refused.
    """
    load = os.getloadavg()[0]
    return summary(photo.name, [_once(photo) for _ in range(runs + 1)][1:], load)


def _once(photo: Path) -> dict[str, Any]:
    """The report of one build, and the whole time."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        event = worker.BuildJob(photo, Path(folder) / "bench.avatar").wait()
        whole = time.perf_counter() - start
    if event["event"] != "done":
        raise ValueError(f"{photo}: {event.get('error', 'the build was cancelled')}")
    return {**event["report"], "whole": whole}


def summary(name: str, reports: Sequence[dict[str, Any]], load: float) -> dict[str, Any]:
    middle = lambda values: float(median(values))  # noqa: E731
    stages = {
        stage: {
            "seconds": middle(r["stages"][stage] for r in reports),
            "processor": middle(r["processor"][stage] for r in reports),
        }
        for stage in reports[0]["stages"]
    }
    stages["around"] = {"seconds": middle(r["whole"] - r["seconds"] for r in reports)}
    return {
        "photo": name, "runs": len(reports), "stages": stages, "seconds": middle(r["whole"] for r in reports),
        "processor": middle(sum(r["processor"].values()) for r in reports),
        "peak_memory_mb": max(r["peak_memory_mb"] for r in reports), "gaussians": reports[0]["gaussians"], "load": load,
    }  # fmt: skip


def table(result: dict[str, Any]) -> str:
    lines = [
        f"{result['photo']}: median of {result['runs']} builds, {result['gaussians']:,} Gaussians",
        f"{'stage':12}{'seconds':>10}{'processor':>12}",
    ]
    whole = {"the whole": {"seconds": result["seconds"], "processor": result["processor"]}}
    for name, s in (result["stages"] | whole).items():
        lines.append(f"  {name:10}{s['seconds']:10.2f}" + (f"{s['processor']:12.2f}" if "processor" in s else ""))
    return "\n".join([*lines, f"peak memory {result['peak_memory_mb']:.0f} MB; load {result['load']:.1f} before"])
