"""A threshold set while a lane runs, a lane's sign of life, and reports that keep only so much."""

from __future__ import annotations

import time

import pytest

from xedge.errors import ConfigError
from xedge.lane import Journal, read_journal, run_lane
from xedge.lane.events import BeltRunning, Retuned
from xedge.lane.steering import Steering
from xedge.lane.vitals import Vitals
from xedge.types import Reason, Verdict

BAG = "#" * 40 + "." * 30


@pytest.mark.parametrize("realtime", [False, True])
def test_bags_behind_a_new_threshold_are_decided_by_it(belt, tmp_path, realtime: bool) -> None:
    steering, seen = Steering(), []

    def decided(decision, scan) -> None:
        seen.append(decision.verdict)
        if len(seen) == 1:
            steering.retune(0.9)

    # 400 lines of air in between, so that the next bag begins only when the first is decided.
    marks = "." * 30 + BAG + "." * 400 + BAG
    with Journal(tmp_path / "journal") as journal:
        report = run_lane(
            belt.strips(marks), lambda planes: belt.found(0.6), belt.flat_field,
            belt.config(bag_limit_s=60.0, deadline_counts=100_000), realtime=realtime,
            on_decision=decided, journal=journal, steering=steering,
        )  # fmt: skip
    assert seen == [Verdict.ALARM, Verdict.CLEAR]
    assert report.ledger.balanced
    records = read_journal(tmp_path / "journal")
    assert [r["alarm_threshold"] for r in records if r["kind"] == "retuned"] == [0.9]


def test_a_threshold_set_before_the_start_counts_the_newest_one(belt) -> None:
    steering = Steering()
    steering.retune(0.9)
    steering.retune(0.2)
    report = run_lane(belt.strips("." * 30 + BAG), lambda planes: belt.found(0.3),
                      belt.flat_field, belt.config(deadline_counts=100_000),
                      steering=steering)  # fmt: skip
    assert [d.verdict for d in report.decisions] == [Verdict.ALARM]


@pytest.mark.parametrize("threshold", [0.0, 1.01, float("nan")])
def test_a_threshold_that_cannot_be_is_refused_at_once(threshold: float) -> None:
    with pytest.raises(ConfigError, match="alarm_threshold"):
        Steering().retune(threshold)


def test_a_lane_without_lines_shows_that_it_works_when_it_is_pinged(belt) -> None:
    steering = Steering()
    steering.ping()  # nobody is there yet

    def source():
        yield from belt.strips("." * 10)
        time.sleep(0.2)
        before = steering.quiet_s
        steering.ping()
        until = time.monotonic() + 10
        while steering.quiet_s >= before:
            assert time.monotonic() < until
            time.sleep(0.002)

    report = run_lane(source(), lambda planes: belt.found(0.1), belt.flat_field, belt.config(),
                      realtime=True, steering=steering)  # fmt: skip
    assert report.errors == ()


def test_a_report_keeps_the_last_decisions_and_counts_all(belt) -> None:
    def screen(planes):
        raise OSError("no engine")

    marks = "." * 30 + BAG * 5
    arguments = (belt.strips(marks), screen, belt.flat_field, belt.config(deadline_counts=100_000))
    whole, short = run_lane(*arguments), run_lane(*arguments, keep=2)
    assert [d.bag for d in whole.decisions] == [1, 2, 3, 4, 5]
    assert [d.bag for d in short.decisions] == [4, 5]
    for report in (whole, short):
        assert report.count(Verdict.NOT_CLEARED) == 5
        assert report.tally.reasons == {Reason.ENGINE_FAILED: 5}
        assert report.to_dict()["not_cleared_by_reason"] == {"ENGINE_FAILED": 5}


def test_what_is_said_of_the_belt_pushes_no_threshold_out(belt) -> None:
    steering = Steering()
    steering.retune(0.2)
    for running in (False, True, False):
        steering.belt_running(running)
    seen = []
    steering.attach(seen.append)
    steering.belt_running(True)
    assert seen == [Retuned(0.2), BeltRunning(False), BeltRunning(True)]


def test_a_source_on_a_belt_that_stands_is_not_silent() -> None:
    steering = Steering(Vitals(acquisition_s=0.0))
    steering.vitals.acquisition.begin()
    steering.belt_running(False)
    time.sleep(0.001)
    assert not steering.vitals.acquisition.state.silent
    steering.belt_running(True)
    time.sleep(0.001)
    assert steering.vitals.acquisition.state.silent
