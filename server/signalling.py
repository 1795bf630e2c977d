"""WHEP (draft-ietf-wish-whep) for viewers and WHIP (RFC 9725) for microphones: an SDP offer in, an answer out."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import Any

import numpy as np
from aiortc import (
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.sdp import SessionDescription

from server import aiortc_compat
from server.config import Config
from server.encoder import VIDEO_CLOCK
from server.errors import Problem
from server.session import Session, Viewer, close_connection
from server.tracks import AudioTrack, VideoTrack
from stage.sound import RATE

log = logging.getLogger(__name__)

MAX_SDP = 64 * 1024  # bytes
MAX_SECTIONS = 8  # m-lines
GATHER_TIMEOUT = 10.0  # s for finding our own candidates


def ice_servers(config: Config) -> list[dict[str, str]]:
    """The configured servers as RTCIceServer dictionaries, for us and for the page alike."""
    servers = []
    for entry in config.ice_servers:
        scheme, _, rest = entry.partition(":")
        credentials, at, host = rest.rpartition("@")
        server = {"urls": f"{scheme}:{host}"}
        if at:
            server["username"], _, server["credential"] = credentials.partition(":")
        servers.append(server)
    return servers


def _connection(config: Config) -> RTCPeerConnection:
    servers = [RTCIceServer(**s) for s in ice_servers(config)]
    return RTCPeerConnection(RTCConfiguration(iceServers=servers))


def parse_offer(body: bytes) -> SessionDescription:
    """Raises Problem 400 for anything that is not a usable SDP offer."""
    try:
        offer = SessionDescription.parse(body.decode("utf-8"))
    except Exception as e:  # the parser fails in many ways on text that is not SDP, and all of them mean the same
        raise _not_an_offer(f"it cannot be parsed ({type(e).__name__})") from e
    media = [m for m in offer.media if m.kind in ("audio", "video")]
    if not media:
        raise _not_an_offer("it has neither audio nor video")
    if len(offer.media) > MAX_SECTIONS:
        raise _not_an_offer(f"it has {len(offer.media)} media sections; {MAX_SECTIONS} is the most")
    for m in offer.media:
        if not m.rtp.muxId:
            raise _not_an_offer(f"its {m.kind} section has no a=mid")
        ice = m.ice
        if not (m.dtls and m.dtls.fingerprints and ice and ice.usernameFragment and ice.password):
            raise _not_an_offer(f"its {m.kind} section lacks ICE credentials or a DTLS fingerprint")
    return offer


def without_mdns(sdp: str) -> str:
    """The offer without candidates that hide their address behind a .local name (RFC 8828, 5.2).

    Looking such a name up holds the answer back by a second where multicast DNS does not answer, and is not needed: the
    browser's own checks reach this server, which learns the address from them. Then more candidates may come, so that
    an end of candidates is taken out, too.
    """
    lines = sdp.splitlines(keepends=True)
    kept = [x for x in lines if not (x.startswith("a=candidate:") and ".local " in x)]
    return sdp if len(kept) == len(lines) else "".join(x for x in kept if not x.startswith("a=end-of-candidates"))


def _not_an_offer(why: str) -> Problem:
    return Problem(400, f"the body is not a usable SDP offer: {why}", "send the browser's local description as it is")


def _wanted(offer: SessionDescription, kind: str, directions: tuple[str, ...]) -> Any:
    """The first section of a kind that goes in one of these directions (as the offerer says it)."""
    return next((m for m in offer.media if m.kind == kind and (m.direction or "sendrecv") in directions), None)


# ---- WHEP: somebody watches --------------------------------------------------------------------------------


async def answer_viewer(session: Session, body: bytes, config: Config) -> tuple[Viewer, str]:
    """A new viewer of a session and the SDP answer for it. Raises Problem; nothing is left behind then."""
    offer = parse_offer(body)
    video, audio = (_wanted(offer, kind, ("recvonly", "sendrecv")) for kind in ("video", "audio"))
    if video is None and audio is None:
        raise _not_an_offer("it does not ask to receive audio or video")
    viewer = Viewer(secrets.token_urlsafe(12), _connection(config))
    session.add(viewer)
    try:
        if video is not None:
            _send_video(session, viewer, video)
        if audio is not None:
            _send_audio(session, viewer)
        _follow(session, viewer, config)
        return viewer, await _negotiate(viewer.connection, body)
    except BaseException:
        await session.remove(viewer.id)
        raise


def _send_video(session: Session, viewer: Viewer, offered: Any) -> None:
    names = {c.name.upper() for c in offered.rtp.codecs}
    viewer.codec = "H264" if "H264" in names else "VP8"
    viewer.video = VideoTrack(lambda: session.ask_for_key(viewer.codec))
    sender = viewer.connection.addTrack(viewer.video)
    # Preferences count only before the offer is applied.
    capabilities = RTCRtpSender.getCapabilities("video").codecs
    preferred = [c for c in capabilities if c.name == viewer.codec] + [c for c in capabilities if c.name == "rtx"]
    viewer.connection.getTransceivers()[-1].setCodecPreferences(preferred)
    aiortc_compat.on_key_frame_request(sender, lambda: session.ask_for_key(viewer.codec))
    aiortc_compat.on_bitrate_estimate(sender, lambda bitrate: session.estimated(viewer, bitrate))
    aiortc_compat.report_media_time(sender, VIDEO_CLOCK, session.clock.ntp)


def _send_audio(session: Session, viewer: Viewer) -> None:
    viewer.audio = AudioTrack()
    sender = viewer.connection.addTrack(viewer.audio)
    opus = [c for c in RTCRtpSender.getCapabilities("audio").codecs if c.name.lower() == "opus"]
    viewer.connection.getTransceivers()[-1].setCodecPreferences(opus)
    aiortc_compat.report_media_time(sender, RATE, session.clock.ntp)


def _follow(session: Session, viewer: Viewer, config: Config) -> None:
    """Go live when the connection stands; leave when it is lost or never comes."""

    def changed() -> None:
        state = viewer.connection.connectionState
        if state == "connected":
            deadline.cancel()
            session.connected(viewer)
        elif state in ("failed", "closed"):
            session.dismiss(viewer.id)

    deadline = asyncio.get_running_loop().call_later(config.connect_timeout, session.dismiss, viewer.id)
    viewer.connection.on("connectionstatechange", changed)


async def _negotiate(connection: RTCPeerConnection, body: bytes) -> str:
    """Apply the offer, gather our candidates, and return the answer."""
    try:
        offer = without_mdns(body.decode("utf-8"))
        await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        answer = await connection.createAnswer()
        await asyncio.wait_for(connection.setLocalDescription(answer), GATHER_TIMEOUT)
    except TimeoutError as e:
        raise Problem(504, "the STUN or TURN server did not answer", "check ice_servers in the settings") from e
    except Exception as e:  # as in parse_offer: what is wrong with an offer shows in many ways
        log.debug("an offer was refused", exc_info=True)
        raise _not_an_offer(str(e) or type(e).__name__) from e
    return connection.localDescription.sdp


# ---- WHIP: somebody speaks ---------------------------------------------------------------------------------


class WhipMicrophone:
    """A peer whose audio is the session's live microphone."""

    def __init__(self, session: Session, config: Config) -> None:
        self.id = secrets.token_urlsafe(12)
        self._session, self._connection = session, _connection(config)
        self._task: asyncio.Task[None] | None = None
        self.closed = False
        self._close = self.close  # one bound method, so that it can be compared

    async def answer(self, body: bytes) -> str:
        """The SDP answer. Raises Problem 400 where the offer sends no audio; nothing is left behind then."""
        offer = parse_offer(body)
        if _wanted(offer, "audio", ("sendonly", "sendrecv")) is None:
            raise _not_an_offer("it does not send audio")
        self._connection.on("track", self._on_track)
        self._connection.on("connectionstatechange", self._on_change)
        try:
            sdp = await _negotiate(self._connection, body)
        except BaseException:
            await self.close()
            raise
        await self._session.take_microphone(self._close)
        return sdp

    def _on_track(self, track: MediaStreamTrack) -> None:
        if track.kind != "audio" or self._task:
            return
        for transceiver in self._connection.getTransceivers():
            if transceiver.kind == "audio":
                aiortc_compat.shorten_jitter_buffer(transceiver.receiver)
            else:
                transceiver.direction = "inactive"  # a camera is not decoded for nothing
        self._task = asyncio.create_task(self._hear(track))

    def _on_change(self) -> None:
        if self._connection.connectionState in ("failed", "closed"):
            self._closing = asyncio.get_running_loop().create_task(self.close())

    async def _hear(self, track: MediaStreamTrack) -> None:
        try:
            while True:
                frame: Any = await track.recv()
                samples = frame.to_ndarray().reshape(-1, len(frame.layout.channels))
                mono = samples.astype(np.int32).mean(1).astype(np.int16) if samples.shape[1] > 1 else samples[:, 0]
                self._session.push_audio(mono, frame.sample_rate)
        except MediaStreamError:
            pass
        finally:
            self._session.release_microphone(self._close)

    async def close(self) -> None:
        """Safe to call twice."""
        self.closed = True
        self._session.release_microphone(self._close)
        if self._task and self._task is not asyncio.current_task():
            self._task.cancel()
        await close_connection(self._connection)
