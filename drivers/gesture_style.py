"""Styles of co-speech movement: how often, how large, with which of the gestures, of whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class GestureStyle:
    """Accents that come while it is set are accompanied in it, to their end."""

    name: str
    apart: float  # s between accents
    threshold: float  # deviations that an accent stands out by
    size: float  # of all movements
    nods: float  # share of accents with a whole nod; the others have a hint of one
    brows: float  # share that raise the brows
    torso: float  # of leans and turns of the trunk
    hands: float  # share of phrases that hands go with
    both: float  # share of those with both hands
    shapes: tuple[str, ...]  # of drivers.gesture.SHAPES
    beats: tuple[str, ...]  # of drivers.gesture.BEATS


STYLES: Mapping[str, GestureStyle] = {
    "calm": GestureStyle("calm", 0.8, 0.5, 0.65, 0.55, 0.35, 0.5, 0.6, 0.3, ("hold", "pinch"), ("drop", "turn")),
    "neutral": GestureStyle(
        "neutral", 0.45, 0.2, 1.0, 0.7, 0.5, 1.0, 0.85, 0.5, ("offer", "hold", "open", "pinch"),
        ("drop", "chop", "push", "turn"),
    ),
    "lively": GestureStyle(
        "lively", 0.35, -0.1, 1.3, 0.8, 0.65, 1.6, 1.0, 0.75, ("offer", "open", "hold"), ("drop", "push", "chop")
    ),
}  # fmt: skip
NEUTRAL = STYLES["neutral"]


def style(name: str) -> GestureStyle:
    """Raises ValueError."""
    if name not in STYLES:
        raise ValueError(f"there is no style {name[:40]!r}; there are {', '.join(STYLES)}")
    return STYLES[name]
