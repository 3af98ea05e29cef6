"""What ends or disturbs a lane: callbacks that fail, Ctrl-C, sources that fail."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.xedge.lane.test_lane_runner import AIR, MS, NOTHING, patient
from xedge.errors import StripFileError
from xedge.lane import Journal, read_journal, run_lane
from xedge.lane.clock import VirtualClock
from xedge.types import Reason, Verdict


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
