"""The aiohttp application: the page, the API, the security around both; start and graceful stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from aiohttp import web

from server import aiortc_compat
from server.api import Api
from server.config import Config, ConfigError
from server.gallery import Gallery
from server.jobs import Build, Jobs
from server.page import Page
from server.security import add_headers, errors_as_json, guard
from server.session import Workers
from server.sessions import Sessions, Wish

if TYPE_CHECKING:
    from avatar.asset import Avatar
    from drivers.text import Reader
    from stage.performer import Performer

log = logging.getLogger(__name__)

SHUTDOWN = 5.0  # s for open requests to end
SWITCH = 0.002  # s that a thread may keep the interpreter while sound waits to be sent


@dataclass(frozen=True)
class Parts:
    """The heavy parts behind the API; tests bring light ones."""

    load: Callable[[Path], Avatar]
    perform: Callable[[Avatar, Wish], tuple[Performer, tuple[str, ...]]]
    build: Callable[[Path, Path, str], Build]
    warm_render: Callable[[], None] = lambda: None  # in the render thread, when the server starts
    warm_net: Callable[[], None] = lambda: None  # in the speech net's thread
    reader: Reader | None = None  # of typed text


API: web.AppKey[Api] = web.AppKey("api", Api)
PARTS: web.AppKey[Parts] = web.AppKey("parts", Parts)


def real_parts(config: Config) -> Parts:
    from avatar import asset
    from avatar.build.worker import BuildJob
    from avatar.render import cpu
    from drivers import speech as listening
    from drivers.gesture_model import GestureModel
    from drivers.text import HttpReader, readers
    from models.weights import WeightsError
    from stage.performer import Speech, perform

    own: list[Reader] = []
    if config.voice_url:
        own.append(HttpReader(config.voice_url, config.voice_names, config.voice_model, config.voice_key))
    gestures = GestureModel(config.gesture_url) if config.gesture_url else None
    reader = readers(own, Path(config.kokoro_voices) if config.kokoro_voices else None)

    def build(photo: Path, out: Path, name: str) -> Build:
        return BuildJob(photo, out, name=name)

    def make(avatar: Avatar, wish: Wish) -> tuple[Performer, tuple[str, ...]]:
        speech: Speech | None = None
        warnings: tuple[str, ...] = ()
        try:
            speech = listening.create(config.speech)
        except (WeightsError, ValueError) as e:
            warnings = (f"this avatar cannot speak: {e}",)
        size = wish.width, wish.height
        machine: dict[str, Any] = {"threads": config.threads, "device": config.device, "gestures": gestures}
        return perform(avatar, *size, wish.view, speech, reader=reader, **machine), warnings

    return Parts(asset.load, make, build, cpu.warm, partial(_warm_speech, config.speech), reader)


def _warm_speech(model: str) -> None:
    """Load the speech net, so that the first session does not wait for it; "auto" measures this machine now."""
    from drivers import speech

    driver = speech.create(model)
    driver.push(np.random.default_rng(0).normal(0, 0.1, driver.rate).astype(np.float32))


def make_app(config: Config, parts: Parts | None = None) -> web.Application:
    """The whole server as an aiohttp application. Raises ConfigError where the avatars folder cannot be used."""
    parts = parts or real_parts(config)
    try:
        config.avatars.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise ConfigError(f"setting avatars: {config.avatars} cannot be made ({e.strerror})") from e
    gallery = Gallery(config.avatars, parts.load)
    api = Api(config, gallery, Jobs(parts.build, config.max_jobs), Sessions(config, parts.perform), parts.reader)
    app = web.Application(middlewares=[errors_as_json, guard(config)], client_max_size=1 << 20)
    app[API], app[PARTS] = api, parts
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(_end)
    app.cleanup_ctx.append(_life)
    app.add_routes(api.routes())
    app.router.add_get("/{path:.*}", Page(config.client).serve)
    return app


async def _life(app: web.Application) -> AsyncIterator[None]:
    """Start the threads and queues with the loop; after `_end`, stop the threads."""
    api = app[API]
    if api.config.udp_ports:
        aiortc_compat.use_udp_ports(asyncio.get_running_loop(), *api.config.udp_ports)
    with tempfile.TemporaryDirectory(prefix="talkshot-") as uploads:
        api.uploads = Path(uploads)
        api.jobs.start()
        workers = Workers.start()
        workers.render.call(app[PARTS].warm_render)
        api.sessions.start(workers, _warm(app[PARTS], workers))
        yield
        await asyncio.to_thread(workers.close)
        if api.reader:
            await asyncio.to_thread(api.reader.close)


async def _end(app: web.Application) -> None:
    """Before open requests are waited for: what they wait for ends."""
    await app[API].sessions.close()
    await app[API].jobs.close()


async def _warm(parts: Parts, workers: Workers) -> None:
    try:
        await asyncio.get_running_loop().run_in_executor(workers.net, parts.warm_net)
    except Exception as e:  # absent weights, most likely; sessions say it to their clients, too
        log.warning("the avatars cannot speak: %s", e)


def run(config: Config) -> None:
    """Serve until SIGINT or SIGTERM. Raises ConfigError where the address cannot be listened on."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("aioice", "aiortc", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    sys.setswitchinterval(SWITCH)
    asyncio.run(_serve(config))


async def _serve(config: Config) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, stop.set)
    runner = web.AppRunner(make_app(config), access_log=None, shutdown_timeout=SHUTDOWN)
    await runner.setup()
    try:
        site = web.TCPSite(runner, config.host, config.port)
        try:
            await site.start()
        except OSError as e:
            remedy = "choose another with --port" if e.errno == 98 else "check --host and --port"
            raise ConfigError(f"cannot listen on {config.host}:{config.port} ({e.strerror}); {remedy}") from e
        print(f"Talkshot is ready: {_address(config, runner)}", flush=True)
        await stop.wait()
        print("stopping", flush=True)
    finally:
        await runner.cleanup()


def _address(config: Config, runner: web.AppRunner) -> str:
    port = runner.addresses[0][1]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}.get(config.host, config.host)
    return f"http://{host}:{port}/"
