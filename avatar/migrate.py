"""Old avatar files brought up to this schema, one version at a time. An old file must open for ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from avatar.archive import AvatarError

SCHEMA = 1

Members = dict[str, bytes]
Step = Callable[[dict[str, Any], Members], tuple[dict[str, Any], Members]]

STEPS: dict[int, Step] = {}  # from version -> what makes it the next


def migrate(manifest: dict[str, Any], members: Members) -> tuple[dict[str, Any], Members]:
    """Manifest and members of any known schema -> of SCHEMA. Raises AvatarError for others."""
    version = manifest.get("schema")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise AvatarError(f"its schema is {version!r}, expected a whole number from 1 to {SCHEMA}")
    if version > SCHEMA:
        raise AvatarError(f"its schema is {version}, this program knows up to {SCHEMA}; update the program")
    while version < SCHEMA:
        manifest, members = STEPS[version](manifest, members)
        version += 1
        manifest = manifest | {"schema": version}
    return manifest, members
