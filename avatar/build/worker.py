"""A build in a process of its own: low priority, can be cancelled, leaves nothing half done.

    job = BuildJob(Path("photo.jpg"), Path("anna.avatar"))
    for event in job.events():
        ...  # {"event": "progress", "stage", "fraction", "message"}, at last "done", "failed" or "cancelled"

The process is a fresh interpreter (`python -m avatar.build.worker`), so that nets and kernels of a build never live in
the server, and speaks JSON lines over a pipe of its own: what libraries print does not get in the way.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NICE = 10
GRACE = 3.0  # s between asking a process to end and ending it
_LOG_TAIL = 2000  # characters of the worker's stderr kept for an error nobody foresaw

Event = dict[str, Any]


class BuildJob:
    """One build in the background. `out` appears when it is done, complete, or not at all; so does `report`, and beside
    it what the nets saw (corrections.py)."""

    def __init__(
        self,
        photo: Path,
        out: Path,
        report: Path | None = None,
        name: str = "",
        consent: str = "",
        matte: Path | None = None,
        landmarks: Path | None = None,
    ) -> None:
        """Starts at once. matte, landmarks: the user's own. Raises OSError when the folder of `out` is not writable."""
        self.out, self.report = Path(out), None if report is None else Path(report)
        self._folder = Path(tempfile.mkdtemp(prefix=f".{self.out.stem}-", suffix=".tmp", dir=self.out.parent))
        self._cancelled = False
        self._lock = threading.Lock()
        read, write = os.pipe()
        command = [sys.executable, "-m", "avatar.build.worker", str(Path(photo).absolute()), str(self._folder)]
        command += ["--events", str(write), "--name", name or self.out.stem, "--consent", consent]
        for flag, file in (("--matte", matte), ("--landmarks", landmarks)):
            command += [] if file is None else [flag, str(Path(file).absolute())]
        threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # two threads on small matrices only spin
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                command, cwd=ROOT, pass_fds=[write], stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
                start_new_session=True, env={**os.environ, **threads},
            )  # fmt: skip
        except OSError:
            os.close(read)
            self._clean()
            raise
        finally:
            os.close(write)
        self._pipe = os.fdopen(read, "r", encoding="utf-8")

    def events(self) -> Iterator[Event]:
        """What happens, as it happens; blocks between. The last event is done, failed or cancelled. To be read once."""
        last: Event = {}
        try:
            with self._pipe:
                for line in self._pipe:
                    event = json.loads(line)
                    if event["event"] == "progress":
                        yield event
                    else:
                        last = event
            self._process.wait()
            yield self._finish(last)
        finally:
            self.cancel()

    def cancel(self) -> None:
        """End the build, if it still runs; may be called from any thread, and more than once."""
        with self._lock:
            if self._process.poll() is None:
                self._cancelled = True
                _end(self._process)
            self._clean()

    def wait(self) -> Event:
        """Block until the end; the last event."""
        return list(self.events())[-1]

    def _finish(self, last: Event) -> Event:
        if self._cancelled:
            return {"event": "cancelled"}
        if last.get("event") == "done":
            with self._lock:
                os.replace(self._folder / "avatar", self.out)
                if self.report is not None:
                    shutil.move(self._folder / "report.json", self.report)
                    for file in sorted(self._folder.glob("seen.*")):
                        shutil.move(file, self.report.with_name(self.report.stem + file.name.removeprefix("seen")))
            return {**last, "avatar": str(self.out)}
        if last.get("event") == "failed":
            return last
        self._log.seek(0)
        tail = self._log.read()[-_LOG_TAIL:].decode(errors="replace").strip()
        code = self._process.returncode
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        return {"event": "failed", "error": f"the build ended unexpectedly ({how})", "refused": False, "log": tail}

    def _clean(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the process's group to end, then end it."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        try:
            process.wait(GRACE)
            return
        except subprocess.TimeoutExpired:
            continue


def main(arguments: list[str] | None = None) -> int:
    """The worker's side."""
    parser = argparse.ArgumentParser(prog="avatar.build.worker")
    parser.add_argument("photo", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--name", default="")
    parser.add_argument("--consent", default="")
    parser.add_argument("--matte", type=Path)
    parser.add_argument("--landmarks", type=Path)
    a = parser.parse_args(arguments)
    with contextlib.suppress(OSError):
        os.nice(NICE)
    with os.fdopen(a.events, "w", encoding="utf-8") as pipe:

        def tell(**event: Any) -> None:
            pipe.write(json.dumps(event) + "\n")
            pipe.flush()

        try:
            return _build(a, tell)
        except BrokenPipeError:  # nobody listens any more
            return 1


def _build(a: argparse.Namespace, tell) -> int:  # type: ignore[no-untyped-def]
    from avatar import asset
    from avatar.build import builder
    from models.weights import WeightsError

    def progress(stage: str, fraction: float, message: str) -> None:
        tell(event="progress", stage=stage, fraction=round(fraction, 3), message=message)

    try:
        options = builder.Options(name=a.name, consent=a.consent)
        by_hand = builder.Corrections(a.matte, a.landmarks)
        avatar, report = builder.build(a.photo, options, progress, by_hand, a.folder / "seen")
        progress("save", 0.99, "Saving the avatar")
        asset.save(avatar, a.folder / "avatar")
        report.save(a.folder / "report.json")
    except builder.Refused as e:
        tell(event="failed", error=str(e), refused=True)
        return 2
    except (WeightsError, OSError, ValueError) as e:  # ValueError: a body model or an avatar that cannot be used
        tell(event="failed", error=str(e), refused=False)
        return 1
    tell(event="done", report=json.loads(report.json()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
