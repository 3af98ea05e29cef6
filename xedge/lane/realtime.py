"""A lane on the real clock: acquisition and engine in threads of their own, never waited for.

    acquisition thread   waits until a strip is due, puts it into the inbox; with too many strips
                         in there the lines are lost, and counted
    engine thread        takes an order, waits for the lane's turn at the engine, which other lanes
                         may use as well, and puts the answer into the inbox; looks after the
                         engine while nobody needs it
    caller's thread      takes what is in the inbox, or wakes for the next deadline; drives the
                         core; keeps watch over the other two

No thread ends by what it calls: a source that raises ends the belt, an engine that raises fails a
window, and whatever else goes wrong in a thread is named in the lane's errors. Who keeps watch over
the caller's thread is outside: `xedge.lane.vitals` shows it to whoever asks.

The inbox holds a limited number of strips; answers are limited by the core, which never has
more than ``max_queued_windows`` unanswered.
"""

from __future__ import annotations

import gc
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Final

from xedge.lane.clock import Clock
from xedge.lane.config import LaneConfig
from xedge.lane.core import LaneCore
from xedge.lane.events import (
    Event,
    Interrupted,
    LinesLost,
    Note,
    RunWindow,
    SourceEnded,
    StripArrived,
    Tick,
    WindowDone,
    WindowFailed,
)
from xedge.lane.orders import OpenOrders
from xedge.lane.publisher import Publisher, in_words
from xedge.lane.shared_engine import DECIDED, SharedEngine
from xedge.lane.steering import Steering
from xedge.lane.vitals import Depths
from xedge.scanner.intake import Refusal
from xedge.types import Strip

JOIN_S = 2.0
LOOK_S = 0.25
"""Seconds from one look at the other threads to the next."""

TEND_S = 0.1
"""Seconds without a window after which the engine is looked after."""

SWITCH_S = 5e-4
"""Seconds after which a thread that computes in Python lets the lane's have the interpreter."""

NOTHING = Tick()
"""What an inbox gives when nothing has happened."""


class Inbox:
    """What has happened and is not handled yet, in its order. Putting never blocks."""

    def __init__(self, max_strips: int) -> None:
        self._max_strips = max_strips
        self._strips = 0
        self._events: deque[Event] = deque()
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._events)

    def put(self, event: Event) -> None:
        """Add an event; a strip too many is turned into a count of lost lines."""
        with self._changed:
            if isinstance(event, StripArrived):
                if self._strips >= self._max_strips:
                    event = self._lost(len(event.strip))
                else:
                    self._strips += 1
            self._events.append(event)
            self._changed.notify()

    def _lost(self, lines: int) -> LinesLost:
        """The record of lost lines; joined with the last one, so that it does not pile up."""
        if self._events and isinstance(self._events[-1], LinesLost):
            last = self._events.pop()
            assert isinstance(last, LinesLost)
            lines += last.lines
        return LinesLost(lines, Refusal.QUEUE_FULL)

    def get(self, timeout_s: float | None) -> Event:
        """The oldest event; `NOTHING`, a `Tick`, when there is none for ``timeout_s``."""
        with self._changed:
            if not self._changed.wait_for(lambda: bool(self._events), timeout_s):
                return NOTHING
            event = self._events.popleft()
            if isinstance(event, StripArrived):
                self._strips -= 1
            return event


class _PromptInterpreter:
    """The interpreter of this process as belts want it; as it was, when the last of them has ended.

    One for all lanes of a process: it is one interpreter, and whoever ends first must not take it
    from the others.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._lanes = 0
        self._frozen = False  # by whoever runs the lanes
        self._switch_s = 0.0

    def __enter__(self) -> None:
        with self._guard:
            if not self._lanes:
                self._frozen, self._switch_s = gc.get_freeze_count() > 0, sys.getswitchinterval()
            self._lanes += 1
            # What a process holds by now, engines and libraries, is nothing to look through for
            # garbage while a belt runs: that stops every thread for tens of milliseconds.
            gc.freeze()
            # Whoever computes in Python beside the lane has the interpreter for so long each time
            # that the lane wants it, and the lane wants it again after each step over a strip.
            if self._switch_s > SWITCH_S:
                sys.setswitchinterval(SWITCH_S)

    def __exit__(self, *_: object) -> None:
        with self._guard:
            self._lanes -= 1
            if self._lanes:
                return
            if self._switch_s > SWITCH_S:
                sys.setswitchinterval(self._switch_s)
            if not self._frozen:
                gc.unfreeze()


_PROMPT: Final = _PromptInterpreter()


class RealTimeLane:
    """Drives one core through one source on the real clock.

    Args:
        core: The lane's core.
        engine: What finds objects in windows, for this lane alone or for several; this lane uses
            it in a thread of its own.
        publisher: Where actions go.
        clock: What paces the belt.
        config: The limits of the queues.
        steering: What other threads may do to it.
    """

    def __init__(
        self,
        core: LaneCore,
        engine: SharedEngine,
        publisher: Publisher,
        clock: Clock,
        config: LaneConfig,
        steering: Steering,
    ) -> None:
        self._core, self._engine, self._steering = core, engine, steering
        self._publisher, self._clock = publisher, clock
        self._vitals = steering.vitals
        self._inbox = Inbox(config.max_queued_strips)
        self._orders: queue.Queue[RunWindow | None] = queue.Queue()
        self._open = OpenOrders()
        self._seat = engine.join(self._open)
        self._stop = threading.Event()
        self._look_ns = 0
        self._epoch_ns: int | None = None  # the clock, less the belt's own time

    def run(self, source: Iterable[Strip]) -> None:
        """Screen the source to its end; what interrupts it decides the open bags and passes."""
        with _PROMPT:
            self._run(source)

    def _run(self, source: Iterable[Strip]) -> None:
        acquisition = threading.Thread(
            target=self._acquire, args=(source,), name="xedge-acquisition", daemon=True
        )
        engine = threading.Thread(target=self._work, name="xedge-engine", daemon=True)
        self._steering.attach(self._inbox.put)
        acquisition.start()
        engine.start()
        try:
            self._drive()
        except BaseException as raised:  # whatever ends the lane: a PLC waits for these bags
            if isinstance(raised, Exception):
                self._publisher.note_error(f"the lane failed: {in_words(raised)}")
            self._publisher.publish(self._core.handle(Interrupted(), self._now_ns()))
            raise
        finally:
            self._vitals.ledger, self._vitals.depths = self._core.ledger, Depths()
            self._stop.set()
            self._orders.put(None)
            self._engine.leave(self._seat)
            for thread in (acquisition, engine):
                thread.join(JOIN_S)
                if thread.is_alive():
                    self._publisher.note_error(f"{thread.name} did not come back")

    def interrupt(self) -> None:
        """Make `run` decide the open bags and return; from another thread."""
        self._inbox.put(Interrupted())

    def _drive(self) -> None:
        core, vitals = self._core, self._vitals
        while not core.done:
            wake_ns = core.next_wake_ns
            wait_s = LOOK_S if wake_ns is None else (wake_ns - self._now_ns()) * 1e-9
            event = self._inbox.get(min(max(0.0, wait_s), LOOK_S))
            vitals.core.begin()
            # A look at the other threads is no event of the core: it would be one for the journal.
            if event is not NOTHING or (wake_ns is not None and self._now_ns() >= wake_ns):
                self._handle(event)
            vitals.core.end()
            self._steering.worked()
            self._keep_watch()

    def _handle(self, event: Event) -> None:
        self._open.answered(event)
        began = self._clock.now_ns()
        actions = self._core.handle(event, self._now_ns())
        self._publisher.core_ns += self._clock.now_ns() - began
        for order in self._publisher.publish(actions):
            self._open.take(order)
            if isinstance(order, RunWindow):
                self._orders.put(order)
        self._seat.idle = self._core.idle

    def _keep_watch(self) -> None:
        """Say which thread has fallen silent, and how the lane stands, now and then."""
        now = time.monotonic_ns()
        if now < self._look_ns:
            return
        self._look_ns = now + round(LOOK_S * 1e9)
        self._vitals.ledger, self._vitals.detector = self._core.ledger, self._core.health
        self._vitals.depths = Depths(len(self._inbox), self._orders.qsize())
        for stage in (self._vitals.acquisition, self._vitals.core, self._vitals.engine):
            if said := stage.news():
                fields = {"stage": stage.state.name, "error": said}
                self._publisher.tell(Note("stage-silent", fields))

    def _now_ns(self) -> int:
        """The time on the clock of the strips' ``captured_ns``."""
        return 0 if self._epoch_ns is None else self._clock.now_ns() - self._epoch_ns

    def _acquire(self, source: Iterable[Strip]) -> None:
        error = ""
        try:
            self._take_strips(source)
        except BaseException as raised:  # a source that fails ends the belt; the report says so
            error = f"the source failed: {in_words(raised)}"
        self._vitals.acquisition.end()
        self._inbox.put(SourceEnded(error))

    def _take_strips(self, source: Iterable[Strip]) -> None:
        waits = self._vitals.acquisition
        last_ns: int | None = None
        waits.begin()
        if getattr(source, "live", False):  # on this clock, and its first strip may be old already
            self._epoch_ns = 0
        for strip in source:
            waits.end()
            if self._epoch_ns is None:
                self._epoch_ns = self._clock.now_ns() - strip.captured_ns
            self._clock.sleep_ns(strip.captured_ns - self._now_ns())
            if self._stop.is_set():
                return
            if last_ns is not None:
                self._publisher.belt_ns += max(0, strip.captured_ns - last_ns)
            last_ns = strip.captured_ns
            self._inbox.put(StripArrived(strip))
            waits.begin()

    def _work(self) -> None:
        """The engine's thread: screen what is ordered, and look after the engine meanwhile."""
        while True:
            try:
                order = self._orders.get(timeout=TEND_S if self._engine.tended else None)
            except queue.Empty:
                self._tend()
                continue
            if order is None:
                return
            self._inbox.put(self._answer(order))

    def _answer(self, order: RunWindow) -> WindowDone | WindowFailed:
        if self._stop.is_set() or self._open.cancelled(order.bag):
            return WindowFailed(order.bag, order.index, DECIDED)
        self._seat.epoch_ns = self._epoch_ns or 0
        self._vitals.engine.begin()
        try:
            answer, spent_ns = self._engine.screen(self._seat, order)
        except BaseException as raised:  # sys.exit in a library would end this thread unheard
            return WindowFailed(order.bag, order.index, in_words(raised))
        finally:
            self._vitals.engine.end()
        self._publisher.engine_worked(spent_ns)
        return answer

    def _tend(self) -> None:
        self._vitals.engine.begin()
        try:
            for note in self._engine.tend(self._seat):
                self._publisher.tell(note)
                self._vitals.news(note)
        except BaseException as raised:  # it must not, but this thread has windows to answer
            self._publisher.note_error(f"the engine's care failed: {in_words(raised)}")
        finally:
            self._vitals.engine.end()
