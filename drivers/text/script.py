"""A text before it is spoken: cleaned, cut into sentences, and its writing system told."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator

LONGEST = 240  # characters of a piece; a longer sentence is cut at a comma or a space
_ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof st jr sr vs etc no vol fig e.g i.e z.b d.h u.a bzw ca m mme mlle sig sra".split()  # noqa: SIM905
)
_END = re.compile(r"[.!?…]+[\"'”’»)\]]*(?:\s*\n\s*\n|(?=\s))|[。！？]+[」』”]*|\n\s*\n|[:;]\n")
# writing system (the first word of its letters' Unicode names) -> languages that use it; Latin is everybody else's
SCRIPTS = {
    "CYRILLIC": "ru uk bg be mk sr kk ky tt ba cv nog tk", "GREEK": "el grc", "ARABIC": "ar fa ur ug sd ku",
    "HEBREW": "he", "DEVANAGARI": "hi mr ne kok", "BENGALI": "bn as bpy", "GURMUKHI": "pa", "GUJARATI": "gu",
    "ORIYA": "or", "TAMIL": "ta", "TELUGU": "te", "KANNADA": "kn", "MALAYALAM": "ml", "SINHALA": "si", "THAI": "th",
    "MYANMAR": "my shn", "GEORGIAN": "ka", "ARMENIAN": "hy hyw", "ETHIOPIC": "am", "HANGUL": "ko",
    "HIRAGANA": "ja", "KATAKANA": "ja", "CJK": "cmn yue ja", "CHEROKEE": "chr",
}  # fmt: skip
# of these, the languages that are written in Latin letters, too
_BOTH = frozenset(["sr", "tk", "uz", "ku", "az"])


class TextError(ValueError):
    """A text that cannot be read aloud as asked; the message says why."""


def clean(text: str) -> str:
    """Without control characters (espeak-ng takes some for commands), spaces in line, line ends kept."""
    text = unicodedata.normalize("NFC", text.encode("utf-8", "ignore").decode())
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = "".join(c if c == "\n" or unicodedata.category(c)[0] != "C" else " " for c in text)
    return re.sub(r"[^\S\n]+", " ", text).strip()


def speakable(text: str) -> bool:
    """Is there a letter or a digit in it?"""
    return any(unicodedata.category(c)[0] in "LN" for c in text)


def sentences(text: str, longest: int = LONGEST) -> Iterator[tuple[str, bool]]:
    """Pieces of a cleaned text in order, each with whether it ends a paragraph. Nothing but spaces is lost."""
    start = 0
    for match in _END.finditer(text):
        piece = text[start : match.end()]
        if match[0].startswith(".") and "\n" not in match[0] and _abbreviated(piece):
            continue
        start = match.end()
        yield from _pieces(piece, match[0].count("\n") > 1, longest)
    yield from _pieces(text[start:], True, longest)


def _abbreviated(piece: str) -> bool:
    words = piece.rstrip(".").lower().split()
    return bool(words) and (words[-1].lstrip("(\"'") in _ABBREVIATIONS or (len(words[-1]) == 1 and words[-1].isalpha()))


def _pieces(sentence: str, paragraph: bool, longest: int) -> Iterator[tuple[str, bool]]:
    rest = " ".join(sentence.split())
    while len(rest) > longest:
        cut = max(rest.rfind(mark, longest // 3, longest) for mark in (",", ";", ":", "，", "、"))
        cut = cut if cut > 0 else rest.rfind(" ", longest // 3, longest)
        cut = cut + 1 if cut > 0 else longest
        yield rest[:cut].strip(), False
        rest = rest[cut:].strip()
    if rest:
        yield rest, paragraph


def script_of(text: str) -> str:
    """The writing system of most of its letters, as in SCRIPTS, or LATIN where it has none."""
    counts = Counter(unicodedata.name(c, "LATIN").split()[0] for c in text if unicodedata.category(c)[0] == "L")
    if counts["HIRAGANA"] + counts["KATAKANA"] and counts["CJK"]:
        return "HIRAGANA"  # Japanese mixes them
    return counts.most_common(1)[0][0] if counts else "LATIN"


def reads(language: str, script: str) -> bool:
    """Can a voice of this language (a tag such as en-us) make sense of that writing system?"""
    base = language.split("-")[0]
    foreign = any(base in languages.split() for languages in SCRIPTS.values())
    if script == "LATIN":
        return not foreign or base in _BOTH or "latn" in language or base in ("cmn", "yue")
    return base in SCRIPTS.get(script, "").split() and "latn" not in language
