"""The media clock of a session: the sound that was sent is the time. Everything else is stamped from it."""

from __future__ import annotations

import time
from collections.abc import Callable

NTP_EPOCH = 2_208_988_800  # s from 1900 to 1970


class MediaClock:
    """Media time runs with the machine's steady clock, except where sound was held up: then it waits (`slip`).

    `now` may be read from any thread; only the audio pump slips.
    """

    def __init__(self, steady: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._steady = steady
        self._zero = steady()  # steady time of media time 0
        self._wall_from_steady = wall() - self._zero  # taken once: the wall clock may be set while a call goes on

    def now(self) -> float:
        """Media time, s."""
        return self._steady() - self._zero

    def until(self, media_time: float) -> float:
        """Seconds from now to a media time; negative when it has passed."""
        return media_time - self.now()

    def slip(self, seconds: float) -> None:
        """Set the clock back: sound was sent late by this much, and nothing shall be left out to catch up."""
        self._zero += max(seconds, 0.0)

    def ntp(self, media_time: float) -> int:
        """The 64-bit NTP timestamp (RFC 3550, section 4) at which a media time is due, for RTCP sender reports."""
        seconds = self._zero + media_time + self._wall_from_steady + NTP_EPOCH
        return round(seconds * 2**32) & 0xFFFFFFFFFFFFFFFF
