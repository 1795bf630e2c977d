"""The GPU path: its plain-torch parts on any machine, gsplat by a stand-in, Triton interpreted, CUDA where it is."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from avatar.asset import Avatar, State
from avatar.render import compose, cpu, gpu, gpu_blend, gpu_depth, reference
from avatar.render.contract import DILATION, NEAR, TOLERANCE, YUV_FROM_RGB, YUV_OFFSET, Camera
from avatar.render.gpu_rig import DeviceRig, DeviceSurface, Poses, rotation_matrices
from avatar.rig import Rig
from bench import gpu_check, page
from models.motion import Motion, matrix_from_axis_angle
from stage import picture
from tests.avatar import gsplat_standin, synthetic
from tests.avatar.test_render import EDGE_CASES, NOTHING_TO_SEE, Scene, psnr, random_scene

ROOT = Path(__file__).parents[2]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device answers")
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def human() -> Avatar:
    return synthetic.avatar(20_000, "head", 256)


@pytest.fixture(scope="module")
def bent(human: Avatar) -> list[State]:
    """States in which every joint, expression, correction and corrective is at work."""
    rng = np.random.default_rng(3)
    motion = Motion(0.0, pose=rng.normal(0, 0.03, (55, 3)).astype(np.float32), face=synthetic.smiling())
    motion.weight[:] = 1
    live = Rig(human).state(motion)
    wild = replace(live, pose=rng.normal(0, 0.5, (55, 3)).astype(np.float32), correction=np.ones(1, np.float32))
    return [human.photo, live, wild]


def on_cpu(*avatars: Avatar) -> tuple[gpu.GpuRasterizer, list[gpu.DeviceAvatar]]:
    """The GPU path on torch's CPU, gsplat by its stand-in."""
    rasterizer = gpu.GpuRasterizer("cpu", gsplat_standin, "alpha")
    return rasterizer, [rasterizer.load(a) for a in avatars]


# ---- the rig --------------------------------------------------------------------------------------------------------


def test_vertices_are_the_rigs(human: Avatar, bent: list[State]) -> None:
    ours = DeviceRig(human, "cpu").vertices(Poses.of(bent, "cpu")).numpy()
    rig = Rig(human)
    for k, state in enumerate(bent):
        assert np.abs(ours[k] - rig.vertices(state)).max() < 5e-5
    assert np.abs(ours[2] - ours[0]).max() > 0.1


def test_joints_that_expressions_carry_along_follow() -> None:
    a = synthetic.tiny()
    carried = np.random.default_rng(0).normal(0, 0.02, (55, 3, 3)).astype(np.float32)
    a = replace(a, mesh=replace(a.mesh, joint_expression=carried))
    state = replace(a.photo, pose=np.full((55, 3), 0.1, np.float32))
    ours = DeviceRig(a, "cpu").vertices(Poses.of([state], "cpu"))[0].numpy()
    assert np.abs(ours - Rig(a).vertices(state)).max() < 5e-5
    without = replace(a, mesh=replace(a.mesh, joint_expression=None))
    assert np.abs(ours - Rig(without).vertices(state)).max() > 1e-3


def test_rotations_near_zero_and_near_pi() -> None:
    axes = np.array([[0, 0, 0], [1e-9, 0, 0], [0, 3.14159, 0], [1, -2, 0.5]], np.float32)
    ours = rotation_matrices(torch.from_numpy(axes)).numpy()
    np.testing.assert_allclose(ours, matrix_from_axis_angle(axes), atol=2e-6)


def test_a_state_that_is_not_finite_is_refused(human: Avatar) -> None:
    with pytest.raises(ValueError, match="translation"):
        Poses.of([replace(human.photo, translation=np.array([0, np.nan, 0], np.float32))], "cpu")


def test_covariances_project_to_the_references(human: Avatar, bent: list[State]) -> None:
    points = human.camera.camera_from_world(Rig(human).vertices(bent[1]).copy())
    mean, covariance = DeviceSurface(human, "cpu").place(torch.from_numpy(points)[None])
    want_mean, want = reference.project(points.astype(np.float64), human.mesh.faces, human.gaussians, human.camera)
    X, Y, Z = mean[0].double().numpy().T
    full = covariance[0].double().numpy()[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3)
    f, J = human.camera.focal, np.zeros((len(X), 2, 3))
    J[:, 0, 0] = J[:, 1, 1] = f / Z
    J[:, 0, 2], J[:, 1, 2] = -f * X / Z**2, -f * Y / Z**2
    ours = J @ full @ J.transpose(0, 2, 1) + DILATION * np.eye(2)
    np.testing.assert_allclose(Z, want_mean[:, 2], rtol=1e-5)
    np.testing.assert_allclose(ours, want, rtol=1e-3, atol=1e-3)


# ---- the depth pre-pass ---------------------------------------------------------------------------------------------


def screen_of(vertices: NDArray, camera: Camera) -> torch.Tensor:
    points = torch.from_numpy(camera.camera_from_world(vertices))[None]
    return gpu_depth.to_screen(points, torch.tensor([[camera.focal, camera.cx, camera.cy]]))


def test_depth_is_the_cpus() -> None:
    for seed in range(4):
        v, faces, occluder, g, camera = random_scene(seed)
        v[:5, 2] = -NEAR / 2  # too near: their triangles are not drawn
        triangles = torch.from_numpy(faces[occluder].astype(np.int64))
        inverse = gpu_depth.draw(screen_of(v, camera), triangles, camera.width, camera.height)[0].numpy()
        want = cpu.weights(v, faces, occluder, g, camera).zb
        hit = np.isfinite(want)
        np.testing.assert_array_equal(inverse > 0, hit)
        np.testing.assert_allclose(1 / inverse[hit], want[hit], rtol=2e-6)
        assert 0.2 < hit.mean() < 1


def test_no_triangle_gives_no_depth() -> None:
    v, _, _, _, camera = random_scene(0)
    depth = gpu_depth.draw(screen_of(v, camera), torch.zeros(0, 3, dtype=torch.int64), 16, 8)
    assert depth.shape == (1, 8, 16)
    assert not depth.any()


# ---- the picture ----------------------------------------------------------------------------------------------------


def test_alpha_blending_comes_near_the_reference(human: Avatar, bent: list[State]) -> None:
    """gsplat's formula with our settings; this avatar's Gaussians lie anyhow, with holes and noisy colours."""
    rasterizer, (drawn,) = on_cpu(human)
    rig = Rig(human)
    for state in bent[:2]:
        want = reference.draw(rig.vertices(state), human.mesh.faces, human.occluder, human.gaussians, human.camera)
        ours = rasterizer.draw(drawn, state, human.camera)
        assert want[..., 3].mean() > 0.2
        assert psnr(ours, want) > 27


def scene_on(scene: Scene) -> gpu.DeviceAvatar:
    """A scene of test_render's as what the GPU path draws; it has one pose."""
    v, faces, occluder, g, camera = scene
    drawn: Any = object.__new__(gpu.DeviceAvatar)
    surface = DeviceSurface(SimpleNamespace(mesh=SimpleNamespace(faces=faces), gaussians=g), "cpu")  # type: ignore[arg-type]
    points = torch.from_numpy(camera.camera_from_world(v))[None]
    drawn.device, drawn.count = torch.device("cpu"), g.count
    drawn.occluder = torch.from_numpy(faces[occluder].astype(np.int64))
    drawn.tolerance = torch.from_numpy(TOLERANCE[g.layer])
    drawn.rgb = torch.from_numpy(gpu_blend.channels(g.colour, g.opacity, g.layer))
    drawn.pose = lambda states: (points, *surface.place(points))
    return drawn


def test_gaussians_far_beyond_the_picture_keep_their_shape() -> None:
    """gsplat moves means to within 1.3 times the picture before it projects covariances; ours are large and near."""
    scene = EDGE_CASES["behind and near the camera"](random_scene(7, 600, 64, 48))
    v, faces, _, g, camera = scene
    drawn = scene_on(scene)
    _, mean, covariance = drawn.pose([])
    intrinsics = torch.tensor([[camera.focal, camera.cx, camera.cy]])
    opacity, depth = torch.full((1, g.count), gpu_blend.OPACITY), torch.zeros(1, 48, 64)
    placed = gpu_blend.Placed(mean, covariance, mean[..., 2], opacity, drawn.rgb[None], intrinsics, depth)
    conic = gpu_blend._tiles(gsplat_standin, placed, 1.0)[1][0, 0].double().numpy()
    points = camera.camera_from_world(v.astype(np.float64))
    at, want = reference.project(points, faces, g, camera)
    far = (np.abs(at[:, 0] - 32) > 64) & (at[:, 2] > 2 * NEAR)  # nan: not drawn
    assert far.sum() > 20
    inverse = np.linalg.inv(want[far])
    np.testing.assert_allclose(conic[far], inverse[:, (0, 0, 1), (0, 1, 1)], rtol=0.02, atol=1e-4)


@pytest.mark.parametrize("case", EDGE_CASES)
def test_edge_cases_alpha_blended(case: str) -> None:
    """Whatever comes is drawn, finite, and nothing where nothing is to be seen; how well, the rule's test says."""
    scene = EDGE_CASES[case](random_scene(7, 600, 64, 48))
    picture = on_cpu()[0].draw(scene_on(scene), None, scene[-1])  # type: ignore[arg-type]
    assert picture.shape == (scene[-1].height, scene[-1].width, 4) and np.isfinite(picture).all()
    if case in NOTHING_TO_SEE:
        assert not picture.any()
    else:
        assert picture[..., 3].any() or not reference.draw(*scene).any()


def test_alpha_blending_of_the_demo_avatar() -> None:
    path = ROOT / "avatars/demo.avatar"
    if not path.exists():
        pytest.skip(f"{path.name} is not built (make demo)")
    from avatar import asset

    a = asset.load(path)
    rasterizer, _ = on_cpu(a)
    scores = gpu_check.parity(rasterizer, a)
    assert min(scores.values()) > gpu_check.LEAST_PSNR["alpha"], scores


def test_settings_are_the_best_ones(human: Avatar, monkeypatch: pytest.MonkeyPatch) -> None:
    """Covariances as they are, or sharper still, fit the rule's polynomial less well."""
    rasterizer, (drawn,) = on_cpu(human)
    want = cpu.Rasterizer(human, 1).draw(Rig(human).vertices(human.photo), human.camera)
    scores = {}
    for scale in (0.85, gpu_blend.SHARPER, 1.05):
        monkeypatch.setattr(gpu_blend, "SHARPER", scale)
        scores[scale] = psnr(rasterizer.draw(drawn, human.photo, human.camera), want)
    monkeypatch.undo()
    assert max(scores, key=lambda k: scores[k]) == gpu_blend.SHARPER, scores


def test_many_avatars_at_once_are_each_as_alone(human: Avatar) -> None:
    """Different avatars, sizes, cameras and poses in one call: nothing leaks from one into the other."""
    small = synthetic.avatar(3000, "half", 128)
    rasterizer, (one, two) = on_cpu(human, small)
    assert rasterizer.load(human) is one
    rng = np.random.default_rng(0)

    def shot(drawn: gpu.DeviceAvatar, a: Avatar, state: State, width: int, height: int) -> gpu.Shot:
        camera = compose.view(a, width, height)[0]
        background = rng.integers(16, 235, (height * 3 // 2, width)).astype(np.uint8)
        return gpu.Shot(drawn, state, camera, rasterizer.background(background), np.zeros_like(background))

    shots = [
        shot(one, human, human.photo, 96, 96), shot(two, small, small.neutral, 96, 96),
        shot(two, small, small.photo, 112, 64), shot(one, human, human.neutral, 96, 96),
        shot(two, small, small.photo, 96, 96),
    ]  # fmt: skip
    rasterizer.draw_many(shots)
    for s in shots:
        alone = replace(s, out=np.zeros_like(s.out))
        rasterizer.draw_many([alone])
        np.testing.assert_array_equal(s.out, alone.out)
    assert not np.array_equal(shots[0].out, shots[3].out)


def test_composite_is_the_references() -> None:
    rng = np.random.default_rng(1)
    sums = rng.random((2, 30, 40, 5)) * rng.choice([0, 0.02, 1], (2, 30, 40, 1))
    hit = rng.random((30, 40)) < 0.5
    want = reference.composite(sums[0], sums[1], hit)
    colour, alpha = gpu_blend.composite(torch.from_numpy(np.concatenate([*sums], -1)), torch.from_numpy(hit))
    np.testing.assert_allclose(colour.numpy(), want[..., :3], atol=1e-6)
    np.testing.assert_allclose(alpha.numpy(), want[..., 3], atol=1e-6)


def test_i420_is_the_cpus(human: Avatar) -> None:
    """From the CPU's own picture: at most one code value apart."""
    camera, scene = compose.view(human, 128, 96)
    vertices, background = Rig(human).vertices(human.photo).copy(), compose.i420(scene)
    raster, want = cpu.Rasterizer(human, 1), np.empty_like(background)
    raster.draw_i420(vertices, camera, background, want)
    drawn = raster.draw(vertices, camera)
    yuv = torch.from_numpy(drawn[..., :3] @ YUV_FROM_RGB.T + drawn[..., 3:] * YUV_OFFSET).float()
    ours = gpu_blend.to_i420(yuv[None], torch.from_numpy(drawn[None, ..., 3]), torch.from_numpy(background)[None])
    assert np.abs(ours[0].numpy().astype(int) - want).max() <= 1


def test_wrong_shots_say_what_was_expected(human: Avatar) -> None:
    rasterizer, (drawn,) = on_cpu(human)
    plane = np.zeros((96, 64), np.uint8)
    good = gpu.Shot(drawn, human.photo, Camera(64, 32, 32, 64, 64), rasterizer.background(plane), plane)
    for wrong, message in (
        (replace(good, out=plane[:-1]), "out is"),
        (replace(good, background=torch.zeros(96, 64)), "background is"),
        (replace(good, camera=Camera(64, 32, 32, 63, 64)), "even"),
    ):
        with pytest.raises(ValueError, match=message):
            rasterizer.draw_many([wrong])


@pytest.mark.skipif(importlib.util.find_spec("gsplat") is None, reason="gsplat is not installed")
def test_the_standin_has_gsplats_signatures() -> None:
    """Read from its source: importing it would look for a compiler."""
    spec = importlib.util.find_spec("gsplat")
    assert spec is not None and spec.origin is not None
    found = 0
    for node in ast.parse(Path(spec.origin).with_name("cuda").joinpath("_wrapper.py").read_text()).body:
        ours = isinstance(node, ast.FunctionDef) and getattr(gsplat_standin, node.name, None)
        if isinstance(node, ast.FunctionDef) and ours:
            parameters = inspect.signature(ours).parameters.values()
            assert [p.name for p in parameters] == [a.arg for a in node.args.args]
            defaults = [p.default for p in parameters if p.default is not inspect.Parameter.empty]
            assert defaults == [ast.literal_eval(d) for d in node.args.defaults]
            found += 1
    assert found == 4


# ---- Triton ---------------------------------------------------------------------------------------------------------

INTERPRETED = """
import numpy as np, torch
from avatar.render import compose, cpu, gpu, gpu_depth, gpu_kernels, reference
from avatar.rig import Rig
from tests.avatar import gsplat_standin, synthetic, test_gpu, test_render
from tests.avatar.test_render import psnr, random_scene

v, faces, occluder, _, camera = random_scene(1, width=64, height=48)
points = torch.from_numpy(camera.camera_from_world(v))[None].repeat(2, 1, 1)
points[1, :, 0] += 0.03
screen = gpu_depth.to_screen(points, torch.tensor([[60.0, 32.0, 24.0]] * 2))
triangles = torch.from_numpy(faces[occluder].astype(np.int64))
ours = gpu_kernels.draw_depth(screen, triangles, 64, 48, gpu_depth.SLACK)
plain = gpu_depth.draw_plain(screen, triangles, 64, 48)
assert (ours > 0).float().mean() > 0.1 and torch.equal(ours > 0, plain > 0)
assert (ours - plain).abs().max() < 1e-6

a = synthetic.avatar(6000, "head", 88)
rasterizer = gpu.GpuRasterizer("cpu", gsplat_standin, "rule")
picture = rasterizer.draw(rasterizer.load(a), a.photo, a.camera)
want = cpu.Rasterizer(a, 1).draw(Rig(a).vertices(a.photo), a.camera)
score = psnr(picture, want)
assert want[..., 3].mean() > 0.2 and score > 60, score

for case in test_render.EDGE_CASES.keys() - {"huge in a tall picture", "wider than a tile"}:  # some minutes each
    scene = test_render.EDGE_CASES[case](random_scene(7, 300, 48, 32))
    v, faces, occluder, g, camera = scene
    ours = rasterizer.draw(test_gpu.scene_on(scene), None, camera)
    score = psnr(ours, reference.draw(v, faces, occluder, g, camera))
    assert np.isfinite(ours).all() and score > 45, (case, score)

shots, wanted = [], []
for b in (synthetic.tiny(), a):  # pictures in one launch: each finds its own tiles and its own depth
    small = compose.view(b, 40, 48)[0]
    behind = np.full((72, 40), 90 + len(shots), np.uint8)
    shots.append(gpu.Shot(rasterizer.load(b), b.photo, small, rasterizer.background(behind), behind.copy()))
    wanted.append(np.empty_like(behind))
    cpu.Rasterizer(b, 1).draw_i420(Rig(b).vertices(b.photo), small, behind, wanted[-1])
rasterizer.draw_many(shots)
for shot, want in zip(shots, wanted):
    apart = np.abs(shot.out.astype(int) - want)
    assert np.mean(want != 90) > 0.2 and apart.mean() < 0.05 and apart.max() <= 3, (apart.mean(), apart.max())
"""


@needs_triton
def test_triton_kernels_interpreted() -> None:
    """Our kernels, run by Triton's interpreter on the CPU: depth as plain torch, the picture as the CPU rasterizer."""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]


# ---- choosing -------------------------------------------------------------------------------------------------------


def test_a_device_is_chosen_or_refused_in_words() -> None:
    with pytest.raises(ValueError, match="auto, cpu, cuda"):
        picture.gpu("gpu")
    assert picture.gpu("cpu") is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device answers")
def test_without_cuda_nothing_touches_gsplat(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(gpu.GpuError, match="--device cpu"):
        gpu.prepare()
    with pytest.raises(ValueError, match=r"cuda\.lock|--device cpu"):
        picture.gpu("cuda")
    assert picture.gpu("auto") is None
    assert "gsplat" not in sys.modules
    before = page.PAGE.read_text()
    assert gpu_check.main(tmp_path / "none.avatar") == 1
    assert "no CUDA device" in capsys.readouterr().err
    assert page.PAGE.read_text() == before


def test_the_cpu_path_loads_no_torch() -> None:
    code = (
        "import sys; from tests.avatar import synthetic; from stage.picture import AvatarPicture; import numpy as np\n"
        "from models.motion import Motion; p = AvatarPicture(synthetic.tiny(), 48, 48, threads=1, device='cpu')\n"
        "p.draw(Motion(0.0), np.empty((72, 48), np.uint8)); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_the_check_draws_and_times(human: Avatar, monkeypatch: pytest.MonkeyPatch) -> None:
    """What bench/gpu_check.py does on a GPU, here by the stand-in: every configuration, consistent figures."""
    monkeypatch.setattr(gpu_check, "COUNTS", (1_000, 2_000, 3_000))
    monkeypatch.setattr(gpu_check, "SIZES", ((64, 64), (48, 96), (96, 48)))
    drawn: list[int] = []

    def one(draw: Callable[[], None], batch: int) -> dict[str, float]:
        draw()
        drawn.append(batch)
        return gpu_check.speed(lambda: time.sleep(0.002), batch, 0.05)

    speeds = dict(gpu_check.speeds(on_cpu()[0], human, True, one))
    assert drawn == [1, 4, 16, 1, 1, 1, 1]
    assert len(speeds) == 7
    figures = speeds["2k, 64x64, 4 a launch"]
    assert figures["ms"] >= 2
    assert figures["fps"] == pytest.approx(4000 / figures["ms"], rel=1e-2)
    assert figures["sessions"] == int(figures["fps"] / 30)


def test_the_table_goes_between_its_markers() -> None:
    figures = gpu_check.Figures(
        "a GPU", {"rule": {"photo, CPU": 80.0}}, {"80k": {"ms": 0.9, "p95_ms": 1.2, "fps": 1111.0, "sessions": 37}},
        321.0, 99.0,
    )  # fmt: skip
    assert figures.good
    assert not replace(figures, parity={"alpha": {"photo, CPU": 39.0}}).good
    text = page.insert(page.PAGE.read_text(), "the GPU table", gpu_check.table(figures))
    assert text.count("| 80k | 0.90 | 1.20 | 1111 | 37 |") == 1
    assert page.insert(text, "the GPU table", gpu_check.table(figures)) == text
    with pytest.raises(ValueError, match="must hold"):
        page.insert("no markers", "the GPU table", "")


# ---- CUDA -----------------------------------------------------------------------------------------------------------


@needs_cuda
@pytest.mark.parametrize("blend", ["rule", "alpha"])
def test_the_gpu_draws_the_cpus_picture(human: Avatar, bent: list[State], blend: str) -> None:
    rasterizer = gpu.GpuRasterizer(blend=blend)
    drawn, rig, by_cpu = rasterizer.load(human), Rig(human), cpu.Rasterizer(human, 2)
    standin = on_cpu(human)[0]
    for state in bent:
        ours = rasterizer.draw(drawn, state, human.camera)
        if blend == "rule":
            assert psnr(ours, by_cpu.draw(rig.vertices(state), human.camera)) > 60
        else:  # the emulation the settings were found with
            assert psnr(ours, standin.draw(standin.load(human), state, human.camera)) > 50


@needs_cuda
def test_graphs_replay_what_was_asked(human: Avatar, bent: list[State]) -> None:
    rasterizer = gpu.GpuRasterizer()
    drawn, rig = rasterizer.load(human), Rig(human)
    with torch.no_grad(), rasterizer._on_stream():
        for states in (bent, bent[1:], bent[:1], bent):
            points = drawn.pose(states)[0].cpu().numpy()
            for k, state in enumerate(states):
                assert np.abs(points[k] * (1, -1, -1) - rig.vertices(state)).max() < 5e-5
