"""The GPU path in one go: parity, speed, memory, sessions; the table in docs/benchmarks.md. Under eight minutes.

    python run_server.py bench --device cuda       (the same as: python -m bench.gpu_check)

Nothing is written and the exit status is 1 where CUDA is not, or where parity fails.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from avatar import asset
from avatar.asset import Avatar, State
from avatar.render import compose, cpu, gpu, gpu_depth, reference
from avatar.rig import Rig
from bench import page
from bench.frame import FPS, with_count
from models.motion import JOINT, A, Motion

LEAST_PSNR = {"rule": 60.0, "alpha": 40.0}  # dB against the CPU and the reference
COUNTS, BATCHES = (40_000, 80_000, 120_000), (1, 4, 16)
SIZES = ((512, 512), (720, 1280), (1280, 720))
SECONDS = 4.0  # of drawing per figure
U8 = NDArray[np.uint8]


@dataclass(frozen=True)
class Figures:
    device: str
    parity: dict[str, dict[str, float]]  # blend -> pose and what against -> dB
    speed: dict[str, dict[str, float]]  # configuration -> ms, p95_ms, fps, sessions
    memory_mb: float  # most that was allocated
    seconds: float

    @property
    def good(self) -> bool:
        return all(min(scores.values()) >= LEAST_PSNR[blend] for blend, scores in self.parity.items())


def main(avatar: Path = Path("avatars/demo.avatar"), json_path: Path | None = None) -> int:
    if not torch.cuda.is_available():
        print("gpu_check: no CUDA device answers on this machine; nothing was measured or written", file=sys.stderr)
        return 1
    figures = measure(asset.load(avatar))
    print(table(figures))
    if json_path is not None:
        page.write(json_path, json.dumps(vars(figures), indent=1))
    if not figures.good:
        print(f"gpu_check: parity under {LEAST_PSNR} dB; the table was not written", file=sys.stderr)
        return 1
    page.write(page.PAGE, page.insert(page.PAGE.read_text(), "the GPU table", table(figures)))
    return 0


def measure(a: Avatar) -> Figures:
    started = time.perf_counter()
    splat = gpu.prepare()
    blends = ("rule", "alpha") if gpu_depth.TRITON else ("alpha",)
    torch.cuda.reset_peak_memory_stats()
    parity_scores, taken = {}, {}
    for blend in blends:
        rasterizer = gpu.GpuRasterizer(splat=splat, blend=blend)
        parity_scores[blend] = parity(rasterizer, a)
        for name, figure in speeds(rasterizer, a, blend == blends[0], speed):
            taken[f"{blend}, {name}"] = figure
    memory = torch.cuda.max_memory_allocated() / 2**20
    device = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}, torch {torch.__version__}"
    return Figures(device, parity_scores, taken, memory, time.perf_counter() - started)


def states(a: Avatar) -> dict[str, State]:
    """The photo, the neutral, and a turned head that laughs with open mouth."""
    laugh = Motion(0.0)
    for name in ("jawOpen", "mouthSmileLeft", "mouthSmileRight"):
        laugh.face[A[name]] = 0.6
    laugh.pose[JOINT["head"], 1] = 0.15
    laugh.weight[:] = 1
    return {"photo": a.photo, "neutral": a.neutral, "laugh": Rig(a).state(laugh)}


def parity(rasterizer: gpu.GpuRasterizer, a: Avatar) -> dict[str, float]:
    """PSNR in dB of the device's pictures against the CPU's, and at rest against the float64 reference."""
    camera, scene = compose.view(a, 512, 512)
    drawn, rig, by_cpu = rasterizer.load(a), Rig(a), cpu.Rasterizer(a, 2)
    background = compose.i420(scene)
    on_device = rasterizer.background(background)
    scores = {}
    for name, state in states(a).items():
        vertices = rig.vertices(state).copy()
        ours = rasterizer.draw(drawn, state, camera)
        scores[f"{name}, CPU"] = psnr(ours, by_cpu.draw(vertices, camera))
        out, want = np.empty_like(background), np.empty_like(background)
        rasterizer.draw_many([gpu.Shot(drawn, state, camera, on_device, out)])
        by_cpu.draw_i420(vertices, camera, background, want)
        scores[f"{name}, CPU, I420"] = psnr(out / 255.0, want / 255.0)
        if name == "photo":
            exact = reference.draw(vertices, a.mesh.faces, a.occluder, a.gaussians, camera)
            scores[f"{name}, reference"] = psnr(ours, exact)
    by_cpu.close()
    return scores


def psnr(a: NDArray, b: NDArray) -> float:
    return round(float(-10 * np.log10(np.mean((np.asarray(a, np.float64) - b) ** 2) + 1e-12)), 2)


def speeds(
    rasterizer: gpu.GpuRasterizer,
    a: Avatar,
    full: bool,
    measured: Callable[[Callable[[], None], int], dict[str, float]],
) -> Iterator[tuple[str, dict[str, float]]]:
    """Configurations: one thing changed at a time from the middle COUNTS, the first SIZES, one picture a launch."""
    main = COUNTS[1]
    wanted = [(main, SIZES[0], batch) for batch in BATCHES]
    if full:
        wanted += [(n, SIZES[0], 1) for n in COUNTS if n != main] + [(main, size, 1) for size in SIZES[1:]]
    thinned = {n: with_count(a, n) for n in COUNTS}  # held: the device's copy lives as long as the avatar
    for count, size, batch in wanted:
        draw = _drawing(rasterizer, thinned[count], size, batch)
        yield f"{count // 1000}k, {size[0]}x{size[1]}, {batch} a launch", measured(draw, batch)


def _drawing(rasterizer: gpu.GpuRasterizer, a: Avatar, size: tuple[int, int], batch: int) -> Callable[[], None]:
    """Draws `batch` sessions' next frames, from Motion's state to I420 in host memory."""
    camera, scene = compose.view(a, *size)
    background = compose.i420(scene)
    on_device, drawn = rasterizer.background(background), rasterizer.load(a)
    cycle = list(states(a).values())
    shots = [gpu.Shot(drawn, cycle[k % len(cycle)], camera, on_device, np.empty_like(background)) for k in range(batch)]
    return lambda: rasterizer.draw_many(shots)


def speed(draw: Callable[[], None], batch: int, seconds: float = SECONDS) -> dict[str, float]:
    """Of one call of `draw`, which returns once the pictures are in host memory: ms, frames a second, sessions."""
    for _ in range(5):
        draw()
    moments = [time.perf_counter()]
    while moments[-1] - moments[0] < seconds:
        draw()
        moments.append(time.perf_counter())
    ms = 1e3 * np.array([b - a for a, b in pairwise(moments)])
    fps = 1e3 * batch / float(np.median(ms))
    figures = {"ms": float(np.median(ms)), "p95_ms": float(np.percentile(ms, 95)), "fps": fps}
    return {k: round(v, 3) for k, v in figures.items()} | {"sessions": int(fps / FPS)}


def table(f: Figures) -> str:
    lines = [f"{f.device}; most memory allocated {f.memory_mb:.0f} MB; the whole check took {f.seconds:.0f} s.", ""]
    lines += ["| picture against | blend | dB |", "|---|---|---|"]
    lines += [f"| {what} | {blend} | {dB:.1f} |" for blend, scores in f.parity.items() for what, dB in scores.items()]
    lines += ["", f"| State to I420 in host memory | ms | p95, ms | frames/s | sessions of {FPS} fps |"]
    lines += ["|---|---|---|---|---|"]
    for name, s in f.speed.items():
        lines.append(f"| {name} | {s['ms']:.2f} | {s['p95_ms']:.2f} | {s['fps']:.0f} | {s['sessions']:.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:2])))
