"""One engine for several lanes: whose window is due first is screened first.

Each lane brings one window at a time, the oldest of its own, and waits for the answer in its
engine thread; its core waits for nobody. So at most one window a lane waits in here, and what
waits in the lane is limited by ``max_queued_windows``, beyond which the newest is not taken and
its bag is an OVERLOAD. Deadlines within a lane rise with its bags, so that the earliest deadline
of all lanes is always among the windows that wait here.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from xedge.lane.events import Note, RunWindow, WindowDone, WindowFailed
from xedge.lane.ladder import Ladder, Need
from xedge.lane.orders import OpenOrders

DECIDED = "skipped: its bag is decided"
MOST_NEWS = 100


@dataclass(eq=False)
class Seat:
    """A lane's place at an engine.

    Attributes:
        orders: The lane's books.
        order: The window that waits, if one does.
        served: The engine's turn at which the lane was served last.
        epoch_ns: What the lane's clock is behind the engine's.
        idle: True while the lane has no open bag.
        news: What has happened to the engine that the lane was not told yet.
    """

    orders: OpenOrders = field(default_factory=OpenOrders)
    order: RunWindow | None = None
    served: int = 0
    epoch_ns: int = 0
    idle: bool = True
    news: deque[Note] = field(default_factory=lambda: deque(maxlen=MOST_NEWS))

    @property
    def due_ns(self) -> int:
        """When the bag of the waiting window is due, on the engine's clock."""
        assert self.order is not None
        return self.orders.due_ns(self.order.bag) + self.epoch_ns

    @property
    def cancelled(self) -> bool:
        """True when the waiting window need not be screened."""
        assert self.order is not None
        return self.orders.cancelled(self.order.bag)


def most_urgent(seats: Iterable[Seat], tie_ns: int) -> Seat | None:
    """The seat whose window is next; None while none waits.

    Cancelled ones first, since they cost nothing; then the earliest deadline. Deadlines that are
    no further apart than ``tie_ns`` are equal, and of equal ones the lane is next that has waited
    for most turns: belts that run in step would else starve the one that is last by a hair.
    """
    waiting = [seat for seat in seats if seat.order is not None]
    if cancelled := [seat for seat in waiting if seat.cancelled]:
        return cancelled[0]
    first_ns = min((seat.due_ns for seat in waiting), default=0)
    equal = [seat for seat in waiting if seat.due_ns <= first_ns + tie_ns]
    return min(equal, key=lambda seat: seat.served, default=None)


def need_of(seat: Seat, seats: Iterable[Seat], now_ns: int) -> Need:
    """What a seat's window needs at a moment on the engine's clock."""
    assert seat.order is not None
    own = seat.orders.waiting(seat.order.bag)
    others = seat.orders.windows > own or any(
        other is not seat and other.order is not None for other in seats
    )
    return Need(seat.due_ns - now_ns, max(1, own), others)


class SharedEngine:
    """Lets one lane after the other use a ladder of models, the most urgent first.

    Args:
        ladder: What screens; called by one thread at a time, not always the same.
        now_ns: The time, on the clock that the lanes' epochs refer to.
    """

    def __init__(self, ladder: Ladder, now_ns: Callable[[], int]) -> None:
        self._ladder, self._now_ns = ladder, now_ns
        self._seats: list[Seat] = []
        self._changed = threading.Condition()
        self._busy = False
        self._turn = 0

    def join(self, orders: OpenOrders) -> Seat:
        """A place for a lane; `leave` gives it back."""
        with self._changed:
            seat = Seat(orders, served=self._turn)
            self._seats.append(seat)
            return seat

    def leave(self, seat: Seat) -> None:
        """Give a place back; a window that waits there is answered as skipped."""
        with self._changed:
            if seat in self._seats:
                self._seats.remove(seat)
            self._changed.notify_all()

    def screen(self, seat: Seat, order: RunWindow) -> tuple[WindowDone | WindowFailed, int | None]:
        """As `Ladder.screen`, when the lane's turn has come."""
        with self._changed:
            seat.order = order
            self._changed.notify_all()
            try:
                while True:
                    if seat not in self._seats or seat.cancelled:
                        return WindowFailed(order.bag, order.index, DECIDED), None
                    if not self._busy and most_urgent(self._seats, self._ladder.call_ns) is seat:
                        break
                    self._changed.wait()
                need = need_of(seat, self._seats, self._now_ns())
                self._busy = True
            finally:
                seat.order = None
                self._changed.notify_all()
        spent_ns: int | None = 0
        try:
            answer, spent_ns = self._ladder.screen(order, need)
            return answer, spent_ns
        finally:
            with self._changed:
                self._busy = False
                if spent_ns is not None:  # a window that had no time took nobody's
                    self._turn += 1
                    seat.served = self._turn
                self._changed.notify_all()

    @property
    def tended(self) -> bool:
        """True when `tend` is to be called a few times a second."""
        return self._ladder.tended

    def tend(self, seat: Seat) -> tuple[Note, ...]:
        """What has happened to the engine that the lane was not told; looks after it if it is free.

        Every lane is told everything, whichever of them calls at the right moment.
        """
        with self._changed:
            free = not self._busy and all(other.order is None for other in self._seats)
            idle = all(other.idle for other in self._seats)
            self._busy = self._busy or free
        if free:
            notes: tuple[Note, ...] = ()
            try:
                notes = self._ladder.tend(idle)
            finally:
                with self._changed:
                    self._busy = False
                    for other in self._seats:
                        other.news.extend(notes)
                    self._changed.notify_all()
        with self._changed:
            news = tuple(seat.news)
            seat.news.clear()
        return news
