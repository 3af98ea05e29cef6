"""Both drivers of a lane: their order of events, their figures, and what goes wrong."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from xedge.errors import EngineRunError, LaneError
from xedge.lane import run_lane
from xedge.lane.clock import MonotonicClock, VirtualClock
from xedge.lane.events import LinesLost, SourceEnded, StripArrived, Tick
from xedge.lane.realtime import Inbox
from xedge.scanner.intake import Refusal
from xedge.types import Detections, Reason, Verdict

AIR = "." * 20
MS = 1_000_000
NOTHING = Detections.empty()


def patient(belt):
    """A set-up whose deadlines no slow machine can miss."""
    return belt.config(deadline_counts=1_000_000, bag_limit_s=120.0)


def slow_screen(clock, *durations_ms, found=NOTHING):
    """A detector that takes these times, the last one for all that follow."""
    left = list(durations_ms)

    def screen(planes):
        clock.sleep_ns((left.pop(0) if len(left) > 1 else left[0]) * MS)
        return found

    return screen


def test_latency_in_compressed_time_is_scanning_plus_screening(belt) -> None:
    clock = VirtualClock()
    report = run_lane(
        belt.strips(AIR + "#" * 20 + AIR), slow_screen(clock, 7), belt.flat_field, belt.config(),
        clock=clock,
    )  # fmt: skip
    # Matter ends with line 39, read out at 40 ms. Six lines of air end the bag; they are whole
    # with the strip read out at 50 ms. The window takes 7 ms.
    assert report.latency_ms(50) == 50 - 40 + 7
    assert (report.engine_s, report.core_s) == (0.007, 0.0)
    assert report.windows == 1
    assert report.belt_s == pytest.approx(0.055)
    assert report.realtime_factor == pytest.approx(55 / 7)


def test_windows_queue_behind_one_engine(belt) -> None:
    clock = VirtualClock()
    report = run_lane(
        belt.strips(AIR + "#" * 40 + "." * 10 + "#" * 20 + AIR),
        slow_screen(clock, 30),
        belt.flat_field,
        belt.config(deadline_counts=1000),
        clock=clock,
    )
    # Bag 1: lines 17..62, window 0 is whole with line 49, read out by 50 ms: engine 50..80.
    # It ends with the strip of 70 ms (six lines of air behind line 59): engine 80..110.
    # Bag 2: matter 70..89, ended by the strip of 100 ms: engine 110..140.
    assert [d.latency_ns for d in report.decisions] == [(110 - 60) * MS, (140 - 90) * MS]


def test_a_slow_engine_makes_bags_late_and_the_lane_lives_on(belt) -> None:
    clock = VirtualClock()
    marks = (AIR + "#" * 20) * 3 + "." * 100
    report = run_lane(
        belt.strips(marks), slow_screen(clock, 120, 1), belt.flat_field, belt.config(), clock=clock
    )
    assert [d.late for d in report.decisions] == [True, True, False]
    assert [d.reason for d in report.decisions] == [Reason.TIMEOUT, Reason.TIMEOUT, Reason.NONE]
    assert report.windows == 2  # the second bag's window was cancelled before its turn
    assert report.late == 2
    assert report.to_dict()["not_cleared_by_reason"] == {"TIMEOUT": 2}


class SlowMachine(VirtualClock):
    """Every piece of work takes 12 ms or more: strips of 5 ms pile up."""

    def now_ns(self) -> int:
        self.sleep_ns(12 * MS)
        return super().now_ns()


def test_in_compressed_time_a_core_that_is_behind_clears_no_late_bag(belt) -> None:
    report = run_lane(
        belt.strips((AIR + "#" * 20) * 3 + AIR), lambda planes: NOTHING, belt.flat_field,
        belt.config(), clock=SlowMachine(),
    )  # fmt: skip
    assert len(report.decisions) == 3
    assert report.late > 0
    for decision in report.decisions:
        # 60 counts are 60 ms; a strip's worth of strictness.
        assert decision.late == (decision.latency_ns >= 60 * MS)


def test_in_real_time_a_slow_callback_clears_no_late_bag(belt) -> None:
    report = run_lane(
        belt.strips((AIR + "#" * 20) * 2 + AIR), lambda planes: NOTHING, belt.flat_field,
        belt.config(), realtime=True, on_decision=lambda decision, scan: time.sleep(0.3),
    )  # fmt: skip
    # The second bag's strips wait in the inbox while the first one's callback sleeps.
    assert report.decisions[1].late
    for decision in report.decisions:
        assert decision.late or decision.latency_ns < 60 * MS


def test_the_bag_limit_fires_when_no_more_lines_come(belt) -> None:
    clock = VirtualClock()
    report = run_lane(
        belt.strips(AIR + "#" * 20 + AIR), slow_screen(clock, 5000), belt.flat_field,
        belt.config(), clock=clock,
    )  # fmt: skip
    (decision,) = report.decisions
    assert (decision.reason, decision.late) == (Reason.TIMEOUT, True)
    assert decision.latency_ns == (25 + 1000 - 40) * MS  # begun with the strip of 25 ms


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (EngineRunError("the engine failed"), "bag 1: the engine failed"),
        (ZeroDivisionError("no"), "bag 1: ZeroDivisionError: no"),
    ],
)
def test_whatever_a_detector_raises_is_a_failed_window(belt, error, said) -> None:
    def screen(planes):
        raise error

    report = run_lane(
        belt.strips(AIR + "#" * 20 + AIR), screen, belt.flat_field, belt.config(),
        clock=VirtualClock(),
    )  # fmt: skip
    assert report.decisions[0].reason is Reason.ENGINE_FAILED
    assert report.errors == (said,)


def test_an_answer_that_is_no_detections_is_a_failed_window(belt) -> None:
    report = run_lane(
        belt.strips(AIR + "#" * 20 + AIR), lambda planes: [], belt.flat_field, belt.config(),
        clock=VirtualClock(),
    )  # fmt: skip
    assert report.decisions[0].reason is Reason.ENGINE_FAILED
    assert "answered list" in report.errors[0]


@pytest.mark.parametrize("realtime", [False, True])
def test_an_empty_source_is_an_empty_report(belt, realtime) -> None:
    report = run_lane(
        [], lambda planes: NOTHING, belt.flat_field, belt.config(), realtime=realtime
    )  # fmt: skip
    assert report.decisions == ()
    assert np.isnan(report.latency_ms(50))
    assert report.to_dict()["latency_ms"] == {"p50": None, "p99": None, "max": None}
    assert report.to_dict()["ledger_balanced"]


def test_something_that_cannot_be_called_is_refused(belt) -> None:
    with pytest.raises(LaneError, match=r"Pass detector\.detect_window"):
        run_lane([], object(), belt.flat_field)


def test_both_drivers_say_the_same_of_one_belt(belt) -> None:
    marks = (AIR + "#" * 20 + AIR + "#" * 45) * 2 + AIR
    strips = belt.strips(marks)
    strips[7] = belt.strip(marks[35:40], 35, intact=False)

    def screen(planes):
        return belt.found(0.9) if planes.shape[1] == 16 else NOTHING

    def run(realtime):
        threads = set()

        def watched(planes):
            threads.add(threading.current_thread().name)
            return screen(planes)

        scans = []
        report = run_lane(
            strips, watched, belt.flat_field, patient(belt),
            realtime=realtime, on_decision=lambda decision, scan: scans.append(scan),
        )  # fmt: skip
        said = [(d.bag, d.verdict, d.reason, d.encoder_tail) for d in report.decisions]
        pictures = [scan.low.tobytes() for scan in scans]
        return said, pictures, report.ledger.to_dict(), threads

    compressed, real = run(realtime=False), run(realtime=True)
    assert compressed[:3] == real[:3]
    assert compressed[3] == {"MainThread"}
    assert real[3] == {"xedge-engine"}
    assert [verdict for _, verdict, _, _ in real[0]] == [
        Verdict.NOT_CLEARED, Verdict.ALARM, Verdict.CLEAR, Verdict.ALARM,
    ]  # fmt: skip


def test_real_time_is_paced_by_the_strips(belt) -> None:
    began = time.monotonic()
    report = run_lane(
        belt.strips(AIR + "#" * 20 + AIR * 5), lambda planes: NOTHING, belt.flat_field,
        patient(belt), realtime=True,
    )  # fmt: skip
    # 140 lines, a line a millisecond, the first strip of five at once.
    assert time.monotonic() - began >= 0.135
    assert report.realtime
    assert report.decisions[0].verdict is Verdict.CLEAR
    assert report.decisions[0].latency_ns >= 10 * MS


def test_in_real_time_a_hung_engine_does_not_hold_the_deadline(belt) -> None:
    release = threading.Event()

    def screen(planes):
        release.wait(10)
        return belt.found(0.9)

    decided_at = []

    def on_decision(decision, scan):
        decided_at.append(time.monotonic())
        release.set()

    began = time.monotonic()
    report = run_lane(
        belt.strips(AIR + "#" * 20 + AIR), screen, belt.flat_field,
        belt.config(bag_limit_s=0.2, deadline_counts=1_000_000), realtime=True,
        on_decision=on_decision,
    )  # fmt: skip
    (decision,) = report.decisions
    assert (decision.verdict, decision.reason) == (Verdict.NOT_CLEARED, Reason.TIMEOUT)
    # The bag begins 20 ms after the first strip; how late the timer is depends on the machine.
    assert decided_at[0] - began >= 0.2
    assert decision.latency_ns >= 0.2e9 - 20 * MS


def test_in_real_time_a_lane_that_cannot_keep_up_loses_lines_and_says_so(belt) -> None:
    strips = belt.strips(AIR + "#" * 20 + AIR + "." * 100)
    report = run_lane(
        strips, lambda planes: NOTHING, belt.flat_field,
        belt.config(max_queued_strips=1, bag_limit_s=30, deadline_counts=10_000),
        realtime=True,
        clock=RushingClock(),
    )  # fmt: skip
    ledger = report.ledger
    assert ledger.balanced
    assert ledger.lines_in == sum(map(len, strips))
    assert ledger.bags_in == len(report.decisions)


class RushingClock(MonotonicClock):
    """Does not pace at all: the source bursts."""

    def sleep_ns(self, duration_ns: int) -> None:
        pass


def test_the_inbox_keeps_order_loses_by_count_and_ticks(belt) -> None:
    inbox = Inbox(max_strips=2)
    strips = belt.strips("." * 30)
    for strip in strips[:5]:
        inbox.put(StripArrived(strip))
    inbox.put(SourceEnded())
    first, second, lost, end = (inbox.get(0) for _ in range(4))
    assert isinstance(first, StripArrived)
    assert first.strip is strips[0]
    assert isinstance(second, StripArrived)
    assert lost == LinesLost(15, Refusal.QUEUE_FULL)
    assert end == SourceEnded()
    assert inbox.get(0) == Tick()
    inbox.put(StripArrived(strips[5]))
    assert isinstance(inbox.get(0), StripArrived)
