"""The microphone: it reaches the server, and where it is closed the page says why."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from playwright.sync_api import expect

from tests.client_web.browser import LIVE, Visit
from tests.client_web.fake_server import RATE, FakeServer
from tests.client_web.page import only, until


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
