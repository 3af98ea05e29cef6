"""`xedge bench all`: in order, on after a failure, and honest about what was not measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from xedge_benchmarks import every
from xedge_benchmarks.command import bench
from xedge_benchmarks.every import (
    FAILED,
    GPU,
    MEASURED,
    NOT_MEASURED,
    STEPS,
    Step,
    command,
    lacking,
    run_all,
)


def test_a_failing_step_stops_nothing() -> None:
    asked: list[Sequence[str]] = []

    def run(args: Sequence[str]) -> str:
        asked.append(args)
        return "exit status 1" if args[0] == "b" else ""

    told: list[str] = []
    steps = [("one", ["a"], ""), ("two", ["b", "--x"], ""), ("three", ["c"], "no GPU"),
             ("four", ["d"], "")]  # fmt: skip
    outcomes = list(run_all(steps, run, told.append))
    assert asked == [["a"], ["b", "--x"], ["d"]]
    assert told[1] == "[2/4] xedge bench b --x"
    assert [(o.step, o.result, o.why) for o in outcomes] == [
        ("one", MEASURED, ""), ("two", FAILED, "exit status 1"), ("three", NOT_MEASURED, "no GPU"),
        ("four", MEASURED, ""),
    ]  # fmt: skip


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_every_step_is_a_command_that_takes_its_arguments(step: Step) -> None:
    for args in (step.full, step.quick):
        if args is not None:
            # Parses, and runs nothing.
            made = bench.commands[args[0]].make_context(args[0], [*args[1:], "--scratch"])
            assert made.args == []


def test_every_benchmark_is_a_step() -> None:
    no_benchmarks = {"all", "compare", "report"}
    days = {"studies"}
    assert set(bench.commands) - no_benchmarks - days == {step.full[0] for step in STEPS}


def test_what_a_machine_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lacking(Step(name="s", full=("s",), needs=("json",))) == ""
    lost = Step(name="s", full=("s",), needs=("json", "no_such_module"))
    assert lacking(lost) == "no_such_module is not installed"
    bare = every.read_machine(Path("/no-such-root"))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(every, "read_machine", lambda: bare)
    assert "no NVIDIA GPU" in lacking(Step(name="s", full=("s",), needs=(GPU,)))


def test_a_command_that_fails_or_hangs_is_said_so(capfd: pytest.CaptureFixture[str]) -> None:
    assert command(["compare", "no-such", "no-such"], 60) == "exit status 2"
    assert "'no-such' does not exist" in capfd.readouterr().err
    assert command(["--help"], 0.0) == "it took longer than 0 s"
    assert command(["--help"], 60) == ""


def test_no_step_names_a_file() -> None:
    """What is typed is kept: others must be able to type it again, on another machine."""
    assert not [word for step in STEPS for word in step.full if "/" in word or "." in word]


def bench_all(*args: object) -> subprocess.CompletedProcess[str]:
    code = "from xedge.cli import main; main(prog_name='xedge')"
    return subprocess.run(
        [sys.executable, "-c", code, "bench", "all", *map(str, args)],
        capture_output=True, text=True, env=os.environ, timeout=280, check=False,
    )  # fmt: skip


def test_from_end_to_end(quick_bundle_path: Path, tmp_path: Path) -> None:
    done = bench_all("--quick", "--only", "engines", "--only", "contenders --gpu", "--threads", 1,
                     "--bundle", quick_bundle_path, "--scratch", "--out", tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "[1/2] xedge bench engines --rounds 20" in done.stderr
    (path,) = tmp_path.rglob("*.json")
    record = json.loads(path.read_text())
    assert record["benchmark"] == "engines"
    assert record["command_line"][:3] == ["xedge", "bench", "engines"]
    assert record["settings"]["threads"] == 1


def test_one_failure_is_the_exit_status(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = bench_all("--quick", "--only", "engines", "--scratch", "--out", tmp_path,
                     "--bundle", tmp_path / "file")  # fmt: skip
    assert done.returncode == 1
    assert "engines: FAILED: exit status 1" in done.stderr
