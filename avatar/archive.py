"""The container of an avatar: a stored zip whose manifest holds the sha256 of every other member.

Whatever is read was written by somebody else: the names, number and sizes of members are checked before a byte of them
is read, their hashes before a byte is used. Writing is atomic, and the same contents give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

MANIFEST, TENSORS, BACKGROUND, PREVIEW = "manifest.json", "tensors.safetensors", "background.webp", "preview.webp"
MAX_BYTES = {MANIFEST: 1 << 20, TENSORS: 256 << 20, BACKGROUND: 64 << 20, PREVIEW: 8 << 20}
MAX_DEPTH = 16  # of nested lists and objects in the manifest
_EPOCH = (1980, 1, 1, 0, 0, 0)


class AvatarError(ValueError):
    """A file that is no usable avatar: what is wrong, what was wanted and what to do, for the one who opened it."""


def read(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The manifest and the other members. Raises AvatarError."""
    try:
        size = path.stat().st_size
        if size > sum(MAX_BYTES.values()) + (1 << 16):
            raise AvatarError(f"{path}: {size >> 20} MiB, larger than any avatar; is it the right file?")
        with zipfile.ZipFile(path) as z:
            _check_directory(path, z.infolist())
            raw = {i.filename: z.read(i) for i in z.infolist()}
    except OSError as e:
        raise AvatarError(f"{path}: cannot be read ({e.strerror or e})") from e
    except AvatarError:
        raise
    except Exception as e:  # zipfile raises BadZipFile, NotImplementedError, RuntimeError, struct.error, EOFError, ...
        raise AvatarError(f"{path}: not an avatar file, or damaged ({e}); copy or build it again") from e
    manifest = _manifest(path, raw.pop(MANIFEST))
    _check_hashes(path, manifest, raw)
    return manifest, raw


def _check_directory(path: Path, members: list[zipfile.ZipInfo]) -> None:
    names = [i.filename for i in members]
    if sorted(names) != sorted(MAX_BYTES):
        found = ", ".join(map(repr, names[:6])) or "nothing"
        raise AvatarError(f"{path}: holds {found}; an avatar holds exactly {', '.join(MAX_BYTES)}")
    for i in members:
        if i.compress_type != zipfile.ZIP_STORED or i.flag_bits & 1 or i.compress_size != i.file_size:
            raise AvatarError(f"{path}: {i.filename} is compressed or encrypted; avatars store their members plainly")
        if i.file_size > MAX_BYTES[i.filename]:
            raise AvatarError(
                f"{path}: {i.filename} has {i.file_size} bytes, at most {MAX_BYTES[i.filename]} are allowed"
            )


def _manifest(path: Path, raw: bytes) -> dict[str, Any]:
    def refuse(text: str) -> float:
        raise ValueError(f"{text} is no number")

    try:
        manifest = json.loads(raw.decode("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError) as e:
        raise AvatarError(f"{path}: {MANIFEST} cannot be understood ({e})") from e
    if not isinstance(manifest, dict) or _depth(manifest) > MAX_DEPTH:
        raise AvatarError(f"{path}: {MANIFEST} is not an object, or nested deeper than {MAX_DEPTH}")
    return manifest


def _depth(x: Any, level: int = 0) -> int:
    children = x.values() if isinstance(x, dict) else x if isinstance(x, list) else ()
    return level if level > MAX_DEPTH else max((_depth(c, level + 1) for c in children), default=level)


def _check_hashes(path: Path, manifest: dict[str, Any], raw: dict[str, bytes]) -> None:
    recorded = manifest.get("members")
    for name, data in raw.items():
        wanted = recorded.get(name) if isinstance(recorded, dict) else None
        if hashlib.sha256(data).hexdigest() != wanted:
            raise AvatarError(f"{path}: {name} is not what the manifest recorded (sha256 differs); copy it again")


def write(path: Path, manifest: dict[str, Any], members: dict[str, bytes]) -> None:
    """Write manifest (its "members" are filled in) and members to `path`, whole or not at all."""
    for name, data in members.items():
        if len(data) > MAX_BYTES[name]:
            raise AvatarError(f"{path}: {name} would have {len(data)} bytes, at most {MAX_BYTES[name]} are allowed")
    manifest = manifest | {"members": {name: hashlib.sha256(data).hexdigest() for name, data in members.items()}}
    text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    handle, temporary = tempfile.mkstemp(suffix=".tmp", prefix=path.stem, dir=path.absolute().parent)
    try:
        with os.fdopen(handle, "wb") as f, zipfile.ZipFile(f, "w", zipfile.ZIP_STORED) as z:
            for name, data in {MANIFEST: text.encode(), **members}.items():
                info = zipfile.ZipInfo(name, _EPOCH)
                info.create_system, info.external_attr = 3, 0o644 << 16
                z.writestr(info, data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
