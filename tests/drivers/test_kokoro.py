"""Kokoro's letters, times and words; the net itself where its weights have been fetched."""

import numpy as np
import pytest

from drivers.speech.articulation import aperture
from drivers.text import Delivery, KokoroReader, NoReader, Readers, TextError, readers
from drivers.text import kokoro as k
from drivers.text.reading import Piece, pieces, prepared
from models import weights


class Hum:
    """Stands for the net: each letter is 50 ms of a tone, marks are silent, after the net's own silence."""

    def __init__(self):
        self.said = []

    def say(self, letters, voice, rate):
        self.said.append((letters, voice, rate))
        n = round(2 * k.UNIT / rate)
        tone = 0.3 * np.sin(np.arange(n) * 0.06)
        rest = np.zeros(4800, np.float32)
        sound: list[np.ndarray] = [rest, *(tone if c not in k._SILENT else 0 * tone for c in letters), rest]
        starts = 0.2 + np.arange(len(letters) + 1) * n / k.RATE + k.LABEL_SHIFT
        return k.Spoken(np.concatenate(sound).astype(np.float32), list(zip(starts.tolist(), [*letters, ""])))


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """A reader with two voices of noise and the hum."""
    voices = tmp_path / "voices.npz"
    styles = np.random.default_rng(0).normal(size=(510, 1, 256)).astype(np.float32)
    np.savez(voices, af_sun=styles, bm_moon=styles)
    monkeypatch.setattr(weights, "path", lambda id: tmp_path / id)
    reader = KokoroReader(voices)
    monkeypatch.setattr(reader, "_net", Hum())
    if reader.voices()[0].missing:
        pytest.skip(reader.voices()[0].missing)  # espeak-ng
    yield reader
    reader.close()


def test_ipa_becomes_the_letters_the_net_was_trained_on():
    assert k.letters_of("d^ʒˈʌd^ʒ", True) == "ʤˈʌʤ"
    assert k.letters_of("ɡˈə^ʊ", False) == "ɡˈQ" and k.letters_of("ɡˈo^ʊ bˈɜːd", True) == "ɡˈO bˈɜɹd"
    assert all(c in k.TOKEN for c in k.letters_of("θˈɪŋz \U0001f600 ˈɔːlwe^ɪz", True))
    assert k.TOKEN[";"] == 1 and k.TOKEN["ᵻ"] == 177 and k.TOKEN["ə"] == 83 and len(k.TOKEN) == 114


def test_diphthongs_reach_the_lips_as_ipa_and_marks_as_silence():
    found = k.phonemes_of([(0.0, "h"), (0.1, "ˈ"), (0.1, "I"), (0.3, " "), (0.35, "p"), (0.4, ","), (0.5, "")])
    assert found == [(0.0, "h"), (0.1, "aɪ"), (0.35, "p"), (0.4, ""), (0.5, "")]


def test_the_first_sentence_is_cut_at_a_comma_and_no_later_one():
    cut = list(k.opening(pieces(prepared("[pause 1] Good morning, everybody. And now, as always, the news."))))
    assert [(p.text, p.pause) for p in cut] == [
        ("", 1.0), ("Good morning,", 0.0), ("everybody.", 1.0), ("And now, as always, the news.", 2.0),
    ]  # fmt: skip
    assert list(k.opening(iter([Piece("Yes, sir.", 1.0, None)]))) == [Piece("Yes, sir.", 1.0, None)]


def test_words_lie_where_their_letters_do(reader):
    (said,) = reader.read("Papa met Bob.", Delivery("kokoro:af_sun", pause=0.5))
    assert [w.text for w in said.words] == ["Papa", "met", "Bob."]
    starts, ends = np.array([[w.start, w.end] for w in said.words]).T
    assert (np.diff(starts) > 0.05).all() and (ends > starts).all() and ends[-1] <= len(said.samples) / said.rate - 0.5
    assert said.rate == 24000 and not said.samples[-11000:].any()
    assert abs(starts[0]) < 0.06, "the net's silence before the sound is cut off"


def test_lips_shut_for_p_where_it_sounds(reader):
    (said,) = reader.read("aha papa", Delivery("kokoro:af_sun"))
    letters = reader._net.said[-1][0].replace(".", "")
    gap = aperture(np.stack([m.face for m in said.lips]))
    first = letters.index("p") * 0.05 + 0.02  # the trimmed rest before the sound
    at = np.array([m.time for m in said.lips])
    assert gap[(at > first) & (at < first + 0.05)].min() == 0


def test_numbers_marks_and_long_texts_are_said_in_pieces(reader):
    text = "It is 7:30, and we have 3.5 hours! " + "A sentence that goes on, and on, " * 12 + "until it ends."
    said = list(reader.read(text, Delivery("kokoro:bm_moon", rate=1.5)))
    assert all(len(s.text) <= k.LONGEST for s in said) and len(said) > 4
    assert " ".join(s.text for s in said).split() == text.split()
    assert {(v, r) for _, v, r in reader._net.said} == {("bm_moon", 1.5)}
    assert "," in reader._net.said[0][0] + reader._net.said[1][0]


def test_what_a_voice_cannot_read_is_told(reader):
    with pytest.raises(TextError, match="Cyrillic"):
        reader.read("Привет", Delivery("kokoro:af_sun"))
    with pytest.raises(TextError, match="there is no voice"):
        reader.read("Hello", Delivery("kokoro:nobody"))


def test_absent_weights_are_named_and_do_not_stop_the_others(tmp_path, monkeypatch):
    monkeypatch.setenv("TALKSHOT_CACHE", str(tmp_path))
    all_of_them = readers()
    try:
        voice = next(v for v in all_of_them.voices() if v.id == "kokoro")
        assert "weights --fetch voice" in voice.missing and all_of_them.voices()[-1] == voice
        with pytest.raises(NoReader, match="weights --fetch voice"):
            all_of_them.read("Hello", Delivery("kokoro"))
        assert next(all_of_them.read("Hello")).text == "Hello"
        with pytest.raises(NoReader, match="kokoro"):
            Readers([KokoroReader()]).read("Hello", Delivery("kokoro"))
    finally:
        all_of_them.close()


def test_a_damaged_file_of_voices_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "path", lambda id: tmp_path / id)
    for content in (b"no npz", b""):
        (tmp_path / "v.npz").write_bytes(content)
        assert "v.npz" in KokoroReader(tmp_path / "v.npz").voices()[0].missing
    np.savez(tmp_path / "v.npz", x=np.zeros((3, 7)))
    assert "256" in KokoroReader(tmp_path / "v.npz").voices()[0].missing


def test_the_net_says_a_sentence():
    """With the real net, which `make test` fetches: loud vowels, quiet ends, even times."""
    reader = KokoroReader()
    try:
        (said,) = reader.read("She sells sea shells.", Delivery("kokoro:jf_alpha"))
    finally:
        reader.close()
    seconds = len(said.samples) / said.rate
    assert 1.0 < seconds < 4.0 and np.abs(said.samples).max() > 3000
    assert [w.text for w in said.words] == ["She", "sells", "sea", "shells."]
    assert np.abs(said.samples[: said.rate // 100].astype(int)).max() < 1500 and not said.samples[-4000:].any()
    assert said.lips and len(said.lips) == int(seconds * 50) + 1
