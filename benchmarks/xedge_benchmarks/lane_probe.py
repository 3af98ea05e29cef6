"""A lane on the real clock with stopwatches at its seams; the lane's own code runs unchanged."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from xedge.lane.clock import MonotonicClock
from xedge.lane.config import LaneConfig
from xedge.lane.core import LaneCore
from xedge.lane.events import Action, Event, Note, StripArrived, WindowDone
from xedge.lane.publisher import Screen
from xedge.scanner.flatfield import FlatField
from xedge.types import U8, Decision, Detections, Scan, Strip

TIMER_NS = 10_000_000
"""From one wake-up that the probe asks for to the next: deadlines alone are too few to measure."""

ENOUGH = {"p50": 10, "p99": 100, "p99.9": 1000}
"""Samples below which a percentile is not quoted: at least one must lie above it."""


@dataclass(eq=False)
class Times:
    """What the probes of one lane saw, nanoseconds.

    Attributes:
        acquisition: A strip is due until it is put into the inbox.
        core: Put into the inbox until the core takes it.
        timer: A wake-up is due until the core runs.
        decision: The engine's answer that completes a bag until its decision is published.
        added: The strip that ends a bag is due until its decision is published, less the time in
            which the engine worked.
    """

    acquisition: list[int] = field(default_factory=list)
    core: list[int] = field(default_factory=list)
    timer: list[int] = field(default_factory=list)
    decision: list[int] = field(default_factory=list)
    added: list[int] = field(default_factory=list)


class EngineLog:
    """A screen that writes down when it worked: ``spans`` of (begin, end)."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self.spans: list[tuple[int, int]] = []

    def __call__(self, planes: U8) -> Detections:
        """What the screen answers."""
        began = time.monotonic_ns()
        try:
            return self._screen(planes)
        finally:
            self.spans.append((began, time.monotonic_ns()))

    def worked_ns(self, since_ns: int, until_ns: int) -> int:
        """Nanoseconds of work between two moments."""
        total = 0
        for begin, end in reversed(self.spans):
            if end <= since_ns:
                break
            total += max(0, min(end, until_ns) - max(begin, since_ns))
        return total


class ProbeClock(MonotonicClock):
    """The clock of one lane's acquisition: knows when each strip was due, and when it was put."""

    def __init__(self) -> None:
        self.late: list[int] = []
        self.put: dict[int, int] = {}  # a strip's captured_ns to when it was put
        self.epoch_ns: int | None = None
        self._captured_ns = 0

    def watched(self, source: Iterable[Strip]) -> Iterator[Strip]:
        """The source, looked at."""
        for strip in source:
            self._captured_ns = strip.captured_ns
            yield strip

    def sleep_ns(self, duration_ns: int) -> None:
        """Sleep until a strip is due."""
        if self.epoch_ns is None:
            self.epoch_ns = self.now_ns() + duration_ns - self._captured_ns
        super().sleep_ns(duration_ns)
        now_ns = self.now_ns()
        self.put[self._captured_ns] = now_ns
        self.late.append(now_ns - self._captured_ns - self.epoch_ns)


class ProbedCore(LaneCore):
    """A core with a stopwatch before and behind every event.

    Args:
        flat_field: The correction.
        config: The set-up.
        engine: What screens, for all lanes.
        clock: The lane's own.
    """

    def __init__(
        self, flat_field: FlatField, config: LaneConfig, engine: EngineLog, clock: ProbeClock
    ) -> None:
        super().__init__(flat_field, config)
        self._log, self._probe = engine, clock
        self._ended_due: dict[int, int] = {}
        self._answered_ns: int | None = None
        self._timer_ns: int | None = None
        self.times = Times(acquisition=clock.late)

    @property
    def next_wake_ns(self) -> int | None:
        """The core's next deadline or the probe's own, whichever is sooner."""
        wake_ns = super().next_wake_ns
        if self._timer_ns is None or wake_ns is None:
            return wake_ns if self._timer_ns is None else self._timer_ns
        return min(wake_ns, self._timer_ns)

    def handle(self, event: Event, now_ns: int) -> tuple[Action, ...]:
        """What the core answers."""
        began_ns = self._probe.now_ns()
        if self._timer_ns is None or now_ns >= self._timer_ns:
            if self._timer_ns is not None:
                self.times.timer.append(now_ns - self._timer_ns)
            self._timer_ns = now_ns + TIMER_NS
        due_ns, self._answered_ns = began_ns, None
        if isinstance(event, StripArrived):
            captured_ns = event.strip.captured_ns
            self.times.core.append(began_ns - self._probe.put.pop(captured_ns, began_ns))
            due_ns = captured_ns + (self._probe.epoch_ns or 0)
        elif isinstance(event, WindowDone) and self._log.spans:
            self._answered_ns = self._log.spans[-1][1]
        actions = super().handle(event, now_ns)
        for action in actions:
            if isinstance(action, Note) and action.kind == "bag-ended":
                self._ended_due[int(str(action.fields["bag"]))] = due_ns
        return actions

    def published(self, decision: Decision, scan: Scan | None) -> None:
        """Take the time of a decision."""
        now_ns = self._probe.now_ns()
        if self._answered_ns is not None:
            self.times.decision.append(now_ns - self._answered_ns)
        due_ns = self._ended_due.pop(decision.bag, None)
        if due_ns is not None and not decision.late:
            self.times.added.append(now_ns - due_ns - self._log.worked_ns(due_ns, now_ns))


def summary(samples: Sequence[int]) -> dict[str, float | int | None]:
    """Percentiles in milliseconds, ``max`` and ``n``; None where samples are too few to say."""
    values = np.asarray(samples, np.float64) / 1e6
    row: dict[str, float | int | None] = {"n": len(values)}
    for name, least in ENOUGH.items():
        enough = len(values) >= least
        percent = float(name[1:])
        row[name] = float(np.percentile(values, percent, method="higher")) if enough else None
    return row | {"max": float(values.max()) if len(values) else None}
