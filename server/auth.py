"""Who may do what: whoever made a session owns it, and viewers come with a token of their own."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field

from aiohttp import web

from server.errors import Problem


def _token() -> str:
    return secrets.token_urlsafe(24)


@dataclass(frozen=True)
class Tokens:
    """Of one session. The viewer's token lets somebody watch and nothing else."""

    owner: str = field(default_factory=_token)
    viewer: str = field(default_factory=_token)

    def check_owner(self, request: web.Request) -> None:
        """Raises Problem 401 or 403."""
        self._check(request, (self.owner,), "owner's")

    def check_viewer(self, request: web.Request) -> None:
        """Raises Problem 401 or 403."""
        self._check(request, (self.owner, self.viewer), "viewer's or owner's")

    def _check(self, request: web.Request, allowed: tuple[str, ...], whose: str) -> None:
        given = given_token(request)
        if not given:
            remedy = "send it as `Authorization: Bearer TOKEN`, or as ?token= for WebSocket and EventSource"
            raise Problem(401, f"this needs the session's {whose} token", remedy, {"WWW-Authenticate": "Bearer"})
        # All are compared, in constant time, whatever the first one says.
        if not sum(hmac.compare_digest(given.encode(), token.encode()) for token in allowed):
            raise Problem(403, f"the token is not the session's {whose} token")


def given_token(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else request.query.get("token", "")
