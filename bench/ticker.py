"""Does a kernel leave the event loop alone? How late an asyncio timer wakes beside work in a thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

TICK = 0.002  # s


async def ticks_beside(work: Callable[[], object], seconds: float = 1.0) -> tuple[list[float], list[float]]:
    """Seconds that each `work`, repeated in a thread, took, and by which each tick of the event loop was late."""
    loop, late, durations, end = asyncio.get_running_loop(), [], [], time.perf_counter() + seconds

    async def repeat() -> None:
        while time.perf_counter() < end:
            start = time.perf_counter()
            await loop.run_in_executor(None, work)
            durations.append(time.perf_counter() - start)

    task = asyncio.create_task(repeat())
    while time.perf_counter() < end:
        start = time.perf_counter()
        await asyncio.sleep(TICK)
        late.append(time.perf_counter() - start - TICK)
    await task
    return durations, late
