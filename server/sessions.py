"""All open sessions: made within limits, closed when nobody watches."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.config import Config
from server.errors import Problem, not_found
from server.session import Session, Workers
from stage.performer import Performer

if TYPE_CHECKING:
    from avatar.asset import Avatar

log = logging.getLogger(__name__)

SWEEP = 2.0  # s between looks for sessions to close


@dataclass(frozen=True)
class Wish:
    """What a client asks of a new session, already checked."""

    avatar: str
    width: int
    height: int
    fps: float
    view: str
    style: str = "neutral"  # of gestures


class Sessions:
    """Lives in the event loop. `perform` makes a performer (blocking) and says what is wrong with it in words."""

    def __init__(self, config: Config, perform: Callable[[Avatar, Wish], tuple[Performer, tuple[str, ...]]]) -> None:
        self._config, self._perform = config, perform
        self._sessions: dict[str, Session] = {}
        self._opening = 0

    def start(self, workers: Workers, ready: Awaitable[object]) -> None:
        """In the event loop. Sessions wait for `ready`: a voice without lips would be worse than none."""
        self.workers = workers
        self._ready = asyncio.ensure_future(ready)
        self._sweeper = asyncio.create_task(self._sweep(), name="session sweeper")

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions.values()))

    def get(self, session_id: str) -> Session:
        """Raises Problem 404."""
        session = self._sessions.get(session_id)
        if session is None:
            raise not_found("session", session_id)
        return session

    def admit(self) -> None:
        """Raises Problem 503 when all places are taken."""
        if len(self._sessions) + self._opening >= self._config.max_sessions:
            error = f"all {self._config.max_sessions} sessions are taken"
            raise Problem(503, error, "try again later, or raise max_sessions", {"Retry-After": "10"})

    async def open(self, avatar: Avatar, wish: Wish) -> Session:
        """Raises Problem 503 when all places are taken, 400 where the wish does not fit the avatar."""
        self.admit()
        self._opening += 1
        try:
            await asyncio.shield(self._ready)
            performer, warnings = await asyncio.to_thread(self._perform, avatar, wish)
        except ValueError as e:
            raise Problem(400, f"the avatar {wish.avatar!r} cannot be shown like this: {e}") from e
        finally:
            self._opening -= 1
        if performer.life:
            performer.life.set_style(wish.style)
        session_id = secrets.token_urlsafe(12)
        session = Session(session_id, wish.avatar, performer, wish.fps, self._config.bitrate, self.workers)
        session.warnings = warnings
        self._sessions[session_id] = session
        return session

    async def close_one(self, session_id: str) -> None:
        """Raises Problem 404."""
        session = self.get(session_id)
        del self._sessions[session_id]
        await session.close()

    def uses(self, avatar_id: str) -> bool:
        return any(s.avatar == avatar_id for s in self._sessions.values())

    async def close(self) -> None:
        self._ready.cancel()
        self._sweeper.cancel()
        await asyncio.gather(*(self.close_one(s) for s in list(self._sessions)), return_exceptions=True)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP)
            oldest = time.monotonic() - self._config.idle_timeout
            for session in self:
                if not session.viewers and session.idle_since < oldest:
                    log.info("session %s is closed: nobody watches", session.id[:6])
                    with contextlib.suppress(Problem):  # somebody closed it meanwhile
                        await self.close_one(session.id)
