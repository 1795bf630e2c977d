"""The server as a process: it prints its address, answers, says why it cannot start, and stops when told to."""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = "from server import app, config; app.run(config.load({flags!r}, None, {{}}))"


def serve(**flags: object) -> subprocess.Popen:
    script = SCRIPT.format(flags=flags)
    return subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def address(process: subprocess.Popen) -> str:
    line = process.stdout.readline()  # type: ignore[union-attr]
    found = re.search(r"http://127\.0\.0\.1:\d+/", line)
    assert found, line + process.stderr.read()  # type: ignore[union-attr]
    return found[0]


def test_it_prints_its_address_answers_and_stops_with_open_requests(tmp_path: Path) -> None:
    process = serve(port=0, avatars=str(tmp_path))
    try:
        base = address(process)
        with urllib.request.urlopen(base + "healthz", timeout=10) as answer:
            assert json.load(answer)["status"] == "ok"
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert process.wait(20) == 0
        assert time.monotonic() - began < 15
        assert "stopping" in process.stdout.read()  # type: ignore[union-attr]
    finally:
        process.kill()


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    first = serve(port=0, avatars=str(tmp_path))
    try:
        port = int(address(first).rstrip("/").rsplit(":", 1)[1])
        second = serve(port=port, avatars=str(tmp_path))
        _, error = second.communicate(timeout=60)
        assert second.returncode == 1
        assert f"cannot listen on 127.0.0.1:{port}" in error and "--port" in error
    finally:
        first.terminate()
        first.wait(20)
