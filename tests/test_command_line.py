"""The command line: help, one clear line on bad input, and films from each kind of driving file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from models.motion import ARKIT, GROUP, GROUPS, A, MotionTrack
from tests.conftest import ROOT, shared_file, voice_like, write_wav

COMMANDS = ("serve", "build", "render", "demo", "evaluate", "bench", "doctor", "weights")


def run(*args: object, timeout: float = 280) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "run_server.py"), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=ROOT, env=os.environ.copy())


def failure(*args: object) -> str:
    """The one line a failing command prints."""
    result = run(*args)
    assert result.returncode != 0
    lines = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr
    return lines[0]


def frames(path: Path) -> np.ndarray:
    """(T, H, W) luma."""
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="gray") for f in container.decode(video=0)])


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "voice.wav"
    write_wav(path, (voice_like(2.0) * 20_000).clip(-32768, 32767).astype(np.int16), 16_000)
    return path


def track(seconds: float = 1.0, fps: int = 30) -> MotionTrack:
    """The jaw opens and closes once; the head turns."""
    T = round(seconds * fps)
    phase = np.linspace(0, 1, T)
    face, pose = np.zeros((T, 52), np.float32), np.zeros((T, 55, 3), np.float32)
    face[:, A["jawOpen"]] = np.sin(np.pi * phase) ** 2
    pose[:, 15, 1] = 0.2 * np.sin(np.pi * phase)
    weight = np.zeros((T, len(GROUPS)), np.float32)
    weight[:, [GROUP[g] for g in ("mouth", "head", "lids", "gaze", "torso")]] = 1
    return MotionTrack(np.arange(T) / fps, pose, face, np.zeros((T, 3), np.float32), weight)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_each_command(command: str) -> None:
    result = run(command, "--help")
    assert result.returncode == 0 and "usage" in result.stdout


def test_missing_and_wrong_files_are_named(tmp_path: Path) -> None:
    avatar = tmp_path / "broken.avatar"
    avatar.write_bytes(b"PK\x03\x04 not really")
    sound = tmp_path / "empty.wav"
    sound.touch()
    out = tmp_path / "out.mp4"
    assert "nobody.jpg" in failure("build", tmp_path / "nobody.jpg", "-o", tmp_path / "a.avatar")
    assert "broken.avatar" in failure("render", avatar, "--drive", sound, "-o", out)
    assert "none.avatar" in failure("render", tmp_path / "none.avatar", "--drive", sound, "-o", out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken.avatar", "empty.wav"]


def test_bad_options_are_explained(demo_avatar_path: Path, sound: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    for options, word in (
        (("--size", "513x512"), "even"),
        (("--size", "big"), "512x512"),
        (("--fps", "0"), "frame rate"),
        (("--background", "green"), "#20242c"),
    ):
        result = run("render", demo_avatar_path, "--drive", sound, "-o", out, *options)
        assert result.returncode == 2 and word in result.stderr
    assert ".gif" in failure("render", demo_avatar_path, "--drive", sound, "-o", tmp_path / "out.gif")
    assert "--reenact" in failure("render", demo_avatar_path, "--drive", sound, "-o", out, "--reenact")
    assert "--browser" in failure("bench", "--size", "720x1280")
    assert "no such photo" in failure("bench", "--build", tmp_path / "nobody.png")
    assert not out.exists()


def test_a_sound_makes_a_talking_film(demo_avatar_path: Path, sound: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    result = run("render", demo_avatar_path, "--drive", sound, "-o", out, "--size", "256x256", "--fps", 25)
    assert result.returncode == 0, result.stderr
    with av.open(str(out)) as container:
        assert len(container.streams.audio) == 1
    assert frames(out).shape == (50, 256, 256)


def test_a_motion_npz_moves_the_mouth_and_the_head(demo_avatar_path: Path, tmp_path: Path) -> None:
    drive, out = tmp_path / "motion.npz", tmp_path / "out.mp4"
    track().save(drive)
    result = run(
        "render", demo_avatar_path, "--drive", drive, "-o", out, "--size", "256x256", "--background", "#00ff00"
    )
    assert result.returncode == 0, result.stderr
    film = frames(out).astype(np.float32)
    assert len(film) == 30
    moved = np.abs(film[15] - film[0]).mean()
    returned = np.abs(film[-1] - film[0]).mean()
    assert moved > 1.0 and moved > 2 * returned


def test_a_face_recording_drives(demo_avatar_path: Path, tmp_path: Path) -> None:
    drive, out = tmp_path / "face.csv", tmp_path / "out.mp4"
    names = [n[0].upper() + n[1:] for n in ARKIT]
    rows = [f"10:00:00:{k:02d}.000,52," + ",".join("0.5" if n == "JawOpen" else "0" for n in names) for k in range(30)]
    drive.write_text("\n".join(["Timecode,BlendshapeCount," + ",".join(names), *rows]) + "\n")
    result = run("render", demo_avatar_path, "--drive", drive, "-o", out, "--size", "128x128")
    assert result.returncode == 0, result.stderr
    assert len(frames(out)) >= 10


def test_a_video_of_another_person_drives(demo_avatar_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    result = run("render", demo_avatar_path, "--drive", shared_file("videos/grid_bbaf2n.mpg"), "-o", out)
    assert result.returncode == 0, result.stderr
    film = frames(out)
    assert 70 <= len(film) <= 76 and film[0].shape[0] >= 512


def test_a_video_without_a_face_is_refused(demo_avatar_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    line = failure("render", demo_avatar_path, "--drive", shared_file("videos/gr_noperson_globe.mp4"), "-o", out)
    assert "no face" in line and not out.exists()


def test_build_reports(tmp_path: Path) -> None:
    """A photo that is not the demo's, from the command to the report."""
    photo, out, report = shared_file("photos/flux_woman_0303.png"), tmp_path / "her.avatar", tmp_path / "report.json"
    result = run("build", photo, "-o", out, "--report", report)
    assert result.returncode == 0, result.stderr
    facts = json.loads(report.read_text())
    assert {"seconds", "stages", "framing", "gaussians", "rest_psnr", "rest_ssim", "warnings"} <= set(facts)
    assert facts["rest_psnr"] > 30 and 30_000 < facts["gaussians"] <= 110_000


def test_a_photo_without_a_person_is_refused(tmp_path: Path) -> None:
    import skimage.data

    photo = Path(str(skimage.data.__file__)).with_name("chelsea.png")
    out = tmp_path / "cat.avatar"
    line = failure("build", photo, "-o", out)
    assert "person" in line or "face" in line
    assert list(tmp_path.iterdir()) == []


def test_a_text_becomes_a_film_with_its_voice(demo_avatar_path: Path, tmp_path: Path) -> None:
    from drivers.text import EspeakReader, NoReader

    try:
        reader = EspeakReader()
        seconds = sum(len(s.samples) / s.rate for s in reader.read("Papa, mama! Bob is here."))
        reader.close()
    except NoReader as e:
        pytest.skip(f"needs espeak-ng: {e}")
    out = tmp_path / "said.mp4"
    said = ("--say", "Papa, mama! Bob is here.", "--size", "96x96", "--fps", "15")
    result = run("render", demo_avatar_path, *said, "-o", out)
    assert result.returncode == 0, result.stderr
    with av.open(str(out)) as container:
        sound = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    assert len(frames(out)) == np.ceil(round(seconds * 15, 3)) and np.sqrt((sound**2).mean()) > 0.02
    assert "no voice 'nobody'" in failure("render", demo_avatar_path, "--say", "hello", "--voice", "nobody", "-o", out)
    assert "nothing to say" in failure("render", demo_avatar_path, "--say", "...", "-o", out)
    assert "[happy]" in failure("render", demo_avatar_path, "--say", "[hapy] hello", "-o", out)
    assert "1.5" in failure("render", demo_avatar_path, "--say", "hello", "--gesture-strength", "9", "-o", out)
    assert "no mood 'hungry'" in run("render", demo_avatar_path, "--say", "x", "--mood", "hungry", "-o", out).stderr


def test_a_film_has_one_driver(tmp_path: Path, sound: Path) -> None:
    both = run("render", "a.avatar", "--say", "hello", "--drive", sound, "-o", tmp_path / "out.mp4")
    none = run("render", "a.avatar", "-o", tmp_path / "out.mp4")
    assert both.returncode == none.returncode == 2
    assert "--drive" in both.stderr and "--say" in both.stderr and "--say" in none.stderr


def test_small_matrices_take_one_thread() -> None:
    """A second BLAS thread spun through every hop of speech: a core lost for nothing."""
    script = """
import run_server, time
import numpy as np
a, b = np.ones((24, 1200), np.float32), np.ones((1200, 512), np.float32)
wall, cpu = time.perf_counter(), time.process_time()
while time.perf_counter() - wall < 0.5:
    a @ b
print((time.process_time() - cpu) / (time.perf_counter() - wall))
"""
    env = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, env=env, timeout=60)
    assert float(done.stdout) < 1.3, done.stderr
