"""Tables that benches write into a page of docs/, between markers."""

from __future__ import annotations

import os
import re
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs/benchmarks.md"


def insert(page: str, name: str, text: str) -> str:
    """The page with what stands between the markers of `name` replaced. Raises ValueError where they are missing."""
    begin, end = rf"<!-- {re.escape(name)}: written by .*? -->\n", f"<!-- end of {re.escape(name)} -->"
    page, found = re.compile(f"({begin}).*?({end})", re.S).subn(lambda m: f"{m[1]}{text}\n{m[2]}", page)
    if found != 1:
        raise ValueError(f"{PAGE.name} must hold the markers of {name!r} once")
    return page


def write(path: Path, text: str) -> None:
    """Whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)
