"""When everything in a lane happened, against when it was due: what the lane adds to its engine.

    strip     due (read out)  -> its handling by the core begins
    window    its last line due, or the engine free, whichever is later -> the engine begins
    answer    the engine ends -> the core begins to handle it
    decision  what made it possible (an answer, a strip, a deadline) -> ``on_decision`` is called

All of it is open loop: a lane that is behind is not asked later, it is late.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from xedge.lane.clock import Clock
from xedge.lane.config import LaneConfig
from xedge.lane.core import LaneCore
from xedge.lane.events import Action, Event, RunWindow, StripArrived, Tick, WindowDone
from xedge.lane.publisher import Screen
from xedge.scanner.sidebyside import Corrections
from xedge.types import U8, Decision, Detections, Scan


@dataclass(eq=False)
class Stopwatch:
    """The times of one lane, nanoseconds; written by its threads, read when they have ended.

    Attributes:
        clock: What they are read from.
        strips: From a strip's read-out to the core.
        windows: From the moment when a window could run to the engine's start.
        engine: The engine's work on a window.
        answers: From the engine's answer to the core.
        decisions: From what made a decision possible to the decision; deadlines that passed count
            from the deadline's wake-up, as the time itself is what made them.
        wakes: From the moment for which the core had asked to the tick that came.
        latencies: From a bag's last line to its decision.
        overheads: What was added to each window: before the engine, behind it, and what the engine
            took beyond `work_ns`, where that is known.
        work_ns: What the engine itself takes; a call that takes longer does so around it.
    """

    clock: Clock
    strips: list[int] = field(default_factory=list)
    windows: list[int] = field(default_factory=list)
    engine: list[int] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    decisions: list[int] = field(default_factory=list)
    wakes: list[int] = field(default_factory=list)
    latencies: list[int] = field(default_factory=list)
    overheads: list[int] = field(default_factory=list)
    work_ns: int | None = None
    _due: dict[int, int] = field(default_factory=dict)  # a window's planes: when it could run
    # An answer: when the engine had it, and what was added to its window until then.
    _ended: dict[int, tuple[int, int]] = field(default_factory=dict)
    _cause_ns: int = 0
    _free_ns: int = 0

    def share(self, other: Stopwatch) -> None:
        """Book with another lane that uses the same engine: windows are known by their planes."""
        self._due, self._ended = other._due, other._ended

    def timed(self, screen: Screen) -> Screen:
        """The same screen, with its work in the books."""

        def run(planes: U8) -> Detections:
            began = self.clock.now_ns()
            due = self._due.pop(id(planes), began)
            waited = began - max(due, self._free_ns)
            self.windows.append(waited)
            found = screen(planes)
            self._free_ns = self.clock.now_ns()
            took = self._free_ns - began
            self.engine.append(took)
            around = 0 if self.work_ns is None else took - self.work_ns
            self._ended[id(found)] = self._free_ns, waited + around
            return found

        return run

    def on_decision(self, decision: Decision, scan: Scan | None) -> None:
        """Book a decision."""
        self.decisions.append(self.clock.now_ns() - self._cause_ns)
        self.latencies.append(decision.latency_ns)

    def handling(self, event: Event, now_ns: int, wake_ns: int | None) -> None:
        """Book an event that the core is about to handle, on the belt's time ``now_ns``."""
        clock_ns = self.clock.now_ns()
        self._cause_ns = clock_ns
        if isinstance(event, StripArrived):
            late = now_ns - event.strip.captured_ns
            self.strips.append(late)
            self._cause_ns = clock_ns - late
        elif isinstance(event, WindowDone):
            self._cause_ns, before = self._ended.pop(id(event.detections), (clock_ns, 0))
            self.answers.append(clock_ns - self._cause_ns)
            self.overheads.append(before + self.answers[-1])
        elif isinstance(event, Tick) and wake_ns is not None and now_ns >= wake_ns:
            self.wakes.append(now_ns - wake_ns)

    def ordered(self, actions: Sequence[Action]) -> None:
        """Book the windows that the core asked for."""
        for action in actions:
            if isinstance(action, RunWindow):
                self._due[id(action.planes)] = self._cause_ns


class TimedCore(LaneCore):
    """A lane's core whose events are booked.

    Args:
        correction: Of the detector, or of each of its views.
        config: The set-up.
        watch: The books.
    """

    def __init__(self, correction: Corrections, config: LaneConfig, watch: Stopwatch) -> None:
        super().__init__(correction, config)
        self._watch = watch

    def handle(self, event: Event, now_ns: int) -> tuple[Action, ...]:
        """See `xedge.lane.core.LaneCore.handle`."""
        self._watch.handling(event, now_ns, self.next_wake_ns)
        actions = super().handle(event, now_ns)
        self._watch.ordered(actions)
        return actions
