"""An engine in its own process, with real processes that hang, crash, raise and are killed."""

from __future__ import annotations

import functools
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from xedge.bundle import open_bundle
from xedge.errors import (
    BundleError,
    ConfigError,
    EngineLoadError,
    EngineRunError,
    ImageError,
)
from xedge.lane.engine_pipe import Layout
from xedge.lane.engine_process import EngineLimits, EngineProcess
from xedge.lane.golden_screen import open_golden
from xedge.lane.selftest import KnowsAnswer, Tended

LAYOUT = Layout(16, 24, 50)
SOON = EngineLimits(window_s=60, start_s=60, retry_first_s=0.01)


def window(first: int, height: int = 16, width: int = 24):
    planes = np.arange(3 * height * width, dtype=np.uint32).astype(np.uint8)
    planes = planes.reshape(3, height, width)
    planes[0, 0, 0] = first
    return planes


def process(faulty, folder: Path, limits: EngineLimits = SOON) -> EngineProcess:
    return EngineProcess(functools.partial(faulty.faulty, str(folder)), LAYOUT, limits)


def tended_until_ready(engine: EngineProcess):
    """What happened until it was ready again."""
    notes, until = list(engine.tend(True)), time.monotonic() + 60
    while not engine.ready:
        assert time.monotonic() < until
        time.sleep(0.01)
        notes += engine.tend(True)
    return notes


def test_it_answers_what_the_engine_answers(faulty, tmp_path: Path, capfd) -> None:
    with process(faulty, tmp_path) as engine:
        assert isinstance(engine, Tended)
        screen: KnowsAnswer = engine
        for height, width in ((16, 24), (5, 7), (16, 24)):
            planes = window(faulty.ANSWER, height, width)
            here = faulty.Faulty(tmp_path)(planes)
            found = screen(planes)
            assert found.boxes.tolist() == here.boxes.tolist()
            assert found.scores.tolist() == here.scores.tolist()
            assert found.labels.tolist() == here.labels.tolist()
        assert np.isnan(screen(window(faulty.NAN)).scores[0])  # the lane's core refuses it
        screen.self_test()
        state = engine.state
        assert (state.ready, state.name, state.restarts, state.failures) == (
            True, "faulty 1.0", 0, 0)  # fmt: skip
        assert engine.tend(False) == ()
    assert engine.state.pid is None
    out, err = capfd.readouterr()
    assert out == ""  # it belongs to the lane's own output
    assert "libraries print" in err


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("RAISE", r"out of memory: expected a megabyte. Buy some"),
        ("BUG", "ZeroDivisionError: no"),
        ("NO_DETECTIONS", "the detector answered list"),
        ("TOO_MANY", "at most 50, found 1000"),
        ("SEGV", "ended by SIGSEGV"),
        ("EXIT", "ended with status 3"),
    ],
)
def test_a_window_at_which_the_engine_fails_fails_and_the_engine_is_started_again(
    faulty, tmp_path: Path, wanted: str, said: str
) -> None:
    with process(faulty, tmp_path) as engine:
        before = engine.state.pid
        with pytest.raises(EngineRunError, match=said):
            engine(window(getattr(faulty, wanted)))
        notes = tended_until_ready(engine)
        assert [(n.kind, dict(n.fields)) for n in notes] == [("engine-restarted", {"restarts": 1})]
        assert len(engine(window(faulty.ANSWER))) == 1
        state = engine.state
        assert (state.restarts, state.failures) == (1, 1)
        assert state.pid != before
        with pytest.raises(ProcessLookupError):
            os.kill(before, 0)  # it was waited for as well


def test_while_it_starts_again_windows_fail_at_once(faulty, tmp_path: Path) -> None:
    limits = EngineLimits(window_s=0.2, start_s=60, retry_first_s=0.01)
    with process(faulty, tmp_path, limits) as engine:
        (tmp_path / "slow").touch()
        with pytest.raises(EngineRunError, match=r"did not answer within 0.2 s, and was ended"):
            engine(window(faulty.HANG))
        for _ in range(2):  # in the back-off, and while it starts
            with pytest.raises(EngineRunError, match=r"being started again, because .* 0.2 s"):
                engine(window(faulty.ANSWER))
            time.sleep(0.05)
        # A start takes 600 s here: had a window waited for it, this would not be reached.
        assert engine.state.pid is not None
        assert not engine.ready


def test_one_that_is_killed_while_idle_is_back_before_the_next_window(
    faulty, tmp_path: Path
) -> None:
    with process(faulty, tmp_path) as engine:
        pid = engine.state.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        notes = tended_until_ready_again(engine, pid)
        assert [n.kind for n in notes] == ["engine-failed", "engine-restarted"]
        assert "ended by SIGKILL" in str(notes[0].fields["error"])
        assert len(engine(window(faulty.ANSWER))) == 1


def tended_until_ready_again(engine: EngineProcess, but: int):
    notes, until = [], time.monotonic() + 60
    while not engine.ready or engine.state.pid == but:
        assert time.monotonic() < until
        time.sleep(0.01)
        notes += engine.tend(True)
    return notes


def test_a_wrong_answer_is_started_again_until_it_is_right(faulty, tmp_path: Path) -> None:
    with process(faulty, tmp_path) as engine:
        (tmp_path / "wrong").touch()
        with pytest.raises(EngineRunError, match="does not reproduce"):
            engine.self_test()
        notes, until = [], time.monotonic() + 60
        while len(notes) < 2:
            assert time.monotonic() < until
            time.sleep(0.01)
            notes += engine.tend(True)
        assert {n.kind for n in notes} == {"engine-failed"}
        assert "did not start: the engine does not reproduce" in str(notes[0].fields["error"])
        with pytest.raises(EngineRunError, match="being started again"):
            engine(window(faulty.ANSWER))
        (tmp_path / "wrong").unlink()
        assert tended_until_ready(engine)[-1].kind == "engine-restarted"
        engine.self_test()
        assert engine.state.failures >= 3


def test_it_is_tried_again_after_twice_the_time_and_never_more_than_the_most(
    faulty, tmp_path: Path
) -> None:
    clock = [0.0]
    limits = EngineLimits(window_s=60, start_s=60, retry_first_s=1, retry_most_s=3)
    opener = functools.partial(faulty.faulty, str(tmp_path))
    with EngineProcess(opener, LAYOUT, limits, lambda: clock[0]) as engine:
        for wait in (1, 2, 3, 3):
            engine._fail("a test says so")
            clock[0] += wait - 0.01
            engine.tend(True)
            assert engine.state.pid is None
            clock[0] += 0.02
            engine.tend(True)
            assert engine.state.pid is not None
        tended_until_ready(engine)
        clock[0] += 100  # it has worked for long: the next failure is a first one
        engine(window(faulty.ANSWER))
        engine._fail("a test says so")
        clock[0] += 1.01
        engine.tend(True)
        assert engine.state.pid is not None
        clock[0] += 61
        (note,) = engine.tend(True)
        assert "not ready within 60 s" in str(note.fields["error"])


@pytest.mark.parametrize(
    ("file", "limits", "error", "said"),
    [
        ("broken", SOON, EngineLoadError, "the model is broken: found nothing. Mend it"),
        ("wrong", SOON, EngineRunError, "does not reproduce"),
        ("slow", EngineLimits(start_s=0.2), EngineLoadError, "not ready within 0.2 s"),
    ],
)
def test_one_that_does_not_start_is_an_error_and_leaves_nothing(
    faulty, tmp_path: Path, file: str, limits: EngineLimits, error, said: str
) -> None:
    (tmp_path / file).touch()
    engine = process(faulty, tmp_path, limits)
    with pytest.raises(error, match=said), engine:
        pass
    assert engine.state.pid is None


@pytest.mark.parametrize(
    "planes",
    [
        np.zeros((3, 17, 24), np.uint8),
        np.zeros((3, 16, 25), np.uint8),
        np.zeros((3, 0, 24), np.uint8),
        np.zeros((1, 16, 24), np.uint8),
        np.zeros((16, 24), np.uint8),
        np.zeros((3, 16, 24), np.uint16),
    ],
)
def test_what_is_no_window_is_refused_and_the_engine_works_on(
    faulty, tmp_path: Path, planes
) -> None:
    engine = process(faulty, tmp_path)  # not even started
    with pytest.raises(ImageError, match=r"expected uint8 \[3, 1..16, 1..24\]"):
        engine(planes)
    assert engine.state.failures == 0


def test_closing_ends_a_window_and_then_there_is_no_more(faulty, tmp_path: Path) -> None:
    with process(faulty, tmp_path) as engine:
        pid = engine.state.pid
        watcher = subprocess.Popen(
            [sys.executable, "-c", f"import os, time; time.sleep(0.3); os.kill({pid}, 9)"]
        )
        with pytest.raises(EngineRunError, match="ended by SIGKILL"):
            engine(window(faulty.HANG))
        watcher.wait()
    engine.close()
    with pytest.raises(EngineRunError, match="the engine is closed"):
        engine(window(faulty.ANSWER))
    assert engine.tend(True) == ()


PARENT = """
import functools, sys
import xedge_faulty_engine as faulty
from xedge.lane.engine_pipe import Layout
from xedge.lane.engine_process import EngineProcess
import numpy as np
with EngineProcess(functools.partial(faulty.faulty, sys.argv[1]), Layout(16, 24, 50)) as engine:
    print(engine.state.pid, flush=True)
    engine(np.full((3, 16, 24), faulty.HANG, np.uint8))
"""


def test_it_ends_with_its_parent_even_while_it_hangs(faulty, tmp_path: Path) -> None:
    folder = str(Path(faulty.__file__).parent)
    path = os.pathsep.join([folder, *filter(None, sys.path)])
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        try:
            os.kill(parent.pid, signal.SIGKILL)
            assert select.select([child], [], [], 60)[0]  # readable once it has ended
        finally:
            os.close(child)


def test_what_opens_it_must_be_small_and_limits_must_be_possible() -> None:
    with pytest.raises(ConfigError, match="too large to be sent"):
        EngineProcess(functools.partial(open_golden, bytes(100_000)), LAYOUT)
    for wrong in ({"window_s": 0}, {"start_s": -1}, {"retry_first_s": float("nan")}):
        with pytest.raises(ConfigError, match=f"{next(iter(wrong))} cannot be used"):
            EngineLimits(**wrong)


def test_the_shipped_bundle_starts_answers_and_passes_its_self_test() -> None:
    bundle = open_bundle()
    spec = bundle.spec
    opener = functools.partial(open_golden, None, bundle.sha256, "onnxruntime", 1, "ort")
    with EngineProcess(opener, Layout(spec.height, spec.width, spec.candidates)) as engine:
        engine.self_test()
        air = np.full((3, spec.height, spec.width), 234, np.uint8)
        found = engine(air)
        assert len(found) <= spec.candidates
        assert engine.state.name == "ort"
        assert engine.state.failures == 0


def test_a_bundle_that_was_exchanged_is_not_started(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="was exchanged while the lane was running"):
        open_golden(None, "0" * 64, "onnxruntime", 1)


def test_windows_that_stop_early_are_counted_across_the_processes(quiet_bundle: Path) -> None:
    pytest.importorskip("onnxruntime")
    sha256 = open_bundle(quiet_bundle).sha256
    opener = functools.partial(
        open_golden, quiet_bundle, sha256, "onnxruntime", 1, "ort", least=0.5
    )
    light, dark = (np.full((3, 32, 32), value, np.uint8) for value in (240, 0))
    with EngineProcess(opener, Layout(32, 32, 8)) as engine:
        assert len(engine(light)) == 0
        assert engine.stopped == 1
        assert len(engine(dark)) > 0
        engine.self_test()  # the golden window and one of air: no windows of the lane's
        assert engine.stopped == 1
        engine(light)
        assert engine.stopped == 2
