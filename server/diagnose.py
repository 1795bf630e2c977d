"""`doctor`: what this machine has, what is missing, and what to do about it."""

from __future__ import annotations

import importlib
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Finding:
    name: str
    good: bool
    text: str
    needed: bool = True  # a bad finding that is not needed is a note, not a failure


def command(warm: bool = False) -> int:
    """Print one line per check; with warm, compile and cache every kernel too. 0 when nothing needed is missing."""
    failures = 0
    if warm:
        _warm()
    for finding in findings():
        mark = "ok  " if finding.good else ("FAIL" if finding.needed else "note")
        failures += not finding.good and finding.needed
        print(f"{mark}  {finding.name:12} {finding.text}")
    return 1 if failures else 0


def findings() -> Iterator[Finding]:
    """Every check, cheap ones first."""
    for check in (_python, _packages, _codecs, _torch, _threads, _weights, _page, _avatars, _voices, _browser):
        yield from check()


def _python() -> Iterator[Finding]:
    good = sys.version_info[:2] == (3, 11)
    yield Finding(
        "python", good, f"{platform.python_version()} on {platform.machine()}" + ("" if good else "; needs 3.11")
    )


def _packages() -> Iterator[Finding]:
    from importlib.metadata import PackageNotFoundError, version

    for name in ("numpy", "numba", "torch", "aiortc", "av", "aiohttp", "mediapipe", "openai-whisper"):
        try:
            yield Finding(name, True, version(name))
        except PackageNotFoundError:
            yield Finding(name, False, "not installed; run `make serve`, which installs the pinned set")


def _codecs() -> Iterator[Finding]:
    import av

    for codec, needed in (("libx264", True), ("libvpx", True), ("libopus", True)):
        good = codec in av.codecs_available
        yield Finding(codec, good, "in PyAV" if good else "missing from PyAV; install the pinned av wheel", needed)


def _torch() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        yield Finding("gpu", True, torch.cuda.get_device_name())
    else:
        yield Finding("gpu", True, "none: drawing on the CPU")


def _threads() -> Iterator[Finding]:
    import os

    good = os.environ.get("OMP_WAIT_POLICY", "").lower() == "passive"
    yield Finding("threads", good, "OMP_WAIT_POLICY=passive" if good else "set OMP_WAIT_POLICY=passive before starting")


def _weights() -> Iterator[Finding]:
    from models import weights

    for status in weights.list_status():
        good = status.state == "ready"
        yield Finding(
            "weights", good, f"{status.weight.id}: {status.state}" + ("" if good else "; run_server.py weights --fetch")
        )


def _page() -> Iterator[Finding]:
    good = (ROOT / "client_web/dist/index.html").exists()
    yield Finding("page", good, "client_web/dist" if good else "not built; run `make client`", needed=False)


def _avatars() -> Iterator[Finding]:
    folder = ROOT / "avatars"
    n = len(list(folder.glob("*.avatar")))
    free = shutil.disk_usage(ROOT).free / 1e9
    yield Finding(
        "avatars", n > 0, f"{n} in avatars/, {free:.0f} GB free" + ("" if n else "; run `make demo`"), needed=False
    )


def _voices() -> Iterator[Finding]:
    from drivers.text import NoReader, readers

    reader = readers()
    try:
        voices = reader.voices()
        ready = [voice for voice in voices if not voice.missing]
        yield Finding("voices", bool(ready), f"{len(ready)} for typed text", needed=False)
        for voice in voices:
            if voice.missing:
                yield Finding("voices", False, f"{voice.name}: {voice.missing}", needed=False)
    except NoReader as e:
        yield Finding("voices", False, f"none for typed text: {e}", needed=False)
    finally:
        reader.close()


def _browser() -> Iterator[Finding]:
    path = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
    yield Finding("chromium", bool(path), path or "none; only the browser tests need one", needed=False)


def _warm() -> None:
    """Compile every kernel once, so that neither a build nor a first frame waits for it."""
    steps: tuple[tuple[str, str], ...] = (("avatar.render.cpu", "warm"), ("models.matting", "warm"))
    for module, function in steps:
        start = time.perf_counter()
        run: Callable[[], None] = getattr(importlib.import_module(module), function)
        run()
        print(f"warm  {module:24} {time.perf_counter() - start:.1f} s")
