"""A self-test while nothing waits: the engine answers a window whose answer is known.

It keeps an engine warm as well. When it fails, every window fails until it passes again, so that
no bag is cleared by an engine that is known to be wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol, runtime_checkable

from xedge.errors import EngineRunError
from xedge.lane.events import Note
from xedge.types import U8, Detections

RETRY_S: Final = 1.0
"""Seconds from a self-test that failed to the next."""

AT_LEAST_EVERY: Final = 10
"""On a belt that is never idle for long, a self-test comes after so many times its interval,
between two bags."""


class KnowsAnswer(Protocol):
    """A screen that knows the answer to one window."""

    def __call__(self, planes: U8) -> Detections:
        """See `xedge.lane.publisher.Screen`."""
        ...

    @property
    def ready(self) -> bool:
        """False while it could not answer: it is being started again."""
        ...

    def self_test(self) -> None:
        """Nothing, when the answer is the known one.

        Raises:
            Exception: Whatever says that it is not, or that there is none.
        """
        ...


@runtime_checkable
class Tended(Protocol):
    """A screen that wants to be looked after between windows, by the thread that calls it.

    Whoever calls screens, a lane's driver or what shares an engine among lanes, calls `tend` a
    few times a second while no window waits.
    """

    def __call__(self, planes: U8) -> Detections:
        """See `xedge.lane.publisher.Screen`."""
        ...

    def tend(self, idle: bool) -> tuple[Note, ...]:
        """What has happened since the last call, for the journal; raises nothing.

        Args:
            idle: True when no bag is open, so that the engine may be used for a moment.
        """
        ...


@runtime_checkable
class MayStop(Protocol):
    """A screen that leaves quiet windows early, and says of how many."""

    @property
    def stopped(self) -> int:
        """Windows so far that were left early."""
        ...


def stopped_by(screen: object) -> int:
    """Windows so far that a screen has left early; 0 of one that leaves none."""
    return screen.stopped if isinstance(screen, MayStop) else 0


@dataclass(frozen=True)
class SelfTests:
    """The books of an engine's self-tests.

    Attributes:
        passed: Self-tests that passed.
        failed: Self-tests that failed.
        passed_at_s: When the last one passed, by `time.monotonic`; None when none did.
        error: Why windows fail now; empty while they do not.
    """

    passed: int = 0
    failed: int = 0
    passed_at_s: float | None = None
    error: str = ""


class SelfTested:
    """A screen that is tested while idle, and that fails its windows while the test fails.

    One thread calls it; any thread may read `tests`.

    Args:
        screen: What is tested. A `Tended` one is tended as well.
        every_s: Seconds without a window or a test after which one comes; 0 tests never.
        now_s: The time, seconds that never fall.
    """

    def __init__(
        self, screen: KnowsAnswer, every_s: float, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._screen, self._every_s, self._now_s = screen, every_s, now_s
        self._used_s = self._tested_s = now_s()
        self._tests = SelfTests()

    @property
    def tests(self) -> SelfTests:
        """The books as they stand."""
        return self._tests

    @property
    def stopped(self) -> int:
        """Windows so far that the screen has left early."""
        return stopped_by(self._screen)

    def __call__(self, planes: U8) -> Detections:
        """What is found in a window.

        Raises:
            EngineRunError: At once while the self-test fails; or as the screen says.
        """
        if self._tests.error:
            raise EngineRunError(self._tests.error)
        try:
            return self._screen(planes)
        finally:
            self._used_s = self._now_s()

    def tend(self, idle: bool) -> tuple[Note, ...]:
        """What has happened since the last call; tests when that is due. See `Tended`."""
        notes = self._screen.tend(idle) if isinstance(self._screen, Tended) else ()
        return (*notes, *self._test()) if self._due(idle) else notes

    def _due(self, idle: bool) -> bool:
        if not (self._every_s and self._screen.ready):
            return False
        now = self._now_s()
        since = now - self._tested_s
        if self._tests.error:  # no window is screened meanwhile: there is nothing to disturb
            return since >= RETRY_S
        quiet = min(since, now - self._used_s) >= self._every_s
        return idle and (quiet or since >= AT_LEAST_EVERY * self._every_s)

    def _test(self) -> tuple[Note, ...]:
        before = self._tests
        try:
            self._screen.self_test()
        except Exception as error:  # any library may sit behind it: no error may pass
            said = f"the engine's self-test failed: {error}"
            self._tests = replace(before, failed=before.failed + 1, error=said)
            notes: tuple[Note, ...] = () if before.error else (
                Note("self-test-failed", {"error": said}),)  # fmt: skip
        else:
            self._tests = SelfTests(before.passed + 1, before.failed, self._now_s())
            notes = (Note("self-test-passed", {}),) if before.error else ()
        self._tested_s = self._now_s()
        return notes
