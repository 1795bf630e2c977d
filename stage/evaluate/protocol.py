"""The evaluation protocol: sampling, masks, boxes and limits, read from the one file that holds them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("protocol.toml")
PROTOCOL: dict[str, Any] = tomllib.loads(FILE.read_text())
VERSION: int = PROTOCOL["version"]
PICTURE, REENACT, CROSS, LEAKS, TWIN, ARMS, PHOTOS, SPEECH = (
    PROTOCOL[name] for name in ("picture", "reenact", "cross", "leaks", "twin", "arms", "photos", "speech")
)
