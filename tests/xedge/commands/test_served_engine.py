"""The engine of a service, in its own process and without one."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from xedge.bundle import open_bundle
from xedge.commands.engine import EngineState, served_engine
from xedge.commands.lanefile import EngineTable
from xedge.errors import BundleError, EngineError, EngineRunError
from xedge.lane.engine_process import ProcessState
from xedge.lane.selftest import SelfTests

AIR = np.full((3, 416, 416), 234, np.uint8)


@pytest.mark.parametrize("process", [True, False])
def test_it_is_named_tested_and_answers(stand_in_bundle: Path, process: bool) -> None:
    bundle = open_bundle(stand_in_bundle)
    table = EngineTable(process=process, self_test_s=1e-9)
    with served_engine(bundle, stand_in_bundle, "fake", 1, table) as engine:
        assert len(engine.screen(AIR)) == 0
        state = engine.state
        assert state.name.startswith("fake xedge ")
        assert state.problem == ""
        assert (state.process is not None) is process
        engine.screen.tend(True)
        assert engine.state.tests.passed == 1
        if state.process is not None:
            assert state.process.pid not in (None, os.getpid())


def test_a_process_that_is_killed_is_a_problem_until_it_is_back(stand_in_bundle: Path) -> None:
    bundle = open_bundle(stand_in_bundle)
    table = EngineTable(retry_first_s=0.01)
    with served_engine(bundle, stand_in_bundle, "fake", 1, table) as engine:
        assert engine.state.process is not None
        assert engine.state.process.pid is not None
        os.kill(engine.state.process.pid, signal.SIGKILL)
        seen: set[str] = set()
        until = time.monotonic() + 60
        while engine.state.process.restarts == 0:
            assert time.monotonic() < until
            engine.screen.tend(True)
            seen.add(engine.state.problem)
            time.sleep(0.01)
        assert any("started again, because the engine's process was ended by SIGKILL" in problem
                   for problem in seen)  # fmt: skip
        assert engine.state.problem == ""
        assert len(engine.screen(AIR)) == 0


@pytest.mark.parametrize("process", [True, False])
def test_what_cannot_be_loaded_or_answers_something_else_does_not_start(
    stand_in_bundle: Path, process: bool
) -> None:
    bundle, table = open_bundle(stand_in_bundle), EngineTable(process=process)
    with (
        pytest.raises(EngineError, match="openvino"),
        served_engine(bundle, stand_in_bundle, "openvin", 1, table),
    ):
        pass
    shipped = open_bundle()  # the fake engine finds nothing where there is something
    with (
        pytest.raises(EngineRunError, match="golden answer"),
        served_engine(shipped, None, "fake", 1, table),
    ):
        pass
    with (
        pytest.raises(BundleError, match="was exchanged"),
        served_engine(replace(bundle, sha256="0"), stand_in_bundle, "fake", 1, table),
    ):
        pass


def test_a_self_test_that_fails_is_a_problem() -> None:
    ready = ProcessState(True, 1, "fake", 0, 0, "")
    assert EngineState("fake", SelfTests(error="it is wrong"), ready).problem == "it is wrong"
    assert EngineState("fake", SelfTests(), ready).problem == ""
