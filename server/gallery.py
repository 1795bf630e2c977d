"""The avatars of one folder: listed, loaded, removed. An id is looked up in the listing, never made a path."""

from __future__ import annotations

import io
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from server.errors import Problem, not_found

if TYPE_CHECKING:
    from avatar.asset import Avatar

log = logging.getLogger(__name__)

SUFFIX = ".avatar"
LOADED = 4  # avatars kept in memory


@dataclass(frozen=True)
class Card:
    """What the page shows of an avatar."""

    id: str
    path: Path
    stamp: tuple[int, int]  # modified ns, bytes
    info: dict[str, Any]
    preview: bytes  # WebP


class Gallery:
    """Blocking and thread-safe; call it from an executor."""

    def __init__(self, folder: Path, load: Callable[[Path], Avatar]) -> None:
        self.folder, self._load = folder, load
        self._lock = threading.RLock()
        self._cards: dict[str, Card] = {}
        self._loaded: OrderedDict[str, tuple[tuple[int, int], Avatar]] = OrderedDict()

    def cards(self) -> list[Card]:
        """All avatars that can be opened, oldest first; files that cannot are left out and logged once."""
        with self._lock:
            found = {}
            for path in sorted(self.folder.glob(f"*{SUFFIX}")):
                try:
                    stat = path.stat()
                except OSError:  # removed meanwhile
                    continue
                stamp = (stat.st_mtime_ns, stat.st_size)
                known = self._cards.get(path.stem)
                found[path.stem] = known if known and known.stamp == stamp else self._read(path, stamp)
            self._cards = found
            return sorted((c for c in found.values() if c.info), key=lambda c: c.stamp)

    def card(self, avatar_id: str) -> Card:
        """Raises Problem 404."""
        for card in self.cards():
            if card.id == avatar_id:
                return card
        raise not_found("avatar", avatar_id)

    def avatar(self, avatar_id: str) -> Avatar:
        """The avatar itself, from memory where it was used lately. Raises Problem 404, or 409 for a broken file."""
        card = self.card(avatar_id)
        with self._lock:
            stamp, avatar = self._loaded.pop(card.id, (None, None))
            if avatar is None or stamp != card.stamp:
                try:
                    avatar = self._load(card.path)
                except (ValueError, OSError) as e:
                    raise Problem(409, f"the avatar {avatar_id!r} cannot be opened: {e}") from e
            self._loaded[card.id] = (card.stamp, avatar)
            while len(self._loaded) > LOADED:
                self._loaded.popitem(last=False)
            return avatar

    def remove(self, avatar_id: str) -> None:
        """Raises Problem 404; 409 where the file cannot be removed."""
        card = self.card(avatar_id)
        with self._lock:
            self._loaded.pop(card.id, None)
            try:
                card.path.unlink()
            except OSError as e:
                raise Problem(409, f"the avatar {avatar_id!r} cannot be removed ({e.strerror})") from e

    def _read(self, path: Path, stamp: tuple[int, int]) -> Card:
        try:
            avatar = self._load(path)
            info = _info(path.stem, avatar)
            return Card(path.stem, path, stamp, info, _webp(avatar))
        except (ValueError, OSError, KeyError) as e:
            log.warning("%s is left out: %s", path.name, e)
            return Card(path.stem, path, stamp, {}, b"")


def _info(avatar_id: str, avatar: Avatar) -> dict[str, Any]:
    _, _, width, height = avatar.view
    return {
        "id": avatar_id, "name": avatar.name, "framing": avatar.framing, "width": round(width), "height": round(height),
        "gaussians": avatar.gaussians.count, "quality": {k: float(v) for k, v in avatar.quality.items()},
        "warnings": list(avatar.warnings), "preview": f"/avatars/{avatar_id}/preview.webp",
    }  # fmt: skip


def _webp(avatar: Avatar) -> bytes:
    out = io.BytesIO()
    Image.fromarray(avatar.preview).save(out, "WEBP", quality=85)
    return out.getvalue()
