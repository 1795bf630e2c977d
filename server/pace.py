"""What a session gives up while its frame rate cannot be held: detail first, then frames; and when it gets it back.

Down: more than LATE of the frames of WINDOW seconds were left out. Up: for `patience` seconds nothing was left out, and
the next step up would fit, by what it cost when it was given up. Patience doubles when going up proves wrong, and is
forgotten after a good minute at the top.
"""

from __future__ import annotations

from collections import deque

LATE = 0.15  # share of left-out frames above which a step is taken
WINDOW = 2.0  # s over which that is counted
GRACE = 3.0  # s at first in which nothing is given up: a page that loads and cold caches are no lasting load
PATIENCE, MOST_PATIENCE = 4.0, 60.0  # s without a left-out frame before a step back is tried
FULL = 0.8  # share of a thread's time that may be planned for
STRIDES = (1, 2, 3)  # every frame, every second, every third


class Load:
    """The share of the last seconds that a thread has worked."""

    def __init__(self, span: float = 1.5) -> None:
        self._span, self._done = span, deque[tuple[float, float]]()

    def add(self, now: float, seconds: float) -> None:
        """`seconds` of work have ended at `now`."""
        self._done.append((now, seconds))

    def share(self, now: float) -> float:
        while self._done and self._done[0][0] < now - self._span:
            self._done.popleft()
        return min(sum(s for _, s in list(self._done)) / self._span, 1.0)


class Pace:
    """Of one session, used by the render thread. levels: how many levels of detail its picture has."""

    def __init__(self, levels: int, fps: float) -> None:
        self._steps = [(level, 1) for level in range(levels)] + [(levels - 1, s) for s in STRIDES[1:]]
        self._interval = 1 / fps
        self.step = 0
        self._costs: dict[int, float] = {}  # step -> s a frame when it was left downwards
        self._cost = 0.0  # s a frame now
        self._since: float | None = None  # when this window began
        self._began: float | None = None
        self._frames = self._missed = 0
        self._calm = self._raised = -1e9  # since when nothing was left out; when the last step up was taken
        self._patience = PATIENCE
        self._ratio: dict[int, float] = {}  # step -> what the step above costs beside it

    @property
    def level(self) -> int:
        """Level of detail, 0 the finest."""
        return self._steps[self.step][0]

    @property
    def stride(self) -> int:
        """Every how manieth frame is drawn."""
        return self._steps[self.step][1]

    def frame(self, now: float, seconds: float, missed: int, busy: float, may_fall: bool = True) -> bool:
        """A frame was drawn in `seconds`, `missed` before it were left out; `busy` is the render thread's load.

        may_fall: whether it is for this session to give way. Returns whether the step has changed.
        """
        self._cost = seconds if self._cost == 0 else self._cost + 0.15 * (seconds - self._cost)
        if self._since is None:
            self._since = self._calm = now
            self._began = self._began or now
            return False  # the first frame finds cold caches
        self._frames, self._missed = self._frames + 1, self._missed + missed
        if missed:
            self._calm = now
        if now - self._since < WINDOW:
            return False
        late = self._missed > LATE * (self._frames + self._missed)
        self._since, self._frames, self._missed = now, 0, 0
        self._learn()
        if self.step == 0 and not late and now - self._raised > MOST_PATIENCE:
            self._patience = PATIENCE
        settled = self._began is not None and now - self._began >= GRACE
        if late and may_fall and settled and self.step < len(self._steps) - 1:
            self._fall(now)
            return True
        if self.step and now - max(self._calm, self._raised) > self._patience and self._fits(busy):
            self._raise(now)
            return True
        return False

    def _learn(self) -> None:
        """The first full second after a step down tells what the step was worth."""
        if self.step and self.step not in self._ratio:
            self._ratio[self.step] = max(self._costs[self.step - 1] / max(self._cost, 1e-6), 1.0)

    def _fall(self, now: float) -> None:
        if now - self._raised < 2 * WINDOW + PATIENCE:
            self._patience = min(2 * self._patience, MOST_PATIENCE)
        self._costs[self.step] = self._cost
        self.step += 1
        self._ratio.pop(self.step, None)
        self._cost, self._since, self._calm = 0.0, None, now

    def _raise(self, now: float) -> None:
        self.step -= 1
        self._cost, self._since, self._raised = 0.0, None, now

    def _fits(self, busy: float) -> bool:
        """Would the render thread hold the step above, as far as one can tell?"""
        own = self._cost / (self._interval * self.stride)
        above = self._cost * self._ratio.get(self.step, 1.0) / (self._interval * self._steps[self.step - 1][1])
        return max(busy - own, 0.0) + above < FULL
