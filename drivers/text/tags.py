"""Tags in a text: `[happy]`, `[sad 0.5]` and `[pause 1.5]`, taken out and put where they belong.

A tag is a name, and a number where it takes one, in square brackets. A mood lasts until the next one or the text's end.
A bracket that holds no such name is an error rather than spoken: it is a slip far more often than a word to be said.
Brackets with anything else in them, such as [1], are text, and so is whatever follows a backslash.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from drivers.mood import MOODS, Mood
from drivers.text.script import TextError

PAUSE = "pause"
LONGEST_PAUSE = 30.0  # s
_TAG = re.compile(r"(?<!\\)\[\s*([A-Za-z]+)(?:[\s:=]+([^\[\]\s]+))?\s*\]")


@dataclass(frozen=True)
class Part:
    """Text between tags."""

    text: str
    mood: Mood | None  # that its sentences are said in; None: as the session is
    pause: float  # s of silence before it


def parts(text: str) -> list[Part]:
    """A text cut at its tags, in order, empty texts left out. Raises TextError on a tag that means nothing."""
    found: list[Part] = []
    mood, pause, start = None, 0.0, 0
    for match in [*_TAG.finditer(text), None]:
        said = text[start : match.start() if match else len(text)].replace("\\[", "[")
        if said.strip():
            found.append(Part(said, mood, pause))
            pause = 0.0
        if match:
            start = match.end()
            name, value = match[1].lower(), match[2]
            if name == PAUSE:
                pause += _number(match[0], value, 1.0, LONGEST_PAUSE)
            elif name in MOODS:
                mood = Mood(name, _number(match[0], value, 1.0, 1.0))
            else:
                raise TextError(_unknown(match[0], name))
    if pause and found:
        found.append(Part("", mood, pause))
    return found


def _number(tag: str, value: str | None, usual: float, most: float) -> float:
    if value is None:
        return usual
    try:
        number = float(value.removesuffix("s"))
    except ValueError:
        number = -1.0
    if not 0 <= number <= most:
        raise TextError(f"the tag {tag} takes a number from 0 to {most:g}")
    return number


def _unknown(tag: str, name: str) -> str:
    near = difflib.get_close_matches(name, [*MOODS, PAUSE], 1)
    meant = f"; did you mean [{near[0]}]?" if near else "."
    return f"there is no tag {tag[:40]}{meant} Tags are {', '.join(MOODS)} and {PAUSE}; to say a bracket, write \\["
