"""A lane's signs of life: what its stages do, what went wrong, and its figures, for any thread.

The driver and the publisher write; whoever serves health and metrics reads. Nothing in here
grows: errors are the first and the last ones, latencies a histogram.
"""

from __future__ import annotations

import itertools
import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from xedge.lane.events import Note
from xedge.lane.ledger import Ledger
from xedge.scanner.health import DetectorHealth

FIRST_ERRORS: Final = 20
LAST_ERRORS: Final = 80

LATENCY_BOUNDS_S: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Upper bounds of the latency histogram's buckets; one without a bound follows."""


@dataclass(frozen=True)
class StageState:
    """What a stage does at one moment.

    Attributes:
        name: Of the stage.
        busy: True while it waits for something that it has no hand in: a source, an engine.
        quiet_s: Seconds since its last sign of life.
        silent: True when it has been busy with one thing for too long.
    """

    name: str
    busy: bool
    quiet_s: float
    silent: bool


class Stage:
    """A part of the lane that may hang; one thread works in it, any thread may look.

    Args:
        name: For messages.
        limit_s: Seconds that one piece of work may take.
        now_s: The time, seconds that never fall.
    """

    def __init__(
        self, name: str, limit_s: float, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._name, self._limit_s, self._now_s = name, limit_s, now_s
        # One value, so that it is read whole: the last sign of life, and whether it works since.
        self._seen: tuple[float, bool] = (now_s(), False)
        self._excused, self._lifted_s = False, float("-inf")
        self._told = False  # that it is silent
        self._late_s: float | None = None  # how long it was, and nobody was told

    def begin(self) -> None:
        """It begins something that may hang."""
        self._seen = (self._now_s(), True)

    def end(self) -> None:
        """It is done with it."""
        (seen, busy), now = self._seen, self._now_s()
        if busy and self._too_long(seen, now):
            self._late_s = now - seen
        self._seen = (now, False)

    def excuse(self, excused: bool) -> None:
        """It may well be silent for now, or no more; any thread may say so."""
        if self._excused and not excused:
            self._lifted_s = self._now_s()
        self._excused = excused

    @property
    def state(self) -> StageState:
        """What it does now."""
        (seen, busy), now = self._seen, self._now_s()
        quiet = max(0.0, now - seen)
        return StageState(self._name, busy, quiet, busy and self._too_long(seen, now))

    def _too_long(self, seen: float, now: float) -> bool:
        return not self._excused and now - max(seen, self._lifted_s) > self._limit_s

    def news(self) -> str:
        """A sentence when it has fallen silent or was so since the last call; else nothing.

        For one thread, which keeps watch.
        """
        if self._late_s is not None:
            late_s, self._late_s, self._told = self._late_s, None, False
            return f"{self._name} was silent for {late_s:.1f} s"
        state = self.state
        if self._told or not state.silent:
            return ""
        self._told = True
        return f"{self._name} is silent: no sign of life for {state.quiet_s:.1f} s"


@dataclass(frozen=True)
class ErrorEntry:
    """Something that went wrong.

    Attributes:
        at_unix_s: When, by the wall clock.
        message: What, in words.
    """

    at_unix_s: float
    message: str


class Errors:
    """The first and the last things that went wrong, and how many there were.

    Args:
        tell: Called with each message as it comes, in the thread that it comes from; must neither
            block nor raise.
    """

    def __init__(self, tell: Callable[[str], None] | None = None) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._first: list[ErrorEntry] = []
        self._last: deque[ErrorEntry] = deque(maxlen=LAST_ERRORS)
        self._count = 0

    def __len__(self) -> int:
        """All there were, kept or not."""
        return self._count

    def add(self, message: str) -> None:
        """Keep a message."""
        entry = ErrorEntry(time.time(), message)
        with self._lock:
            self._count += 1
            if len(self._first) < FIRST_ERRORS:
                self._first.append(entry)
            else:
                self._last.append(entry)
        if self._tell is not None:
            self._tell(message)

    def entries(self, most: int | None = None) -> tuple[ErrorEntry, ...]:
        """What is kept, oldest first; only the last ``most`` when that is given."""
        with self._lock:
            kept = (*self._first, *self._last)
        return kept if most is None else kept[len(kept) - min(most, len(kept)) :]

    def messages(self) -> tuple[str, ...]:
        """What is kept, in words, and how many are not between them."""
        with self._lock:
            first, last = list(self._first), list(self._last)
            left_out = self._count - len(first) - len(last)
        gap = [f"({left_out} more errors)"] if left_out else []
        return (*(e.message for e in first), *gap, *(e.message for e in last))


class Latencies:
    """A histogram of times from a bag's last line to its decision."""

    def __init__(self) -> None:
        self._counts = [0] * (len(LATENCY_BOUNDS_S) + 1)
        self._sum_s = 0.0

    def add(self, latency_s: float) -> None:
        """Count one."""
        self._counts[bisect_left(LATENCY_BOUNDS_S, latency_s)] += 1
        self._sum_s += latency_s

    @property
    def sum_s(self) -> float:
        """All latencies together."""
        return self._sum_s

    def cumulated(self) -> tuple[int, ...]:
        """How many were at most each of `LATENCY_BOUNDS_S`, and how many there were."""
        return tuple(itertools.accumulate(self._counts))


@dataclass(frozen=True)
class Depths:
    """What waits in a lane in real time.

    Attributes:
        strips: Events that the core has not handled, strips most of them.
        windows: Windows that the engine has not begun.
    """

    strips: int = 0
    windows: int = 0


class Vitals:
    """All signs of life of one lane.

    Args:
        acquisition_s: Seconds that the source may take to give a strip that is not yet due.
        core_s: Seconds that the core may take for one event, what is called with a decision
            included.
        engine_s: Seconds that the engine may take for a window.
        tell: Called with each error as it comes; see `Errors`.
        news: Called with what happens to the engine, in the engine's thread; must neither block
            nor raise.

    Attributes:
        news: Called with what happens to the engine.
        acquisition: Waits for the source.
        core: Handles events, journals, publishes.
        engine: Screens.
        errors: What went wrong.
        latencies: Of all decisions.
        ledger: The books as they stood a moment ago.
        detector: What the lines said of the detector a moment ago; None before the first look.
        depths: What waited a moment ago.
        journal_errors: Records that the journal could not take.
        journal_failing: True when it could not take the last one.
    """

    def __init__(
        self,
        acquisition_s: float = 30.0,
        core_s: float = 2.0,
        engine_s: float = 10.0,
        tell: Callable[[str], None] | None = None,
        news: Callable[[Note], None] = lambda note: None,
    ) -> None:
        self.news = news
        self.acquisition = Stage("acquisition", acquisition_s)
        self.core = Stage("core", core_s)
        self.engine = Stage("engine", engine_s)
        self.errors = Errors(tell)
        self.latencies = Latencies()
        self.ledger = Ledger()
        self.detector: DetectorHealth | None = None
        self.depths = Depths()
        self.journal_errors = 0
        self.journal_failing = False

    @property
    def stages(self) -> tuple[StageState, ...]:
        """What each stage does now."""
        return tuple(stage.state for stage in (self.acquisition, self.core, self.engine))
