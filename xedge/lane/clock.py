"""Time, as something that is handed in: the machine's own, or one that a test moves."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """A monotonic clock."""

    def now_ns(self) -> int:
        """Nanoseconds since some fixed moment; never falls."""
        ...

    def sleep_ns(self, duration_ns: int) -> None:
        """Return after ``duration_ns``; at once when it is not positive."""
        ...


class MonotonicClock:
    """The machine's monotonic clock, which no one sets."""

    def now_ns(self) -> int:
        """Nanoseconds of ``CLOCK_MONOTONIC``."""
        return time.monotonic_ns()

    def sleep_ns(self, duration_ns: int) -> None:
        """Sleep."""
        if duration_ns > 0:
            time.sleep(duration_ns * 1e-9)


class VirtualClock:
    """A clock that stands until it is told otherwise."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        """The time it was moved to."""
        return self._now_ns

    def sleep_ns(self, duration_ns: int) -> None:
        """Move on by ``duration_ns`` at once."""
        self._now_ns += max(0, duration_ns)
