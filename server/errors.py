"""Errors that a client is told about: a status, one clear sentence, and what can be done."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web


class Problem(Exception):
    """Raised by a handler; becomes {"error": ..., "remedy": ...} with its status."""

    def __init__(self, status: int, error: str, remedy: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(error)
        self.status, self.error, self.remedy, self.headers = status, error, remedy, dict(headers or {})

    def response(self) -> web.Response:
        body = {"error": self.error} | ({"remedy": self.remedy} if self.remedy else {})
        return web.json_response(body, status=self.status, headers=self.headers)


def not_found(what: str, name: str) -> Problem:
    return Problem(404, f"there is no {what} {name!r}")
