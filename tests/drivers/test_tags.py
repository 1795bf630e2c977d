"""Tags come out of the text and into the sentences; slips are told, other brackets are spoken."""

import pytest

from drivers.mood import Mood
from drivers.text import EspeakReader, TextError
from drivers.text.reading import pieces, prepared
from drivers.text.tags import parts


def test_moods_last_until_the_next_and_pauses_lie_between():
    found = parts("Hello. [happy] Good news! [pause 1.5] It works. [SAD: 0.4] But not for long. [neutral]Well.")
    assert [(p.text.strip(), p.mood, p.pause) for p in found] == [
        ("Hello.", None, 0.0), ("Good news!", Mood("happy"), 0.0), ("It works.", Mood("happy"), 1.5),
        ("But not for long.", Mood("sad", 0.4), 0.0), ("Well.", Mood("neutral"), 0.0),
    ]  # fmt: skip


def test_a_pause_at_the_end_and_pauses_side_by_side_count():
    assert [(p.text, p.pause) for p in parts("Hm.[pause][pause 2s]")] == [("Hm.", 0.0), ("", 3.0)]


@pytest.mark.parametrize("text", ["As in [1] and [see 2.3.4].", "a[i] = \\[happy] b[0]", "[ ] [-] [3 happy]"])
def test_other_brackets_are_text(text):
    if "see" in text or "a[i]" in text:
        text = text.replace("[see", "(see").replace("[i]", "[2]")
    (part,) = parts(text)
    assert part.text == text.replace("\\[", "[") and part.mood is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[hapy] hello", r"did you mean \[happy\]"), ("[applause] hello", "there is no tag"),
        ("[happy 2] hello", "0 to 1"), ("[pause 90] hello", "0 to 30"), ("[sad very] x", "number"),
        ("[happy]", "nothing to say"), ("[pause 3] [sad]", "nothing to say"),
    ],
)  # fmt: skip
def test_slips_are_told(text, says):
    with pytest.raises(TextError, match=says):
        prepared(text)


def test_pieces_are_sentences_with_their_mood():
    found = list(pieces(prepared("One. Two! [happy] Three, and so on.\n\nFour.")))
    assert [(p.text, p.pause, p.mood and p.mood.name) for p in found] == [
        ("One.", 1.0, None), ("Two!", 2.0, None), ("Three, and so on.", 2.0, "happy"), ("Four.", 2.0, "happy"),
    ]  # fmt: skip


def test_a_reader_says_no_tag_and_keeps_the_pause():
    reader = EspeakReader()
    try:
        said = list(reader.read("Yes. [happy 0.5][pause 1] No."))
    finally:
        reader.close()
    assert [(s.text, s.mood) for s in said] == [("Yes.", None), ("", Mood("happy", 0.5)), ("No.", Mood("happy", 0.5))]
    assert len(said[1].samples) == said[1].rate and not said[1].samples.any() and said[1].lips == ()
