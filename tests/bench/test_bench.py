"""The bench measures what it says, and its yardsticks draw what they should."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

import bench.frame
from avatar.render import compose, cpu, gpu
from avatar.rig import Rig
from bench import framings, viewers, yardsticks
from bench.baseline import Baseline
from bench.opengl import OpenGlSplatter
from bench.torch_splat import TorchSplatter
from tests.avatar import gsplat_standin, synthetic


def cpu_seconds(draw: object, repeats: int = 7) -> float:
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        draw()  # type: ignore[operator]
        taken.append(time.process_time() - start)
    return float(np.median(taken))


def test_the_yardsticks_draw_the_same_picture_and_one_like_ours() -> None:
    a = synthetic.avatar(20_000, "half", 256)
    v = Rig(a).vertices(a.photo)
    plain = Baseline(a.mesh.faces, a.gaussians, a.camera).draw(v)
    with_torch = TorchSplatter(a.mesh.faces, a.gaussians, a.camera).draw(v).numpy()
    assert -10 * np.log10(np.mean((plain - with_torch) ** 2)) > 60
    assert -10 * np.log10(np.mean((plain - cpu.Rasterizer(a, 1).draw(v, a.camera)) ** 2)) > 18


def test_ours_is_at_least_three_times_the_numba_baseline_and_twenty_times_torch() -> None:
    """In processor time of all threads, which other work on the machine hardly touches."""
    a = synthetic.avatar(80_000, "half", 512)
    v = Rig(a).vertices(a.photo).copy()
    ours, plain = cpu.Rasterizer(a, 2), Baseline(a.mesh.faces, a.gaussians, a.camera)
    with_torch = TorchSplatter(a.mesh.faces, a.gaussians, a.camera)
    out = np.empty((512, 512, 4), np.float32)
    for draw in (lambda: ours.draw(v, a.camera, out), lambda: plain.draw(v)):
        draw()
    fast = cpu_seconds(lambda: ours.draw(v, a.camera, out))
    assert cpu_seconds(lambda: plain.draw(v)) > 3 * fast
    assert cpu_seconds(lambda: with_torch.draw(v), 3) > 20 * fast


def test_thinning_and_thickening_keep_the_surface_closed() -> None:
    a = synthetic.avatar(20_000, "half", 256)
    v = Rig(a).vertices(a.photo)
    alpha = cpu.Rasterizer(a, 1).draw(v, a.camera)[..., 3].mean()
    for count in (10_000, 30_000, 50_000):
        b = bench.frame.with_count(a, count)
        assert b.gaussians.count == count
        assert abs(cpu.Rasterizer(b, 1).draw(v, a.camera)[..., 3].mean() - alpha) < 0.02


def test_a_run_reports_stages_and_ratios(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench.frame, "with_count", lambda a, count: a)
    out = tmp_path / "bench.json"
    monkeypatch.setattr(bench.framings, "run", lambda people, frames: {})
    result = bench.run(out, [synthetic.avatar(3_000, "half", 128)], frames=4)
    assert json.loads(out.read_text()) == result
    assert {*bench.frame.STAGES, "encode ultrafast", "encode superfast"} <= result["stages"].keys()
    assert all(0 <= s["median_ms"] <= s["p95_ms"] for s in result["stages"].values())
    parts = sum(result["stages"][s]["median_ms"] for s in ("rig", "project", "prepass", "bin", "tiles", "resolve"))
    assert result["stages"]["total"]["median_ms"] > 0.3 * parts
    assert all(x > 0 for x in result["ratios"].values())
    assert {"processor", "cores", "load"} <= result["machine"].keys()
    text = capsys.readouterr().out
    assert "numba baseline / ours" in text
    assert "total@80k,720x1280,2t" in text
    assert not list(tmp_path.glob("*.tmp"))


def test_framings_are_measured_at_every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.frame, "COUNTS", (1_000,))
    monkeypatch.setattr(bench.frame, "SIZES", ((96, 96), (64, 96)))
    monkeypatch.setattr(bench.frame, "MAIN", (1_000, (96, 96), 2))
    found = framings.run({"half": synthetic.avatar(3_000, "half", 128)}, frames=2)
    assert set(found) == {f"half,1k,{size},{threads}t" for size in ("96x96", "64x96") for threads in (1, 2)}
    for stages in found.values():
        assert {*bench.frame.STAGES} <= stages.keys()
        assert all(0 <= s["median_ms"] <= s["p95_ms"] and s["spread_ms"] >= 0 for s in stages.values())
        assert stages["total"]["cpu_ms"] > 0
    assert {key for key, stages in found.items() if "encode superfast" in stages} == {
        "half,1k,96x96,2t", "half,1k,64x96,2t",
    }  # fmt: skip
    lines = framings.table(found).splitlines()
    assert len(lines) == 5
    assert all(word in lines[0] for word in ("p95", "spread", "motion", "tiles", "resolve", "encode superfast"))


def test_people_of_three_framings_are_measured_real_ones_first() -> None:
    made = [synthetic.avatar(1_000, framing, 64) for framing in ("full", "half")]
    found = framings.people(made)
    assert list(found) == ["head", "half", "full"]
    assert found["half"] is made[1]
    assert found["full"] is made[0]
    assert found["head"].gaussians.count == 80_000


def test_opengl_draws_the_baselines_picture_or_says_what_it_wants() -> None:
    a = synthetic.avatar(5_000, "half", 128)
    v = Rig(a).vertices(a.photo)
    try:
        drawn = OpenGlSplatter(a.mesh.faces, a.gaussians, a.camera).draw(v)
    except RuntimeError as e:
        assert "pip install moderngl" in str(e)
        return
    plain = Baseline(a.mesh.faces, a.gaussians, a.camera).draw(v)
    assert -10 * np.log10(np.mean((plain - drawn.astype(np.float32)) ** 2)) > 50


def test_the_gpu_is_a_yardstick_where_it_is() -> None:
    a = synthetic.avatar(2_000, "half", 64)
    camera, scene = compose.view(a, 64, 64)
    background = compose.i420(scene)
    on_gpu = yardsticks.gpu_way(gpu.GpuRasterizer("cpu", gsplat_standin, "alpha"), a, camera, background)
    on_gpu()
    absent: dict[str, str] = {}
    ways = yardsticks.all_of(a, Rig(a).vertices(a.photo).copy(), camera, background, absent)
    assert {"numba baseline", "torch"} <= ways.keys()
    assert ways.keys() | absent.keys() == {"numba baseline", "torch", "OpenGL on llvmpipe", "gsplat on the GPU"}


def test_viewers_of_a_real_server_are_counted() -> None:
    demo = Path("avatars/demo.avatar")
    if not demo.exists():
        pytest.skip(f"{demo} is absent; `make demo` builds it")
    figures = viewers.run(demo, (0, 1), 1.0, speech=False)
    assert figures["fps"]["0"] == 0 < figures["fps"]["1"]
    assert figures["cores"]["0"] < figures["cores"]["1"] < 4
    assert 100 < figures["memory_mb"] <= figures["peak_memory_mb"] < 600
