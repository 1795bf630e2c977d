"""Measure what docs/benchmarks.md says of a frame and of a build and write it there, on a quiet machine.

`python -m bench.docs` takes about six minutes: the stages and yardsticks, three framings, viewers and memory, the whole
chain with a browser at 512x512 and at 720x1280, an asyncio ticker beside a kernel, the builds. Draws docs/cost.svg,
too. `--only build` takes a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import bench
from avatar import asset
from avatar.build import builder, photo
from avatar.render import cpu
from avatar.rig import Rig
from bench import browser, building, frame, framings, page, ticker, viewers

PLOT = page.PAGE.with_name("make_bench_plot.py")
LIVE = (((512, 512), 30.0), ((720, 1280), 25.0))
STAGES = {
    "motion": "motion (idle, mixer)", "rig": "rig", "project": "project the mesh", "prepass": "depth pre-pass",
    "bin": "project Gaussians, sort into tiles", "tiles": "sum the tiles", "resolve": "resolve to I420",
    "encode ultrafast": "x264 ultrafast", "encode superfast": "x264 superfast",
}  # fmt: skip
YARDSTICKS = {
    "numba baseline": "plain numba, sorted alpha ([bench/baseline.py](../bench/baseline.py), frozen)",
    "torch": "plain torch, sorted alpha ([bench/torch_splat.py](../bench/torch_splat.py))",
    "OpenGL on llvmpipe": "OpenGL on llvmpipe, sorted alpha ([bench/opengl.py](../bench/opengl.py))",
    "gsplat on the GPU": "the same picture by gsplat on the GPU",
}


def measure(avatars: list[Path], voice: Path | None, seconds: float) -> dict[str, Any]:
    """-> bench.run's result with "viewers", "live" (size and rate -> browser.run's), "ticker" (ms late), "build"."""
    result = bench.run(None, avatars)
    spoken = viewers.run(avatars[0])
    silent = viewers.run(avatars[0], (1,), 2.0, speech=False)
    result["viewers"] = {"with speech driver": spoken, "without": silent}
    result["live"] = {}
    for size, fps in LIVE:
        result["live"][f"{size[0]}x{size[1]}, {fps:g} frames/s"] = browser.run(avatars[0], seconds, voice, size, fps)
    result["ticker"] = {"idle": late_beside(lambda: time.sleep(0.015)), "drawing": late_beside(_kernel(avatars[0]))}
    result["build"] = building.run(photo.demo())
    result["machine"]["load afterwards"] = round(os.getloadavg()[0], 2)
    return result


def late_beside(work: Callable[[], object]) -> dict[str, float]:
    """How late an asyncio timer wakes beside work in a thread, and how long the work takes, ms."""
    durations, late = asyncio.run(ticker.ticks_beside(work, 3.0))
    ms = lambda s, q: float(np.percentile(s, q)) * 1e3  # noqa: E731
    return {"work_ms": ms(durations, 50), "median_ms": ms(late, 50), "p95_ms": ms(late, 95)}


def _kernel(path: Path) -> Callable[[], object]:
    """Draws a picture so large that it takes some 15 ms."""
    a, side = asset.load(path), 1400
    r, v = cpu.Rasterizer(a, 1), Rig(a).vertices(a.photo).copy()
    camera = a.camera.window(0, 0, a.camera.width, side, side)
    out = np.empty((side, side, 4), np.float32)
    r.draw(v, camera, out)
    return lambda: r.draw(v, camera, out)


# ---- tables ---------------------------------------------------------------------------------------------------------


def tables(result: dict[str, Any]) -> dict[str, str]:
    """Name of the markers in docs/benchmarks.md -> text."""
    return {
        "the machine": _machine(result["machine"]), "the frame": _frame(result), "the growth": _growth(result),
        "the chain": _chain(result), "the build": _build(result["build"]),
    }  # fmt: skip


def _machine(m: dict[str, Any]) -> str:
    return (
        f"{m['cores']} cores of {m['processor']}, Python {m['python']}, numba {m['numba']}; load {m['load']} when the "
        f"measuring began, {m['load afterwards']} when it ended."
    )


def _frame(result: dict[str, Any]) -> str:
    stages = result["stages"]
    lines = [
        "| Gaussians | size | threads | total, ms | p95 | spread | processor, ms |",
        "|---|---|---|---|---|---|---|",
    ]
    for count, size, threads in sorted(frame.configurations(), key=lambda c: (frame.SIZES.index(c[1]), c)):
        main = (count, size, threads) == frame.MAIN
        s = stages["total" if main else f"total@{frame.named(count, size, threads)}"]
        where = f"| {count:,} | {size[0]}x{size[1]} | {threads} "
        lines.append(where + f"| {_three(s)} | {s['cpu_ms']:.1f} |")
    lines += ["", "| stage, 80,000 Gaussians, 512x512, two threads | median, ms | p95 | spread |", "|---|---|---|---|"]
    lines += [f"| {text} | {_three(stages[name], 2)} |" for name, text in STAGES.items()]
    lines += ["", "| the rasterizer beside, same run | times as long | in processor time |", "|---|---|---|"]
    for name, text in YARDSTICKS.items():
        if f"{name} / ours" in result["ratios"]:
            ratio, cpu_ratio = (result["ratios"][f"{name} / ours{of}"] for of in ("", ", cpu time"))
            lines.append(f"| {text} | {ratio:.3g} | {cpu_ratio:.3g} |")
    return "\n".join(lines)


def _three(s: dict[str, float], digits: int = 1) -> str:
    return " | ".join(f"{s[key]:.{digits}f}" for key in ("median_ms", "p95_ms", "spread_ms"))


def _growth(result: dict[str, Any]) -> str:
    found, names = result["framings"], [frame.named(n, frame.SIZES[0], 1) for n in frame.COUNTS]
    names += [frame.named(frame.MAIN[0], size, 1) for size in frame.SIZES[1:]] + [frame.named(*frame.MAIN)]
    who = ", ".join(f"{framing}: {name}" for framing, name in result["people"].items())
    lines = [f"Processor ms of rig and rasterizer ({who}); 1t and 2t: threads.", ""]
    lines += ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for framing in result["people"]:
        cells = [f"{found[f'{framing},{name}']['total']['cpu_ms']:.1f}" for name in names]
        lines.append(f"| {framing} | " + " | ".join(cells) + " |")
    lines += ["", f"Stages at {frame.named(*frame.MAIN)}, ms: median / 95th percentile / spread.", ""]
    lines += ["| | " + " | ".join(result["people"]) + " |", "|---" * (len(result["people"]) + 1) + "|"]
    for name, text in {**STAGES, "total": "rig and rasterizer"}.items():
        stages = [found[f"{framing},{frame.named(*frame.MAIN)}"][name] for framing in result["people"]]
        lines.append(f"| {text} | " + " | ".join(_three(s, 2).replace(" | ", " / ") for s in stages) + " |")
    return "\n".join(lines)


def _chain(result: dict[str, Any]) -> str:
    live = result["live"]
    lines = ["| | " + " | ".join(live) + " |", "|---" * (len(live) + 1) + "|"]
    for key, text in {
        "fps": "frames a second in the browser, mean", "slowest_second_fps": "of the slowest second",
        "longest_gap_ms": "longest gap between two frames, ms", "server_cores": "processor of the server, cores",
        "render_ms": "drawing a frame, ms", "encode_ms": "encoding a frame, ms", "frames_left_out": "frames left out",
        "degraded_steps": "steps of quality given up", "server_memory_mb": "memory of the server, MB",
    }.items():  # fmt: skip
        digits = 2 if key == "server_cores" else 0 if key.endswith(("_mb", "out", "steps")) else 1
        lines.append(f"| {text} | " + " | ".join(f"{figures[key]:.{digits}f}" for figures in live.values()) + " |")
    spoken, silent = result["viewers"]["with speech driver"], result["viewers"]["without"]
    lines += ["", "| viewers of one session | processor of the server, cores | frames a second |", "|---|---|---|"]
    lines += [f"| {n} | {cores:.2f} | {spoken['fps'][n]:.1f} |" for n, cores in spoken["cores"].items()]
    drawing, idle = result["ticker"]["drawing"], result["ticker"]["idle"]
    lines += [
        "",
        f"Peak memory of that server with one avatar: {spoken['peak_memory_mb']:.0f} MB with the speech driver, "
        f"{silent['peak_memory_mb']:.0f} MB without.",
        "",
        f"While a kernel of {drawing['work_ms']:.0f} ms draws without a pause, an asyncio timer wakes "
        f"{drawing['median_ms']:.2f} ms late at the median ({idle['median_ms']:.2f} beside a thread that sleeps), "
        f"{drawing['p95_ms']:.2f} ms at the 95th percentile ({idle['p95_ms']:.2f}).",
    ]
    return "\n".join(lines)


def _build(result: dict[str, Any]) -> str:
    lines = ["| stage | seconds | processor, seconds |", "|---|---|---|"]
    for name, (_, does) in builder.STAGES.items():
        s = result["stages"][name]
        lines.append(f"| {name}: {does[0].lower()}{does[1:]} | {s['seconds']:.2f} | {s['processor']:.2f} |")
    around = result["stages"]["around"]["seconds"]
    lines.append(f"| around: the process starts, loads packages, writes the file | {around:.2f} | |")
    lines.append(f"| the whole | {result['seconds']:.1f} | {result['processor']:.1f} |")
    memory = f"{result['gaussians']:,} Gaussians; peak memory {result['peak_memory_mb']:.0f} MB"
    lines += ["", f"{memory}; load {result['load']:.1f} when the measuring began."]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.docs", description=__doc__)
    parser.add_argument("--avatar", type=Path, nargs="+", default=[framings.DEMO], help="as of run_server.py bench")
    parser.add_argument("--voice", type=Path, metavar="FILE", help="what is said while a browser watches")
    parser.add_argument("--seconds", type=float, default=30.0, help="that each browser watches (default 30)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures")
    parser.add_argument("--dry", action="store_true", help="print the tables instead of writing them")
    parser.add_argument("--only", choices=("build",), help="measure and write this table alone")
    args = parser.parse_args(arguments)
    if args.only:
        result = building.run(photo.demo())
        found = {"the build": _build(result)}
    else:
        result = measure(args.avatar, args.voice, args.seconds)
        found = tables(result)
    if args.json:
        frame.write(args.json, result)
    text = page.PAGE.read_text()
    for name, table in found.items():
        print(f"\n{name}\n{table}")
        text = page.insert(text, name, table)
    if not args.dry:
        page.write(page.PAGE, text)
    if not args.dry and not args.only:
        with tempfile.TemporaryDirectory() as folder:
            figures = Path(folder) / "figures.json"
            frame.write(figures, result)
            subprocess.run([sys.executable, str(PLOT), str(figures)], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
