"""A lane that runs for long holds no more than one that has just begun."""

from __future__ import annotations

import gc
import tracemalloc
from itertools import pairwise
from pathlib import Path

from xedge.lane import Journal, run_lane
from xedge.lane.clock import VirtualClock
from xedge.lane.steering import Steering
from xedge.types import Detections

MARKS = "." * 12 + "#" * 13
LOOKS = [range(first, first + 28) for first in (1320, 2020, 2720)]
"""Bags at which memory is looked at; before, a fifth of the windows fails, and as many errors are
kept as ever are. Three looks: what every bag leaves behind lies between each two of them, what
the interpreter, sqlite3 and NumPy keep for themselves when they are first used does not."""
LAST = LOOKS[-1][-1]


def belt_of_bags(belt, held: dict[int, int]):
    """A strip a bag, a seventh of them damaged; what Python holds at some of them."""
    for bag in range(LAST + 1):
        if bag in held:
            gc.collect()
            held[bag] = tracemalloc.get_traced_memory()[0]
        yield belt.strip(MARKS, bag * len(MARKS), intact=bag % 7 != 3)
    yield belt.strip("." * 25, (LAST + 1) * len(MARKS))


def test_seven_hundred_bags_after_warm_up_leave_nothing_behind(belt, tmp_path: Path) -> None:
    calls = 0

    def screen(planes):
        nonlocal calls
        calls += 1
        if calls % 5 == 0:
            raise RuntimeError(f"number {calls} failed")
        return belt.found(0.9) if calls % 2 else Detections.empty()

    held = dict.fromkeys([bag for look in LOOKS for bag in look], 0)
    steering = Steering()
    tracemalloc.start()
    try:
        with Journal(tmp_path / "journal") as journal:
            report = run_lane(
                belt_of_bags(belt, held), screen, belt.flat_field,
                belt.config(deadline_counts=10_000), clock=VirtualClock(), keep=10,
                journal=journal, steering=steering,
            )  # fmt: skip
    finally:
        tracemalloc.stop()
    assert report.ledger.balanced
    assert report.ledger.decisions > 700
    assert len(steering.vitals.errors) > 150
    # The least of a few bags: an open one holds its scan. What each bag left behind would be, with
    # its place in a list, 48 bytes at the least (an empty tuple or a small array's head): 33,600.
    # Half of that is allowed, for what the interpreter itself does meanwhile.
    least = [min(held[bag] for bag in look) for look in LOOKS]
    growth = min(later - earlier for earlier, later in pairwise(least))
    assert growth < 16_800
