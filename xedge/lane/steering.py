"""What another thread may do to a running lane: set its threshold, see whether it still works."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from xedge.lane.events import BeltRunning, Event, Retuned, Tick
from xedge.lane.vitals import Vitals


class Steering:
    """Handed to `runner.run_lane`; its methods may be called from any thread, before and meanwhile.

    Of several thresholds that wait, and of what is said of the belt, only the newest is kept, so
    that nothing piles up.

    Args:
        vitals: Where the lane keeps its signs of life; None makes some with the usual limits.

    Attributes:
        vitals: What the lane's stages do, what went wrong, and its figures.
    """

    def __init__(self, vitals: Vitals | None = None) -> None:
        self.vitals = vitals or Vitals()
        self._lock = threading.Lock()
        self._waiting: dict[type[Event], Event] = {}
        self._put: Callable[[Event], None] | None = None
        self._worked_at = time.monotonic()

    def retune(self, alarm_threshold: float) -> None:
        """Decide every bag that is not decided yet by another threshold.

        Raises:
            ConfigError: When it is not above 0 and up to 1.
        """
        self._send(Retuned(alarm_threshold))

    def belt_running(self, running: bool) -> None:
        """Tell what the belt's drive says; bags of a belt that stands are not late.

        A source that gives nothing meanwhile is not silent.
        """
        self.vitals.acquisition.excuse(not running)
        self._send(BeltRunning(running))

    def ping(self) -> None:
        """Make the lane work once, whether lines come or not; `quiet_s` says whether it did."""
        with self._lock:
            put = self._put
        if put is not None:
            put(Tick())

    @property
    def quiet_s(self) -> float:
        """Seconds since the lane last finished handling anything."""
        return time.monotonic() - self._worked_at

    def worked(self) -> None:
        """The lane has handled something: its driver says so."""
        self._worked_at = time.monotonic()

    def attach(self, put: Callable[[Event], None]) -> None:
        """Send everything to a driver, what waits first."""
        with self._lock:
            self._put = put
            while self._waiting:
                put(self._pop())

    def next(self) -> Event | None:
        """What waits, for a driver that asks instead of being told."""
        with self._lock:
            return self._pop() if self._waiting else None

    def _pop(self) -> Event:
        return self._waiting.pop(next(iter(self._waiting)))

    def _send(self, event: Event) -> None:
        with self._lock:
            if self._put is not None:
                self._put(event)
            else:
                self._waiting[type(event)] = event
