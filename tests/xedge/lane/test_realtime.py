"""The threads of a lane in real time: what they raise, who watches them, the engine's care."""

from __future__ import annotations

import functools
import gc
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from xedge.lane import Journal, read_journal, run_lane
from xedge.lane.core import LaneCore
from xedge.lane.engine_pipe import Layout
from xedge.lane.engine_process import EngineLimits, EngineProcess
from xedge.lane.events import Event, Note, SourceEnded, Tick
from xedge.lane.realtime import _PROMPT
from xedge.lane.runner import Belt, run_lanes
from xedge.lane.selftest import SelfTested
from xedge.lane.steering import Steering
from xedge.lane.vitals import Vitals
from xedge.types import Detections, Reason, Strip, Verdict

AIR = "." * 20
NOTHING = Detections.empty()


def patient(belt):
    """A set-up in which no slow machine misses a deadline or fills a queue."""
    return belt.config(deadline_counts=1_000_000, bag_limit_s=120.0, max_open_bags=100,
                       max_queued_windows=1000, max_queued_strips=10_000)  # fmt: skip


def run(belt, strips, screen, **more):
    return run_lane(strips, screen, belt.flat_field, patient(belt), realtime=True, **more)


def test_a_source_that_exits_ends_the_belt_and_not_the_decisions(belt) -> None:
    def strips():
        yield from belt.strips(AIR + "#" * 20)
        sys.exit("a driver thinks that it owns the process")

    report = run(belt, strips(), lambda planes: NOTHING)
    assert [d.reason for d in report.decisions] == [Reason.INCOMPLETE_SCAN]
    assert report.errors == (
        "the source failed: SystemExit: a driver thinks that it owns the process",)  # fmt: skip


def test_a_source_of_something_else_than_strips_ends_the_belt(belt) -> None:
    report = run(belt, [*belt.strips(AIR + "#" * 20), 2], lambda planes: NOTHING)
    assert [d.reason for d in report.decisions] == [Reason.INCOMPLETE_SCAN]
    assert report.errors == (
        "the source failed: it gave something else than a strip: found int",)  # fmt: skip


def test_an_engine_that_exits_fails_its_window_and_the_next_is_screened(belt) -> None:
    calls: list[int] = []

    def screen(planes):
        calls.append(1)
        if len(calls) == 1:
            sys.exit(3)
        return NOTHING

    report = run(belt, belt.strips((AIR + "#" * 20) * 2 + AIR), screen)
    assert [d.reason for d in report.decisions] == [Reason.ENGINE_FAILED, Reason.NONE]
    assert report.errors == ("bag 1: SystemExit: 3",)


@pytest.mark.parametrize("by_the_host", [False, True])
def test_the_interpreter_is_the_belt_s_while_it_runs_and_then_the_host_s_again(
    belt, by_the_host
) -> None:
    seen: list[tuple[int, float]] = []
    switch_s = sys.getswitchinterval()
    if by_the_host:
        gc.freeze()
        sys.setswitchinterval(1e-4)
    try:
        own_s, held = sys.getswitchinterval(), len(gc.get_objects())
        run(belt, belt.strips(AIR + "#" * 20 + AIR), lambda planes: NOTHING,
            on_decision=lambda decision, scan: seen.append(
                (gc.get_freeze_count(), sys.getswitchinterval())))  # fmt: skip
        ((frozen, during_s),) = seen
        assert frozen > held * 9 // 10
        assert during_s == pytest.approx(min(own_s, 5e-4), abs=2e-6)  # kept in whole µs
        assert (gc.get_freeze_count() > 0) == by_the_host
        assert sys.getswitchinterval() == pytest.approx(own_s, abs=2e-6)
    finally:
        gc.unfreeze()
        sys.setswitchinterval(switch_s)


def test_a_lane_that_ends_leaves_the_interpreter_to_those_that_run() -> None:
    """In whatever order they end: the first one may be the one that ends first."""
    own_s = sys.getswitchinterval()
    _PROMPT.__enter__()
    _PROMPT.__enter__()
    _PROMPT.__exit__(None, None, None)
    assert gc.get_freeze_count() > 0
    assert sys.getswitchinterval() == pytest.approx(5e-4, abs=2e-6)
    _PROMPT.__exit__(None, None, None)
    assert gc.get_freeze_count() == 0
    assert sys.getswitchinterval() == pytest.approx(own_s, abs=2e-6)


def test_looking_at_the_threads_is_no_event_of_the_lane(belt, monkeypatch) -> None:
    """A belt that stands for long writes nothing into the journal."""
    handled: list[Event] = []
    handle = LaneCore.handle

    def watched(core, event, now_ns):
        handled.append(event)
        return handle(core, event, now_ns)

    def strips():
        yield from belt.strips(AIR)
        time.sleep(0.8)
        yield from belt.strips(AIR + AIR)[4:]

    monkeypatch.setattr(LaneCore, "handle", watched)
    run(belt, strips(), lambda planes: NOTHING)
    assert not any(isinstance(event, Tick) for event in handled)
    assert isinstance(handled[-1], SourceEnded)


class Cared:
    """Tells with what it was looked after."""

    def __init__(self, release: threading.Event, raises: bool = False) -> None:
        self.idle: list[bool] = []
        self._release, self._raises = release, raises

    def __call__(self, planes):
        return NOTHING

    def tend(self, idle):
        self.idle.append(idle)
        if {True, False} <= set(self.idle):
            self._release.set()
        if self._raises:
            raise MemoryError("none left")
        return (Note("self-test-failed", {"error": "it is wrong"}),) if len(self.idle) == 1 else ()


def held_belt(belt, release: threading.Event):
    """Air until the engine was looked after, then matter until it was again."""
    yield from belt.strips(AIR)
    time.sleep(0.3)
    strips = belt.strips(AIR + "#" * 8)[4:]
    yield from strips
    assert release.wait(60)


@pytest.mark.parametrize("raises", [False, True])
def test_an_engine_is_looked_after_and_knows_whether_a_bag_is_open(
    belt, tmp_path: Path, raises: bool
) -> None:
    release = threading.Event()
    screen = Cared(release, raises)
    with Journal(tmp_path / "j") as journal:
        report = run(belt, held_belt(belt, release), screen, journal=journal)
    assert screen.idle[0] is True  # nothing was on the belt yet
    assert False in screen.idle
    assert report.decisions[0].reason is Reason.INCOMPLETE_SCAN
    kinds = [record["kind"] for record in read_journal(tmp_path / "j")]
    if raises:
        assert set(report.errors) == {"the engine's care failed: MemoryError: none left"}
    else:
        assert report.errors == ("it is wrong",)
        assert kinds.count("self-test-failed") == 1


def test_a_source_and_an_engine_that_are_silent_are_named(belt) -> None:
    steering = Steering(Vitals(acquisition_s=0.05, engine_s=0.05))
    named = {"acquisition": threading.Event(), "engine": threading.Event()}

    def tell(message: str) -> None:
        for name, event in named.items():
            if message.startswith(f"{name} is silent"):
                event.set()

    steering.vitals.errors._tell = tell

    def strips():
        yield from belt.strips(AIR + "#" * 20 + AIR)
        assert named["acquisition"].wait(60)

    def screen(planes):
        assert named["engine"].wait(60)
        return NOTHING

    report = run(belt, strips(), screen, steering=steering)
    assert report.decisions[0].verdict is Verdict.CLEAR
    said = [error.split(":")[0] for error in report.errors]
    assert {"acquisition is silent", "engine is silent"} <= set(said)
    assert steering.vitals.ledger == report.ledger


class Endless(Strip):
    """Has no length: what the core does with it, nobody foresaw."""

    def __len__(self) -> int:
        raise RuntimeError("a fault in the core")


def test_a_core_that_was_held_up_is_named(belt) -> None:
    report = run(belt, belt.strips(AIR + "#" * 20 + AIR * 20), lambda planes: NOTHING,
                 steering=Steering(Vitals(core_s=0.2)),
                 on_decision=lambda decision, scan: time.sleep(0.3))  # fmt: skip
    assert report.errors[0].startswith("core was silent for 0.")


def test_a_core_that_fails_is_named_and_passed_on_after_open_bags_are_decided(belt) -> None:
    steering, decisions = Steering(), []
    good = belt.strips(AIR + "#" * 20)
    last = good[-1]
    broken = Endless(40, last.encoder + 5, last.low, last.high, last.captured_ns + 5_000_000)
    with pytest.raises(RuntimeError, match="a fault in the core"):
        run(belt, [*good, broken], lambda planes: NOTHING, steering=steering,
            on_decision=lambda decision, scan: decisions.append(decision))  # fmt: skip
    assert [d.reason for d in decisions] == [Reason.USER_INTERRUPT]
    assert steering.vitals.errors.messages() == (
        "the lane failed: RuntimeError: a fault in the core",)  # fmt: skip


def test_an_engine_that_is_killed_costs_the_bags_until_it_is_back(
    belt, faulty, tmp_path: Path
) -> None:
    """A belt goes on while the engine's process is ended, and until a bag is screened again."""
    back = threading.Event()
    limits = EngineLimits(window_s=60, retry_first_s=0.05)
    verdicts: list[tuple[Verdict, Reason]] = []

    def strips():
        marks, size = AIR + "#" * 20, 5
        for first in range(0, 2_000_000, size):
            if back.is_set():
                return
            place = first % len(marks)
            yield belt.strip(marks[place : place + size], first)

    with EngineProcess(
        functools.partial(faulty.faulty, str(tmp_path)), Layout(16, 12, 50), limits
    ) as engine:
        first_pid = engine.state.pid
        assert first_pid is not None

        def on_decision(decision, scan):
            verdicts.append((decision.verdict, decision.reason))
            if len(verdicts) == 2:
                os.kill(first_pid, signal.SIGKILL)
            failed = (Verdict.NOT_CLEARED, Reason.ENGINE_FAILED) in verdicts
            if failed and verdicts[-1][0] is Verdict.ALARM:
                back.set()

        report = run(belt, strips(), SelfTested(engine, 30), on_decision=on_decision, keep=10)
        state = engine.state
    assert verdicts[:2] == [(Verdict.ALARM, Reason.NONE)] * 2  # it finds something in all
    assert report.ledger.balanced
    assert set(verdicts) <= {
        (Verdict.ALARM, Reason.NONE),
        (Verdict.NOT_CLEARED, Reason.ENGINE_FAILED),
        (Verdict.NOT_CLEARED, Reason.INCOMPLETE_SCAN),  # the last one, cut by the end
    }
    assert (state.restarts, state.failures) == (1, 1)
    assert any("ended by SIGKILL" in error for error in report.errors)


def test_what_happens_to_a_shared_engine_every_lane_is_told(belt) -> None:
    """Two belts, one engine: it is idle while both are, and both hear its news."""
    release = threading.Event()
    screen = Cared(release)
    belts = [
        Belt(source=held_belt(belt, release), flat_field=belt.flat_field, config=patient(belt))
        for _ in range(2)
    ]
    reports = run_lanes(belts, screen, realtime=True)
    assert [report.errors for report in reports] == [("it is wrong",)] * 2
    assert {True, False} == set(screen.idle)
