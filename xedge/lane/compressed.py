"""A lane in compressed time: a simulation of discrete events with real work in it.

Three kinds of moments, always the earliest first, answers before strips when they coincide:

    answer    the running window's answer is ready
    strip     the next strip is due (its captured_ns)
    timer     the core's next deadline

    handle an event of moment t:   start = max(t, core free)
                                   core free = start + measured time of core.handle
    start a window, engine idle:   begin = max(core free when it was asked for, engine free)
                                   answer at begin + measured time of the call
                                   (only when no moment lies before begin: it may cancel it)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from xedge.lane.clock import Clock
from xedge.lane.core import LaneCore
from xedge.lane.events import (
    Event,
    Interrupted,
    RunWindow,
    SourceEnded,
    StripArrived,
    Tick,
    WindowDone,
    WindowFailed,
)
from xedge.lane.orders import OpenOrders
from xedge.lane.publisher import Publisher, Screen, screen_window
from xedge.lane.steering import Steering
from xedge.types import Strip

SKIPPED = "skipped: its bag is decided"
NEVER = 2**63


class CompressedLane:
    """Drives one core through one source.

    Args:
        core: The lane's core.
        screen: What finds objects in a window.
        publisher: Where actions go.
        stopwatch: What durations are measured with.
        steering: What other threads may do to it.
    """

    def __init__(
        self,
        core: LaneCore,
        screen: Screen,
        publisher: Publisher,
        stopwatch: Clock,
        steering: Steering,
    ) -> None:
        self._core, self._screen, self._steering = core, screen, steering
        self._publisher, self._stopwatch = publisher, stopwatch
        self._waiting: deque[tuple[int, RunWindow]] = deque()  # when asked for, and what
        self._orders = OpenOrders()
        self._answer: WindowDone | WindowFailed | None = None  # of the window that runs
        self._answer_ns = self._engine_free_ns = self._core_free_ns = 0

    def run(self, source: Iterable[Strip]) -> None:
        """Screen the source to its end; what interrupts it decides the open bags and passes."""
        try:
            self._drive(source)
        except BaseException:  # whatever ends the lane: a PLC waits for these bags
            self._publisher.publish(self._core.handle(Interrupted(), self._core_free_ns))
            raise

    def _drive(self, source: Iterable[Strip]) -> None:
        strips = iter(source)
        upcoming, due_ns = self._next(strips, None)
        while upcoming is not None or not self._core.done:
            wake_ns = self._core.next_wake_ns
            timer_ns = NEVER if wake_ns is None else wake_ns
            answer_ns = self._answer_ns if self._answer is not None else NEVER
            strip_ns = due_ns if upcoming is not None else NEVER
            moment = min(answer_ns, strip_ns, timer_ns)
            if (steered := self._steering.next()) is not None:
                self._handle(steered, self._core_free_ns)
                continue
            if self._start_window(moment):
                continue
            if moment == answer_ns:
                answer, self._answer = self._answer, None
                assert answer is not None
                self._orders.answered(answer)
                self._handle(answer, moment)
            elif moment == strip_ns:
                assert upcoming is not None
                self._handle(upcoming, moment)
                upcoming, due_ns = self._next(strips, upcoming)
            else:
                self._handle(Tick(), moment)

    def _next(self, strips: Iterator[Strip], last: Event | None) -> tuple[Event | None, int]:
        """The next event of the source and when it is due; after its end, None."""
        before_ns = last.strip.captured_ns if isinstance(last, StripArrived) else self._core_free_ns
        if isinstance(last, SourceEnded):
            return None, NEVER
        try:
            strip = next(strips)
        except StopIteration:
            return SourceEnded(), before_ns
        except Exception as error:  # a source that fails ends the belt; the report says so
            return SourceEnded(f"the source failed: {error}"), before_ns
        if last is not None:
            self._publisher.belt_ns += max(0, strip.captured_ns - before_ns)
        return StripArrived(strip), strip.captured_ns

    def _handle(self, event: Event, moment_ns: int) -> None:
        start_ns = max(moment_ns, self._core_free_ns)
        began = self._stopwatch.now_ns()
        actions = self._core.handle(event, start_ns)
        spent = self._stopwatch.now_ns() - began
        self._publisher.core_ns += spent
        self._core_free_ns = start_ns + spent
        for order in self._publisher.publish(actions):
            self._orders.take(order)
            if isinstance(order, RunWindow):
                self._waiting.append((self._core_free_ns, order))
        self._steering.worked()

    def _start_window(self, moment_ns: int) -> bool:
        """Start the next window if the engine gets to it before ``moment_ns``."""
        if self._answer is not None or not self._waiting:
            return False
        asked_ns, order = self._waiting[0]
        begin_ns = max(asked_ns, self._engine_free_ns)
        if begin_ns >= moment_ns:
            return False
        self._waiting.popleft()
        if self._orders.cancelled(order.bag):
            self._answer = WindowFailed(order.bag, order.index, SKIPPED)
            self._answer_ns = begin_ns
            return True
        began = self._stopwatch.now_ns()
        self._answer = screen_window(self._screen, order)
        spent = self._stopwatch.now_ns() - began
        self._publisher.engine_ns += spent
        self._publisher.windows += 1
        self._answer_ns = self._engine_free_ns = begin_ns + spent
        return True
