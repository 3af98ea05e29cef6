"""Runs lanes: in compressed time without threads, or on the real clock with some a lane.

In *compressed* time strips come at their ``captured_ns`` on a virtual clock and idle time is
skipped, but the cores' and the engine's work is really done and measured: latencies are those
of a real-time run with one processor core for each lane and one for the engine.

In *real time* the strips are paced on the clock; of each lane one thread acquires, one waits for
the engine and uses it, and one drives the core and keeps the deadlines.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from xedge.errors import LaneError
from xedge.lane.clock import Clock, MonotonicClock
from xedge.lane.compressed import CompressedLane, CompressedTime
from xedge.lane.config import LaneConfig
from xedge.lane.core import LaneCore
from xedge.lane.journal import Journal
from xedge.lane.journal.core import JournalledCore
from xedge.lane.ladder import Choice, Ladder, Rung, by_time_left
from xedge.lane.publisher import OnDecision, Publisher, Screen
from xedge.lane.realtime import RealTimeLane
from xedge.lane.report import LaneReport
from xedge.lane.shared_engine import SharedEngine
from xedge.lane.steering import Steering
from xedge.scanner.sidebyside import Corrections
from xedge.scanner.steady import Steady
from xedge.types import Strip


@dataclass(frozen=True, kw_only=True, eq=False)
class Belt:
    """One of the belts that share an engine.

    Attributes:
        source: Raw strips in the order of their capture, at times that never fall (else see
            `xedge.scanner.steady.Steady`); not closed here.
        flat_field: The correction of the detector, or of each of its views, whose elements stand
            side by side in a line; see `xedge.scanner.pairing`.
        config: The set-up; see `LaneConfig.for_model`.
        on_decision: Called with each decision, and the scan it is about, as soon as it is made
            and journalled, in the thread that drives the lane. In real time it must be quick.
            What it raises is counted in the report's `callback_errors`, and the lane goes on.
        journal: Takes a record of every strip, event and decision; bags are numbered on from the
            last one in it. What an earlier run left unacknowledged in there is published first.
        steering: What other threads may do to the lane meanwhile, and see of it.
        keep: How many of the last decisions the report keeps; None keeps all, which a lane that
            runs for months must not. All are counted.
    """

    source: Iterable[Strip]
    flat_field: Corrections
    config: LaneConfig = field(default_factory=LaneConfig)
    on_decision: OnDecision | None = None
    journal: Journal | None = None
    steering: Steering = field(default_factory=Steering)
    keep: int | None = None


def run_lane(
    source: Iterable[Strip],
    screen: Screen,
    flat_field: Corrections,
    config: LaneConfig | None = None,
    *,
    realtime: bool = False,
    on_decision: OnDecision | None = None,
    journal: Journal | None = None,
    clock: Clock | None = None,
    steering: Steering | None = None,
    keep: int | None = None,
    fallbacks: Sequence[Rung] = (),
    choose: Choice = by_time_left,
) -> LaneReport:
    """Screen a belt from its first strip to its last, with exactly one decision a bag.

    Args:
        source: As of `Belt`, like what is not explained here.
        screen: As of `run_lanes`.
        flat_field: The correction of the detector.
        config: The set-up.
        realtime: As of `run_lanes`; the caller's thread drives the lane.
        on_decision: Called with each decision and its scan.
        journal: Takes a record of every decision and of everything unusual.
        clock: As of `run_lanes`.
        steering: What other threads may do to the lane meanwhile, and see of it.
        keep: How many of the last decisions the report keeps.
        fallbacks: As of `run_lanes`.
        choose: As of `run_lanes`.

    Returns:
        Decisions, books, times and the detector's health. A source that fails ends the belt:
        the report's `errors` say so.

    Raises:
        LaneError: When ``screen`` cannot be called.
        KeyboardInterrupt: Passed on after every open bag was decided, NOT_CLEARED or, by what was
            found until then, ALARM; journalled and published.
    """
    belt = Belt(
        source=source, flat_field=flat_field, config=config or LaneConfig(),
        on_decision=on_decision, journal=journal, steering=steering or Steering(), keep=keep,
    )  # fmt: skip
    (report,) = run_lanes(
        [belt], screen, realtime=realtime, clock=clock, fallbacks=fallbacks, choose=choose
    )
    return report


def run_lanes(
    belts: Sequence[Belt],
    screen: Screen,
    *,
    realtime: bool = False,
    clock: Clock | None = None,
    fallbacks: Sequence[Rung] = (),
    choose: Choice = by_time_left,
) -> tuple[LaneReport, ...]:
    """Screen several belts with one engine: whose bag is due first is screened first.

    Args:
        belts: The belts; in compressed time their ``captured_ns`` are of one clock.
        screen: What finds objects in a window: a detector's `detect_window`. Called by one thread
            at a time. Its errors never leave the lane: the bag is NOT_CLEARED, ENGINE_FAILED. In
            real time one that is `xedge.lane.selftest.Tended` is looked after while no window
            waits.
        realtime: Pace the strips on the clock instead of skipping idle time.
        clock: What measures durations (compressed) or paces the belts (real time).
        fallbacks: What screens windows when time runs short, from the best to the quickest;
            `LaneConfig.clear_by` says which of them may clear.
        choose: How the rung is chosen; `ladder.as_recorded` repeats what was.

    Returns:
        A report for each belt, as of `run_lane`.

    Raises:
        LaneError: When ``screen`` cannot be called.
        KeyboardInterrupt: As `run_lane`; every belt's open bags are decided.
    """
    if not callable(screen):
        raise LaneError(
            "a lane needs something that finds objects in a window",
            expected="a callable, such as a detector's detect_window",
            found=type(screen).__name__,
            remedy="Pass detector.detect_window",
        )
    clock = clock or MonotonicClock()
    ladder = Ladder(screen, fallbacks, clock=clock, choose=choose)
    cores = [_core_of(belt) for belt in belts]
    publishers = [
        Publisher(belt.on_decision, belt.journal, belt.keep, belt.steering.vitals) for belt in belts
    ]
    for publisher in publishers:
        publisher.resend()
    parts = list(zip(belts, cores, publishers, strict=True))
    strips = [Steady(belt.source) for belt in belts]
    if realtime:
        engine = SharedEngine(ladder, clock.now_ns)
        _run_threads([
            (RealTimeLane(core, engine, publisher, clock, belt.config, belt.steering), source)
            for source, (belt, core, publisher) in zip(strips, parts, strict=True)
        ])  # fmt: skip
    else:
        CompressedTime([
            CompressedLane(source, core, publisher, clock, belt.steering)
            for source, (belt, core, publisher) in zip(strips, parts, strict=True)
        ], ladder).run()  # fmt: skip
    return tuple(publisher.report(core, realtime) for _, core, publisher in parts)


def _core_of(belt: Belt) -> LaneCore:
    if belt.journal is None:
        return LaneCore(belt.flat_field, belt.config)
    return JournalledCore(belt.flat_field, belt.config, belt.journal)


def _run_threads(lanes: Sequence[tuple[RealTimeLane, Iterable[Strip]]]) -> None:
    """Run the first lane in this thread, each other one in a thread of its own."""
    raised: list[BaseException] = []

    def drive(lane: RealTimeLane, source: Iterable[Strip]) -> None:
        try:
            lane.run(source)
        except BaseException as error:  # said by the caller's thread
            raised.append(error)

    threads = [
        threading.Thread(target=drive, args=pair, name=f"xedge-lane-{k}")
        for k, pair in enumerate(lanes[1:], 2)
    ]
    for thread in threads:
        thread.start()
    try:
        for lane, source in lanes[:1]:
            lane.run(source)
        for thread in threads:
            thread.join()
    except BaseException:
        for lane, _ in lanes[1:]:
            lane.interrupt()
        for thread in threads:
            thread.join()
        raise
    if raised:
        raise raised[0]
