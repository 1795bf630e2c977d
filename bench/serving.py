"""A server in a process of its own, for whoever watches it from outside."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
READY = "Talkshot is ready: "


@contextmanager
def serving(
    avatars: Path, *flags: str, environment: dict[str, str] | None = None
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The server of this folder, with further flags of `serve` -> its address, its process.

    Raises RuntimeError, with what it said, where it does not start.
    """
    command = [sys.executable, "run_server.py", "serve", "--port", "0", "--avatars", str(avatars), *flags]
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
