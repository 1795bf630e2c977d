"""The build queue: photos wait in line, one at a time is built in a worker process, and whoever asks hears how."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from server.errors import Problem, not_found

log = logging.getLogger(__name__)

KEPT = 100  # finished jobs that can still be asked about
FINISHED = ("done", "failed", "cancelled")


class Build(Protocol):
    """A build in a process of its own: avatar.build.worker.BuildJob."""

    def events(self) -> Iterator[dict[str, Any]]:
        """Blocks for each: {event: progress|done|failed|cancelled, stage?, fraction?, message?, error?}."""

    def cancel(self) -> None: ...


@dataclass(eq=False)
class Job:
    id: str
    avatar_id: str
    photo: Path
    out: Path
    name: str
    state: str = "queued"
    stage: str = ""
    fraction: float = 0.0
    message: str = "waiting for other builds"
    error: str = ""
    build: Build | None = None
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def finished(self) -> bool:
        return self.state in FINISHED

    def json(self) -> dict[str, Any]:
        data = {
            "id": self.id, "state": self.state, "stage": self.stage, "fraction": round(self.fraction, 3),
            "message": self.message, "name": self.name,
        }  # fmt: skip
        if self.state == "done":
            data["avatar"] = self.avatar_id
        return data | ({"error": self.error} if self.error else {})


class Jobs:
    """Lives in the event loop; builds run in processes of their own, watched by one thread."""

    def __init__(self, start: Callable[[Path, Path, str], Build], limit: int) -> None:
        self._start, self._limit = start, limit
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._queue: deque[Job] = deque()
        self._arrived = asyncio.Event()

    def start(self) -> None:
        """In the event loop."""
        self._worker = asyncio.create_task(self._run(), name="build queue")

    @property
    def waiting(self) -> int:
        return sum(not job.finished for job in self._jobs.values())

    def admit(self) -> None:
        """Raises Problem 429 when the queue is full."""
        if self.waiting >= self._limit:
            raise Problem(429, f"{self.waiting} builds are waiting already", "try again later", {"Retry-After": "30"})

    def add(self, photo: Path, out: Path, avatar_id: str, name: str) -> Job:
        """Queue a build. The photo belongs to the job from now on and is removed with it."""
        job = Job(secrets.token_urlsafe(9), avatar_id, photo, out, name)
        self._jobs[job.id] = job
        self._queue.append(job)
        self._arrived.set()
        for old in [j for j in self._jobs.values() if j.finished][:-KEPT]:
            del self._jobs[old.id]
        return job

    def get(self, job_id: str) -> Job:
        """Raises Problem 404."""
        job = self._jobs.get(job_id)
        if job is None:
            raise not_found("job", job_id)
        return job

    async def cancel(self, job_id: str) -> Job:
        """Stop a job that waits or runs; one that has finished stays as it is. Raises Problem 404."""
        job = self.get(job_id)
        if job.build is not None and not job.finished:
            await asyncio.to_thread(job.build.cancel)
        elif not job.finished:
            job.photo.unlink(missing_ok=True)
            await self._update(job, state="cancelled", message="cancelled")
        return job

    async def follow(self, job: Job) -> AsyncIterator[dict[str, Any]]:
        """The job's state now and after every change, up to the final one."""
        last = None
        while True:
            async with job.changed:
                await job.changed.wait_for(lambda: job.json() != last)  # noqa: B023
                last = job.json()
            yield last
            if last["state"] in FINISHED:
                return

    async def close(self) -> None:
        for job in self._jobs.values():
            with contextlib.suppress(Exception):
                await self.cancel(job.id)
        self._worker.cancel()
        await asyncio.gather(self._worker, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            while not self._queue:
                self._arrived.clear()
                await self._arrived.wait()
            job = self._queue.popleft()
            if not job.finished:
                await self._build(job)

    async def _build(self, job: Job) -> None:
        try:
            await self._update(job, state="running", message="starting")
            job.build = await asyncio.to_thread(self._start, job.photo, job.out, job.name)
            loop = asyncio.get_running_loop()
            await asyncio.to_thread(self._watch, job, loop)
            if not job.finished:
                await self._update(job, state="failed", error="the build ended without a result", message="failed")
        except asyncio.CancelledError:
            if job.build:
                job.build.cancel()
            raise
        except Exception as e:
            log.exception("a build could not run")
            await self._update(job, state="failed", error=f"the build could not run: {e}", message="failed")
        finally:
            job.photo.unlink(missing_ok=True)

    def _watch(self, job: Job, loop: asyncio.AbstractEventLoop) -> None:
        """Thread: every event of the build, passed on in order."""
        assert job.build is not None
        for event in job.build.events():
            change = {k: event[k] for k in ("stage", "fraction", "message", "error") if event.get(k) is not None}
            change["state"] = "running" if event["event"] == "progress" else event["event"]
            if change["state"] == "failed" and event.get("log"):
                log.error("the build of %s failed: %s", job.avatar_id, event["log"])
            asyncio.run_coroutine_threadsafe(self._update(job, **change), loop).result()

    @staticmethod
    async def _update(job: Job, **change: Any) -> None:
        async with job.changed:
            for key, value in change.items():
                setattr(job, key, value)
            if job.finished:
                job.message = change.get("message") or job.state
            if job.state == "done":
                job.fraction = 1.0
            job.changed.notify_all()
