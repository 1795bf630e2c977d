"""Times of a frame: motion, rig, project, prepass, bin, tiles, resolve, total, encode; ratios to plain implementations.

project: vertices to the screen; prepass: depth; bin: Gaussians to the screen and into tiles; tiles: their sums;
resolve: sums to I420.

Times depend on the machine and on what else it does; ratios are taken within one run, stages and yardsticks in turn.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numba
import numpy as np
from numpy.typing import NDArray

from avatar import asset
from avatar.asset import Avatar
from avatar.render import compose, cpu
from avatar.rig import Rig
from bench import yardsticks
from drivers.idle import Idle
from drivers.mixer import Mixer
from models.motion import FACE_GROUP, GROUP, A, Motion

COUNTS = (40_000, 80_000, 120_000)
SIZES = ((512, 512), (720, 1280), (1280, 720))
MAIN = (80_000, (512, 512), 2)
FPS = 30
STAGES = ("motion", "rig", "project", "prepass", "bin", "tiles", "resolve", "total")
OWN = ("motion", "rig", "total")  # whose processor time is taken, too
Figures = dict[str, dict[str, float]]


def run(
    json_path: Path | None = None, avatar: Path | Avatar | None = None, frames: int = 90, quiet: bool = False
) -> dict[str, Any]:
    """Measure, print a table unless quiet, write JSON where asked.

    avatar: a file (default avatars/demo.avatar) or one in memory.

    -> {"machine", "avatar", "stages": {name: {median_ms, p95_ms, spread_ms}}, "ratios": {name: number}, "absent":
    {yardstick: what it would take}}. Stages without a suffix are of 80,000 Gaussians at 512x512 on two threads; "total"
    is rig and rasterizer, up to the I420 frame. Some have cpu_ms, too, the processor time of all threads: it says more
    where others use the machine. Raises AvatarError when the file is none.
    """
    a = avatar if isinstance(avatar, Avatar) else asset.load(avatar or Path("avatars/demo.avatar"))
    cpu.warm()
    stages: Figures = {}
    for count, size, threads in configurations():
        seconds, pictures = measure(with_count(a, count), size, threads, frames)
        suffix = "" if (count, size, threads) == MAIN else "@" + named(count, size, threads)
        figures = summaries(seconds)
        if threads == MAIN[2] and count == MAIN[0]:
            figures |= summaries(encode(pictures, *size))
        stages |= {name + suffix: s for name, s in figures.items()}
    absent: dict[str, str] = {}
    ratios = _ratios(with_count(a, MAIN[0]), stages, frames, absent)
    result = {"machine": machine(), "avatar": a.name, "stages": stages, "ratios": ratios, "absent": absent}
    if not quiet:
        print(table(result))
    if json_path is not None:
        write(json_path, result)
    return result


def named(count: int, size: tuple[int, int], threads: int) -> str:
    """A configuration in words."""
    return f"{count // 1000}k,{size[0]}x{size[1]},{threads}t"


def write(path: Path, result: dict[str, Any]) -> None:
    """As JSON, whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(result, indent=1) + "\n")
    os.replace(temporary, path)


def configurations() -> list[tuple[int, tuple[int, int], int]]:
    """The main one first; then one thing changed at a time."""
    counts = [(n, MAIN[1], t) for n in COUNTS for t in (1, 2)]
    sizes = [(MAIN[0], s, 2) for s in SIZES[1:]]
    return [MAIN, *(c for c in counts if c != MAIN), *sizes]


def with_count(a: Avatar, count: int, seed: int = 0) -> Avatar:
    """The avatar thinned or thickened to `count` Gaussians; their size follows, so that the surface stays as closed."""
    g, rng = a.gaussians, np.random.default_rng(seed)
    if count == g.count or g.count == 0:
        return a
    whole, rest = divmod(count, g.count)
    index = np.concatenate([np.tile(np.arange(g.count), whole), np.sort(rng.choice(g.count, rest, replace=False))])
    arrays = {k: v[index] for k, v in vars(g).items()}
    arrays["bary"] = (arrays["bary"] + rng.normal(0, 0.05, (count, 2)) * (whole > 0)).astype(np.float32)
    arrays["shape"] = (arrays["shape"] * np.sqrt(g.count / count)).astype(np.float32)
    return replace(a, gaussians=asset.Gaussians(**arrays))


def talking(mixer: Mixer, idle: Idle, t: float) -> Motion:
    """Idle life with a jaw that goes up and down over it, mixed as in a session."""
    speech = Motion(t)
    speech.face[A["jawOpen"]] = 0.3 + 0.3 * np.sin(19 * t)
    speech.face[A["mouthFunnel"]] = 0.2 + 0.2 * np.sin(7 * t)
    speech.weight[GROUP["mouth"]] = 1
    assert FACE_GROUP[A["jawOpen"]] == GROUP["mouth"]
    return mixer.mix(t, [idle.motion(t), speech])


def measure(
    a: Avatar, size: tuple[int, int], threads: int, frames: int
) -> tuple[dict[str, list[float]], list[NDArray]]:
    """Seconds of every stage of `frames` frames, and of some as "NAME cpu" the processor time; the frames (I420)."""
    camera, scene = compose.view(a, *size)
    background = compose.i420(scene)
    rig, raster, idle, mixer = Rig(a), cpu.Rasterizer(a, threads), Idle(0), Mixer(a.limits)
    seconds: dict[str, list[float]] = {name: [] for name in (*STAGES, *(f"{own} cpu" for own in OWN))}
    pictures = []
    for k in range(-5, frames):
        out = np.empty_like(background)
        start, cpu_start = time.perf_counter(), time.process_time()
        motion = talking(mixer, idle, (k + 5) / FPS)
        mixed, cpu_mixed = time.perf_counter(), time.process_time()
        vertices = rig.vertices(rig.state(motion))
        posed, cpu_posed = time.perf_counter(), time.process_time()
        raster.draw_i420(vertices, camera, background, out)
        end, cpu_end = time.perf_counter(), time.process_time()
        if k < 0:
            continue
        times = raster.times | {"motion": mixed - start, "rig": posed - mixed, "total": end - mixed}
        spent = cpu_mixed - cpu_start, cpu_posed - cpu_mixed, cpu_end - cpu_mixed
        times |= {f"{name} cpu": s for name, s in zip(OWN, spent)}
        for name in seconds:
            seconds[name].append(times[name])
        pictures.append(out)
    raster.close()
    return seconds, pictures


def encode(pictures: list[NDArray], width: int, height: int) -> dict[str, list[float]]:
    """Seconds per frame of x264, zero latency, one thread, 1.5 Mbit/s; the first (key) frame is left out."""
    seconds: dict[str, list[float]] = {}  # "NAME cpu": processor time
    for preset in ("ultrafast", "superfast"):
        c: Any = av.CodecContext.create("libx264", "w")
        c.width, c.height, c.pix_fmt, c.bit_rate, c.gop_size = width, height, "yuv420p", 1_500_000, 3000
        c.time_base, c.framerate, c.thread_count = Fraction(1, FPS), Fraction(FPS), 1
        c.options = {"preset": preset, "tune": "zerolatency"}
        taken: list[tuple[float, float]] = []
        for k, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, "yuv420p")
            frame.pts = k
            start, cpu_start = time.perf_counter(), time.process_time()
            c.encode(frame)
            taken.append((time.perf_counter() - start, time.process_time() - cpu_start))
        seconds[f"encode {preset}"], seconds[f"encode {preset} cpu"] = map(list, zip(*taken[1:]))
    return seconds


def _ratios(a: Avatar, stages: Figures, frames: int, absent: dict[str, str]) -> dict[str, float]:
    """How many times longer other ways take, drawn in turn with ours; and how our cost grows.

    Adds their times to stages, and to absent what they would take where they cannot be had.
    """
    camera, scene = compose.view(a, *MAIN[1])
    background = compose.i420(scene)
    rig, ours, out = Rig(a), cpu.Rasterizer(a, MAIN[2]), np.empty_like(background)
    v = rig.vertices(a.neutral).copy()
    ways: dict[str, Callable[[], object]] = {"ours": lambda: ours.draw_i420(v, camera, background, out)}
    ways |= yardsticks.all_of(a, v, camera, background, absent)
    wall: dict[str, list[float]] = {name: [] for name in ways}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for k in range(max(frames // 6, 3)):
        for name, draw in ways.items():
            if name in yardsticks.SLOW and k >= 5:
                continue
            start, cpu_start = time.perf_counter(), time.process_time()
            draw()
            if k:  # the first one compiles and touches memory
                wall[name].append(time.perf_counter() - start)
                spent[name].append(time.process_time() - cpu_start)
    ours.close()
    for name, seconds in wall.items():
        stages[f"{name} rasterizer"] = _summary(seconds) | {"cpu_ms": _median_ms(spent[name])}
    middle = {name: float(np.median(s)) for name, s in wall.items()}
    cpu_middle = {name: float(np.median(s)) for name, s in spent.items()}
    ms = lambda name: stages[name]["median_ms"]  # noqa: E731
    of = "total@{}k,512x512,{}t".format
    others = [name for name in ways if name != "ours"]
    return {
        **{f"{name} / ours": middle[name] / middle["ours"] for name in others},
        **{f"{name} / ours, cpu time": cpu_middle[name] / cpu_middle["ours"] for name in others},
        "one thread / two": ms(of(80, 1)) / ms("total"),
        "120k / 40k Gaussians, one thread": ms(of(120, 1)) / ms(of(40, 1)),
        "720x1280 / 512x512": ms("total@80k,720x1280,2t") / ms("total"),
        "encode ultrafast / total": ms("encode ultrafast") / ms("total"),
        **{f"{name} / numba baseline": ms(name) / 1e3 / middle["numba baseline"] for name in STAGES},
    }


def summaries(seconds: dict[str, list[float]]) -> Figures:
    """Stage -> _summary, with cpu_ms where its processor time is known."""
    found = {name: _summary(s) for name, s in seconds.items() if not name.endswith(" cpu")}
    for name in found.keys() & {name.removesuffix(" cpu") for name in seconds if name.endswith(" cpu")}:
        found[name]["cpu_ms"] = _median_ms(seconds[f"{name} cpu"])
    return found


def _summary(seconds: list[float]) -> dict[str, float]:
    """spread: between the quartiles."""
    low, middle, high, late = np.percentile(np.array(seconds) * 1e3, (25, 50, 75, 95)).round(4).tolist()
    return {"median_ms": middle, "p95_ms": late, "spread_ms": round(high - low, 4)}


def _median_ms(seconds: list[float]) -> float:
    return round(float(np.median(seconds)) * 1e3, 4)


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "numba": numba.__version__,
        "av": av.__version__,
        "system": platform.system(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def table(result: dict[str, Any]) -> str:
    """The result as lines of text."""
    lines = [", ".join(f"{k} {v}" for k, v in result["machine"].items()), f"avatar {result['avatar']}", ""]
    lines += [f"{'stage':36} {'median ms':>10} {'p95 ms':>10} {'spread ms':>10} {'cpu ms':>10}"]
    for name, s in result["stages"].items():
        cpu_time = f"{s['cpu_ms']:10.2f}" if "cpu_ms" in s else ""
        times = f"{s['median_ms']:10.2f} {s['p95_ms']:10.2f} {s['spread_ms']:10.2f} {cpu_time}"
        lines.append(f"{name:36} {times}".rstrip())
    lines += ["", "ratio"] + [f"{name:36} {x:10.3g}" for name, x in result["ratios"].items()]
    lines += [f"{name:36} not measured: {why}" for name, why in result["absent"].items()]
    return "\n".join(lines)
