"""Lanes in compressed time: a simulation of discrete events with real work in it.

Three kinds of moments, always the earliest first, answers before strips when they coincide:

    answer    the running window's answer is ready
    strip     a lane's next strip is due (its captured_ns)
    timer     a core's next deadline

    handle an event of moment t:   start = max(t, core free)
                                   core free = start + measured time of core.handle
    start a window, engine idle:   begin = max(first core free when one was asked for, engine free)
                                   the most urgent of the windows asked for by then
                                   answer at begin + measured time of the call
                                   (only when no moment lies before begin: it may cancel it)

Each lane has a core of its own; all share one engine and one clock, that of ``captured_ns``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from xedge.lane.clock import Clock
from xedge.lane.core import LaneCore
from xedge.lane.events import (
    NEVER_NS,
    Event,
    Interrupted,
    RunWindow,
    SourceEnded,
    StripArrived,
    Tick,
    WindowDone,
    WindowFailed,
)
from xedge.lane.ladder import Ladder
from xedge.lane.orders import OpenOrders
from xedge.lane.publisher import Publisher, in_words
from xedge.lane.shared_engine import DECIDED, Seat, most_urgent, need_of
from xedge.lane.steering import Steering
from xedge.types import Strip


class CompressedLane:
    """One belt: its source, its core, and the windows that wait for the engine.

    Args:
        source: Its strips.
        core: The lane's core.
        publisher: Where actions go.
        stopwatch: What durations are measured with.
        steering: What other threads may do to it.
    """

    def __init__(
        self,
        source: Iterable[Strip],
        core: LaneCore,
        publisher: Publisher,
        stopwatch: Clock,
        steering: Steering,
    ) -> None:
        self._strips = iter(source)
        self._core, self._publisher = core, publisher
        self._stopwatch, self._steering = stopwatch, steering
        self._waiting: deque[tuple[int, RunWindow]] = deque()  # when asked for, and what
        self._orders = OpenOrders()
        self._core_free_ns = 0
        self._started = False
        self._upcoming: Event | None = None
        self._strip_ns = NEVER_NS
        self.seat = Seat(self._orders)

    @property
    def done(self) -> bool:
        """True when there is nothing left to happen."""
        return self._started and self._upcoming is None and self._core.done

    @property
    def timer_ns(self) -> int:
        """The core's next deadline."""
        wake_ns = self._core.next_wake_ns
        return NEVER_NS if wake_ns is None else wake_ns

    @property
    def strip_ns(self) -> int:
        """When the next strip is due, or the end of the source."""
        return self._strip_ns

    @property
    def asked_ns(self) -> int:
        """When the window was asked for that waits in front."""
        return self._waiting[0][0] if self._waiting else NEVER_NS

    def start(self) -> None:
        """Fetch the first strip."""
        self._fetch(None)
        self._started = True

    def steer(self) -> bool:
        """Handle what another thread wants; False when that is nothing."""
        event = self._steering.next()
        if event is not None:
            self.handle(event, self._core_free_ns)
        return event is not None

    def take_strip(self) -> None:
        """Handle the next strip, or the end of the source."""
        event = self._upcoming
        assert event is not None
        self.handle(event, self._strip_ns)
        self._fetch(event)

    def handle(self, event: Event, moment_ns: int) -> None:
        """Handle an event of this moment, as soon as the core is free."""
        self._orders.answered(event)
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

    def interrupt(self, why: BaseException) -> None:
        """Decide the open bags."""
        if isinstance(why, Exception):
            self._publisher.note_error(f"the lane failed: {in_words(why)}")
        self._publisher.publish(self._core.handle(Interrupted(), self._core_free_ns))

    def offer(self, now_ns: int) -> Seat:
        """The lane's seat, with the window in front, if it was asked for by now."""
        self.seat.order = self._waiting[0][1] if self.asked_ns <= now_ns else None
        return self.seat

    def take_order(self) -> RunWindow:
        """The window in front, which waits no more."""
        return self._waiting.popleft()[1]

    def worked(self, duration_ns: int | None) -> None:
        """Book what the engine did for the lane."""
        self._publisher.engine_worked(duration_ns)

    def _fetch(self, last: Event | None) -> None:
        """Look for the next event of the source and when it is due; after its end, none."""
        before_ns = last.strip.captured_ns if isinstance(last, StripArrived) else self._core_free_ns
        if isinstance(last, SourceEnded):
            self._upcoming, self._strip_ns = None, NEVER_NS
            return
        self._strip_ns = before_ns
        try:
            strip = next(self._strips)
        except StopIteration:
            self._upcoming = SourceEnded()
            return
        except Exception as error:  # a source that fails ends the belt; the report says so
            self._upcoming = SourceEnded(f"the source failed: {in_words(error)}")
            return
        if last is not None:
            self._publisher.belt_ns += max(0, strip.captured_ns - before_ns)
        self._upcoming, self._strip_ns = StripArrived(strip), strip.captured_ns


class CompressedTime:
    """Drives lanes that share one engine.

    Args:
        lanes: The lanes.
        ladder: What finds objects in a window.
    """

    def __init__(self, lanes: Sequence[CompressedLane], ladder: Ladder) -> None:
        self._lanes, self._ladder = lanes, ladder
        self._answer: WindowDone | WindowFailed | None = None  # of the window that runs
        self._asker: CompressedLane | None = None
        self._answer_ns = NEVER_NS
        self._engine_free_ns = 0

    def run(self) -> None:
        """Screen all sources to their ends; what interrupts it decides the open bags and passes."""
        try:
            for lane in self._lanes:
                lane.start()
            while not all(lane.done for lane in self._lanes):
                self._step()
        except BaseException as raised:  # whatever ends the lanes: PLCs wait for these bags
            for lane in self._lanes:
                lane.interrupt(raised)
            raise

    def _step(self) -> None:
        strip = min(self._lanes, key=lambda lane: lane.strip_ns)
        timer = min(self._lanes, key=lambda lane: lane.timer_ns)
        moment = min(self._answer_ns, strip.strip_ns, timer.timer_ns)
        if any(lane.steer() for lane in self._lanes) or self._start_window(moment):
            return
        if moment == self._answer_ns:
            answer, asker, self._answer, self._asker = self._answer, self._asker, None, None
            assert answer is not None
            assert asker is not None
            self._answer_ns = NEVER_NS
            asker.handle(answer, moment)
        elif moment == strip.strip_ns:
            strip.take_strip()
        else:
            timer.handle(Tick(), moment)

    def _start_window(self, moment_ns: int) -> bool:
        """Start the next window if the engine gets to it before ``moment_ns``."""
        begin_ns = max(min(lane.asked_ns for lane in self._lanes), self._engine_free_ns)
        if self._answer is not None or begin_ns >= moment_ns:
            return False
        seats = [lane.offer(begin_ns) for lane in self._lanes]
        seat = most_urgent(seats, self._ladder.call_ns)
        assert seat is not None
        lane = self._lanes[seats.index(seat)]
        order = lane.take_order()
        if seat.cancelled:
            self._answer, spent = WindowFailed(order.bag, order.index, DECIDED), None
        else:
            self._answer, spent = self._ladder.screen(order, need_of(seat, seats, begin_ns))
            lane.worked(spent)
            if spent is not None:
                seat.served = 1 + max(seat.served for seat in seats)
        self._asker, self._answer_ns = lane, begin_ns + (spent or 0)
        if spent is not None:
            self._engine_free_ns = self._answer_ns
        return True
