"""Typed text on the performer's clock: lips and captions in step, in order, and gone when told to stop."""

import numpy as np
import pytest

from drivers.text import Delivery, NoReader, TextError
from models.motion import A
from stage.performer import MAX_SCRIPTS, READ_AHEAD, Performer
from stage.sound import RATE, SoundError
from tests.server.scripted import BeepReader, FlashPicture, Still, TopLayer, clicks, scripted_performer
from tests.stage.test_performer import FRAME, onsets


@pytest.fixture
def reader() -> BeepReader:
    return BeepReader()


@pytest.fixture
def p(reader: BeepReader) -> Performer:
    return scripted_performer(reader=reader)


def perform(p: Performer, seconds: float, start: float = 0.0):
    """As in test_performer, reading on as the server does; also the caption's text at each step."""
    out = np.zeros((p.picture.height * 3 // 2, p.picture.width), np.uint8)
    rows, captions = [], []
    for k in range(round(seconds / FRAME)):
        t = start + k * FRAME
        if p.reads:
            p.read_on()
        p.advance(t + 0.3)
        motion = p.frame(t, out)
        sound = p.voice(round(t * RATE), round(FRAME * RATE))
        rows.append((t, motion.face[A["jawOpen"]], np.abs(sound.astype(int)).max() > 3000))
        caption = p.caption(t)
        captions.append(caption.text if caption else "")
    return *np.array(rows).T, captions


def test_text_is_heard_at_once_with_its_lips_in_step(p: Performer) -> None:
    u = p.say("one two. three")
    assert u.start < 0.1 and u.seconds == pytest.approx(0.8, abs=0.01)
    t, mouth, loud, captions = perform(p, 1.6)
    heard, seen = onsets(t, loud), onsets(t, mouth)
    np.testing.assert_allclose(heard, u.start + np.array([0.1, 0.5, 0.9]), atol=0.012)
    assert np.abs(heard - seen).max() <= 0.021
    assert [c for c, before in zip(captions, ["", *captions]) if c != before] == ["one two.", "", "three.", ""]
    assert not p.reads


def test_without_a_net_known_lips_move_all_the_same(reader: BeepReader) -> None:
    p = Performer(FlashPicture(), Still(), TopLayer(), None, reader)
    p.say("one")
    _, mouth, loud, _ = perform(p, 0.5)
    assert mouth.any() and loud.any()
    with pytest.raises(SoundError, match="cannot speak"):
        p.say("one", Delivery("sound"))


def test_a_voice_without_lips_goes_through_the_net(p: Performer) -> None:
    u = p.say("one two", Delivery("sound"))
    t, mouth, loud, _ = perform(p, 1.6)
    heard, seen = onsets(t, loud), onsets(t, mouth)
    assert u.start > 0.1 and len(heard) == 2 == len(seen) and np.abs(heard - seen).max() <= 0.031


def test_a_long_script_is_read_little_by_little(p: Performer, reader: BeepReader) -> None:
    p.say("one two three. " * 500)
    assert len(reader.said) == 1
    perform(p, 1.0)
    assert 1.2 * len(reader.said) < 1.0 + READ_AHEAD + 1.3
    perform(p, 3.0, start=1.0)
    assert 1.2 * len(reader.said) == pytest.approx(4.0 + READ_AHEAD, abs=1.3)


def test_sounds_and_texts_keep_their_order(p: Performer) -> None:
    first = p.speak(clicks(1.0), RATE)  # a click at half time
    second = p.say("one. two.")
    third = p.speak(clicks(1.0), RATE)
    assert [first.id, second.id, third.id] == [1, 2, 3]
    t, mouth, loud, _ = perform(p, 3.5)
    heard, seen = onsets(t, loud), onsets(t, mouth)
    np.testing.assert_allclose(heard - heard[0], [0, 0.6, 1.0, 1.8], atol=0.02)
    assert len(seen) == 4 and np.abs(heard - seen).max() <= 0.031


def test_an_interruption_drops_the_rest(p: Performer, reader: BeepReader) -> None:
    p.say("one two three four. " * 20)
    perform(p, 0.5)
    said = len(reader.said)
    p.interrupt()
    t, mouth, loud, captions = perform(p, 1.0, start=0.5)
    assert t[loud > 0].max(initial=0.5) <= 0.54 and t[mouth > 0.05].max(initial=0.5) <= 0.56
    assert not any(captions) and len(reader.said) == said and not p.speaking(0.7)
    u = p.say("again")
    _, mouth, loud, captions = perform(p, 0.5, start=1.5)
    assert mouth.any() and loud.any() and "again." in captions and u.start == pytest.approx(1.56, abs=0.02)


def test_a_sentence_made_during_an_interruption_is_dropped(p: Performer, reader: BeepReader) -> None:
    say = reader._sentence

    def interrupted(text: str, how: Delivery):
        p.interrupt()
        return say(text, how)

    reader._sentence = interrupted  # type: ignore[method-assign]
    p.say("one two.")
    _, mouth, loud, captions = perform(p, 0.5)
    assert not mouth.any() and not loud.any() and not any(captions)


def test_a_reader_that_fails_half_way_leaves_the_next_text(p: Performer) -> None:
    p.say("one. FAIL. two")
    p.say("three")
    with pytest.raises(NoReader, match="gone"):
        p.read_on()
    _, _, _, captions = perform(p, 1.5)
    assert "three." in captions and "two." not in captions


def test_what_is_refused(p: Performer) -> None:
    with pytest.raises(TextError, match="nothing"):
        p.say(" . ")
    with pytest.raises(TextError, match="no voice"):
        p.say("one", Delivery("nobody"))
    with pytest.raises(NoReader, match="cannot read"):
        scripted_performer().say("one")
    for _ in range(MAX_SCRIPTS):
        p.say("one")
    with pytest.raises(SoundError, match="waiting"):
        p.say("one")


def test_a_caption_tells_its_words_in_json(p: Performer) -> None:
    u = p.say("one two")
    caption = p.caption(u.start + 0.1)
    assert caption is not None and p.caption(u.start + 0.75) is None
    assert caption.json() == {
        "utterance": 1, "start": round(u.start, 3), "seconds": 0.7, "text": "one two.",
        "words": [["one", 0.1, 0.3], ["two.", 0.5, 0.7]],
    }  # fmt: skip
