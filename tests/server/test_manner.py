"""Mood, attention, gestures and liveliness over HTTP: set at once, all or nothing, refused in words."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from drivers.mixer import Mixer
from drivers.mood import Mood
from server.app import Parts
from server.sessions import Wish
from stage.life import Life
from stage.performer import Performer
from tests.server.requests import error_of
from tests.server.scripted import (
    BeepReader,
    FlashPicture,
    LoudSpeech,
    api_of,
    bearer,
    open_session,
    scripted_parts,
    start,
)

USUAL = {
    "mood": "neutral",
    "strength": 1.0,
    "style": "neutral",
    "gestures": 1.0,
    "liveliness": 1.0,
    "attention": "idle",
}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[TestClient]:
    def perform(avatar: Any, wish: Wish) -> tuple[Performer, tuple[str, ...]]:
        picture = FlashPicture(wish.width, wish.height)
        return Performer(picture, Life(), Mixer(), LoudSpeech(), BeepReader()), ()

    light = scripted_parts()
    found = await start(tmp_path, Parts(light.load, perform, light.build, reader=light.reader))
    yield found
    await found.close()


async def change(client: TestClient, session: dict, **wish: object) -> Any:
    return await client.patch(f"/sessions/{session['id']}", json=wish, headers=bearer(session))


async def test_what_is_set_is_told_and_acts(client: TestClient) -> None:
    session = await open_session(client)
    state = await (await client.get(f"/sessions/{session['id']}", headers=bearer(session))).json()
    assert {key: state[key] for key in USUAL} == USUAL
    answer = await change(client, session, mood="happy", strength=0.4, gestures=0.5, attention="listening")
    assert answer.status == 200
    wanted = {"mood": "happy", "strength": 0.4, "gestures": 0.5, "attention": "listening"}
    assert {key: (await answer.json())[key] for key in USUAL} == USUAL | wanted
    life = next(iter(api_of(client).sessions)).performer.life
    assert life.moods.mood == Mood("happy", 0.4) and life.prosody._strength == 0.5
    assert (await (await change(client, session, liveliness=0)).json())["mood"] == "happy", "the rest stays"
    assert life.idle.style.blinks_per_minute == 0
    assert (await (await change(client, session, mood="sad")).json())["strength"] == 1.0


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"mood": "hungry"}, "disgusted"), ({"mood": 3}, "must be one of"), ({"strength": 1.1}, "`strength`"),
        ({"gestures": -1}, "`gestures`"), ({"liveliness": "x"}, "`liveliness`"), ({"attention": "asleep"}, "thinking"),
        ({"style": "wild"}, "calm"),
        ({"colour": "red"}, "`colour` cannot be set"), ({}, "nothing is named"),
        ({"mood": "happy", "gestures": 99}, "`gestures`"),
    ],
)  # fmt: skip
async def test_what_makes_no_sense_changes_nothing(client: TestClient, wish: dict, says: str) -> None:
    session = await open_session(client)
    error = await error_of(await change(client, session, **wish), 400)
    assert says in error["error"] + error.get("remedy", "")
    state = await (await client.get(f"/sessions/{session['id']}", headers=bearer(session))).json()
    assert {key: state[key] for key in USUAL} == USUAL


async def test_viewers_and_strangers_set_nothing(client: TestClient) -> None:
    session = await open_session(client)
    viewer = {"Authorization": f"Bearer {session['viewer_token']}"}
    path = f"/sessions/{session['id']}"
    assert (await client.patch(path, json={"mood": "happy"}, headers=viewer)).status == 403
    assert (await client.patch(path, json={"mood": "happy"})).status == 401


async def test_tags_of_a_text_are_checked_before_it_is_spoken(tmp_path: Path) -> None:
    from drivers.text import readers

    reader = readers()
    light = scripted_parts()

    def perform(avatar: Any, wish: Wish) -> tuple[Performer, tuple[str, ...]]:
        return Performer(FlashPicture(wish.width, wish.height), Life(), Mixer(), LoudSpeech(), reader), ()

    client = await start(tmp_path, Parts(light.load, perform, light.build, reader=reader))
    session = await open_session(client)
    body = {"text": "[hapy] Hello."}
    response = await client.post(f"/sessions/{session['id']}/speak", json=body, headers=bearer(session))
    assert "[happy]" in (await error_of(response, 400))["error"]
    await client.close()


async def test_a_session_begins_in_the_style_it_asks_for_and_changes_it(client: TestClient) -> None:
    session = await open_session(client, style="lively")
    life = next(iter(api_of(client).sessions)).performer.life
    assert life.style == life.prosody.style.name == "lively"
    assert (await (await change(client, session, style="calm")).json())["style"] == "calm" == life.style
    refused = await error_of(await client.post("/sessions", json={"avatar": "demo", "style": "wild"}), 400)
    assert "calm, neutral, lively" in refused["error"]
