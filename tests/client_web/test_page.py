"""The page in a real browser, against a server that speaks the protocol with a drawn face."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.client_web.browser import LIVE, Visit
from tests.client_web.fake_server import FakeServer, decode
from tests.client_web.page import differs, only, until, vowel


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
