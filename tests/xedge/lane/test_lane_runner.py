"""Both drivers of a lane: their order of events, their figures, and what goes wrong."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat

from xedge.detector import Detector
from xedge.engines.fake import FakeEngine
from xedge.errors import ConfigError, EngineRunError, LaneError, StripFileError
from xedge.lane import Journal, LaneConfig, read_journal, run_lane
from xedge.lane.clock import MonotonicClock, VirtualClock
from xedge.lane.events import LinesLost, SourceEnded, StripArrived, Tick
from xedge.lane.realtime import Inbox
from xedge.scanner.cutter import CutterConfig
from xedge.scanner.flatfield import FlatField
from xedge.scanner.intake import Refusal
from xedge.scanner.source import ArraySource, StripFileSource
from xedge.scanner.stripfile import StripFileHeader, StripWriter
from xedge.scanner.windows import WindowPlan
from xedge.sim.belt import SimulatedBelt
from xedge.sim.physics import ScannerModel
from xedge.spec import Channels, ModelSpec
from xedge.types import AIR_COUNTS, Detections, Reason, Verdict

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


def failing_source(belt):
    yield from belt.strips(AIR + "#" * 20)
    raise StripFileError("the file cannot be read")


@pytest.mark.parametrize("realtime", [False, True])
def test_a_source_that_fails_ends_the_belt_and_is_named(belt, realtime) -> None:
    report = run_lane(
        failing_source(belt), lambda planes: NOTHING, belt.flat_field, patient(belt),
        realtime=realtime,
    )  # fmt: skip
    assert report.decisions[0].reason is Reason.INCOMPLETE_SCAN
    assert report.ledger.balanced
    assert report.errors == ("the source failed: the file cannot be read",)


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


def test_decisions_are_journalled_before_they_are_published(belt, tmp_path: Path) -> None:
    path = tmp_path / "lane.journal"
    journalled = []

    def on_decision(decision, scan):
        journalled.append([r["bag"] for r in read_journal(path) if r["kind"] == "decision"])

    strips = belt.strips((AIR + "#" * 20) * 2 + AIR)
    strips[6] = belt.strip("#####", 30, intact=False)
    with Journal(path) as journal:
        run_lane(
            strips, lambda planes: belt.found(0.9), belt.flat_field, patient(belt),
            journal=journal, on_decision=on_decision,
        )  # fmt: skip
    assert journalled == [[1], [1, 2]]
    records = read_journal(path)
    assert [r["kind"] for r in records].count("lines-refused") == 1
    decision = next(r for r in records if r["kind"] == "decision")
    assert (decision["verdict"], decision["reasons"]) == ("ALARM", ["BAD_LINES"])
    assert decision["detections"][0]["box"] == [8, 4, 16, 12]


@pytest.mark.parametrize("realtime", [False, True])
def test_a_callback_that_fails_does_not_stop_the_lane(belt, realtime) -> None:
    def on_decision(decision, scan):
        if decision.bag == 1:
            raise KeyError("no such gate")

    report = run_lane(
        belt.strips((AIR + "#" * 20) * 3 + AIR), lambda planes: NOTHING, belt.flat_field,
        patient(belt), on_decision=on_decision, realtime=realtime,
    )  # fmt: skip
    assert [d.verdict for d in report.decisions] == [Verdict.CLEAR] * 3
    assert report.callback_errors == report.to_dict()["callback_errors"] == 1
    assert report.errors == ("bag 1: on_decision raised KeyError: 'no such gate'",)


def interrupted_source(belt):
    yield from belt.strips(AIR + "#" * 20 + AIR + "#" * 20)
    raise KeyboardInterrupt


def test_ctrl_c_in_the_source_decides_the_bag_under_the_beam(belt, tmp_path: Path) -> None:
    seen = []
    with Journal(tmp_path / "j") as journal, pytest.raises(KeyboardInterrupt):
        run_lane(
            interrupted_source(belt), lambda planes: NOTHING, belt.flat_field, patient(belt),
            journal=journal, on_decision=lambda decision, scan: seen.append(decision),
            clock=VirtualClock(),
        )  # fmt: skip
    assert [(d.bag, d.reason) for d in seen] == [(1, Reason.NONE), (2, Reason.USER_INTERRUPT)]
    assert seen[1].verdict is Verdict.NOT_CLEARED
    records = [r for r in read_journal(tmp_path / "j") if r["kind"] == "decision"]
    assert [r["reason"] for r in records] == ["NONE", "USER_INTERRUPT"]


class Fault(BaseException):
    """As a fault in the lane itself, or in a handler of a signal: no callback's Exception."""


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, Fault])
@pytest.mark.parametrize("realtime", [False, True])
def test_what_interrupts_the_lane_loses_no_decision(
    belt, realtime, interruption, tmp_path: Path
) -> None:
    seen = []
    scanned = threading.Event()
    clock = None if realtime else VirtualClock()

    def source():
        yield from belt.strips((AIR + "#" * 20) * 3 + AIR)
        scanned.set()

    def screen(planes):
        # The engine holds the bags back until all have been scanned.
        if clock is None:
            assert scanned.wait(30)
        else:
            clock.sleep_ns(200 * MS)
        return NOTHING

    def on_decision(decision, scan):
        seen.append(decision)
        if decision.bag == 1:
            raise interruption

    with Journal(tmp_path / "j") as journal, pytest.raises(interruption):
        run_lane(
            source(), screen, belt.flat_field, patient(belt), journal=journal,
            on_decision=on_decision, realtime=realtime, clock=clock,
        )  # fmt: skip
    assert [d.bag for d in seen] == [1, 2, 3]
    assert [d.reason for d in seen[1:]] == [Reason.USER_INTERRUPT] * 2
    assert seen[0].verdict is Verdict.CLEAR
    records = read_journal(tmp_path / "j")
    assert [r["bag"] for r in records if r["kind"] == "decision"] == [1, 2, 3]


def test_a_recorded_belt_is_screened_like_the_live_one(belt, tmp_path: Path) -> None:
    marks = (AIR + "#" * 20) * 2 + AIR
    header = StripFileHeader(belt.elements, 1.0, 1.0, 1.0)
    with StripWriter(tmp_path / "belt.xstrip", header) as writer:
        for strip in belt.strips(marks):
            writer.write(strip)
    path = tmp_path / "belt.xstrip"
    data = bytearray(path.read_bytes())

    def verdicts():
        source = StripFileSource(path)
        try:
            report = run_lane(source, lambda planes: NOTHING, belt.flat_field, patient(belt))
        finally:
            source.close()
        return [(d.verdict, d.reason) for d in report.decisions], report.ledger

    assert verdicts()[0] == [(Verdict.CLEAR, Reason.NONE)] * 2
    marks_at = [k for k in range(len(data)) if data.startswith(b"XREC", k)]
    data[marks_at[5] + 100] ^= 1  # a byte of the payload of lines 25..29, inside the first bag
    path.write_bytes(data)
    said, ledger = verdicts()
    assert said == [(Verdict.NOT_CLEARED, Reason.BAD_LINES), (Verdict.CLEAR, Reason.NONE)]
    assert ledger.refused_lines == {Refusal.DAMAGED: 5}
    assert ledger.balanced


MODEL = ModelSpec(
    name="m", classes=("dense",), height=416, width=416, channels=Channels.DUAL_ENERGY,
    binning=2, pixel_mm=1.24, candidates=200, alarm_threshold=0.5, nms_iou=0.55,
)  # fmt: skip


def test_the_set_up_follows_the_model() -> None:
    config = LaneConfig.for_model(MODEL, counts_per_mm=4.0, deadline_mm=500.0)
    assert config.windows.lines == 832
    assert (config.deadline_counts, config.alarm_threshold) == (2000, 0.5)
    assert config.counts_per_line == pytest.approx(0.62 * 4)
    small = replace(MODEL, height=32, width=32)
    assert LaneConfig.for_model(small).windows == WindowPlan(64, 32, 2)


@pytest.mark.parametrize(
    "change",
    [{"deadline_counts": 0}, {"bag_limit_s": float("nan")}, {"alarm_threshold": 1.5},
     {"max_open_bags": 0}, {"pitch_mm": -1.0}],
)  # fmt: skip
def test_set_ups_that_cannot_be_are_refused(change) -> None:
    with pytest.raises(ConfigError):
        LaneConfig(**change)


@pytest.mark.parametrize("name", ["apple", "apple_polyethyleno", "chiken"])
def test_real_dual_energy_scans_go_through_a_lane(real_data: Path, name: str) -> None:
    """Streamed column by column: element 180 is dead for a part of the scan.

    There are no dark and air runs; the air is saturated, and the lane must say so.
    """
    record = loadmat(real_data / "dual-energy-lab" / f"basis_{name}.mat")
    low, high = (
        np.round(65_535 * np.exp(record[key])).clip(0, 65_535).astype(np.uint16).T.copy()
        for key in ("data_low", "data_high")
    )
    scans = []
    # The sample's stand shows as a faint rim of up to two dozen elements.
    config = replace(LaneConfig.for_model(MODEL), cutter=CutterConfig(min_elements=32))
    with Detector(FakeEngine(), MODEL) as detector:
        report = run_lane(
            ArraySource(low, high), detector.detect_window,
            FlatField.from_saturated_air(low, high), config,
            on_decision=lambda decision, scan: scans.append((decision, scan)),
            clock=VirtualClock(),
        )  # fmt: skip
    assert report.ledger.balanced
    assert report.ledger.lines_in == 512
    assert len(report.decisions) == report.windows == 1
    decision, scan = scans[0]
    # The fake engine boxes what lets through less than half of the low-energy rays.
    assert decision.verdict is Verdict.ALARM
    x1, y1, x2, y2 = decision.detections.boxes[0]
    dense = scan.low < 0.45 * AIR_COUNTS
    # Dead samples side by side are no glitches, stay, and are too small for a pixel of planes.
    assert dense[int(y1) : int(y2), int(x1) : int(x2)].sum() >= dense.sum() - 8
    assert decision.encoder_tail - decision.encoder_head > 200
    beside = np.minimum(scan.low[:, 179], scan.low[:, 181])
    assert (scan.low[:, 180] >= 0.5 * beside).all()
    assert set(report.health.intermittent[0]) == {180}
    assert all(0.6 < share < 0.9 for share in report.health.saturated_share)
    said = " / ".join(report.to_dict()["health"])
    for words in ("element 180 failed during the scan", "single dead samples", "saturated",
                  "no dark and air runs"):  # fmt: skip
        assert words in said


def test_a_simulated_belt_gives_a_decision_for_each_of_its_bags() -> None:
    scanner = ScannerModel()
    flat = FlatField.from_runs(*scanner.dark_run(64, 1), *scanner.air_run(64, 2))
    belt = SimulatedBelt(3, 2, 0.5, scanner=scanner)
    # Every bag has one or two windows, so runs 1 and later are those of different bags at last.
    with Detector(FakeEngine(fail_at={0}), MODEL) as detector:
        report = run_lane(
            belt, detector.detect_window, flat, LaneConfig.for_model(MODEL), clock=VirtualClock()
        )
    assert report.ledger.balanced
    assert report.ledger.missing_lines == sum(report.ledger.refused_lines.values()) == 0
    assert Reason.ENGINE_FAILED in report.decisions[0].reasons
    for decision, truth in zip(report.decisions, belt.truth, strict=True):
        assert decision.bag == truth.bag
        assert decision.verdict is not Verdict.CLEAR  # no bag is without dense matter
        middle = (truth.first_line + truth.last_line) / 2
        assert decision.encoder_head < middle < decision.encoder_tail
        assert truth.first_line - 16 <= decision.encoder_head
        assert decision.encoder_tail <= truth.last_line
        for found in truth.objects:
            top, bottom = truth.first_line + found.box[1], truth.first_line + found.box[3]
            assert decision.encoder_head <= top
            assert bottom <= decision.encoder_tail + 1
    assert not report.health.intermittent[0]
    assert report.health.glitches == (0, 0)


def test_a_live_source_is_on_the_machines_own_clock(belt) -> None:
    """What is old when it comes counts as old: its bag is late, and nothing is waited for."""

    class Old:
        live = True

        def __iter__(self):
            behind_ns = MonotonicClock().now_ns() - 3_600_000_000_000
            for strip in belt.strips("........####........"):
                yield replace(strip, captured_ns=strip.captured_ns + behind_ns)

    report = run_lane(Old(), lambda planes: NOTHING, belt.flat_field, belt.config(),
                      realtime=True)  # fmt: skip
    (decision,) = report.decisions
    assert decision.reason is Reason.TIMEOUT
    assert decision.latency_ns > 3_000_000_000_000
