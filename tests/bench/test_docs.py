"""The page of benchmarks is written from figures, between its markers, and the plot from the same figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from avatar.build import builder
from bench import building, docs, frame, framings, page

SUMMARY = {"median_ms": 1.25, "p95_ms": 2.5, "spread_ms": 0.375, "cpu_ms": 3.0}


def report(k: float) -> dict[str, Any]:
    """Of a build whose i-th stage takes i k seconds."""
    stages = {name: k * (i + 1) for i, name in enumerate(builder.STAGES)}
    processor = {name: 0.5 * s for name, s in stages.items()}
    return {
        "stages": stages, "processor": processor, "seconds": sum(stages.values()), 
        "whole": sum(stages.values()) + 4 * k, "peak_memory_mb": 700 + k, "gaussians": 85_000,
    }  # fmt: skip


def figures() -> dict[str, Any]:
    stages = {name: SUMMARY for name in framings.COLUMNS}
    for configuration in frame.configurations():
        stages["total@" + frame.named(*configuration)] = SUMMARY
    live = dict.fromkeys(
        ("fps", "slowest_second_fps", "longest_gap_ms", "server_cores", "render_ms", "encode_ms", "frames_left_out",
         "degraded_steps", "server_memory_mb"), 24.9,
    )  # fmt: skip
    watched = {"cores": {"0": 0.1, "1": 0.5}, "fps": {"0": 0.0, "1": 30.0}, "peak_memory_mb": 678.0}
    keys = [(n, size, t) for n in frame.COUNTS for size in frame.SIZES for t in (1, 2)]
    return {
        "machine": frame.machine() | {"load afterwards": 0.5},
        "stages": stages,
        "ratios": {"numba baseline / ours": 6.1, "numba baseline / ours, cpu time": 8.2},
        "people": {"head": "Ann", "half": "Bea", "full": "Cy"},
        "framings": {f"{who},{frame.named(*k)}": stages for who in ("head", "half", "full") for k in keys},
        "viewers": {"with speech driver": watched, "without": watched},
        "live": {"512x512, 30 frames/s": live, "720x1280, 25 frames/s": live},
        "build": building.summary("astronaut.png", [report(1.0), report(3.0), report(2.0)], 1.5),
        "ticker": {key: {"work_ms": 15.0, "median_ms": 0.16, "p95_ms": 3.3} for key in ("idle", "drawing")},
    }


def test_every_table_finds_its_place_in_the_page() -> None:
    text = page.PAGE.read_text()
    tables = docs.tables(figures())
    for name, table in tables.items():
        text = page.insert(text, name, table)
    for name, table in tables.items():  # a second run replaces the first
        assert page.insert(text, name, table) == text
    for line in (
        "| 80,000 | 512x512 | 2 | 1.2 | 2.5 | 0.4 | 3.0 |",
        "| resolve to I420 | 1.25 | 2.50 | 0.38 |",
        "| plain numba, sorted alpha ([bench/baseline.py](../bench/baseline.py), frozen) | 6.1 | 8.2 |",
        "| full | 3.0 | 3.0 | 3.0 | 3.0 | 3.0 | 3.0 |",
        "| frames a second in the browser, mean | 24.9 | 24.9 |",
        "| 1 | 0.50 | 30.0 |",
        "| fit: fitting a body to the person | 4.00 | 2.00 |",
        "| the whole | 64.0 | 28.0 |",
        "85,000 Gaussians; peak memory 703 MB; load 1.5 when the measuring began.",
    ):
        assert text.count(line) == 1, line
    assert "llvmpipe, sorted" not in tables["the frame"]  # it was absent
    with pytest.raises(ValueError, match="must hold"):
        page.insert(text, "no such table", "")


def test_the_plot_is_drawn_from_the_same_figures(tmp_path: Path) -> None:
    file, out = tmp_path / "figures.json", tmp_path / "cost.svg"
    file.write_text(json.dumps(figures()))
    subprocess.run([sys.executable, str(docs.PLOT), str(file), "-o", str(out)], check=True)
    text = out.read_text()
    assert text.count("<!-- half -->") == 1  # matplotlib notes each text beside its outlines
    assert "processor ms a frame" in text
