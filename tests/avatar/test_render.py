"""The CPU rasterizer against the float64 reference, and what neither may do."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes

from avatar import asset
from avatar.asset import Gaussians
from avatar.render import compose, cpu, reference
from avatar.render.contract import LAYER, NEAR, Camera
from avatar.rig import Rig
from models.motion import Motion
from models.skinning import F32, I32
from tests.avatar import synthetic

Scene = tuple[F32, I32, NDArray[np.bool_], Gaussians, Camera]


def psnr(a: NDArray, b: NDArray) -> float:
    return float(-10 * np.log10(np.mean((np.asarray(a, np.float64) - b) ** 2) + 1e-30))


def random_scene(seed: int, count: int = 3000, width: int = 160, height: int = 128) -> Scene:
    """Two wavy sheets, one before the other, most of their triangles occluding, with Gaussians of every layer."""
    rng, n, f = np.random.default_rng(seed), 24, np.float32
    gy, gx = np.mgrid[0:n, 0:n] / (n - 1) - 0.5
    wave = 0.12 * np.sin(6 * gx) * np.cos(5 * gy) + 0.01 * rng.normal(size=gx.shape)
    sheet = np.stack([0.6 * gx, -0.5 * gy, -1 + wave], -1).reshape(-1, 3)
    vertices = np.concatenate([sheet, sheet * (0.5, 0.5, 1) + (0.05, 0, -0.03)]).astype(f)
    grid = synthetic.grid_faces(n, n)
    faces = np.concatenate([grid, grid + n * n]).astype(np.int32)
    gaussians = Gaussians(
        rng.integers(0, len(faces), count).astype(np.int32), rng.dirichlet((1, 1, 1), count)[:, 1:].astype(f),
        (0.4 * rng.normal(size=(count, 2, 2))).astype(f), rng.random((count, 3)).astype(f),
        np.where(rng.random(count) < 0.7, 1, rng.random(count)).astype(f),
        rng.integers(0, len(LAYER), count).astype(np.uint8), np.ones(count, np.uint8),
    )  # fmt: skip
    return vertices, faces, rng.random(len(faces)) < 0.8, gaussians, Camera(200, width / 2, height / 2, width, height)


def test_random_scenes_agree_with_the_reference() -> None:
    """A mean within rounding of a pixel's edge or of the tolerance may fall on its other side, rarely."""
    scores = []
    for seed in range(12):
        v, faces, occluder, g, camera = random_scene(seed)
        scores.append(psnr(cpu.draw(v, faces, occluder, g, camera), reference.draw(v, faces, occluder, g, camera)))
    assert min(scores) > 45
    assert np.median(scores) > 60


@pytest.mark.parametrize("framing", ["head", "half", "full"])
def test_an_avatar_agrees_with_the_reference(framing: str) -> None:
    a = synthetic.avatar(20_000, framing, 256)
    v = Rig(a).vertices(a.photo)
    want = reference.draw(v, a.mesh.faces, a.occluder, a.gaussians, a.camera)
    assert want[..., 3].mean() > 0.05
    assert psnr(cpu.Rasterizer(a, 2).draw(v, a.camera), want) > 60


def test_a_golden_avatar_agrees_with_the_reference_in_every_pose() -> None:
    a = asset.load(Path(__file__).parent / "data" / "golden_1.avatar")
    rig, rng = Rig(a), np.random.default_rng(4)
    r = cpu.Rasterizer(a, 2)
    moved = Motion(0.0, pose=rng.normal(0, 0.1, (55, 3)).astype(np.float32), face=synthetic.smiling())
    moved.weight[:] = 1
    for state in (a.photo, a.neutral, rig.state(moved)):
        v = rig.vertices(state).copy()
        for camera in (a.camera, a.camera.window(*a.view[:3], 120, 132)):
            want = reference.draw(v, a.mesh.faces, a.occluder, a.gaussians, camera)
            assert want[..., 3].mean() > 0.1
            assert psnr(r.draw(v, camera), want) > 60


def _behind(s: Scene) -> Scene:
    v = s[0] + np.array([0, 0, 0.95]) * (s[0][:, :1] > 0)
    return v.astype(np.float32), *s[1:]


def _tall(s: Scene) -> Scene:
    """So large that a segment's Gaussians need more room in the tiles than there is at first."""
    s = _shape(_few(s, 300), s[3].shape[:300] * 100)
    return *s[:4], replace(s[4], cx=20, cy=512, width=40, height=1024)


def _shape(s: Scene, shape: NDArray) -> Scene:
    v, faces, occluder, g, camera = s
    return v, faces, occluder, replace(g, shape=np.ascontiguousarray(shape, np.float32)), camera


def _few(s: Scene, count: int) -> Scene:
    v, faces, occluder, g, camera = s
    return v, faces, occluder, Gaussians(*(x[:count] for x in vars(g).values())), camera


EDGE_CASES = {
    "behind and near the camera": _behind,
    "all behind the camera": lambda s: (-s[0], *s[1:]),
    "huge": lambda s: _shape(_few(s, 60), s[3].shape[:60] * 100),
    "huge in a tall picture": _tall,
    "wider than a tile": lambda s: (*s[:4], s[4].window(0, 20, 160, 700, 300)),
    "thin": lambda s: _shape(_few(s, 400), s[3].shape[:400] * (10, 0)),
    "points": lambda s: _shape(s, 0 * s[3].shape),
    "transparent": lambda s: (*s[:3], replace(s[3], opacity=0 * s[3].opacity), s[4]),
    "fringe alone": lambda s: (*s[:3], replace(s[3], layer=np.full_like(s[3].layer, LAYER["fringe"])), s[4]),
    "no occluder": lambda s: (s[0], s[1], ~(s[2] | True), *s[3:]),
    "mostly off the screen": lambda s: (*s[:4], replace(s[4], cx=-40.0, cy=150.0)),
    "all off the screen": lambda s: (*s[:4], replace(s[4], cx=-4000.0)),
    "one pixel": lambda s: (*s[:4], replace(s[4], width=1, height=1)),
    "odd sides": lambda s: (*s[:4], replace(s[4], width=131, height=77)),
    "no Gaussians": lambda s: _few(s, 0),
    "one Gaussian": lambda s: _few(s, 1),
    "flat triangles": lambda s: (s[0] * np.array([1, 0, 1], np.float32), *s[1:]),
    "a triangle with one corner": lambda s: (s[0], np.repeat(s[1][:, :1], 3, 1), *s[2:]),
}


NOTHING_TO_SEE = ("all behind the camera", "all off the screen", "transparent", "no Gaussians")


@pytest.mark.parametrize("case", EDGE_CASES)
def test_edge_cases_agree_with_the_reference(case: str) -> None:
    v, faces, occluder, g, camera = EDGE_CASES[case](random_scene(7))
    want = reference.draw(v, faces, occluder, g, camera)
    got = cpu.draw(v, faces, occluder, g, camera, threads=2)
    assert np.isfinite(got).all()
    assert psnr(got, want) > 45
    w = cpu.weights(v, faces, occluder, g, camera)
    rgb = (w.matrix() @ g.colour).reshape(camera.height, camera.width, 3)
    assert psnr(rgb, want[..., :3]) > 45


def test_what_must_be_drawn_is_drawn() -> None:
    """So that agreement is not agreement on nothing."""
    for case, share in (("behind and near the camera", 0.2), ("huge", 0.5), ("thin", 0.02), ("fringe alone", 0.05)):
        v, faces, occluder, g, camera = EDGE_CASES[case](random_scene(7))
        assert cpu.draw(v, faces, occluder, g, camera)[..., 3].mean() > share, case
    for case in NOTHING_TO_SEE:
        v, faces, occluder, g, camera = EDGE_CASES[case](random_scene(7))
        assert not cpu.draw(v, faces, occluder, g, camera)[..., 3].any(), case


def test_one_gaussian_by_hand() -> None:
    """A round Gaussian of 3 px on a square before the camera: its weight, its layer's rule, its colour."""
    v = np.array([[-1, -1, -1], [1, -1, -1], [1, 1, -1], [-1, 1, -1]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    camera = Camera(32.0, 16.5, 16.5, 33, 33)
    sigma = 3 / 32 / 2  # edges are 2 m long
    shape = np.array([[[sigma, -sigma], [0, sigma]]], np.float32)  # edges (2, 0) and (2, 2)
    g = Gaussians(
        np.zeros(1, np.int32), np.array([[0, 0.5]], np.float32), shape, np.array([[0.2, 0.4, 0.6]], np.float32),
        np.full(1, 0.5, np.float32), np.zeros(1, np.uint8), np.ones(1, np.uint8),
    )  # fmt: skip
    picture = cpu.draw(v, faces, np.ones(2, bool), g, camera)
    q = (2**2 + 1**2) / (9 + 0.15)
    weight = (1 - q / 32) ** 16
    assert weight > 0.03
    np.testing.assert_allclose(picture[17, 18], [0.1, 0.2, 0.3, 0.5], atol=1e-5)  # on the occluder: fully covered
    off = cpu.draw(v, faces, np.zeros(2, bool), g, camera)
    np.testing.assert_allclose(off[17, 18, 3], 0.5 * min(weight / 0.6, 1), atol=1e-5)
    assert off[16, 16 + 9, 3] == 0  # past the cut-off


def test_the_picture_does_not_depend_on_threads_or_history() -> None:
    a = synthetic.avatar(20_000, "half", 256)
    w = Rig(a).vertices(a.neutral).copy()
    one = cpu.Rasterizer(a, 1).draw(w, a.camera)
    for threads in (2, 3, 5):
        r = cpu.Rasterizer(a, threads)
        for _ in range(3):  # bands move with the work measured, and tiles are taken by whoever is free
            np.testing.assert_array_equal(r.draw(w, a.camera), one)
        r.draw(w + np.float32(0.1), a.camera.window(20, 20, 100, 320, 96))
        np.testing.assert_array_equal(r.draw(w, a.camera), one)
        r.close()


def test_threads_do_not_spin() -> None:
    """Many threads on few cores take no more processor time than one, and none while nothing is drawn. In a process of
    its own: threads that other tests left behind count as ours."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        alone.submit(_threads_do_not_spin).result()


def _threads_do_not_spin() -> None:
    a = synthetic.avatar(40_000, "half", 256)
    v = Rig(a).vertices(a.photo).copy()

    def cost(threads: int) -> float:
        r, taken = cpu.Rasterizer(a, threads), []
        for _ in range(8):
            start = time.process_time()
            r.draw(v, a.camera)
            taken.append(time.process_time() - start)
        start = time.process_time()
        time.sleep(0.2)
        assert time.process_time() - start < 0.02
        r.close()
        return min(taken)

    assert cost(8) < 2.5 * cost(1)


def test_i420_is_the_picture_over_the_background() -> None:
    a = synthetic.avatar(20_000, "half", 256)
    v = Rig(a).vertices(a.photo)
    r = cpu.Rasterizer(a, 2)
    background = compose.i420(a.background)
    out = np.full_like(background, 99)
    r.draw_i420(v, a.camera, background, out)
    picture = r.draw(v, a.camera)
    want = compose.i420(reference.over(picture, a.background / 255.0) * 255)
    difference = np.abs(out.astype(int) - want)
    assert difference.max() <= 2
    assert difference.mean() < 0.2
    empty = picture[..., 3] == 0
    np.testing.assert_array_equal(out[:256][empty], background[:256][empty])


def test_not_finite_is_refused_and_the_next_frame_is_whole() -> None:
    v, faces, occluder, g, camera = random_scene(1)
    bad = v.copy()
    bad[17, 1] = np.nan
    for draw in (reference.draw, cpu.draw, cpu.weights):
        with pytest.raises(ValueError, match=r"finite"):
            draw(bad, faces, occluder, g, camera)  # type: ignore[operator]
        for field in ("bary", "shape", "colour", "opacity"):
            broken = np.array(getattr(g, field))
            broken.flat[5] = np.inf
            with pytest.raises(ValueError, match=field):
                draw(v, faces, occluder, replace(g, **{field: broken}), camera)  # type: ignore[operator]
    a = synthetic.tiny()
    r, w = cpu.Rasterizer(a, 2), Rig(a).vertices(a.photo).copy()
    before = r.draw(w, a.camera)
    with pytest.raises(ValueError, match="vertex 2"):
        r.draw(np.where(np.arange(len(w))[:, None] == 2, np.inf, w), a.camera)
    np.testing.assert_array_equal(r.draw(w, a.camera), before)


def test_wrong_arguments_say_what_was_expected() -> None:
    a = synthetic.tiny()
    v, r = Rig(a).vertices(a.photo), cpu.Rasterizer(a, 1)
    with pytest.raises(ValueError, match="float32"):
        r.draw(v, a.camera, np.zeros((48, 48, 3), np.float32))
    with pytest.raises(ValueError, match="background"):
        r.draw_i420(v, a.camera, np.zeros((48, 48), np.uint8), np.zeros((72, 48), np.uint8))
    with pytest.raises(ValueError, match="even"):
        r.draw_i420(v, replace(a.camera, width=47), np.zeros(1, np.uint8), np.zeros(1, np.uint8))
    with pytest.raises(ValueError, match="36"):
        r.draw(v[:-1], a.camera)
    with pytest.raises(ValueError, match="triangle"):
        cpu.Rasterizer(replace(a, gaussians=replace(a.gaussians, face=a.gaussians.face + 10_000)))
    with pytest.raises(ValueError, match="threads"):
        cpu.Rasterizer(a, 0)


def test_weights_know_the_picture_as_linear_in_colour() -> None:
    v, faces, occluder, g, camera = random_scene(5)
    w = cpu.weights(v, faces, occluder, g, camera)
    other = replace(g, colour=np.random.default_rng(1).random(g.colour.shape).astype(np.float32))
    picture = cpu.draw(v, faces, occluder, other, camera)
    rgb = (w.matrix() @ other.colour).reshape(picture[..., :3].shape)
    np.testing.assert_allclose(rgb, picture[..., :3], atol=2e-5)
    np.testing.assert_allclose(w.alpha, picture[..., 3], atol=2e-5)
    np.testing.assert_allclose(np.asarray(w.matrix().sum(1)).reshape(w.alpha.shape), w.alpha, atol=2e-2)
    zb = reference.depth_of_occluder(camera.camera_from_world(v.astype(np.float64)), faces[occluder], camera)
    np.testing.assert_array_equal(w.hit, np.isfinite(zb))
    np.testing.assert_allclose(w.zb[w.hit], zb[w.hit], rtol=1e-5)


def test_zbuffer_names_the_nearest_triangle() -> None:
    v, faces, _, _, camera = random_scene(2)
    depth, ids = cpu.zbuffer(camera.project(v), faces, camera.width, camera.height)
    want = reference.depth_of_occluder(camera.camera_from_world(v.astype(np.float64)), faces, camera)
    np.testing.assert_array_equal(np.isfinite(depth), np.isfinite(want))
    np.testing.assert_array_equal(ids >= 0, np.isfinite(want))
    hit = ids >= 0
    np.testing.assert_allclose(depth[hit], want[hit], rtol=1e-5)
    corner_depth = -v[faces[ids[hit]], 2]
    assert (depth[hit] >= corner_depth.min(1) - 1e-5).all()
    assert (depth[hit] <= corner_depth.max(1) + 1e-5).all()
    near = v.copy()
    near[:, 2] = -NEAR / 2
    assert not (cpu.zbuffer(camera.project(near), faces, 32, 32)[1] >= 0).any()


def test_no_crack_between_neighbours() -> None:
    """A closed sheet, turned every which way, covers its inside without a hole."""
    n = 40
    faces = synthetic.grid_faces(n, n)
    gy, gx = np.mgrid[0:n, 0:n] / (n - 1) - 0.5
    rng = np.random.default_rng(0)
    for _ in range(30):
        a, b = rng.uniform(-1, 1, 2)
        jitter = 0.3 / n * rng.uniform(-1, 1, (2, n, n))
        x, y = gx + jitter[0], gy + jitter[1]
        sheet = np.stack([np.cos(a) * x, y, -1.5 + np.sin(a) * x + 0.2 * np.sin(b) * y], -1).reshape(-1, 3)
        camera = Camera(150.0, 80.0, 80.0, 160, 160)
        g = synthetic.tiny().gaussians
        g = Gaussians(*(f[:0] for f in vars(g).values()))
        hit = cpu.weights(sheet.astype(np.float32), faces, np.ones(len(faces), bool), g, camera).hit
        assert hit.sum() > 1000
        np.testing.assert_array_equal(binary_fill_holes(hit), hit)
