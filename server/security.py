"""What stands between the API and the rest of the web: own origin only, no foreign names, errors as JSON."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from server.config import Config
from server.errors import Problem

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# No request leaves the server's own origin: the page brings all it needs.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob: mediastream:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=()",
}


def guard(config: Config) -> Any:
    """Middleware: refuse names that are not ours (DNS rebinding) and requests from foreign pages; add HEADERS."""
    named = {urlsplit(origin).netloc.lower() or origin.lower() for origin in config.origins}
    loopback_only = _is_loopback(config.host)

    def check(request: web.Request) -> None:
        host = request.headers.get("Host", "").lower()
        if host not in named and loopback_only and not _is_loopback(_hostname(host)):
            remedy = f"add it to origins in the settings: origins = ['https://{host[:80]}']"
            raise Problem(421, f"this server is not {host[:80]!r}", remedy)
        origin = request.headers.get("Origin")
        if origin is not None:
            netloc = urlsplit(origin).netloc.lower()
            if netloc != host and netloc not in named:
                raise Problem(
                    403, "requests from other sites are refused", "open the page at this server's own address"
                )

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        check(request)
        return await handler(request)

    return middleware


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Signal handler for on_response_prepare: it sees every response, streams and errors too."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error is {"error": sentence, "remedy"?: sentence} with the status that fits."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response()
    except web.HTTPException as e:
        if e.status < 400:
            raise
        headers = {k: v for k, v in e.headers.items() if k.lower() in ("allow", "retry-after")}
        return Problem(e.status, _sentence(request, e), headers=headers).response()
    except ConnectionError:
        raise
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return Problem(500, "the server made a mistake; its log says which").response()


def _sentence(request: web.Request, e: web.HTTPException) -> str:
    if e.status == 404:
        return f"there is nothing at {request.path[:100]}"
    if e.status == 405:
        return f"{request.method} is not possible here"
    return e.reason
