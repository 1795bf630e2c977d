"""Ears that hair covers: on the body model alone, turned away, with and without hair beside it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from avatar.build import anatomy, contour, ears, scalp
from avatar.build.parts import HAIR, SKIN
from avatar.render import cpu
from avatar.render.contract import Camera
from models import body

SIDE = 320  # px
BROWN, PINK = (0.3, 0.2, 0.1), (0.8, 0.6, 0.5)


def _turned(degrees: float) -> tuple[body.BodyModel, np.ndarray, Camera]:
    """The template before a camera, its face turned to the picture's right by `degrees`."""
    model, angle = body.load(), np.radians(degrees)
    a = anatomy.of(model)
    R = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    return model, a.from_the_eyes @ R.T + [0, 0.05, -0.8], Camera(2.2 * SIDE, SIDE / 2, SIDE / 2, SIDE, SIDE)


def _seen(model: body.BodyModel, posed: np.ndarray, camera: Camera, hair: slice | None) -> tuple[object, object]:
    """A photo of a bald head, and of one with a strip of hair on the picture's right, in the rows `hair`."""
    depth, _ = cpu.zbuffer(camera.project(posed), model.faces.astype(np.int32), SIDE, SIDE)
    skin = np.isfinite(depth)
    strip = np.zeros_like(skin)
    for row in range(SIDE)[hair] if hair else ():
        last = np.flatnonzero(skin[row])
        strip[row, last.max() - 4 if len(last) else SIDE // 2 : SIDE // 2 + 75] = True
    probability = np.zeros((SIDE, SIDE, 3), np.float32)
    probability[..., HAIR], probability[..., SKIN] = strip, ~strip
    width = float(np.ptp(camera.project(posed[anatomy.of(model).landmark_corners.ravel()])[:, 0]))
    o = SimpleNamespace(
        alpha=(skin | strip).astype(np.float32), camera=camera, face_width=width,
        foreground=np.where(strip[..., None], BROWN, PINK).astype(np.float32),
    )  # fmt: skip
    return o, SimpleNamespace(probability=probability)


def test_the_ears_are_mirrored_and_at_the_heads_sides() -> None:
    model = body.load()
    found, d = ears.vertices(model), anatomy.of(model).from_the_eyes
    assert found["left"].sum() == found["right"].sum() > 100
    assert (d[found["left"], 0] > 0.05).all() and (d[found["right"], 0] < -0.05).all()


@pytest.mark.parametrize(("hair", "hidden"), [(None, []), (slice(60, 300), ["left"]), (slice(60, 150), [])])
def test_hair_that_hangs_past_a_hidden_ear_covers_it(hair: slice | None, hidden: list[str]) -> None:
    """No hair, hair down to the shoulders, hair that ends at the ear's lobe."""
    model, posed, camera = _turned(30)
    o, parts = _seen(model, posed, camera, hair)
    off = ears.covered(model, o, posed, parts)  # type: ignore[arg-type]
    assert [side for side, ear in ears.vertices(model).items() if off[ear].any()] == hidden


def test_hair_in_front_of_both_ears_covers_them() -> None:
    model, posed, camera = _turned(0)
    o, parts = _seen(model, posed, camera, None)
    assert not ears.covered(model, o, posed, parts).any()  # type: ignore[arg-type]
    for ear in ears.vertices(model).values():
        x, y = camera.project(posed[ear])[:, :2].T.astype(int)
        parts.probability[y.min() : y.max() + 1, x.min() : x.max() + 1] = np.eye(3)[HAIR]  # type: ignore[attr-defined]
    assert ears.covered(model, o, posed, parts).any()  # type: ignore[arg-type]


def test_the_scalp_goes_on_over_covered_ears_without_a_hole() -> None:
    model = body.load()
    both = np.logical_or(*ears.vertices(model).values())
    open_, closed = (scalp._covered(model, 0.0, off)[0] for off in (np.zeros_like(both), both))
    loops = lambda faces: _loops(scalp._rim(faces))  # noqa: E731
    assert loops(closed) == loops(open_) == 1
    _, origin, behind = scalp._covered(model, 0.0, both)
    assert behind.any()
    assert np.allclose(np.asarray(origin.sum(1)), 1)
    assert origin[:, np.flatnonzero(both)].nnz == 0  # it hangs on nothing that is taken off


def _loops(edges: np.ndarray) -> int:
    """How many closed lines the edges (n, 2) are."""
    after, count = {int(a): int(b) for a, b in edges}, 0
    assert len(after) == len(edges)
    while after:
        count += 1
        at = next(iter(after))
        while at in after:
            at = after.pop(at)
    return count


@pytest.mark.parametrize(
    ("left", "right", "taken"), [(0.8, 0.0, True), (0.8, 0.2, True), (0.8, 0.6, False), (0.3, 0.0, False)]
)
def test_an_ear_that_is_turned_away_mirrors_the_other(left: float, right: float, taken: bool) -> None:
    model, random = body.load(), np.random.default_rng(3)
    on = {side: np.flatnonzero(ear[model.faces].all(1)) for side, ear in ears.vertices(model).items()}
    face = np.concatenate([random.choice(on["left"], 3000), random.choice(on["right"], 3000)])
    bary = random.dirichlet(np.ones(3), 6000)[:, 1:]
    w = np.concatenate([1 - bary.sum(1, keepdims=True), bary], 1)
    place = np.einsum("nk,nkc->nc", w, anatomy.of(model).from_the_eyes[model.faces[face]])
    relief = np.stack([np.sin(place[:, 1] * 200), np.cos(place[:, 2] * 200), place[:, 1] * 10], 1)
    shown = random.random(6000) < np.repeat([left, right], 3000)
    mesh = SimpleNamespace(skin=SimpleNamespace(faces=model.faces), body_vertices=len(model.v_template))
    seeds = SimpleNamespace(face=face, bary=bary)
    off = np.where(shown[:, None], relief, np.nan)  # nothing is known of what the photo does not show
    at, mirror = contour.far_ear(model, mesh, seeds, shown, off)  # type: ignore[arg-type]
    assert np.array_equal(at, np.flatnonzero(~shown & (np.arange(6000) >= 3000)) if taken else [])
    if taken:
        assert np.abs(mirror - relief[at]).mean() < 0.15 * np.abs(relief[at]).mean()
