"""A real aiortc peer watches: frame rate, sound, skew, interruption, key frames, codecs, and a clean end."""

import asyncio
import io
import time
import wave
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp.test_utils import TestClient
from aiortc.rtp import RtcpSrPacket

from stage.sound import RATE, to_int16
from tests.server.scripted import Watcher, api_of, bearer, clicks, open_session, start

SPEECH = Path(__file__).resolve().parents[3] / "shared" / "testdata" / "speech"


def wav(samples: np.ndarray, rate: int = RATE) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as w:
        w.setnchannels(1)
        w.setsampwidth(2)
        w.setframerate(rate)
        w.writeframes(to_int16(samples).tobytes())
    return out.getvalue()


def onsets(events: list[tuple[float, float, float]], threshold: float) -> list[tuple[float, float]]:
    """(arrival, RTP time) wherever the third value rises above the threshold."""
    return [b[:2] for a, b in pairwise(events) if a[2] < threshold <= b[2]]


async def test_video_and_sound_arrive_in_real_time(client: TestClient) -> None:
    session = await open_session(client)
    began = time.monotonic()
    watcher = await Watcher().watch(client, session)
    await watcher.until(lambda: watcher.frames and watcher.sound)
    assert time.monotonic() - began < 3  # offer to first frame; 0.1 s on a quiet machine
    frames, packets = len(watcher.frames), len(watcher.sound)
    await asyncio.sleep(3)
    assert (len(watcher.frames) - frames) / 3 >= 20
    assert (len(watcher.sound) - packets) / 3 == pytest.approx(50, abs=5)
    spacing = np.diff([f[1] for f in watcher.frames])
    assert spacing.min() > 0.03 and np.median(spacing) == pytest.approx(1 / 30, abs=1e-3)
    state = await (await client.get(f"/sessions/{session['id']}", headers=bearer(session))).json()
    assert state["viewers"] == 1 and state["fps"] > 20 and abs(state["skew_ms"]) < 45
    await watcher.close()


async def test_flash_and_click_leave_together(client: TestClient) -> None:
    session = await open_session(client)
    watcher = await Watcher().watch(client, session)
    await watcher.until(lambda: len(watcher.frames) > 10)
    response = await client.post(f"/sessions/{session['id']}/speak", data=wav(clicks(4)), headers=bearer(session))
    assert response.status == 202 and (await response.json())["seconds"] == pytest.approx(4, abs=0.01)
    await asyncio.sleep(4.7)
    flashes, heard = onsets(watcher.frames, 160), onsets(watcher.sound, 2000)
    assert len(flashes) == 4 == len(heard)
    # By RTP time within each stream: the same media clock, so the intervals agree to a frame.
    np.testing.assert_allclose(np.diff([f[1] for f in flashes]), np.diff([h[1] for h in heard]), atol=0.045)
    # By arrival. As a receiver, aiortc hands a frame on when the next begins (33 ms) and holds 4 packets of sound (80).
    skew = np.array([h[0] - f[0] for f, h in zip(flashes, heard)]) - (0.080 - 0.033)
    assert abs(np.median(skew)) < 0.045, skew
    await watcher.close()


class Reports:
    """What a receiver needs to line up two streams (RFC 3550, 6.4.1): first RTP stamp, and a sender report's NTP."""

    def __init__(self, receiver: Any) -> None:
        self.origin: int | None = None
        self.report: tuple[float, int] | None = None
        self._rate = 90_000 if receiver.track.kind == "video" else 48_000
        handle_rtp, handle_rtcp = receiver._handle_rtp_packet, receiver._handle_rtcp_packet

        async def on_rtp(packet: Any, arrival_time_ms: int) -> None:
            self.origin = packet.timestamp if self.origin is None else self.origin
            await handle_rtp(packet, arrival_time_ms=arrival_time_ms)

        async def on_rtcp(packet: Any) -> None:
            if isinstance(packet, RtcpSrPacket):
                self.report = (packet.sender_info.ntp_timestamp / 2**32, packet.sender_info.rtp_timestamp)
            await handle_rtcp(packet)

        receiver._handle_rtp_packet, receiver._handle_rtcp_packet = on_rtp, on_rtcp

    def ntp(self, seconds: float) -> float:
        """When a decoded frame of this stream time is due."""
        assert self.report and self.origin is not None
        ntp, rtp = self.report
        return ntp + seconds - ((rtp - self.origin) & 0xFFFFFFFF) / self._rate


async def test_reports_line_up_sound_with_a_picture_that_is_slow_to_draw(client: TestClient) -> None:
    session = await open_session(client, fps=20)
    picture = api_of(client).sessions.get(session["id"]).performer.picture
    draw = picture.draw

    def slowly(motion: object, out: object) -> None:
        time.sleep(0.03)
        draw(motion, out)

    picture.draw = slowly
    watcher = Watcher()
    reports: dict[str, Reports] = {}
    watcher.connection.on("track", lambda t: reports.setdefault(t.kind, Reports(_receiver(watcher, t))))
    await watcher.watch(client, session)
    await watcher.until(lambda: watcher.frames)
    await client.post(f"/sessions/{session['id']}/speak", data=wav(clicks(3)), headers=bearer(session))
    await asyncio.sleep(4)
    flashes = [reports["video"].ntp(rtp) for _, rtp in onsets(watcher.frames, 160)]
    heard = [reports["audio"].ntp(rtp) for _, rtp in onsets(watcher.sound, 2000)]
    assert len(flashes) == 3 == len(heard)
    # A flash shows in the first frame after the click, 25 ms later on average; packets of sound are 20 ms long.
    skew = np.array(heard) - np.array(flashes)
    assert abs(np.median(skew) + 0.015) < 0.045, skew
    await watcher.close()


def _receiver(watcher: Watcher, track: Any) -> Any:
    return next(r for r in watcher.connection.getReceivers() if r.track is track)


async def test_real_speech_is_heard(client: TestClient) -> None:
    path = SPEECH / "jfk_en.flac"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    session = await open_session(client)
    watcher = await Watcher().watch(client, session)
    await watcher.until(lambda: watcher.sound)
    quiet = len(watcher.sound)
    response = await client.post(f"/sessions/{session['id']}/speak", data=path.read_bytes(), headers=bearer(session))
    assert response.status == 202
    await asyncio.sleep(3)
    assert max(s[2] for s in watcher.sound[:quiet]) < 50 < 1000 < max(s[2] for s in watcher.sound[quiet:])
    state = await (await client.get(f"/sessions/{session['id']}", headers=bearer(session))).json()
    assert state["speaking"]
    await watcher.close()


async def test_interrupt_is_silent_at_once(client: TestClient) -> None:
    session = await open_session(client)
    watcher = await Watcher().watch(client, session)
    await watcher.until(lambda: watcher.frames)
    tone = np.sin(np.arange(10 * RATE) * 0.1).astype(np.float32) * 0.5
    await client.post(f"/sessions/{session['id']}/speak", data=wav(tone), headers=bearer(session))
    await watcher.until(lambda: watcher.sound and watcher.sound[-1][2] > 2000 and watcher.frames[-1][2] > 160)
    began = time.monotonic()
    response = await client.post(f"/sessions/{session['id']}/interrupt", headers=bearer(session))
    assert response.status == 200 and (await response.json())["epoch"] == 1
    await asyncio.sleep(1)
    last_loud = max(at for at, _, rms in watcher.sound if rms > 300) - began
    last_open = max(at for at, _, luma in watcher.frames if luma > 160) - began
    assert last_loud < 0.3, last_loud  # 80 ms of it is this receiver's own buffer
    assert last_open < 0.3, last_open
    await watcher.close()


async def test_a_second_viewer_gets_a_key_frame_and_shares_the_encoder(client: TestClient) -> None:
    session = await open_session(client)
    first = await Watcher().watch(client, session)
    await first.until(lambda: len(first.frames) > 30)
    began = time.monotonic()
    second = await Watcher().watch(client, session)
    await second.until(lambda: second.frames)
    assert time.monotonic() - began < 2
    state = api_of(client).sessions.get(session["id"])
    assert len(state.viewers) == 2 and list(state._encoders) == ["H264"]
    await second.close()
    frames = len(first.frames)
    await asyncio.sleep(1)
    assert len(first.frames) - frames > 15  # the first goes on when the second leaves
    await first.close()


async def test_a_peer_without_h264_gets_vp8(client: TestClient) -> None:
    session = await open_session(client)
    watcher = await Watcher().watch(client, session, codec="VP8")
    assert "VP8/90000" in watcher.answer and "H264" not in watcher.answer
    await watcher.until(lambda: len(watcher.frames) > 20)
    assert list(api_of(client).sessions.get(session["id"])._encoders) == ["VP8"]
    await watcher.close()


async def test_both_codecs_at_once(client: TestClient) -> None:
    session = await open_session(client)
    a, b = await asyncio.gather(*(Watcher().watch(client, session, codec=c) for c in ("H264", "VP8")))
    await a.until(lambda: len(a.frames) > 10 and len(b.frames) > 10)
    assert sorted(api_of(client).sessions.get(session["id"])._encoders) == ["H264", "VP8"]
    await asyncio.gather(a.close(), b.close())


@pytest.mark.parametrize("kind", ["video", "audio"])
async def test_one_of_both_is_enough(client: TestClient, kind: str) -> None:
    session = await open_session(client)
    watcher = await Watcher().watch(client, session, video=kind == "video", audio=kind == "audio")
    await watcher.until(lambda: watcher.frames or watcher.sound)
    await watcher.close()


async def test_leaving_frees_everything(client: TestClient) -> None:
    session = await open_session(client)
    watcher = await Watcher().watch(client, session)
    await watcher.until(lambda: watcher.frames)
    live = api_of(client).sessions.get(session["id"])
    response = await client.delete(watcher.location, headers=bearer(session))
    assert response.status == 200
    assert not live.viewers and live._timing is None and not api_of(client).sessions.workers.render._seats
    assert (await client.delete(watcher.location, headers=bearer(session))).status == 404
    await watcher.close()


async def test_a_viewer_who_hangs_up_is_noticed(client: TestClient) -> None:
    session = await open_session(client)
    watcher = await Watcher().watch(client, session)
    await watcher.until(lambda: watcher.frames)
    await watcher.close()
    live = api_of(client).sessions.get(session["id"])
    await watcher.until(lambda: not live.viewers, timeout=5)


async def test_sessions_share_the_render_thread_fairly(tmp_path: Path) -> None:
    client = await start(tmp_path, fps=20.0)
    sessions = [await open_session(client) for _ in range(3)]
    watchers = [await Watcher().watch(client, s) for s in sessions]
    await watchers[2].until(lambda: all(w.frames for w in watchers))
    timings = [api_of(client).sessions.get(s["id"])._timing for s in sessions]
    before, drawn = [len(w.frames) for w in watchers], [t.frames for t in timings]
    await asyncio.sleep(2)
    rates = [(t.frames - b) / 2 for t, b in zip(timings, drawn)]
    received = [(len(w.frames) - b) / 2 for w, b in zip(watchers, before)]
    assert min(rates) > 15, rates
    assert min(received) > 10, received  # three decoders in this very process may fall behind
    await asyncio.gather(*(w.close() for w in watchers))
    await client.close()


async def test_a_session_nobody_watches_is_closed(tmp_path: Path) -> None:
    client = await start(tmp_path, idle_timeout=1.0)
    session = await open_session(client)
    for _ in range(60):
        response = await client.get(f"/sessions/{session['id']}", headers=bearer(session))
        if response.status == 404:
            break
        await asyncio.sleep(0.1)
    assert response.status == 404
    await client.close()


async def test_a_picture_that_fails_is_told(client: TestClient) -> None:
    session = await open_session(client)
    live = api_of(client).sessions.get(session["id"])

    def broken(motion: object, out: object) -> None:
        raise RuntimeError("no such Gaussian")

    live.performer.picture.draw = broken
    watcher = await Watcher().watch(client, session)
    await watcher.until(lambda: live.error and not live.viewers)
    state = await (await client.get(f"/sessions/{session['id']}", headers=bearer(session))).json()
    assert state["state"] == "failed" and "no such Gaussian" in state["error"]
    await watcher.close()


async def test_a_speech_driver_that_fails_is_told_and_the_sound_goes_on(client: TestClient) -> None:
    session = await open_session(client)
    live = api_of(client).sessions.get(session["id"])

    def broken(samples: object) -> list:
        raise RuntimeError("no such phoneme")

    live.performer._speech.push = broken
    watcher = await Watcher().watch(client, session)
    await watcher.until(lambda: watcher.sound)
    await client.post(f"/sessions/{session['id']}/speak", data=wav(clicks(1)), headers=bearer(session))
    await watcher.until(lambda: onsets(watcher.sound, 2000))
    state = await (await client.get(f"/sessions/{session['id']}", headers=bearer(session))).json()
    assert state["state"] == "live" and state["warnings"] == ["the speech driver failed: no such phoneme"]
    await watcher.close()


async def test_sound_that_fails_ends_the_session_in_words(client: TestClient) -> None:
    session = await open_session(client)
    live = api_of(client).sessions.get(session["id"])

    def broken(start: int, n: int) -> None:
        raise RuntimeError("no such sample")

    live.performer.voice = broken
    watcher = Watcher()
    await watcher.until(lambda: live.error)
    state = await (await client.get(f"/sessions/{session['id']}", headers=bearer(session))).json()
    assert state["state"] == "failed" and "no such sample" in state["error"]
    headers = bearer(session) | {"Content-Type": "application/sdp"}
    assert (await client.post(session["whep"], data="v=0", headers=headers)).status == 409
    await watcher.close()
