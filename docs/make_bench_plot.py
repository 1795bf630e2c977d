"""Draw docs/cost.svg, how the cost of a frame grows with Gaussians, pixels and viewers, from the bench's figures.

python -m bench.docs --json figures.json
python docs/make_bench_plot.py figures.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt

OUT = Path(__file__).with_name("cost.svg")
COLOURS = {"head": "#b5541c", "half": "#2b6cb0", "full": "#4a7c2a"}


def _totals(figures: dict[str, Any]) -> dict[tuple[str, int, tuple[int, int], int], float]:
    """(framing, Gaussians, size, threads) -> processor ms."""
    found = {}
    for name, stages in figures["framings"].items():
        framing, count, size, threads = name.split(",")
        width, height = map(int, size.split("x"))
        found[framing, 1000 * int(count[:-1]), (width, height), int(threads[:-1])] = stages["total"]["cpu_ms"]
    return found


def draw(figures: dict[str, Any], out: Path = OUT) -> None:
    totals, viewers = _totals(figures), figures["viewers"]
    figure, (by_count, by_pixels, by_viewers) = plt.subplots(1, 3, figsize=(10, 3), layout="constrained")
    for framing, colour in COLOURS.items():
        of = {k[1:]: ms for k, ms in totals.items() if k[0] == framing}
        counts = sorted((n, ms) for (n, size, threads), ms in of.items() if size == (512, 512) and threads == 1)
        by_count.plot([n / 1000 for n, _ in counts], [ms for _, ms in counts], "o-", color=colour, label=framing)
        sizes = {(w, h): ms for (n, (w, h), threads), ms in of.items() if n == 80_000 and threads == 1}
        for style, taller in (("o-", True), ("s:", False)):  # square to tall, square to wide
            pixels = sorted((w * h / 1e6, ms) for (w, h), ms in sizes.items() if w == h or (h > w) == taller)
            by_pixels.plot(*zip(*pixels), style, color=colour)
    by_count.set(xlabel="thousand Gaussians, 512x512", ylabel="processor ms a frame")
    by_pixels.set(xlabel="megapixels, 80,000 Gaussians; dotted: wide", ylabel="processor ms a frame")
    by_count.legend(frameon=False)
    spoken = viewers["with speech driver"]
    per_frame = [1000 * spoken["cores"][n] / max(spoken["fps"][n], 1) for n in spoken["cores"] if n != "0"]
    by_viewers.plot([int(n) for n in spoken["cores"] if n != "0"], per_frame, "o-", color=COLOURS["half"])
    by_viewers.set(xlabel="viewers of one session, half", ylabel="server's processor ms a frame")
    for axes in (by_count, by_pixels, by_viewers):
        axes.spines[["top", "right"]].set_visible(False)
        axes.set(xlim=(0, 1.08 * axes.get_xlim()[1]), ylim=(0, 1.12 * axes.get_ylim()[1]))
    figure.savefig(out, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=OUT)
    args = parser.parse_args()
    draw(json.loads(args.figures.read_text()), args.output)


if __name__ == "__main__":
    main()
