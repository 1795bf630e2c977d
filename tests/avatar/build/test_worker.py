"""A build in its own process: events, result, cancelling, and failures that leave nothing behind."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from avatar import asset
from avatar.build.worker import BuildJob


def test_a_job_tells_its_progress_and_leaves_only_the_result(nets: None, astronaut: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "anna.avatar", tmp_path / "anna.json"
    events = list(BuildJob(astronaut, out, report).events())
    assert events[-1]["event"] == "done", events[-1]
    assert {e["stage"] for e in events[:-1]} >= {"observe", "fit", "seed", "colour", "check"}
    assert events[-1]["report"]["gaussians"] > 10_000
    names = ["anna.avatar", "anna.jpg", "anna.json", "anna.landmarks.json", "anna.matte.png"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    assert 200 < events[-1]["report"]["peak_memory_mb"] < 4000
    assert asset.load(out).name == "anna"


def test_cancelling_ends_the_process_and_leaves_nothing(nets: None, astronaut: Path, tmp_path: Path) -> None:
    job = BuildJob(astronaut, tmp_path / "x.avatar")
    process = psutil.Process(job._process.pid)
    events = job.events()
    assert next(events)["stage"] == "observe"
    threading.Thread(target=job.cancel).start()
    rest = list(events)
    assert rest[-1] == {"event": "cancelled"}
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_comes_as_words(tmp_path: Path) -> None:
    photo = tmp_path / "x.png"
    photo.write_bytes(b"")
    last = BuildJob(photo, tmp_path / "x.avatar").wait()
    assert last == {"event": "failed", "error": "x.png is empty (0 bytes)", "refused": True}
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]


def test_a_killed_worker_is_a_failure_not_a_hang(astronaut: Path, tmp_path: Path) -> None:
    job = BuildJob(astronaut, tmp_path / "x.avatar")
    psutil.Process(job._process.pid).kill()
    last = job.wait()
    assert last["event"] == "failed" and "signal 9" in last["error"]
    assert list(tmp_path.iterdir()) == []


def test_a_photo_without_a_person_is_refused(nets: None, tmp_path: Path) -> None:
    photo = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)).save(photo)
    last = BuildJob(photo, tmp_path / "x.avatar").wait()
    assert last["event"] == "failed" and last["refused"]
    assert "person" in last["error"] or "face" in last["error"]
