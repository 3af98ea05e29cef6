"""When bags are late, and when they may be: by the belt's place, and by their limit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from xedge.lane.bag import Bag
from xedge.lane.config import LaneConfig
from xedge.lane.events import NEVER_NS, Due
from xedge.lane.odometer import BeltClock, Odometer

DUE_STEP_NS = 5_000_000
"""A bag's deadline is told anew when it has moved by more: it moves a little with every strip."""


class Deadlines:
    """Of the bags of one belt.

    Args:
        config: The set-up.

    Attributes:
        odometer: Where the belt is by now; told by whoever takes the lines.
        clock: For how long it has run.
    """

    def __init__(self, config: LaneConfig) -> None:
        self._config = config
        self.odometer = Odometer(config.counts_per_line)
        self.clock = BeltClock()

    def limit_ns(self, bag: Bag) -> int | None:
        """When a bag's limit is over; None while the belt stands."""
        return self.clock.until_ns(bag.opened_ns + self._config.bag_limit_ns)

    def late(self, bag: Bag, now_ns: int) -> bool:
        """True when a bag's deadline or its limit has passed."""
        if self.clock.running_ns(now_ns) - bag.opened_ns >= self._config.bag_limit_ns:
            return True
        reached = self.odometer.reached(self.clock.frozen_ns(now_ns)) if bag.ended else None
        return reached is not None and reached >= bag.tail_encoder + self._config.deadline_counts

    def due_ns(self, bag: Bag, now_ns: int) -> int:
        """When a bag will be late, at the earliest, if the belt keeps its pace."""
        limit_ns = self.limit_ns(bag)
        if limit_ns is None:
            return NEVER_NS
        place = bag.tail_encoder + self._config.deadline_counts
        reached_ns = self.odometer.due_ns(place, now_ns)
        return limit_ns if reached_ns is None else min(limit_ns, reached_ns)

    def moved(self, bags: Iterable[Bag], now_ns: int) -> Iterator[Due]:
        """The bags whose windows wait and are due at another moment than was said."""
        for bag in bags:
            if bag.pending:
                due_ns = self.due_ns(bag, now_ns)
                if abs(due_ns - bag.told_ns) > DUE_STEP_NS:
                    bag.told_ns = due_ns
                    yield Due(bag.number, due_ns)
