"""Signs of life: what counts as silent, which errors are kept, how latencies are counted."""

from __future__ import annotations

import threading

import pytest

from xedge.lane.ledger import Ledger
from xedge.lane.vitals import (
    FIRST_ERRORS,
    LAST_ERRORS,
    LATENCY_BOUNDS_S,
    Depths,
    Errors,
    Latencies,
    Stage,
    Vitals,
)


def test_only_a_stage_that_is_busy_for_too_long_is_silent() -> None:
    clock = [0.0]
    stage = Stage("engine", 2.0, lambda: clock[0])
    clock[0] = 100.0
    assert (stage.state.busy, stage.state.quiet_s, stage.state.silent) == (False, 100.0, False)
    stage.begin()
    clock[0] = 102.0
    assert (stage.state.busy, stage.state.quiet_s, stage.state.silent) == (True, 2.0, False)
    assert stage.news() == ""
    clock[0] = 102.5
    assert stage.state.silent
    assert stage.news() == "engine is silent: no sign of life for 2.5 s"
    clock[0] = 200.0
    assert stage.news() == ""  # said once
    stage.end()
    assert not stage.state.silent
    assert stage.news() == "engine was silent for 100.0 s"
    assert stage.news() == ""


def test_one_that_was_silent_twice_between_two_looks_is_told_of() -> None:
    clock = [0.0]
    stage = Stage("engine", 2.0, lambda: clock[0])
    stage.begin()
    clock[0] = 3.0
    assert "is silent" in stage.news()
    stage.end()
    stage.begin()
    clock[0] = 9.0
    assert stage.news() == "engine was silent for 3.0 s"
    assert stage.news() == "engine is silent: no sign of life for 6.0 s"


def test_one_that_nobody_looked_at_meanwhile_is_told_of_afterwards() -> None:
    clock = [0.0]
    stage = Stage("core", 2.0, lambda: clock[0])
    for seconds, said in ((1.9, ""), (2.5, "core was silent for 2.5 s")):
        stage.begin()
        clock[0] += seconds
        stage.end()
        assert stage.news() == said
    assert stage.news() == ""


def test_one_that_is_excused_is_not_silent_and_counts_anew_afterwards() -> None:
    clock = [0.0]
    stage = Stage("acquisition", 2.0, lambda: clock[0])
    stage.begin()
    stage.excuse(True)
    clock[0] = 100.0
    assert (stage.state.silent, stage.news()) == (False, "")
    stage.excuse(False)
    clock[0] = 101.9
    assert not stage.state.silent
    stage.end()
    assert stage.news() == ""
    stage.begin()
    clock[0] = 104.0
    assert stage.state.silent


def test_the_first_and_the_last_errors_are_kept_and_all_are_counted() -> None:
    told: list[str] = []
    errors = Errors(told.append)
    most = FIRST_ERRORS + LAST_ERRORS
    for number in range(most):
        errors.add(str(number))
    assert errors.messages() == tuple(map(str, range(most)))
    errors.add("one more")
    assert len(errors) == len(told) == most + 1
    said = errors.messages()
    assert said[:FIRST_ERRORS] == tuple(map(str, range(FIRST_ERRORS)))
    assert said[FIRST_ERRORS : FIRST_ERRORS + 2] == ("(1 more errors)", str(FIRST_ERRORS + 1))
    assert said[-1] == "one more"
    assert [entry.message for entry in errors.entries(2)] == [str(most - 1), "one more"]
    assert errors.entries(0) == ()
    assert len(errors.entries()) == most
    assert errors.entries()[0].at_unix_s <= errors.entries()[-1].at_unix_s


def test_errors_may_come_from_several_threads() -> None:
    errors = Errors()
    threads = [
        threading.Thread(target=lambda: [errors.add("x") for _ in range(500)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 2000
    assert len(errors.entries()) == FIRST_ERRORS + LAST_ERRORS


def test_a_bound_belongs_to_its_own_bucket() -> None:
    latencies = Latencies()
    for seconds in (0.0, 0.05, 0.0501, 10.0, 11.0):
        latencies.add(seconds)
    counts = latencies.cumulated()
    assert len(counts) == len(LATENCY_BOUNDS_S) + 1
    assert (counts[0], counts[1], counts[-2], counts[-1]) == (2, 3, 4, 5)
    assert latencies.sum_s == pytest.approx(21.1001)


def test_a_lane_that_was_not_run_is_empty_and_quiet() -> None:
    vitals = Vitals()
    assert [(s.name, s.busy, s.silent) for s in vitals.stages] == [
        ("acquisition", False, False), ("core", False, False), ("engine", False, False),
    ]  # fmt: skip
    assert (vitals.ledger, vitals.depths, vitals.journal_errors) == (Ledger(), Depths(), 0)
