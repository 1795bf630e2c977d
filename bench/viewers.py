"""What viewers cost and how much memory a server takes: aiortc peers on this machine watch one session of a server.

`python -m bench.viewers [--json FILE]`. The server runs in a process of its own; its processor time is counted while 0,
1, 4 and 8 peers receive picture and sound. Nobody speaks, so that the speech driver is loaded and at rest.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaBlackhole

from bench import frame
from bench.serving import serving

VIEWERS = (0, 1, 4, 8)
SECONDS, SETTLE = 8.0, 3.0


def run(
    avatar: Path, counts: tuple[int, ...] = VIEWERS, seconds: float = SECONDS, speech: bool = True
) -> dict[str, Any]:
    """-> {"cores": {viewers: share of a core}, "fps": {viewers: frames a second}, "memory_mb", "peak_memory_mb"}.

    speech False: the server finds no weights, and its avatars are silent.
    """
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(avatar, folder)
        environment = {} if speech else {"TALKSHOT_CACHE": str(Path(folder) / "none")}
        with serving(Path(folder), environment=environment) as (address, process):
            watched = psutil.Process(process.pid)
            figures = asyncio.run(_measure(address, avatar.stem, watched, counts, seconds))
            return figures | {"memory_mb": watched.memory_info().rss / 1e6, "peak_memory_mb": _peak(process.pid)}


async def _measure(
    address: str, avatar: str, server: psutil.Process, counts: tuple[int, ...], seconds: float
) -> dict[str, Any]:
    cores: dict[str, float] = {}
    fps: dict[str, float] = {}
    peers: list[RTCPeerConnection] = []
    async with aiohttp.ClientSession(address) as http:
        async with http.post("/sessions", json={"avatar": avatar}) as response:
            session = await response.json()
        headers = {"Authorization": f"Bearer {session['token']}"}
        try:
            for count in counts:
                while len(peers) < count:
                    peers.append(await _watch(http, session["whep"], headers))
                await asyncio.sleep(SETTLE)
                before, start = server.cpu_times(), time.monotonic()
                frames = (await _state(http, session["id"], headers))["frames"]
                await asyncio.sleep(seconds)
                after, wall = server.cpu_times(), time.monotonic() - start
                cores[str(count)] = (after.user + after.system - before.user - before.system) / wall
                fps[str(count)] = ((await _state(http, session["id"], headers))["frames"] - frames) / wall
        finally:
            await asyncio.gather(*(p.close() for p in peers))
    return {"cores": cores, "fps": fps}


async def _state(http: aiohttp.ClientSession, session: str, headers: dict[str, str]) -> dict[str, Any]:
    async with http.get(f"/sessions/{session}", headers=headers) as response:
        return await response.json()


async def _watch(http: aiohttp.ClientSession, whep: str, headers: dict[str, str]) -> RTCPeerConnection:
    """A peer that receives picture and sound and decodes them for nobody."""
    peer, sink = RTCPeerConnection(), MediaBlackhole()
    peer.on("track", sink.addTrack)
    for kind in ("audio", "video"):
        peer.addTransceiver(kind, direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    sdp = headers | {"Content-Type": "application/sdp"}
    async with http.post(whep, data=peer.localDescription.sdp, headers=sdp) as response:
        response.raise_for_status()
        await peer.setRemoteDescription(RTCSessionDescription(await response.text(), "answer"))
    await sink.start()
    return peer


def _peak(pid: int) -> float:
    """The most memory a process has held, MB; what it holds now where the system does not tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return psutil.Process(pid).memory_info().rss / 1e6
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.viewers", description=__doc__)
    parser.add_argument("--avatar", type=Path, default=Path("avatars/demo.avatar"))
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(arguments)
    spoken = run(args.avatar)
    silent = run(args.avatar, (1,), 2.0, speech=False)
    result = {"machine": frame.machine(), "with speech driver": spoken, "without": silent}
    print(f"load {os.getloadavg()[0]:.1f}")
    for count, share in spoken["cores"].items():
        print(f"{count:>2} viewers  {share:5.2f} cores  {spoken['fps'][count]:5.1f} frames/s")
    for name in ("with speech driver", "without"):
        print(f"{name}: {result[name]['memory_mb']:.0f} MB, at most {result[name]['peak_memory_mb']:.0f} MB")
    if args.json:
        frame.write(args.json, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
