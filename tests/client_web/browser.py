"""A real headless browser for the page's tests, and what they read out of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Error, Page, sync_playwright

DIST = Path(__file__).resolve().parents[2] / "client_web" / "dist"
NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
    "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
]  # fmt: skip
LIVE = "#stage[data-state=live].has-picture"

# 64 x 64 pixels of a region of the received picture, given in shares of its size; null before there is a picture.
GRAB = """([left, top, right, bottom]) => {
  const video = document.querySelector("#stage video");
  if (!video.videoWidth) return null;
  const canvas = document.createElement("canvas");
  canvas.width = 64; canvas.height = 64;
  const context = canvas.getContext("2d");
  const [w, h] = [video.videoWidth, video.videoHeight];
  context.drawImage(video, left * w, top * h, (right - left) * w, (bottom - top) * h, 0, 0, 64, 64);
  return Array.from(context.getImageData(0, 0, 64, 64).data);
}"""


@contextmanager
def open_browser(*flags: str) -> Iterator[Browser]:
    """With further command-line flags. Skips the test where the page is not built or no browser is there."""
    if not (DIST / "index.html").is_file():
        pytest.skip("client_web/dist/index.html is missing: run `make client`")
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=found, args=[*ARGS, *flags])
        except Error as e:
            reason = str(e).splitlines()[0]
            pytest.skip(f"no Chromium to test the page with: run scripts/install_test_programs ({reason})")
        yield browser
        browser.close()


class Visit:
    """One visitor's page, with all that it asked of the network and all that went wrong in it."""

    def __init__(self, browser: Browser, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        self.page: Page = self.context.new_page()
        self.addresses: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.addresses.append(request.url))
        self.page.on("websocket", lambda socket: self.addresses.append(socket.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def foreign_addresses(self, own: str) -> list[str]:
        """Everything asked of another host than the page's own; blob: and data: stay in the browser."""
        network = [address for address in self.addresses if urlsplit(address).scheme not in ("blob", "data")]
        return [address for address in network if urlsplit(address).netloc != urlsplit(own).netloc]

    def grab(self, region: tuple[float, float, float, float] = (0, 0, 1, 1)) -> list[int]:
        """64 x 64 RGBA of a region (left, top, right, bottom, in shares) of the received picture."""
        pixels = self.page.evaluate(GRAB, list(region))
        assert pixels, "there is no picture"
        return pixels

    def overflow(self) -> int:
        """Pixels by which the page is wider than its window."""
        return self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
