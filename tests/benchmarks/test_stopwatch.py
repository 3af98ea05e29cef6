"""What a lane adds is counted from the moment when things were due."""

from __future__ import annotations

import numpy as np
from xedge_benchmarks.stopwatch import Stopwatch, TimedCore

from xedge.lane.clock import VirtualClock
from xedge.lane.config import LaneConfig
from xedge.lane.events import RunWindow, StripArrived, Tick, WindowDone
from xedge.sim.correction import flat_field
from xedge.sim.physics import ScannerModel
from xedge.types import U8, Decision, Detections, Strip, Verdict

MS = 1_000_000
PLANES = np.zeros((3, 4, 4), np.uint8)


def strip(captured_ns: int) -> Strip:
    counts = np.full((2, 4), 1000, np.uint16)
    return Strip(0, np.arange(2, dtype=np.int64), counts, counts, captured_ns)


def test_a_window_and_its_answer_are_followed_from_the_strip_to_the_decision() -> None:
    clock = VirtualClock(1000 * MS)  # the belt began when this clock said 900
    watch = Stopwatch(clock)

    def engine(planes: U8) -> Detections:
        clock.sleep_ns(40 * MS)
        return Detections.empty()

    screen = watch.timed(engine)
    watch.handling(StripArrived(strip(97 * MS)), 100 * MS, None)  # read out 3 ms ago
    watch.ordered([RunWindow(1, 0, 0, PLANES)])
    clock.sleep_ns(2 * MS)
    found = screen(PLANES)
    clock.sleep_ns(5 * MS)
    watch.handling(WindowDone(1, 0, found), 147 * MS, None)
    clock.sleep_ns(1 * MS)
    watch.on_decision(Decision(1, Verdict.CLEAR, latency_ns=51 * MS), None)
    assert watch.strips == [3 * MS]
    assert watch.windows == [5 * MS]  # 3 to the core, 2 to the engine
    assert watch.engine == [40 * MS]
    assert watch.answers == [5 * MS]
    assert watch.decisions == [6 * MS]
    assert watch.overheads == [10 * MS]
    assert watch.latencies == [51 * MS]


def test_what_a_call_takes_beyond_the_engine_s_own_time_is_added_too() -> None:
    clock = VirtualClock(0)
    watch = Stopwatch(clock, work_ns=40 * MS)

    def engine(planes: U8) -> Detections:
        clock.sleep_ns(43 * MS)
        return Detections.empty()

    watch.handling(StripArrived(strip(0)), 0, None)
    watch.ordered([RunWindow(1, 0, 0, PLANES)])
    found = watch.timed(engine)(PLANES)
    clock.sleep_ns(2 * MS)
    watch.handling(WindowDone(1, 0, found), 45 * MS, None)
    assert watch.engine == [43 * MS]
    assert watch.overheads == [5 * MS]


def test_lanes_on_one_engine_have_their_own_windows_in_their_books() -> None:
    clock = VirtualClock(0)
    first, second = Stopwatch(clock), Stopwatch(clock)
    second.share(first)
    screen = first.timed(lambda planes: Detections.empty())
    mine, other = PLANES.copy(), PLANES.copy()
    first.handling(StripArrived(strip(0)), 0, None)
    first.ordered([RunWindow(1, 0, 0, mine)])
    second.handling(StripArrived(strip(0)), 0, None)
    second.ordered([RunWindow(1, 0, 0, other)])
    clock.sleep_ns(3 * MS)
    found = screen(mine)
    clock.sleep_ns(1 * MS)
    others = screen(other)  # waited for the engine's first window, and a millisecond more
    second.handling(WindowDone(1, 0, others), 4 * MS, None)
    first.handling(WindowDone(1, 0, found), 4 * MS, None)
    assert (first.overheads, second.overheads) == ([4 * MS], [1 * MS])


def test_waiting_for_an_engine_that_works_is_not_the_lanes() -> None:
    clock = VirtualClock()
    watch = Stopwatch(clock)

    def engine(planes: U8) -> Detections:
        clock.sleep_ns(40 * MS)
        return Detections.empty()

    screen = watch.timed(engine)
    second = PLANES.copy()
    watch.handling(StripArrived(strip(0)), 0, None)
    watch.ordered([RunWindow(1, 0, 0, PLANES), RunWindow(1, 1, 2, second)])
    screen(PLANES)
    clock.sleep_ns(1 * MS)
    screen(second)
    assert watch.windows == [0, 1 * MS]


def test_a_tick_is_late_by_what_it_comes_after_its_time() -> None:
    watch = Stopwatch(VirtualClock())
    watch.handling(Tick(), 12 * MS, 10 * MS)
    watch.handling(Tick(), 12 * MS, 20 * MS)
    watch.handling(Tick(), 12 * MS, None)
    assert watch.wakes == [2 * MS]


def test_a_timed_core_does_what_a_core_does() -> None:
    scanner = ScannerModel()
    watch = Stopwatch(VirtualClock())
    core = TimedCore(flat_field(scanner, 1, 1), LaneConfig(), watch)
    low, high = scanner.air_run(32, 1)
    core.handle(StripArrived(Strip(0, np.arange(32, dtype=np.int64), low, high, 0)), 4 * MS)
    assert core.ledger.lines_in == 32
    assert watch.strips == [4 * MS]
