"""Offers of WebRTC: refused ones, garbled ones, hidden addresses."""

import asyncio
import time

import pytest
from aiohttp.test_utils import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from server.signalling import without_mdns
from tests.server.requests import error_of
from tests.server.scripted import Watcher, api_of, bearer, open_session, start

OFFER = """v=0
o=- 0 0 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
m=video 9 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=recvonly
a=mid:0
a=rtcp-mux
a=rtpmap:96 VP8/90000
a=ice-ufrag:abcd
a=ice-pwd:abcdefghijklmnopqrstuvwx
a=fingerprint:sha-256 {print}
a=setup:actpass
""".replace("\n", "\r\n").replace("{print}", ":".join(["AB"] * 32))


async def offer(client: TestClient, session: dict, body: str | bytes, kind: str = "application/sdp") -> object:
    return await client.post(session["whep"], data=body, headers=bearer(session) | {"Content-Type": kind})


@pytest.mark.parametrize(
    "body",
    [
        "", "v=0", "hello", b"\xff\xfe\x00", OFFER.replace("VP8", "AV1"), OFFER.replace("recvonly", "sendonly"),
        OFFER.replace("a=ice-ufrag:abcd\r\n", ""), OFFER.replace("a=mid:0\r\n", ""),
        OFFER.replace("setup:actpass", "setup:nonsense"), OFFER.replace("m=video 9 UDP", "m=video nine UDP"),
    ],
)  # fmt: skip
async def test_offers_that_are_refused(client: TestClient, body: str | bytes) -> None:
    session = await open_session(client)
    assert "offer" in (await error_of(await offer(client, session, body), 400))["error"]
    assert not api_of(client).sessions.get(session["id"]).viewers


async def test_an_offer_of_another_type_or_size(client: TestClient) -> None:
    session = await open_session(client)
    await error_of(await offer(client, session, "{}", "application/json"), 415)
    await error_of(await offer(client, session, "v=0\r\n" * 20_000), 413)
    trickle = await client.patch(f"{session['whep']}/peer", data="", headers=bearer(session))
    await error_of(trickle, 405)
    assert trickle.headers["Allow"] == "DELETE"


LINES = st.sampled_from(OFFER.split("\r\n")) | st.text(max_size=30) | st.from_regex(r"a=[a-z-]{2,11}:.{0,12}")


@settings(max_examples=25, deadline=None)
@given(st.lists(LINES, max_size=25))
def test_garbled_offers_are_never_a_crash(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    async def send() -> None:
        client = await start(tmp_path_factory.mktemp("gallery"))
        session = await open_session(client)
        for text in ("\r\n".join(lines), "\r\n".join(OFFER.split("\r\n")[:9] + lines)):
            response = await offer(client, session, text.encode("utf-8", "surrogatepass"))
            assert response.status in (201, 400), await response.text()  # type: ignore[attr-defined]
        await client.close()

    asyncio.run(send())


def test_hidden_addresses_are_not_looked_up() -> None:
    plain = OFFER + "a=candidate:1 1 UDP 1 192.0.2.1 5000 typ host\r\na=end-of-candidates\r\n"
    assert without_mdns(plain) == plain
    hidden = plain + "a=candidate:2 1 UDP 1 0f6cbe2e-6f3f-4a1a-a7a4-0de0e9f1a0c5.local 5001 typ host\r\n"
    assert without_mdns(hidden) == plain.replace("a=end-of-candidates\r\n", "")


async def test_a_peer_whose_address_is_hidden_connects_quickly(client: TestClient) -> None:
    session = await open_session(client)
    watcher = Watcher()
    watcher.hide_address = True
    began = time.monotonic()
    await watcher.watch(client, session)
    await watcher.until(lambda: watcher.frames)
    assert time.monotonic() - began < 2
    await watcher.close()
