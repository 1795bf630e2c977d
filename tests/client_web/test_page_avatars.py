"""Avatars made of photos, and removed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect

from tests.client_web.browser import LIVE, Visit
from tests.client_web.fake_server import FakeServer
from tests.client_web.page import only, photo, until


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
        # no look may wait for the bar: it goes when the avatar is built
        shares.extend(int(v or 0) for v in bar.evaluate_all("bars => bars.map(b => b.getAttribute('aria-valuenow'))"))
        words.extend(guest.page.locator("#progress-words").all_text_contents())
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
