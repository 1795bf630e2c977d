"""Sound files, typed text, captions, voices, mood and gestures, from the page to the server."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from tests.client_web.browser import LIVE, Visit
from tests.client_web.fake_server import FakeServer
from tests.client_web.page import MOUTH, differs, only, until, vowel


def test_a_sound_file_is_spoken_and_can_be_stopped(server: FakeServer, visit: Callable[..., Visit]) -> None:
    guest = visit()
    guest.page.goto(server.url)
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    at_rest = guest.grab(MOUTH)
    with guest.page.expect_file_chooser() as chooser:
        guest.page.get_by_role("button", name="Sound file").click()
    chooser.value.set_files({"name": "voice.wav", "mimeType": "audio/wav", "buffer": vowel(20)})
    until(lambda: only(server.sessions).spoken == 1)
    until(lambda: differs(at_rest, guest.grab(MOUTH)) > 8)
    expect(guest.page.locator("#stage.speaking")).to_be_visible(timeout=5000)
    guest.page.get_by_role("button", name="Stop").click()
    until(lambda: only(server.sessions).interrupted == 1)
    expect(guest.page.locator("#stage.speaking")).to_have_count(0, timeout=5000)
    until(lambda: differs(at_rest, guest.grab(MOUTH)) < 8)


def test_a_file_without_sound_is_refused_in_the_servers_words(server: FakeServer, visit: Callable[..., Visit]) -> None:
    guest = visit()
    guest.page.goto(server.url)
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    guest.page.set_input_files("#sound-input", {"name": "a.wav", "mimeType": "audio/wav", "buffer": b"no sound"})
    refusal = guest.page.get_by_role("alert")
    expect(refusal).to_contain_text("The file holds no sound that can be read. Send a WAV,")
    refusal.get_by_role("button", name="Close this message").click()
    expect(guest.page.locator(".notice")).to_have_count(0)


def test_the_demo_voice_has_a_button_where_the_server_has_one(server: FakeServer, visit: Callable[..., Visit]) -> None:
    guest = visit()
    guest.page.goto(server.url)
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    expect(guest.page.locator("#demo-voice")).to_be_hidden()
    server.voice = vowel(1)
    guest.page.reload()
    guest.page.get_by_role("button", name="Say a line").click(timeout=15_000)
    until(lambda: any(session.spoken for session in server.sessions.values()))


def test_typed_text_is_said_with_captions(server: FakeServer, visit: Callable[..., Visit]) -> None:
    guest = visit()
    guest.page.goto(server.url)
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    field, caption = guest.page.get_by_label("Text to say"), guest.page.locator("#captions")
    expect(field).to_have_attribute("placeholder", "Type something to say")
    guest.page.get_by_label("Voice").select_option("German")
    field.fill("Guten Tag, wie geht es Ihnen? " + "Schön. " * 14)
    guest.page.get_by_role("button", name="Say it").click()
    until(lambda: only(server.sessions).said)
    text, voice = only(server.sessions).said[0]
    assert text.startswith("Guten Tag") and voice == "de"
    expect(field).to_have_value("")
    expect(caption).to_contain_text("Guten Tag, wie geht es Ihnen?")
    expect(guest.page.locator("#stage.speaking")).to_be_visible(timeout=5000)
    expect(caption).to_have_text("Schön. " * 8 + "Schön.", timeout=8000)  # the next line, when it is heard
    guest.page.get_by_role("button", name="Stop").click()
    expect(caption).to_have_text("", timeout=3000)
    guest.page.reload()
    expect(guest.page.get_by_label("Voice")).to_have_value("de")


def test_enter_sends_and_shift_enter_does_not(server: FakeServer, visit: Callable[..., Visit]) -> None:
    guest = visit()
    guest.page.goto(server.url)
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    field = guest.page.get_by_label("Text to say")
    field.press("Enter")
    field.type("One")
    field.press("Shift+Enter")
    field.type("two")
    assert field.input_value() == "One\ntwo" and only(server.sessions).said == []
    field.press("Enter")
    until(lambda: only(server.sessions).said == [("One\ntwo", "")])


def test_captions_can_be_turned_off_and_stay_off(server: FakeServer, visit: Callable[..., Visit]) -> None:
    guest = visit()
    guest.page.goto(server.url)
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    toggle = guest.page.get_by_role("button", name="Captions of typed text")
    expect(toggle).to_have_attribute("aria-pressed", "true")
    toggle.click()
    guest.page.get_by_label("Text to say").fill("One two three four five six")
    guest.page.get_by_role("button", name="Say it").click()
    until(lambda: only(server.sessions).said)
    expect(guest.page.locator("#captions")).to_be_hidden()
    toggle.click()
    expect(guest.page.locator("#captions")).to_contain_text("One two")
    toggle.click()
    guest.page.reload()
    expect(toggle).to_have_attribute("aria-pressed", "false")


def test_text_that_no_voice_reads_is_refused_in_words(server: FakeServer, visit: Callable[..., Visit]) -> None:
    guest = visit()
    guest.page.goto(server.url)
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    field = guest.page.get_by_label("Text to say")
    field.fill("ជំរាបសួរ")
    guest.page.get_by_role("button", name="Say it").click()
    expect(guest.page.get_by_role("alert")).to_contain_text("No voice reads Khmer letters.")
    expect(field).to_have_value("ជំរាបសួរ")


def test_without_voices_there_is_no_text_field(server: FakeServer, visit: Callable[..., Visit]) -> None:
    server.voices = []
    guest = visit()
    guest.page.goto(server.url)
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    expect(guest.page.locator("#say")).to_be_hidden()


def test_a_voice_that_lacks_its_weights_is_shown_and_cannot_be_chosen(
    server: FakeServer, visit: Callable[..., Visit]
) -> None:
    server.voices.append(
        {"id": "kokoro", "name": "Kokoro", "language": "en-us", "missing": "run weights --fetch voice"}
    )
    guest = visit()
    guest.page.goto(server.url)
    option = guest.page.locator("#voice option[value=kokoro]")
    expect(option).to_have_text("Kokoro (not installed)", timeout=15_000)
    expect(option).to_be_disabled()
    expect(option).to_have_attribute("title", "run weights --fetch voice")


def test_mood_and_gestures_are_sent_when_they_change(server: FakeServer, visit: Callable[..., Visit]) -> None:
    guest = visit()
    guest.page.goto(server.url)
    mood, strength = guest.page.get_by_label("Mood"), guest.page.get_by_label("Strength")
    gestures = guest.page.get_by_label("Gestures")
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    expect(mood).to_be_enabled()
    expect(strength).to_be_disabled()
    assert only(server.sessions).manners == [], "nothing is sent that nobody changed"
    mood.select_option("Happy")
    until(lambda: only(server.sessions).manners == [{"mood": "happy", "strength": 0.7, "gestures": 1}])
    strength.fill("0.3")
    gestures.fill("0.5")
    until(lambda: only(server.sessions).manners[-1:] == [{"mood": "happy", "strength": 0.3, "gestures": 0.5}])
    mood.select_option("Afraid")
    expect(guest.page.get_by_role("alert")).to_contain_text("Nothing frightens this server.")
    guest.page.reload()
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    expect(mood).to_have_value("neutral")
    expect(gestures).to_have_value("0.5")
    until(
        lambda: any(
            s.manners == [{"mood": "neutral", "strength": 0.7, "gestures": 0.5}] for s in server.sessions.values()
        )
    )
