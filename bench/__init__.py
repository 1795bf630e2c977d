"""How long every stage of a frame takes here, and how that compares with what one would write first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from avatar.asset import Avatar
from bench import frame, framings


def run(json_path: Path | None = None, avatars: Sequence[Path | Avatar] = (), frames: int = 90) -> dict[str, Any]:
    """What frame.run measures of a half-body avatar, and framings.run of a head, a half and a full one.

    avatars: see framings.people. Prints tables, writes JSON where asked: frame.run's result with "framings".
    """
    people = framings.people(avatars)
    result = frame.run(None, people["half"], frames, quiet=True)
    result["people"] = {framing: a.name for framing, a in people.items()}
    result["framings"] = framings.run(people, max(frames // 3, 2))
    print(frame.table(result), framings.table(result["framings"]), sep="\n\n")
    if json_path is not None:
        frame.write(json_path, result)
    return result


__all__ = ["run"]
