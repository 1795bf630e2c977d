"""One test for each private name of aiortc that is touched: a new version that moves one fails here."""

import asyncio
from collections.abc import AsyncIterator
from fractions import Fraction

import av
import pytest
import pytest_asyncio
from aiortc import RTCPeerConnection
from aiortc.mediastreams import MediaStreamTrack
from aiortc.rtp import RTCP_PSFB_APP, RtcpPsfbPacket, RtcpSrPacket, RtpPacket, pack_remb_fci

from server import aiortc_compat

NTP_BASE = 1000  # s


class Ticks(MediaStreamTrack):
    """Opus packets stamped in media time, starting at 7 s."""

    kind = "audio"
    START = 7 * 48_000

    def __init__(self) -> None:
        super().__init__()
        self.n = 0

    async def recv(self) -> av.Packet:
        await asyncio.sleep(0.02)
        packet = av.Packet(b"\xf8\xff\xfe")  # 20 ms of silence
        packet.pts, packet.time_base = self.START + 960 * self.n, Fraction(1, 48_000)
        self.n += 1
        return packet


@pytest_asyncio.fixture
async def pair() -> AsyncIterator[tuple]:
    """(sender, receiving connection) of a running call."""
    a, b = RTCPeerConnection(), RTCPeerConnection()
    sender = a.addTrack(Ticks())
    aiortc_compat.report_media_time(sender, 48_000, lambda t: round((NTP_BASE + t) * 2**32))
    await a.setLocalDescription(await a.createOffer())
    await b.setRemoteDescription(a.localDescription)
    await b.setLocalDescription(await b.createAnswer())
    await a.setRemoteDescription(b.localDescription)
    while a.connectionState != "connected":
        await asyncio.sleep(0.01)
    yield sender, b
    await a.close()
    await b.close()


async def test_sender_reports_carry_media_time(pair: tuple) -> None:
    sender, b = pair
    receiver = b.getReceivers()[0]
    reports, packets = [], []
    handle_rtcp, handle_rtp = receiver._handle_rtcp_packet, receiver._handle_rtp_packet

    async def on_rtcp(packet: object) -> None:
        if isinstance(packet, RtcpSrPacket):
            reports.append(packet.sender_info)
        await handle_rtcp(packet)

    async def on_rtp(packet: RtpPacket, arrival: int) -> None:
        packets.append(packet.timestamp)
        await handle_rtp(packet, arrival_time_ms=arrival)

    receiver._handle_rtcp_packet = on_rtcp
    receiver._handle_rtp_packet = lambda packet, arrival_time_ms: on_rtp(packet, arrival_time_ms)
    for _ in range(400):
        if len(reports) >= 2:
            break
        await asyncio.sleep(0.01)
    media = [r.ntp_timestamp / 2**32 - NTP_BASE for r in reports]
    assert all(7 <= m <= 20 for m in media)
    # NTP and RTP advance together: the map is exact whenever it is sent.
    elapsed = ((reports[1].rtp_timestamp - reports[0].rtp_timestamp) & 0xFFFFFFFF) / 48_000
    assert media[1] - media[0] == pytest.approx(elapsed, abs=1e-4)
    assert reports[0].rtp_timestamp in packets
    # The round-trip time is found by the middle bits of what was really sent.
    assert sender._RTCRtpSender__lsr == (reports[-1].ntp_timestamp >> 16) & 0xFFFFFFFF


async def test_key_frame_requests_reach_the_callback(pair: tuple) -> None:
    sender, b = pair
    asked = asyncio.Event()
    aiortc_compat.on_key_frame_request(sender, asked.set)
    await b.getReceivers()[0]._send_rtcp_pli(sender._ssrc)
    await asyncio.wait_for(asked.wait(), 2)


async def test_bitrate_estimates_reach_the_callback(pair: tuple) -> None:
    sender, b = pair
    heard: list[int] = []
    aiortc_compat.on_bitrate_estimate(sender, heard.append)
    for ssrc, fci in ((sender._ssrc, None), (sender._ssrc ^ 1, None), (0, b"JUNKJUNK")):
        fci = fci or pack_remb_fci(700_000, [ssrc])
        await b.getReceivers()[0]._send_rtcp(RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=1, media_ssrc=0, fci=fci))
    await asyncio.sleep(0.3)
    assert heard == [pytest.approx(700_000, rel=0.01)]


async def test_the_jitter_buffer_hands_on_sooner(pair: tuple) -> None:
    _, b = pair
    receiver = b.getReceivers()[0]
    assert receiver._RTCRtpReceiver__jitter_buffer._prefetch == 4
    aiortc_compat.shorten_jitter_buffer(receiver)
    assert receiver._RTCRtpReceiver__jitter_buffer._prefetch == 1
    frame = await asyncio.wait_for(receiver.track.recv(), 2)
    assert frame.samples == 960


async def test_udp_ports_stay_in_range() -> None:
    loop = asyncio.get_running_loop()
    original = loop.create_datagram_endpoint
    aiortc_compat.use_udp_ports(loop, 41_000, 41_040)
    peer = RTCPeerConnection()
    try:
        peer.addTransceiver("audio")
        await peer.setLocalDescription(await peer.createOffer())
        hosts = [
            x.split() for x in peer.localDescription.sdp.splitlines() if x.startswith("a=candidate") and "host" in x
        ]
        assert hosts and all(41_000 <= int(x[5]) <= 41_040 for x in hosts)
        aiortc_compat.use_udp_ports(loop, 1, 0)
        with pytest.raises(OSError, match="widen udp_ports"):
            await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    finally:
        loop.create_datagram_endpoint = original  # type: ignore[method-assign]
        await peer.close()


def test_no_other_file_touches_private_names() -> None:
    from pathlib import Path

    folder = Path(aiortc_compat.__file__).parent
    for path in folder.glob("*.py"):
        if path.name != "aiortc_compat.py":
            assert "_RTC" not in path.read_text(), path.name
