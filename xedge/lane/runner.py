"""Runs a lane: in compressed time without threads, or on the real clock with two.

In *compressed* time strips come at their ``captured_ns`` on a virtual clock and idle time is
skipped, but the core's and the engine's work is really done and measured: latencies are those
of a real-time run with one processor core for the lane and one for the engine.

In *real time* the strips are paced on the clock; one thread acquires, one runs the engine, and
the caller's thread drives the core and keeps the deadlines.
"""

from __future__ import annotations

from collections.abc import Iterable

from xedge.errors import LaneError
from xedge.lane.clock import Clock, MonotonicClock
from xedge.lane.compressed import CompressedLane
from xedge.lane.config import LaneConfig
from xedge.lane.core import LaneCore
from xedge.lane.journal import Journal
from xedge.lane.publisher import OnDecision, Publisher, Screen
from xedge.lane.realtime import RealTimeLane
from xedge.lane.report import LaneReport
from xedge.lane.steering import Steering
from xedge.scanner.flatfield import FlatField
from xedge.types import Strip


def run_lane(
    source: Iterable[Strip],
    screen: Screen,
    flat_field: FlatField,
    config: LaneConfig | None = None,
    *,
    realtime: bool = False,
    on_decision: OnDecision | None = None,
    journal: Journal | None = None,
    clock: Clock | None = None,
    steering: Steering | None = None,
    keep: int | None = None,
) -> LaneReport:
    """Screen a belt from its first strip to its last, with exactly one decision a bag.

    Args:
        source: Raw strips in the order of their capture; not closed here.
        screen: What finds objects in a window: a detector's `detect_window`. Its errors never
            leave the lane: the bag is NOT_CLEARED, ENGINE_FAILED.
        flat_field: The correction of the detector.
        config: The set-up; see `LaneConfig.for_model`.
        realtime: Pace the strips on the clock instead of skipping idle time.
        on_decision: Called with each decision, and the scan it is about, as soon as it is made
            and journalled, in the caller's thread. In real time it must be quick. What it raises is
            counted in the report's `callback_errors`, and the lane goes on.
        journal: Takes a record of every decision and of everything unusual.
        clock: What measures durations (compressed) or paces the belt (real time).
        steering: What other threads may do to the lane meanwhile.
        keep: How many of the last decisions the report keeps; None keeps all, which a lane that
            runs for months must not. All are counted.

    Returns:
        Decisions, books, times and the detector's health. A source that fails ends the belt:
        the report's `errors` say so.

    Raises:
        LaneError: When ``screen`` cannot be called.
        KeyboardInterrupt: Passed on after every open bag was decided, NOT_CLEARED or, by what was
            found until then, ALARM; journalled and published.
    """
    if not callable(screen):
        raise LaneError(
            "a lane needs something that finds objects in a window",
            expected="a callable, such as a detector's detect_window",
            found=type(screen).__name__,
            remedy="Pass detector.detect_window",
        )
    config = config or LaneConfig()
    clock = clock or MonotonicClock()
    core = LaneCore(flat_field, config)
    steering = steering or Steering()
    publisher = Publisher(on_decision, journal, keep)
    if realtime:
        RealTimeLane(core, screen, publisher, clock, config, steering).run(source)
    else:
        CompressedLane(core, screen, publisher, clock, steering).run(source)
    return publisher.report(core, realtime)
