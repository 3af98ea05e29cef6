"""Which windows the engine still owes an answer, when they are due, and which it may skip."""

from __future__ import annotations

from xedge.lane.events import NEVER_NS, Cancel, Event, Order, RunWindow, WindowDone, WindowFailed


class OpenOrders:
    """Books of the orders of one lane; a bag leaves them with its last answer.

    One thread keeps the books; others may ask.
    """

    def __init__(self) -> None:
        self._unanswered: dict[int, int] = {}  # windows, by bag
        self._due_ns: dict[int, int] = {}  # by bag
        self._cancelled: set[int] = set()
        self._windows = 0

    def __len__(self) -> int:
        """Bags with unanswered windows."""
        return len(self._unanswered)

    @property
    def windows(self) -> int:
        """Windows of all bags that are not answered yet."""
        return self._windows

    def take(self, order: Order) -> None:
        """Book an order of the core."""
        if isinstance(order, RunWindow):
            self._unanswered[order.bag] = self._unanswered.get(order.bag, 0) + 1
            self._due_ns[order.bag] = order.due_ns
            self._windows += 1
        elif order.bag not in self._unanswered:
            return
        elif isinstance(order, Cancel):
            self._cancelled.add(order.bag)
        else:
            self._due_ns[order.bag] = order.due_ns

    def answered(self, event: Event) -> None:
        """Book an event, if it answers an order."""
        if not isinstance(event, WindowDone | WindowFailed):
            return
        self._windows -= 1
        left = self._unanswered.pop(event.bag) - 1
        if left:
            self._unanswered[event.bag] = left
        else:
            self._cancelled.discard(event.bag)
            self._due_ns.pop(event.bag)

    def cancelled(self, bag: int) -> bool:
        """True when the windows of this bag need not be screened any more."""
        return bag in self._cancelled

    def due_ns(self, bag: int) -> int:
        """When this bag will be late, on the lane's clock."""
        return self._due_ns.get(bag, NEVER_NS)

    def waiting(self, bag: int) -> int:
        """Windows of this bag that are not answered yet."""
        return self._unanswered.get(bag, 0)
