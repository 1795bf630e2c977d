"""Has a stage become slower? Ratios to the frozen reference rasterizer, now and in the committed baseline.

`python -m bench.compare` measures and compares with bench/baseline.json; `--fresh FILE` compares figures that
`run_server.py bench --json FILE` wrote; `--update` measures three times and writes a new baseline. Exit status 1 where
a stage is more than ALLOWED slower. A stage under suspicion is measured again before it is blamed, as other work on the
machine slows single runs down.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import frame

BASELINE = Path(__file__).with_name("baseline.json")
REFERENCE = "numba baseline rasterizer"
ALLOWED = 1.2
SMALL = 0.15  # ms, under which a stage is not compared
RUNS = 3
SHORT = ("project", "prepass", "bin", "tiles", "resolve")
NOT_OURS = ("torch rasterizer", "OpenGL on llvmpipe rasterizer", "gsplat on the GPU rasterizer")


def ratios(result: dict[str, Any]) -> dict[str, float]:
    """Stage -> its time over the reference's processor time of the same run.

    Processor time where it is known; otherwise the median of stages of one thread, which are too short to be
    interrupted often. Stages of two threads have wall times, which say too little beside other work.
    """
    stages = result["stages"]
    reference = stages[REFERENCE]
    found = {}
    for name, s in stages.items():
        stage, _, configuration = name.partition("@")
        if name == REFERENCE or s["median_ms"] < SMALL or stage in NOT_OURS:
            continue
        if "cpu_ms" in s:
            found[name] = s["cpu_ms"] / reference["cpu_ms"]
        elif configuration.endswith(",1t") and stage in SHORT:
            found[name] = s["median_ms"] / reference["cpu_ms"]
    return found


def slower(fresh: dict[str, float], baseline: dict[str, float]) -> dict[str, float]:
    """Stages that take more than ALLOWED times as long as in the baseline -> how many times as long."""
    times = {name: fresh[name] / baseline[name] for name in fresh.keys() & baseline.keys()}
    return {name: t for name, t in sorted(times.items(), key=lambda item: -item[1]) if t > ALLOWED}


def compare(
    measure: Callable[[], dict[str, Any]], baseline: dict[str, float], first: dict[str, Any] | None = None
) -> dict[str, float]:
    """`slower` of the best of up to RUNS runs; a further one only while something looks slow. `first`: a run at hand.

    Raises ValueError where run and baseline have no stage in common.
    """
    best = ratios(first or measure())
    if not best.keys() & baseline.keys():
        raise ValueError("the figures and the baseline have no stage in common; make a new one with --update")
    for _ in range(RUNS - 1):
        if not (suspects := slower(best, baseline)):
            break
        print(f"measured again, as these look slow: {', '.join(suspects)}", flush=True)
        best = _least(best, ratios(measure()))
    return slower(best, baseline)


def _least(a: dict[str, float], b: dict[str, float]) -> dict[str, float]:
    return {name: min(a.get(name, x), x) for name, x in b.items()}


def update(path: Path, measure: Callable[[], dict[str, Any]]) -> None:
    """Write the least ratios of RUNS runs as the new baseline."""
    results = [measure() for _ in range(RUNS)]
    best = ratios(results[0])
    for r in results[1:]:
        best = _least(best, ratios(r))
    machine = {k: v for k, v in results[0]["machine"].items() if k != "load"}
    frame.write(path, {"machine": machine, "ratios": {k: round(v, 4) for k, v in sorted(best.items())}})


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("--avatar", type=Path, default=Path("avatars/demo.avatar"))
    parser.add_argument("--baseline", type=Path, default=BASELINE)
    parser.add_argument("--fresh", type=Path, metavar="FILE", help="figures that were measured already")
    parser.add_argument("--update", action="store_true", help="write the baseline instead")
    args = parser.parse_args(arguments)

    def measure() -> dict[str, Any]:
        return frame.run(None, args.avatar, quiet=True)

    if args.update:
        update(args.baseline, measure)
        return 0
    try:
        baseline = json.loads(args.baseline.read_text())
        first = json.loads(args.fresh.read_text()) if args.fresh else None
        found = compare(measure, baseline["ratios"], first)
    except (OSError, ValueError, KeyError) as e:
        print(f"bench-compare: {e}", file=sys.stderr)
        return 2
    here = frame.machine()["processor"]
    if here != baseline["machine"]["processor"]:
        print(f"the baseline is of another processor ({baseline['machine']['processor']}); this is {here}")
    for name, times in found.items():
        print(f"SLOWER  {name}: {times:.2f} times the baseline")
    print(f"{len(found)} stages are slower than {args.baseline.name}" if found else "no stage is slower")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
