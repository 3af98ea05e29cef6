"""When an engine is tested, and what becomes of windows when the test fails."""

from __future__ import annotations

import functools
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from xedge.bundle import open_bundle
from xedge.errors import EngineRunError
from xedge.lane.engine_pipe import Layout
from xedge.lane.engine_process import EngineLimits, EngineProcess
from xedge.lane.golden_screen import GoldenScreen
from xedge.lane.selftest import SelfTested, SelfTests, Tended
from xedge.types import Detections

PLANES = np.zeros((3, 4, 4), np.uint8)


class Known:
    """Answers nothing, and knows it; counts its tests."""

    def __init__(self) -> None:
        self.ready, self.wrong, self.tests = True, False, 0

    def __call__(self, planes):
        return Detections.empty()

    def self_test(self) -> None:
        self.tests += 1
        if self.wrong:
            raise EngineRunError("it says something else")


@pytest.fixture
def clock() -> list[float]:
    return [100.0]


@pytest.fixture
def known() -> Known:
    return Known()


@pytest.fixture
def screen(known: Known, clock: list[float]) -> SelfTested:
    return SelfTested(known, 30, lambda: clock[0])


def test_it_comes_after_so_long_without_a_window_or_a_test(known, screen, clock) -> None:
    assert isinstance(screen, Tended)
    for seconds, tests in ((29.9, 0), (0.2, 1), (29.9, 1), (0.2, 2)):
        clock[0] += seconds
        assert screen.tend(True) == ()
        assert known.tests == tests
    clock[0] += 20
    screen(PLANES)
    clock[0] += 29
    screen.tend(True)
    assert known.tests == 2
    clock[0] += 2
    screen.tend(True)
    assert screen.tests == SelfTests(3, 0, clock[0], "")


def test_it_leaves_open_bags_alone_and_comes_between_two_at_last(known, screen, clock) -> None:
    clock[0] += 1000
    screen.tend(False)
    assert known.tests == 0
    screen.tend(True)
    assert known.tests == 1
    for _ in range(29):  # never idle for long
        clock[0] += 10
        screen(PLANES)
        screen.tend(True)
    assert known.tests == 1
    clock[0] += 10
    screen(PLANES)
    screen.tend(True)
    assert known.tests == 2


def test_while_it_fails_no_window_is_screened(known, screen, clock) -> None:
    known.wrong = True
    clock[0] += 31
    (note,) = screen.tend(True)
    said = "the engine's self-test failed: it says something else"
    assert (note.kind, dict(note.fields)) == ("self-test-failed", {"error": said})
    with pytest.raises(EngineRunError, match=said):
        screen(PLANES)
    clock[0] += 0.9
    assert screen.tend(False) == ()
    assert known.tests == 1
    clock[0] += 0.2
    assert screen.tend(False) == ()  # bags are open, but lose nothing by it; told once
    assert (known.tests, screen.tests.failed) == (2, 2)
    known.wrong = False
    clock[0] += 1
    (note,) = screen.tend(False)
    assert note.kind == "self-test-passed"
    assert len(screen(PLANES)) == 0
    assert screen.tests == SelfTests(1, 2, clock[0], "")


def test_one_that_is_not_ready_and_an_interval_of_nought_are_not_tested(known, clock) -> None:
    for every, ready in ((30, False), (0, True)):
        known.ready = ready
        screen = SelfTested(known, every, lambda: clock[0])
        clock[0] += 10_000
        screen.tend(True)
        assert known.tests == 0


def test_an_engine_in_a_process_is_tested_and_tended(faulty, tmp_path: Path) -> None:
    limits = EngineLimits(window_s=60, retry_first_s=0.01)
    opener = functools.partial(faulty.faulty, str(tmp_path))
    with EngineProcess(opener, Layout(4, 4, 9), limits) as engine:
        screen = SelfTested(engine, 1e-9)
        screen.tend(True)
        assert screen.tests.passed == 1
        (tmp_path / "wrong").touch()
        assert [n.kind for n in screen.tend(True)] == ["self-test-failed"]
        (tmp_path / "wrong").unlink()
        pid = engine.state.pid
        kinds: list[str] = []
        until = time.monotonic() + 60
        while "self-test-passed" not in kinds:
            assert time.monotonic() < until
            time.sleep(0.02)
            kinds += [n.kind for n in screen.tend(False)]
        assert kinds == ["engine-restarted", "self-test-passed"]
        assert engine.state.pid != pid
        assert len(screen(PLANES)) == 1
        assert engine.state.pid is not None
        os.kill(engine.state.pid, signal.SIGKILL)
        while "engine-failed" not in kinds:
            assert time.monotonic() < until
            time.sleep(0.02)
            kinds += [n.kind for n in screen.tend(False)]


def test_the_shipped_bundle_in_this_process_is_held_to_its_golden_answer() -> None:
    bundle = open_bundle()
    with GoldenScreen(bundle, "onnxruntime", 1) as screen:
        assert (screen.ready, screen.name) == (True, "onnxruntime")
        tested = SelfTested(screen, 1e-9)
        assert tested.tend(True) == ()
        assert tested.tests.passed == 1
        # Another answer than the golden one: the engine is a fake that finds nothing.
        with GoldenScreen(bundle, "fake") as other, pytest.raises(EngineRunError, match="golden"):
            other.self_test()
