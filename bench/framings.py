"""The cost of a frame by framing, size, number of Gaussians and threads: `python -m bench.framings [--json FILE]`.

Half is the demo avatar; head and full are the tests' synthetic people, who fill more and less of the picture.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from avatar import asset
from avatar.asset import Avatar
from avatar.render import cpu
from bench import frame

FRAMES = 24


def people(demo: Path) -> dict[str, Avatar]:
    from tests.avatar import synthetic

    made = {name: synthetic.avatar(80_000, name, 512) for name in ("head", "full")}
    return {"head": made["head"], "half": asset.load(demo), "full": made["full"]}


def run(avatars: dict[str, Avatar], frames: int = FRAMES) -> dict[str, dict[str, float]]:
    """framing,Gaussians,size,threads -> median_ms, p95_ms, cpu_ms of rig and rasterizer."""
    cpu.warm()
    found: dict[str, dict[str, float]] = {}
    for name, a in avatars.items():
        for count in frame.COUNTS:
            thinned = frame.with_count(a, count)
            for size in frame.SIZES:
                for threads in (1, 2):
                    seconds, _ = frame.measure(thinned, size, threads, frames)
                    key = f"{name},{count // 1000}k,{size[0]}x{size[1]},{threads}t"
                    total = np.array(seconds["total"]) * 1e3
                    found[key] = {
                        "median_ms": round(float(np.median(total)), 3),
                        "p95_ms": round(float(np.percentile(total, 95)), 3),
                        "cpu_ms": round(float(np.median(seconds["cpu"])) * 1e3, 3),
                    }
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.framings", description=__doc__)
    parser.add_argument("--avatar", type=Path, default=Path("avatars/demo.avatar"))
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(arguments)
    result: dict[str, Any] = {"machine": frame.machine(), "totals": run(people(args.avatar))}
    for name, t in result["totals"].items():
        print(f"{name:28} {t['median_ms']:8.2f} ms, p95 {t['p95_ms']:8.2f}, processor {t['cpu_ms']:8.2f}")
    if args.json:
        frame.write(args.json, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
