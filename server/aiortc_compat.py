"""Everything that reaches into aiortc's private names, in one place. Written against aiortc 1.16.0, aioice 0.13.0.

Each function replaces or reads one thing of one object; tests/server/test_aiortc_compat.py has a test for each, so that
a new aiortc that renames something fails there and not in a call.

What is cured:
- Packets that were encoded elsewhere: picture-loss requests are ignored for them (`on_key_frame_request`).
- Sender reports map RTP time to the moment a packet was sent, so a frame that took long to draw is shown late against
  the sound. They are written from the media clock instead (`report_media_time`).
- Receiver-estimated bitrates end in the sender's own encoder, which is not used here (`on_bitrate_estimate`).
- The jitter buffer holds 80 ms of a microphone's sound back before the first decode (`shorten_jitter_buffer`).
- UDP ports are random (`use_udp_ports`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiortc import RTCRtpReceiver, RTCRtpSender
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtp import RTCP_PSFB_APP, RtcpPsfbPacket, RtcpSrPacket, unpack_remb_fci

UINT32 = 0xFFFFFFFF


def on_key_frame_request(sender: RTCRtpSender, callback: Callable[[], None]) -> None:
    """Call back when the peer asks for a key frame (PLI or FIR)."""
    sender._send_keyframe = callback  # type: ignore[method-assign]


def on_bitrate_estimate(sender: RTCRtpSender, callback: Callable[[int], None]) -> None:
    """Call back with bit/s when the peer estimates what it can receive (goog-remb)."""
    original = sender._handle_rtcp_packet

    async def handle(packet: Any) -> None:
        if isinstance(packet, RtcpPsfbPacket) and packet.fmt == RTCP_PSFB_APP:
            try:
                bitrate, ssrcs = unpack_remb_fci(packet.fci)
            except ValueError:
                return
            if sender._ssrc in ssrcs:
                callback(bitrate)
        await original(packet)

    sender._handle_rtcp_packet = handle  # type: ignore[method-assign]


def report_media_time(sender: RTCRtpSender, clock_rate: int, ntp: Callable[[float], int]) -> None:
    """Write the sender reports of a packet track from the media clock.

    ntp: media time in s -> NTP timestamp. The track's packets must be stamped in media time. RTP timestamps carry a
    random origin that the sender keeps to itself; it is learned from the packet sent before.
    """
    next_frame, send_rtcp = sender._next_encoded_frame, sender._send_rtcp
    stamp: list[int] = []  # of the frame handed to the sender last, media clock units
    origin: list[int] = []

    async def next_encoded_frame(codec: Any) -> Any:
        if stamp and not origin and sender._RTCRtpSender__packet_count:  # type: ignore[attr-defined]
            origin.append((sender._RTCRtpSender__rtp_timestamp - stamp[0]) & UINT32)  # type: ignore[attr-defined]
        frame = await next_frame(codec)
        if frame is not None:
            stamp[:] = [frame.timestamp]
        return frame

    async def send(packets: list[Any]) -> None:
        for packet in packets:
            if isinstance(packet, RtcpSrPacket):
                if not origin:
                    return  # nothing was sent yet: a report would tie RTP time to 1900
                _rewrite(packet)
        await send_rtcp(packets)

    def _rewrite(packet: RtcpSrPacket) -> None:
        info = packet.sender_info
        elapsed = (info.rtp_timestamp - origin[0] - stamp[0]) & UINT32
        units = stamp[0] + (elapsed - (UINT32 + 1) if elapsed > UINT32 // 2 else elapsed)  # wraps after 13 hours
        info.ntp_timestamp = ntp(units / clock_rate)
        # The peer answers with the middle 32 bits of what it got; the round-trip time is found by them.
        sender._RTCRtpSender__lsr = (info.ntp_timestamp >> 16) & UINT32  # type: ignore[attr-defined]

    sender._next_encoded_frame = next_encoded_frame  # type: ignore[method-assign]
    sender._send_rtcp = send  # type: ignore[method-assign]


def shorten_jitter_buffer(receiver: RTCRtpReceiver, prefetch: int = 1) -> None:
    """Hand on audio after `prefetch` packets instead of 4. Before the first packet only."""
    receiver._RTCRtpReceiver__jitter_buffer = JitterBuffer(capacity=16, prefetch=prefetch)  # type: ignore[attr-defined]


def use_udp_ports(loop: asyncio.AbstractEventLoop, first: int, last: int) -> None:
    """Bind ICE's UDP sockets to ports first..last (inclusive) from now on; OSError when all are taken."""
    original = loop.create_datagram_endpoint

    async def create(factory: Any, local_addr: Any = None, **options: Any) -> Any:
        if not local_addr or local_addr[1] != 0:
            return await original(factory, local_addr=local_addr, **options)
        for port in range(first, last + 1):
            try:
                return await original(factory, local_addr=(local_addr[0], port), **options)
            except OSError:
                continue
        raise OSError(f"all UDP ports from {first} to {last} are taken; widen udp_ports")

    loop.create_datagram_endpoint = create  # type: ignore[method-assign, assignment]
