"""Typed text: cut into sentences, said by a program of its own, with lips and words that lie where the sound is."""

import io
import json
import sys
import threading
import time
import wave
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.speech.articulation import aperture
from drivers.speech.visemes import AA, PP, SIL
from drivers.text import Delivery, EspeakReader, HttpReader, NoReader, Readers, TextError, Voice, lips, script
from drivers.text.espeak import Espeak, EspeakError
from drivers.text.reading import find, words
from models.motion import GROUP, A

PAPA = [(0.0, ""), (0.11, "p"), (0.21, "ˈɑː"), (0.41, "p"), (0.46, "ə"), (0.56, "")]


# ---- the text -------------------------------------------------------------------------------------------------------


def test_sentences_end_where_people_end_them():
    text = (
        "Dr. Smith paid 3.50 for it, e.g. on Monday. J. Doe did not!  “Why?” Because…\n\n"
        "A new paragraph:\nand 你好。再见。"
    )
    pieces = list(script.sentences(script.clean(text)))
    assert [p for p, _ in pieces] == [
        "Dr. Smith paid 3.50 for it, e.g. on Monday.", "J. Doe did not!", "“Why?”", "Because…", "A new paragraph:",
        "and 你好。", "再见。",
    ]  # fmt: skip
    assert [paragraph for _, paragraph in pieces] == [False, False, False, True, False, False, False]


@given(st.text(max_size=900))
def test_no_letter_is_lost_and_no_piece_is_long(text):
    clean = script.clean(text)
    pieces = [p for p, _ in script.sentences(clean)]
    assert "".join("".join(pieces).split()) == "".join(clean.split())
    assert all(0 < len(p) <= script.LONGEST for p in pieces)
    assert not any(c < " " for p in pieces for c in p), "espeak-ng takes control characters for commands"


@pytest.mark.parametrize(
    ("text", "writing"),
    [
        ("Hello, мир", "LATIN"), ("Привет, x", "CYRILLIC"), ("你好", "CJK"), ("漢字かな", "HIRAGANA"),
        ("12 + 3", "LATIN"), ("שלום", "HEBREW"), ("ខ្មែរ", "KHMER"),
    ],
)  # fmt: skip
def test_the_writing_system_is_told(text, writing):
    assert script.script_of(text) == writing


def test_voices_read_their_own_letters():
    assert script.reads("en-us", "LATIN") and not script.reads("en-us", "CYRILLIC")
    assert script.reads("ru-lv", "CYRILLIC") and not script.reads("ru", "LATIN")
    assert script.reads("sr", "CYRILLIC") and script.reads("sr", "LATIN")
    assert script.reads("fa-latn", "LATIN") and not script.reads("fa-latn", "ARABIC")


@pytest.mark.parametrize("how", [{"rate": 0.1}, {"pitch": 9}, {"pause": -1}, {"rate": float("nan")}])
def test_a_delivery_out_of_range_is_refused(how):
    with pytest.raises(TextError, match=next(iter(how))):
        Delivery(**how)


def test_words_begin_with_their_event_and_end_with_the_next():
    found = words("Oh, a 3rd one.", [(0.1, 0), (0.5, 4), (0.6, 6), (0.8, 7)], 2.0)
    assert [(w.text, w.start, w.end) for w in found] == [
        ("Oh,", 0.1, 0.5), ("a", 0.5, 0.6), ("3rd", 0.6, 0.6), ("one.", 0.6, 2.0),
    ]  # fmt: skip


# ---- lips -----------------------------------------------------------------------------------------------------------


def test_each_frame_shows_the_phoneme_of_its_time():
    heard = lips.articulation(PAPA, 40)
    assert heard.visemes.sum(1) == pytest.approx(1)
    assert heard.visemes[:5, SIL].min() > 0.9 and heard.visemes[30:, SIL].min() > 0.9
    assert heard.visemes[6:10, PP].min() > 0.99 and heard.visemes[11:20, AA].min() > 0.99
    assert heard.closure[6:10].min() > 0.99 and heard.closure[12:19].max() == 0


def test_a_p_shuts_the_lips_and_silence_is_shut():
    motions = lips.motions(PAPA, np.full(22050, 3000, np.int16), 22050)
    gap = aperture(np.stack([m.face for m in motions]))
    assert len(motions) == 51 and motions[7].time == pytest.approx(0.14)
    assert gap[:2].max() == 0 and gap[6:9].max() == 0 and gap[20:22].min() == 0 and gap[40:].max() == 0
    assert gap[13:18].min() > 0.4
    assert all(m.weight[GROUP["mouth"]] == 1 and m.weight.sum() == 1 for m in motions)


@given(st.lists(st.tuples(st.floats(0, 3), st.sampled_from(["p", "a", "s", "f", "u", "", "ˈ", "?"])), max_size=60))
def test_any_phonemes_give_a_calm_mouth(phonemes):
    motions = lips.motions(sorted(phonemes), np.zeros(16000, np.int16), 16000)
    faces = np.stack([m.face for m in motions])
    assert np.isfinite(faces).all() and faces.min() >= 0 and faces.max() <= 1
    assert np.abs(np.diff(faces[:, A["jawOpen"]])).max(initial=0) < 0.3


# ---- espeak-ng ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def espeak() -> Iterator[EspeakReader]:
    reader = EspeakReader()
    try:
        reader.voices()
    except NoReader as e:
        pytest.skip(f"espeak-ng is absent: {e}")
    yield reader
    reader.close()


def test_a_sentence_comes_with_its_lips_and_words(espeak):
    sentences = list(espeak.read("My papa bought a map. Then Bob left!", Delivery(pause=0.5)))
    assert [s.text for s in sentences] == ["My papa bought a map.", "Then Bob left!"]
    first = sentences[0]
    assert [w.text for w in first.words] == ["My", "papa", "bought", "a", "map."]
    assert all(a.end <= b.start + 1e-9 for a, b in zip(first.words, first.words[1:]))
    seconds = len(first.samples) / first.rate
    assert first.words[-1].end == pytest.approx(seconds - 0.5, abs=0.01) and not first.samples[-first.rate // 2 :].any()
    assert first.lips is not None and first.lips[-1].time == pytest.approx(seconds, abs=0.02)
    gap = aperture(np.stack([m.face for m in first.lips]))
    papa = slice(*(round(t * 50) for t in (first.words[1].start, first.words[1].end)))
    assert (np.diff((gap[papa] == 0).astype(int)) == 1).sum() >= 1, "the lips meet again within papa"
    assert gap[papa].max() > 0.4 and gap[-20:].max() == 0


def test_lips_open_while_it_is_loud(espeak):
    (sentence,) = espeak.read("Papa, mama, baba, papa, mama, baba.")
    level = lips.levels(sentence.samples, sentence.rate, len(sentence.lips))
    gap = aperture(np.stack([m.face for m in sentence.lips]))
    lags = range(-8, 9)
    scores = [float(np.corrcoef(np.roll(gap, lag), np.maximum(level, -50))[0, 1]) for lag in lags]
    assert scores[8] > 0.4 and abs(lags[int(np.argmax(scores))]) <= 3, scores


def test_the_first_sound_comes_at_once_however_long_the_text_is(espeak):
    list(espeak.read("Warm up."))
    began = time.perf_counter()
    next(espeak.read("This is the first sentence of many. " * 500))
    assert time.perf_counter() - began < 0.5


def period(samples):
    """Samples (of 22050 Hz) between 50 and 400 Hz after which a voice repeats itself: the median of its loud parts."""
    parts = samples[: len(samples) // 1100 * 1100].astype(float).reshape(-1, 1100)
    loud = parts[(parts**2).mean(1) > 0.3 * (parts**2).mean()]
    spectra = np.abs(np.fft.rfft(loud, 4096)) ** 2
    return np.median(np.fft.irfft(spectra)[:, 55:440].argmax(1) + 55)


def test_rate_and_pitch_are_heard(espeak):
    def said(**how):
        (sentence,) = espeak.read("One two three four five six.", Delivery(pause=0, **how))
        return sentence.samples

    assert len(said(rate=2.0)) < 0.65 * len(said()) < 0.5 * len(said(rate=0.5))
    assert period(said(pitch=1.8)) < period(said()) < period(said(pitch=0.6))


def test_every_voice_that_is_offered_speaks(espeak):
    """British English and French (France) go by other names in espeak-ng than their tags."""
    program = Espeak()
    try:
        assert all(len(program.phonemes(["go"], voice.id)) == 1 for voice in espeak.voices())
    finally:
        program.close()


def test_voices_are_found_by_id_name_and_language(espeak):
    voices = espeak.voices()
    assert voices[0].id == "en-us" and len({v.id for v in voices}) == len(voices) > 50
    assert find(voices, "de").language == "de" and find(voices, "english (america)").id == "en-us"
    assert find(voices, "en").language.startswith("en") and find(voices, "EN-US+f3").id == "en-us+f3"
    male, female = (next(espeak.read("Hello.", Delivery(v))).samples for v in ("en-us", "en-us+f3"))
    assert len(male) != len(female) or (male != female).any()


@pytest.mark.parametrize(
    "text", ["Grüß Gott, schöne Straße!", "Привет, как дела?", "你好，世界。", "こんにちは", "مرحبا", "नमस्ते"]
)
def test_other_languages_find_their_voice(espeak, text):
    sentence = next(espeak.read(text))
    assert len(sentence.samples) > 0.4 * sentence.rate
    assert aperture(np.stack([m.face for m in sentence.lips])).max() > 0.2


@pytest.mark.parametrize(
    ("text", "voice", "words"),
    [
        ("ខ្មែរ", "", "no voice reads Khmer"), ("Привет", "en-us", "does not read Cyrillic letters; .* does"),
        ("hello", "nobody", "no voice 'nobody'"), ("hello", "../../etc/passwd", "no voice"),
        (" \n\t", "", "nothing to say"), ("?!…", "", "nothing to say"), ("", "", "nothing to say"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_refused_at_once(espeak, text, voice, words):
    with pytest.raises(TextError, match=words):
        espeak.read(text, Delivery(voice))


def test_commands_in_the_text_are_none(espeak):
    plain = next(espeak.read("one two three four")).samples
    commanded = next(espeak.read("\x01400S\x00one two three four")).samples
    assert len(commanded) > len(plain), "the characters are read, not obeyed"


def test_a_lost_process_is_replaced(espeak):
    list(espeak.read("Hello."))
    assert espeak._espeak._process is not None
    espeak._espeak._process.kill()
    espeak._espeak._process.wait()
    with pytest.raises(NoReader, match="ended; install"):
        list(espeak.read("Hello."))
    assert list(espeak.read("Hello."))


def test_without_espeak_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(EspeakError, match="apt install espeak-ng"):
        Espeak().say("hello", "en-us", 150, 50)
    with pytest.raises(NoReader, match="apt install espeak-ng"):
        EspeakReader().read("hello")
    absent = Readers([EspeakReader()])
    for _ in range(2):
        with pytest.raises(NoReader, match="apt install espeak-ng"):
            absent.voices()


# ---- a voice over HTTP ----------------------------------------------------------------------------------------------


class VoiceServer(HTTPServer):
    asked: list[tuple[dict, str | None]]
    status, sound = 200, True


@pytest.fixture
def voice_server() -> Iterator[VoiceServer]:
    """An OpenAI-compatible voice that hums for 50 ms a character; `asked` keeps the requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.asked.append((body, self.headers.get("Authorization")))
            self.send_response(server.status)
            self.end_headers()
            self.wfile.write(_wav(0.05 * len(body["input"])) if server.sound else b"no sound at all")

        def log_message(self, *_: object) -> None:
            pass

    server = VoiceServer(("127.0.0.1", 0), Handler)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def _wav(seconds: float) -> bytes:
    t = np.arange(round(24000 * seconds)) / 24000
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 24000, 0, "NONE", ""))
        file.writeframes((8000 * np.sin(2 * np.pi * 150 * t)).astype("<i2").tobytes())
    return out.getvalue()


def reader_of(server: HTTPServer, **options: Any) -> HttpReader:
    return HttpReader(f"http://127.0.0.1:{server.server_port}/v1/audio/speech", ("ada", "bob"), **options)


def test_a_voice_over_http_is_sound_for_the_speech_driver(voice_server):
    reader = reader_of(voice_server, key="secret", model="m")
    first, second = reader.read("Hello there. Good bye.", Delivery("bob", rate=1.5, pause=0.1))
    assert first.lips is None and len(first.samples) == pytest.approx(48000 * (0.05 * 12 + 0.1), abs=200)
    assert [w.text for w in second.words] == ["Good", "bye."] and second.words[-1].end == pytest.approx(0.45, abs=0.02)
    (body, key), _ = voice_server.asked
    assert key == "Bearer secret"
    assert body == {"model": "m", "input": "Hello there.", "voice": "bob", "speed": 1.5, "response_format": "wav"}


def test_a_voice_over_http_that_fails_says_so(voice_server):
    reader = reader_of(voice_server)
    with pytest.raises(TextError, match="no voice 'eve'"):
        reader.read("hello", Delivery("eve"))
    voice_server.sound = False
    with pytest.raises(NoReader, match="no sound"):
        list(reader.read("hello"))
    voice_server.status = 401
    with pytest.raises(NoReader, match="status 401"):
        list(reader.read("hello"))
    nowhere = HttpReader("http://127.0.0.1:9/v1", ("ada",))
    with pytest.raises(NoReader, match="does not answer"):
        list(nowhere.read("hello"))


def test_readers_are_asked_by_their_voices(voice_server):
    class Nobody(EspeakReader):
        def voices(self) -> list[Voice]:
            raise NoReader("nobody")

    both = Readers([Nobody(), reader_of(voice_server)])
    assert [v.id for v in both.voices()] == ["http:ada", "http:bob"]
    assert len(list(both.read("hello"))) == len(list(both.read("hello", Delivery("http:bob")))) == 1
    assert [body["voice"] for body, _ in voice_server.asked] == ["ada", "bob"]
