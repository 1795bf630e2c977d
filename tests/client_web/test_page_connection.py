"""Connections that break, browsers that lack something, and what the page shows of both."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from tests.client_web.browser import LIVE, Visit
from tests.client_web.fake_server import FakeServer
from tests.client_web.page import differs, only, until


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
