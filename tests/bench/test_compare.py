"""The comparison blames what is slow every time, not what was slow once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import compare


def figures(rig: float = 0.5, total: float = 8.0, reference: float = 40.0) -> dict[str, Any]:
    return {
        "machine": {"processor": "P", "load": 1},
        "stages": {
            compare.REFERENCE: {"median_ms": reference, "p95_ms": 50, "cpu_ms": reference},
            "rig": {"median_ms": rig, "p95_ms": 1, "cpu_ms": rig},
            "project": {"median_ms": 0.05, "p95_ms": 1},
            "tiles": {"median_ms": 3, "p95_ms": 9},
            "prepass@80k,512x512,1t": {"median_ms": 5, "p95_ms": 9},
            "total": {"median_ms": 99, "p95_ms": 99, "cpu_ms": total},
        },
    }


def test_ratios_are_of_processor_time_where_it_is_known() -> None:
    assert compare.ratios(figures()) == {"rig": 0.5 / 40, "prepass@80k,512x512,1t": 5 / 40, "total": 8 / 40}


def test_a_slower_machine_is_no_regression() -> None:
    base = compare.ratios(figures())
    assert compare.slower(compare.ratios(figures(1.5, 24, 120)), base) == {}


def test_what_is_slow_every_time_is_blamed_and_what_was_once_is_not() -> None:
    base, runs = compare.ratios(figures()), iter([figures(rig=2, total=11), figures(total=10.4)])
    found = compare.compare(lambda: next(runs, figures(total=10)), base)
    assert found == pytest.approx({"total": 1.25})


def test_one_good_run_is_enough() -> None:
    def never() -> dict[str, Any]:
        raise AssertionError("nothing looked slow")

    assert compare.compare(never, compare.ratios(figures()), figures(total=9)) == {}


def test_the_command_says_what_is_slower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base, fresh = tmp_path / "base.json", tmp_path / "fresh.json"
    compare.update(base, figures)
    monkeypatch.setattr(compare.frame, "run", lambda *a, **k: figures(total=16))
    fresh.write_text(json.dumps(figures(total=16)))
    assert compare.main(["--baseline", str(base), "--fresh", str(fresh)]) == 1
    assert "SLOWER  total: 2.00 times the baseline" in capsys.readouterr().out
    fresh.write_text(json.dumps(figures()))
    assert compare.main(["--baseline", str(base), "--fresh", str(fresh)]) == 0
    assert compare.main(["--baseline", str(tmp_path / "none.json")]) == 2
    base.write_text(json.dumps({"machine": {}, "ratios": {"other": 1}}))
    assert compare.main(["--baseline", str(base), "--fresh", str(fresh)]) == 2
    assert "no stage in common" in capsys.readouterr().err


def test_the_committed_baseline_fits_what_the_bench_measures() -> None:
    base = json.loads(compare.BASELINE.read_text())
    assert {"total", "total@80k,512x512,1t", "rig", "ours rasterizer"} <= base["ratios"].keys()
    assert all(0 < r < 3 for r in base["ratios"].values())
