"""The whole chain under load: the server, its speech driver and a real browser share this machine.

The page calls the demo avatar, a voice is said over and over, and what arrives in the browser is counted by the second.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

ROOT = Path(__file__).parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--autoplay-policy=no-user-gesture-required",
]
READY = "Talkshot is ready: "
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


def run(avatar: Path, seconds: float, voice: Path | None = None) -> dict[str, float]:
    """Frames a second in the browser (mean, and of the slowest second), the longest gap, processor shares.

    voice: a sound file that is said over and over; a synthetic one otherwise. Raises RuntimeError without a browser.
    """
    path = next((p for name in BROWSERS if (p := shutil.which(name))), None)
    if path is None:
        raise RuntimeError("no Chromium on this machine; scripts/install_test_programs gets one where it may")
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(avatar, folder)
        sound = _repeated(voice, Path(folder) / "voice.wav", seconds + 3 * SETTLE)
        with serving(Path(folder)) as (address, process), sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=ARGS)
            page = browser.new_page()
            page.goto(address)
            page.wait_for_selector(LIVE, timeout=60_000)
            page.set_input_files("#sound-input", sound)
            time.sleep(SETTLE)
            return _counted(page, process, seconds)


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


@contextmanager
def serving(avatars: Path, environment: dict[str, str] | None = None) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server of this folder in a process of its own -> its address. Raises RuntimeError where it does not start."""
    command = [sys.executable, "run_server.py", "serve", "--port", "0", "--avatars", str(avatars)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | (environment or {}),
    )  # fmt: skip
    assert process.stdout is not None
    said: list[str] = []
    try:
        for line in process.stdout:
            said.append(line)
            if line.startswith(READY):
                yield line.removeprefix(READY).strip(), process
                return
        raise RuntimeError("the server did not start: " + " ".join(said))
    finally:
        process.terminate()
        process.wait(20)


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
