"""The whole chain under load: the server, its speech driver and a real browser share this machine.

The page calls the demo avatar, a voice is said over and over, and what arrives in the browser is counted by the second.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
import wave
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from bench.serving import serving

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--autoplay-policy=no-user-gesture-required",
]
RATE = 16_000
SETTLE = 5.0  # s after the first picture before counting starts
LIVE = "#stage[data-state=live].has-picture"

# One entry per received frame: when it was shown, ms.
COUNT = """() => {
  const video = document.querySelector("#stage video");
  window.shown = [];
  const note = (now) => { window.shown.push(now); video.requestVideoFrameCallback(note); };
  video.requestVideoFrameCallback(note);
}"""


def run(
    avatar: Path, seconds: float, voice: Path | None = None, size: tuple[int, int] = (512, 512), fps: float = 30.0
) -> dict[str, float]:
    """Frames a second in the browser (mean, and of the slowest second), the longest gap, processor shares.

    voice: a sound file that is said over and over; a synthetic one otherwise. size (width, height) and fps of the
    stream. Raises RuntimeError without a browser.
    """
    path = next((p for name in BROWSERS if (p := shutil.which(name))), None)
    if path is None:
        raise RuntimeError("no Chromium on this machine; scripts/install_test_programs gets one where it may")
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(avatar, folder)
        sound = _repeated(voice, Path(folder) / "voice.wav", seconds + 3 * SETTLE)
        flags = ("--size", f"{size[0]}x{size[1]}", "--fps", str(fps))
        with serving(Path(folder), *flags) as (address, process), sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=ARGS)
            page = browser.new_page()
            page.goto(address)
            page.wait_for_selector(LIVE, timeout=60_000)
            page.set_input_files("#sound-input", sound)
            time.sleep(SETTLE)
            return _counted(page, process, seconds) | _told(address)


def _counted(page: Any, process: subprocess.Popen[str], seconds: float) -> dict[str, float]:
    watched = psutil.Process(process.pid)
    before, start = watched.cpu_times(), time.monotonic()
    page.evaluate(COUNT)
    time.sleep(seconds)
    shown = np.array(page.evaluate("window.shown")) / 1000
    after, wall = watched.cpu_times(), time.monotonic() - start
    per_second = np.bincount((shown - shown[0]).astype(int))[:-1]
    return {
        "seconds": float(shown[-1] - shown[0]),
        "fps": float((len(shown) - 1) / (shown[-1] - shown[0])),
        "slowest_second_fps": float(per_second.min()),
        "longest_gap_ms": float(np.diff(shown).max() * 1000),
        "server_cores": (after.user + after.system - before.user - before.system) / wall,
        "server_memory_mb": watched.memory_info().rss / 1e6,
    }


def _told(address: str) -> dict[str, float]:
    """What the server says of its one session: wall ms of a frame's stages, frames left out, quality given up."""
    with urllib.request.urlopen(address + "metrics", timeout=10) as answer:
        text = answer.read().decode()
    value = lambda name: float(re.findall(rf"^talkshot_{name}{{.*}} (\S+)$", text, re.M)[0])  # noqa: E731
    return {
        "render_ms": 1000 * value("render_seconds"),
        "encode_ms": 1000 * value("encode_seconds"),
        "frames_left_out": value("frames_dropped"),
        "degraded_steps": value("degraded_steps"),
    }


def _repeated(voice: Path | None, out: Path, seconds: float) -> Path:
    """`seconds` of the voice, over and over, as a wav file."""
    if voice is not None:
        from drivers import speech

        once: NDArray = speech.load(voice, RATE)
    else:
        t = np.arange(3 * RATE) / RATE
        vowel = sum(np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 30))
        once = 0.1 * vowel * (0.5 + 0.5 * np.sin(2 * np.pi * 4 * t))
    samples = np.tile(once, int(np.ceil(seconds * RATE / len(once))))[: int(seconds * RATE)]
    with wave.open(str(out), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((samples * 32767).clip(-32768, 32767).astype(np.int16).tobytes())
    return out
