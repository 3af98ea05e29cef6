"""Which windows the engine still owes an answer, and which of them it may skip."""

from __future__ import annotations

from xedge.lane.events import Cancel, Event, RunWindow, WindowDone, WindowFailed


class OpenOrders:
    """Books of the orders of one lane; a bag leaves them with its last answer.

    One thread keeps the books; another one may ask `cancelled`.
    """

    def __init__(self) -> None:
        self._unanswered: dict[int, int] = {}  # windows, by bag
        self._cancelled: set[int] = set()

    def __len__(self) -> int:
        """Bags with unanswered windows."""
        return len(self._unanswered)

    def take(self, order: RunWindow | Cancel) -> None:
        """Book an order of the core."""
        if isinstance(order, RunWindow):
            self._unanswered[order.bag] = self._unanswered.get(order.bag, 0) + 1
        elif order.bag in self._unanswered:
            self._cancelled.add(order.bag)

    def answered(self, event: Event) -> None:
        """Book an event, if it answers an order."""
        if not isinstance(event, WindowDone | WindowFailed):
            return
        left = self._unanswered.pop(event.bag) - 1
        if left:
            self._unanswered[event.bag] = left
        else:
            self._cancelled.discard(event.bag)

    def cancelled(self, bag: int) -> bool:
        """True when the windows of this bag need not be screened any more."""
        return bag in self._cancelled
