"""The cost of a frame's stages by framing, size, number of Gaussians and threads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from avatar import asset
from avatar.asset import Avatar
from avatar.render import cpu
from bench import frame

SHOWN = {"head": "head", "bust": "head", "half": "half", "full": "full"}  # an avatar's framing -> which of the three
DEMO = Path("avatars/demo.avatar")
COLUMNS = (*frame.STAGES, "encode ultrafast", "encode superfast")


def people(avatars: Sequence[Path | Avatar] = ()) -> dict[str, Avatar]:
    """One avatar for each of head, half and full: the first given that is one (files or in memory; default the demo
    avatar), otherwise the tests' synthetic person. Raises AvatarError where a file is none."""
    from tests.avatar import synthetic

    found: dict[str, Avatar] = {}
    for given in avatars or (DEMO,):
        a = given if isinstance(given, Avatar) else asset.load(given)
        found.setdefault(SHOWN.get(a.framing, "half"), a)
    return {
        framing: found[framing] if framing in found else synthetic.avatar(80_000, framing, 512)
        for framing in ("head", "half", "full")
    }


def run(avatars: dict[str, Avatar], frames: int) -> dict[str, frame.Figures]:
    """framing,Gaussians,size,threads -> stage -> median_ms, p95_ms, spread_ms; of the total cpu_ms, too.

    Encoding is measured once for each framing and size.
    """
    cpu.warm()
    found: dict[str, frame.Figures] = {}
    for framing, a in avatars.items():
        for count in frame.COUNTS:
            thinned = frame.with_count(a, count)
            for size in frame.SIZES:
                for threads in (1, 2):
                    seconds, pictures = frame.measure(thinned, size, threads, frames)
                    figures = frame.summaries(seconds)
                    if (count, threads) == (frame.MAIN[0], frame.MAIN[2]):
                        figures |= frame.summaries(frame.encode(pictures, *size))
                    found[f"{framing},{frame.named(count, size, threads)}"] = figures
    return found


def table(found: dict[str, Any]) -> str:
    """A line for each configuration: median / 95th percentile / spread of each stage, ms."""
    width = 17
    lines = [f"{'median/p95/spread, ms':28}" + "".join(f"{name:>{width}}" for name in COLUMNS) + f"{'total, cpu':>12}"]
    for key, stages in found.items():
        cells = [
            f"{s['median_ms']:.2f}/{s['p95_ms']:.2f}/{s['spread_ms']:.2f}" if (s := stages.get(name)) else ""
            for name in COLUMNS
        ]
        cells = [f"{cell:>{width}}" for cell in cells]
        lines.append(f"{key:28}" + "".join(cells) + f"{stages['total']['cpu_ms']:12.2f}")
    return "\n".join(lines)
