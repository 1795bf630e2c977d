"""The page in a real browser, against a server that speaks the protocol with a drawn face."""

from __future__ import annotations

import io
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from tests.client_web.browser import LIVE, Visit, open_browser
from tests.client_web.fake_server import RATE, FakeServer, Session, decode, draw_face

MOUTH = (0.38, 0.52, 0.62, 0.74)  # of the drawn face


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as found:
        yield found


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as fake:
        yield fake


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    visits: list[Visit] = []

    def make(**options: Any) -> Visit:
        visits.append(Visit(browser, **options))
        return visits[-1]

    yield make
    for one in visits:
        one.context.close()
        assert not one.errors, one.errors


def until(condition: Callable[[], Any], seconds: float = 10, every: float = 0.05) -> Any:
    """The condition's first true value; fails the test when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(every)
    return value


def vowel(seconds: float) -> bytes:
    """A WAV file of a vowel-like buzz."""
    t = np.arange(int(seconds * RATE)) / RATE
    samples = sum(np.sin(2 * np.pi * 130 * k * t) / k for k in range(1, 12))
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((6000 * np.asarray(samples)).astype("<i2").tobytes())
    return out.getvalue()


def photo(path: Path, face: bool = True) -> Path:
    picture = draw_face(0, 0, 40) if face else np.full((200, 200, 3), 127, np.uint8)
    cv2.imwrite(str(path), picture)
    return path


def only(sessions: dict[str, Session]) -> Session:
    (session,) = sessions.values()
    return session


def differs(one: list[int], other: list[int]) -> float:
    return float(np.abs(np.subtract(one, other)).mean())


def test_opening_the_page_is_enough_to_see_the_demo_move(server: FakeServer, visit: Callable[..., Visit]) -> None:
    guest = visit()
    guest.page.goto(server.url)
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    assert guest.page.locator("#state").text_content() == "Live"
    assert guest.page.title() == "Eileen Collins · Talkshot"
    assert only(server.sessions).avatar == "demo"
    names = guest.page.locator("#gallery strong").all_text_contents()
    assert names == ["Eileen Collins", "Grace"], "the demo leads"
    expect(guest.page.locator("#gallery")).to_contain_text("The photo is small")
    before = guest.grab()
    until(lambda: differs(before, guest.grab()) > 1)
    assert guest.foreign_addresses(server.url) == []
    assert len(guest.addresses) >= 8


def test_another_avatar_is_called_with_one_click(server: FakeServer, visit: Callable[..., Visit]) -> None:
    guest = visit()
    guest.page.goto(server.url)
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    guest.page.get_by_role("button", name="Grace Head").click()
    until(lambda: [session.avatar for session in server.sessions.values()] == ["grace"])
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    assert [session.avatar for session in server.ended] == ["demo"], "the session that was left is deleted"
    guest.page.reload()
    until(lambda: len(server.ended) == 2, 10)
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    assert only(server.sessions).avatar == "grace", "the address remembers who was called"


def test_leaving_the_page_deletes_the_session(server: FakeServer, visit: Callable[..., Visit]) -> None:
    guest = visit()
    guest.page.goto(server.url)
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    guest.page.goto("about:blank")
    until(lambda: len(server.ended) == 1 and not server.sessions)
    guest.page.go_back()
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    assert only(server.sessions).avatar == "demo"


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


def test_the_microphone_reaches_the_server(server: FakeServer, visit: Callable[..., Visit]) -> None:
    guest = visit()
    guest.page.goto(server.url)
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    button = guest.page.get_by_role("button", name="Microphone")
    button.click()
    session = only(server.sessions)
    # Chromium's artificial microphone beeps once a second.
    until(lambda: sum(map(len, session.heard)) > 2 * RATE, 15)
    heard = np.concatenate(session.heard)
    assert {len(chunk) for chunk in session.heard} == {960}, "20 ms each"
    assert np.abs(heard).max() > 1000
    expect(button).to_have_attribute("aria-pressed", "true")
    assert guest.page.locator("#device option").count() >= 1
    assert guest.page.evaluate("document.querySelector('video').muted"), "one's own late voice is not played"
    guest.page.get_by_label("Hear yourself").check()
    assert not guest.page.evaluate("document.querySelector('video').muted")
    button.click()
    expect(guest.page.locator("#microphone-panel")).to_be_hidden()
    count = len(session.heard)
    time.sleep(0.3)
    assert len(session.heard) <= count + 5
    assert guest.foreign_addresses(server.url) == []


def test_a_refused_microphone_is_explained(server: FakeServer, visit: Callable[..., Visit]) -> None:
    guest = visit()
    denied = "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', 'NotAllowedError') }"
    guest.page.add_init_script(denied)
    guest.page.goto(server.url)
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    guest.page.get_by_role("button", name="Microphone").click()
    expect(guest.page.get_by_role("alert")).to_contain_text("Allow it in the site settings")
    expect(guest.page.get_by_role("button", name="Microphone")).to_have_attribute("aria-pressed", "false")


def test_a_page_that_is_not_secure_explains_the_closed_microphone(
    server: FakeServer, visit: Callable[..., Visit]
) -> None:
    guest = visit()
    guest.page.add_init_script("Object.defineProperty(window, 'isSecureContext', { value: false })")
    guest.page.goto(server.url)
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    guest.page.get_by_role("button", name="Microphone").click()
    expect(guest.page.get_by_role("alert")).to_contain_text("This address is not secure")
    expect(guest.page.get_by_role("alert")).to_contain_text("https")


def test_a_photo_becomes_an_avatar(server: FakeServer, visit: Callable[..., Visit], tmp_path: Path) -> None:
    guest = visit()
    guest.page.goto(server.url)
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    with guest.page.expect_file_chooser() as chooser:
        guest.page.get_by_role("button", name="Add a person").click()
    chooser.value.set_files(photo(tmp_path / "anna_maria.png"))
    expect(guest.page.get_by_label("Name", exact=True)).to_have_value("Anna maria")
    expect(guest.page.locator("#upload-form")).to_contain_text("gave you permission")
    guest.page.get_by_label("Name", exact=True).fill("Anna")
    guest.page.get_by_role("button", name="Build the avatar").click()
    bar = guest.page.get_by_role("progressbar")
    shares: list[int] = []
    words: list[str] = []

    def built() -> bool:
        if bar.is_visible():
            shares.append(int(bar.get_attribute("aria-valuenow") or 0))
            words.append(guest.page.locator("#progress-words").text_content() or "")
        return guest.page.locator("#name").text_content() == "Anna"

    until(built, 15)
    assert len(set(shares)) >= 3 and shares == sorted(shares)
    assert {"Looking for the face", "Fitting the head"} <= set(words)
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    assert only(server.sessions).avatar.startswith("made-")
    assert guest.page.locator("#gallery strong").all_text_contents()[-1] == "Anna"


def test_a_photo_without_a_face_is_refused_in_words(
    server: FakeServer, visit: Callable[..., Visit], tmp_path: Path
) -> None:
    guest = visit()
    guest.page.goto(server.url)
    guest.page.set_input_files("#photo-input", photo(tmp_path / "wall.png", face=False))
    guest.page.get_by_role("button", name="Build the avatar").click()
    refusal = guest.page.locator("#upload-error")
    expect(refusal).to_contain_text("No face was found in this photo. Use one with a face.", timeout=10_000)
    refusal.get_by_role("button", name="Close").click()
    expect(refusal).to_be_hidden()
    guest.page.set_input_files("#photo-input", {"name": "x.png", "mimeType": "image/png", "buffer": b"not a picture"})
    guest.page.get_by_role("button", name="Build the avatar").click()
    expect(refusal).to_contain_text("The file is no picture. Send a JPEG, PNG or WebP photo.", timeout=10_000)


def test_a_build_can_be_cancelled(server: FakeServer, visit: Callable[..., Visit], tmp_path: Path) -> None:
    server.stage_seconds = 5
    guest = visit()
    guest.page.goto(server.url)
    guest.page.set_input_files("#photo-input", photo(tmp_path / "anna.png"))
    guest.page.get_by_role("button", name="Build the avatar").click()
    expect(guest.page.locator("#progress-words")).to_have_text("Looking for the face", timeout=10_000)
    guest.page.locator("#upload-cancel").click()
    until(lambda: [job["state"] for job in server.jobs.values()] == ["cancelled"])
    expect(guest.page.get_by_role("button", name="Add a person")).to_be_visible()
    assert len(server.avatars) == 2


def test_an_avatar_is_removed_after_asking(server: FakeServer, visit: Callable[..., Visit]) -> None:
    guest = visit()
    guest.page.goto(server.url + "#avatar=grace")
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    assert guest.page.get_by_role("button", name="Remove Eileen Collins").count() == 0, "the demo stays"
    guest.page.get_by_role("button", name="Remove Grace").click()
    guest.page.get_by_role("button", name="Keep").click()
    assert len(server.avatars) == 2
    guest.page.get_by_role("button", name="Remove Grace").click()
    guest.page.get_by_role("button", name="Remove", exact=True).click()
    until(lambda: [avatar["id"] for avatar in server.avatars] == ["demo"])
    until(lambda: [session.avatar for session in server.sessions.values()] == ["demo"])
    end, removal = "DELETE /sessions/" + server.ended[0].id, "DELETE /avatars/grace"
    assert server.requests.index(end) < server.requests.index(removal), "the call ends first"


def test_a_cut_connection_comes_back(server: FakeServer, visit: Callable[..., Visit]) -> None:
    guest = visit()
    guest.page.goto(server.url)
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    session = only(server.sessions)
    server.drop_peers()
    until(lambda: any(peer.connectionState == "connected" for peer in session.peers.values()), 20)
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    before = until(lambda: guest.page.evaluate("document.querySelector('video').videoWidth") and guest.grab())
    until(lambda: differs(before, guest.grab()) > 1)
    expect(guest.page.locator(LIVE)).to_be_visible()
    assert only(server.sessions) is session, "the same session goes on"


def test_a_server_that_forgot_the_session_gets_a_new_one(server: FakeServer, visit: Callable[..., Visit]) -> None:
    guest = visit()
    guest.page.goto(server.url)
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    old = only(server.sessions)
    server.sessions.clear()
    for peer in old.peers.values():
        server.call(peer.close())
    until(lambda: server.sessions, 20)
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=20_000)
    assert only(server.sessions) is not old


def test_a_server_in_trouble_is_told_and_tried_again(server: FakeServer, visit: Callable[..., Visit]) -> None:
    guest = visit()
    guest.page.goto(server.url)
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    server.down = True
    server.drop_peers()
    curtain = guest.page.locator(".curtain")
    expect(curtain).to_contain_text("The server is restarting.", timeout=20_000)
    expect(curtain).to_contain_text("Trying again in")
    server.down = False
    guest.page.get_by_role("button", name="Try now").click()
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)


def test_blocked_udp_is_told_in_words(server: FakeServer, visit: Callable[..., Visit]) -> None:
    server.media_blocked = True
    guest = visit()
    guest.page.goto(server.url)
    curtain = guest.page.locator(".curtain")
    expect(curtain).to_contain_text("Video travels over UDP, and a firewall, VPN or proxy", timeout=25_000)
    server.media_blocked = False
    guest.page.get_by_role("button", name="Try now").click()
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)


def test_a_browser_without_webrtc_is_told_so(server: FakeServer, visit: Callable[..., Visit]) -> None:
    guest = visit()
    guest.page.add_init_script("delete window.RTCPeerConnection")
    guest.page.goto(server.url)
    expect(guest.page.locator(".curtain")).to_contain_text("This browser has no WebRTC")
    assert not server.sessions


def test_a_browser_without_h264_uses_vp8_and_says_so(server: FakeServer, visit: Callable[..., Visit]) -> None:
    guest = visit()
    guest.page.add_init_script("""
      const all = RTCRtpReceiver.getCapabilities;
      RTCRtpReceiver.getCapabilities = (kind) => {
        const found = all.call(RTCRtpReceiver, kind);
        return { ...found, codecs: found.codecs.filter((codec) => codec.mimeType !== "video/H264") };
      };""")
    guest.page.goto(server.url)
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    expect(guest.page.locator("#notices")).to_contain_text("no H.264, so the call uses VP8")
    guest.page.get_by_role("button", name="Figures of the connection").click()
    expect(guest.page.locator("#figures")).to_contain_text("VP8", timeout=5000)


def test_figures_are_shown_on_demand(server: FakeServer, visit: Callable[..., Visit]) -> None:
    guest = visit()
    guest.page.goto(server.url)
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    panel = guest.page.locator("#figures")
    expect(panel).to_be_hidden()
    guest.page.get_by_role("button", name="Figures of the connection").click()
    expect(panel).to_contain_text("256 × 256", timeout=5000)

    def read() -> dict[str, str]:
        names, values = panel.locator("dt").all_text_contents(), panel.locator("dd").all_text_contents()
        return dict(zip(names, values, strict=False))

    # The browser knows the skew once the sender has reported its clocks, some seconds into the call.
    figures = until(lambda: (now := read()).get("Sound to picture", "–") != "–" and now, 20)
    assert float(figures["Frame rate"].removesuffix(" fps")) > 5
    assert figures["Codec"] == "H264"
    assert figures["Latency"].endswith(" ms") and figures["Sound to picture"].endswith(" ms")
    assert (figures["Server frame rate"], figures["Server skew"], figures["Viewers"]) == ("25 fps", "+3 ms", "1")


def test_an_invited_viewer_watches_and_cannot_drive(server: FakeServer, visit: Callable[..., Visit]) -> None:
    owner, viewer = visit(), visit()
    owner.page.goto(server.url)
    expect(owner.page.locator(LIVE)).to_be_visible(timeout=15_000)
    owner.page.get_by_role("button", name="Invite").click()
    link = owner.page.get_by_label("Link for viewers").input_value()
    session = only(server.sessions)
    assert session.viewer_token in link and session.token not in link
    expect(owner.page.locator("#invite-note")).to_contain_text("works on this computer only")
    viewer.page.goto(link)
    expect(viewer.page.locator(LIVE)).to_be_visible(timeout=15_000)
    assert only(server.sessions) is session and len(session.peers) == 2
    session.voice = decode(vowel(8))
    assert viewer.page.evaluate("document.querySelector('video').muted"), "nobody has clicked here"
    expect(viewer.page.locator("#stage.speaking")).to_be_visible(timeout=5000)
    for name in ("Sound file", "Microphone", "Add a person", "Invite", "Say it"):
        assert viewer.page.get_by_role("button", name=name).count() == 0
    owner.page.keyboard.press("Escape")
    owner.page.get_by_label("Text to say").fill("Everybody reads this")
    owner.page.get_by_role("button", name="Say it").click()
    expect(viewer.page.locator("#captions")).to_contain_text("Everybody reads this")
    owner.page.goto("about:blank")
    expect(viewer.page.locator(".curtain")).to_contain_text("no such session", timeout=20_000)


def test_sound_starts_with_the_first_click(server: FakeServer, visit: Callable[..., Visit]) -> None:
    guest = visit()
    guest.page.goto(server.url)
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    muted = "document.querySelector('video').muted"
    assert guest.page.evaluate(muted)
    guest.page.get_by_role("button", name="Turn the sound on").click()
    assert not guest.page.evaluate(muted)
    mute = guest.page.get_by_role("button", name="Mute the sound")
    mute.click()
    assert guest.page.evaluate(muted)
    expect(mute).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
def test_nothing_is_wider_than_the_window(server: FakeServer, visit: Callable[..., Visit], width: int) -> None:
    server.voice = vowel(1)
    guest = visit(viewport={"width": width, "height": 800})
    guest.page.goto(server.url)
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    guest.page.get_by_role("button", name="Microphone").click()
    guest.page.get_by_role("button", name="Figures of the connection").click()
    guest.page.get_by_label("Text to say").fill("Unspeakably" * 9 + " long text. " * 9)
    guest.page.get_by_role("button", name="Say it").click()
    expect(guest.page.locator("#captions")).to_contain_text("Unspeakably")
    guest.page.set_input_files("#photo-input", {"name": "a.png", "mimeType": "image/png", "buffer": b"x"})
    expect(guest.page.locator("#microphone-panel")).to_be_visible()
    assert guest.overflow() <= 0
    small = guest.page.evaluate("""[...document.querySelectorAll("button")].filter((button) => button.offsetParent)
      .filter((button) => Math.min(button.offsetWidth, button.offsetHeight) < 36).map((button) => button.outerHTML)""")
    assert small == [], "a finger finds every button"


def test_every_control_has_a_name_and_is_reached_by_keyboard(server: FakeServer, visit: Callable[..., Visit]) -> None:
    guest = visit()
    guest.page.goto(server.url)
    expect(guest.page.locator(LIVE)).to_be_visible(timeout=15_000)
    unnamed = guest.page.evaluate("""[...document.querySelectorAll("button, input, select, textarea")]
      .filter((one) => one.offsetParent)
      .filter((one) => !(one.textContent.trim() || one.ariaLabel || one.labels?.length)).map((one) => one.outerHTML)""")
    assert unnamed == []
    reached: list[str] = []
    for _ in range(24):
        guest.page.keyboard.press("Tab")
        reached.append(guest.page.evaluate("document.activeElement.id || document.activeElement.className"))
    for control in (
        "invite",
        "mute",
        "figures-toggle",
        "full",
        "sound-file",
        "microphone",
        "interrupt",
        "captions-toggle",
        "text",
        "voice",
        "say-button",
        "choose-photo",
    ):
        assert control in reached, control
