"""How a session's avatar behaves: mood, attention, style, gestures and liveliness, set while it performs."""

from __future__ import annotations

from typing import Any

from drivers.attention import STATES
from drivers.gesture_style import STYLES
from drivers.mood import MOODS, Mood
from drivers.prosody import MOST
from server.errors import Problem
from server.limits import number
from stage.life import Life

FIELDS = ("mood", "strength", "style", "gestures", "liveliness", "attention")


def change(life: Life | None, data: dict[str, Any], now: float) -> None:
    """Set what `data` names of FIELDS from media time `now` on, all of it or nothing. Raises Problem 400 or 409."""
    if life is None:
        raise Problem(409, "this session's avatar has no manner that can be set")
    unknown = sorted(set(data) - set(FIELDS))
    if unknown or not data:
        found = f"`{unknown[0]}` cannot be set" if unknown else "nothing is named"
        raise Problem(400, found, f"name some of {', '.join(FIELDS)}")
    name = one_of(data, "mood", life.moods.mood.name, tuple(MOODS))
    usual = life.moods.mood.strength if "mood" not in data else 1.0
    mood = Mood(name, number(data, "strength", usual, 0, 1))
    gestures = number(data, "gestures", life.gestures, 0, MOST)
    liveliness = number(data, "liveliness", life.liveliness, 0, MOST)
    state = one_of(data, "attention", "", STATES)
    style = one_of(data, "style", life.style, tuple(STYLES))
    if mood != life.moods.mood:
        life.moods.set(mood, now)
    life.set_style(style)
    life.set_gestures(gestures)
    life.set_liveliness(liveliness)
    if state:
        life.set_state(state, now)


def state(life: Life | None, now: float) -> dict[str, Any]:
    """What `change` set, and what the avatar attends to now."""
    if life is None:
        return {}
    mood = life.moods.mood
    settings = {"style": life.style, "gestures": life.gestures, "liveliness": life.liveliness}
    return {"mood": mood.name, "strength": mood.strength, **settings, "attention": life.attention.state(now)}


def one_of(data: dict[str, Any], key: str, usual: str, known: tuple[str, ...]) -> str:
    """Raises Problem 400."""
    value = data.get(key, usual)
    if key in data and value not in known:
        raise Problem(400, f"`{key}` is {value!r:.40}; it must be one of {', '.join(known)}")
    return str(value)
