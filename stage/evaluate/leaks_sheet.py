"""What a person looks at beside the figures of the leaks: a contact sheet, a film of the moves they are taken in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from avatar.asset import State
from avatar.render import compose
from avatar.render.contract import FRINGE
from stage.evaluate import flicker, mouth, sheets
from stage.evaluate.leaks import Stand, classes
from stage.evaluate.metrics import U8, box_of
from stage.evaluate.protocol import LEAKS

FPS, FILM_HEIGHT = 25, 480
TURN, MOUTH, GAZE = 75, 25, 25  # frames of the film
CRAWL = 100.0  # times which the crawl is shown
MARK = (0, 255, 0)  # behind what is looked through


def sheet(stand: Stand) -> U8:
    """Turned heads; the spikes and the fringe in red, the crawl, the mouth closed and open with its classes."""
    turned = [sheets.tile(stand.shown(stand.turned(y)), f"yaw {y:+d}") for y in LEAKS["yaws_deg"]]
    farthest = stand.turned(max(LEAKS["yaws_deg"]))
    row = [
        sheets.tile(stand.shown(stand.avatar.photo), "photo state"),
        sheets.tile(marked(stand, farthest), "holes, fringe"),
        sheets.tile(_crawl(stand), f"crawl, {CRAWL:g} times"),
    ]
    opened = stand.face(jawOpen=LEAKS["jaw_open"])
    x0, y0, x1, y1 = mouth.box(stand, stand.vertices(opened))
    for text, state in (("neutral", stand.face()), ("open", opened), ("lower lip", mouth.lip_alone(stand))):
        row.append(sheets.tile(stand.shown(state)[y0:y1, x0:x1], text))
    shown = (classes(stand, stand.vertices(opened))[y0:y1, x0:x1] * 255).clip(0, 255).astype(np.uint8)
    return sheets.grid([turned, [*row, sheets.tile(shown, "inside, skin, else")]])


def film(stand: Stand, path: Path | None) -> None:
    """The moves: the photo's state, the avatar, and what could be looked through; nothing without a path."""
    still = stand.shown(stand.avatar.photo)
    with sheets.Film(path, Fraction(FPS), FILM_HEIGHT) as strip:
        for text, state in moves(stand) if path else ():
            strip.add((still, "photo state"), (stand.shown(state), text), (marked(stand, state), "holes, fringe"))


def moves(stand: Stand) -> Iterator[tuple[str, State]]:
    """The head from side to side, the mouth open and shut, the lower lip alone, a gaze to both sides."""
    wave = lambda frames: np.sin(np.arange(frames) / frames * 2 * np.pi).tolist()  # noqa: E731
    for share in wave(TURN):
        yield f"yaw {share * max(LEAKS['yaws_deg']):+.1f}", stand.turned(share * max(LEAKS["yaws_deg"]))
    for share in np.abs(wave(2 * MOUTH)[:MOUTH]):
        yield "mouth", stand.face(jawOpen=share * LEAKS["jaw_open"])
    for share in np.abs(wave(2 * MOUTH)[:MOUTH]):
        yield "lower lip", stand.face(jaw=False, mouthLowerDownLeft=share, mouthLowerDownRight=share)
    for share in wave(GAZE):
        left, right = max(share, 0) * LEAKS["gaze"], max(-share, 0) * LEAKS["gaze"]
        yield (
            "gaze",
            stand.face(eyeLookOutLeft=left, eyeLookInRight=left, eyeLookInLeft=right, eyeLookOutRight=right),
        )


def marked(stand: Stand, state: State) -> U8:
    """A state over green, fringe Gaussians red."""
    g = stand.avatar.gaussians
    colour = np.where(FRINGE[g.layer][:, None], np.array([1, 0, 0], np.float32), g.colour)
    behind = np.full_like(stand.background, MARK)
    return compose.over(stand.draw(stand.vertices(state), replace(g, colour=colour)), behind)


def _crawl(stand: Stand) -> U8:
    """The head, where its texture does not go along with a turn; grey where that was not looked at."""
    (difference, counts), *_ = flicker.residuals(stand, [0.0, LEAKS["flicker_step_deg"]])
    shown = np.where(counts, (CRAWL * difference).clip(0, 255), 128).astype(np.uint8)
    x0, y0, x1, y1 = box_of(counts) if counts.any() else (0, 0, *shown.shape[::-1])
    return np.repeat(shown[y0:y1, x0:x1, None], 3, 2)
