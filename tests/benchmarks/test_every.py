"""`xedge bench all`: in order, on after a failure, and honest about what was not measured."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from xedge_benchmarks import every
from xedge_benchmarks.budget import Budget
from xedge_benchmarks.command import bench
from xedge_benchmarks.every import (
    FAILED,
    GPU,
    LEFT_OUT,
    MEASURED,
    NOT_MEASURED,
    SPARED,
    STEPS,
    Step,
    Turn,
    command,
    lacking,
    measured_before,
    run_all,
)
from xedge_benchmarks.every_command import QUICK_MINUTES, REPORT_S
from xedge_benchmarks.hosts import HOSTS
from xedge_benchmarks.record import new_record, write_record

from xedge.provenance import CodeVersion


def test_a_failing_step_stops_nothing() -> None:
    asked: list[tuple[Sequence[str], float]] = []

    def run(args: Sequence[str], limit_s: float) -> str:
        asked.append((args, limit_s))
        return "exit status 1" if args[0] == "b" else ""

    told: list[str] = []
    turns = [
        Turn(name="one", args=("a",), limit_s=5.0),
        Turn(name="two", args=("b", "--x"), limit_s=6.0),
        Turn(name="three", args=("c",), lack="no GPU"),
        Turn(name="four", args=("d",), limit_s=1e3, may_outlast=False),
        Turn(name="five", args=("e",), spare=lambda: True),
        Turn(name="six", args=("f",), takes_s=1e9),
    ]
    outcomes = list(run_all(turns, run, Budget(60.0), told.append))
    assert asked == [(("a",), 5.0), (("b", "--x"), 6.0), (("d",), pytest.approx(60.0, abs=30))]
    assert told[1] == "[2/6] xedge bench b --x"
    assert [(o.step, o.result) for o in outcomes] == [
        ("one", MEASURED), ("two", FAILED), ("three", NOT_MEASURED), ("four", MEASURED),
        ("five", SPARED), ("six", LEFT_OUT),
    ]  # fmt: skip
    assert [o.why for o in outcomes[1:3]] == ["exit status 1", "no GPU"]
    assert outcomes[5].why.endswith("s were left, and it takes 1000000000")


def test_without_an_end_nothing_is_left_out() -> None:
    (outcome,) = run_all([Turn(name="s", args=("s",), takes_s=1e9)], lambda a, s: "", Budget())
    assert outcome.result == MEASURED


def test_a_quick_run_ends_within_ten_minutes() -> None:
    steps = [step for step in STEPS if step.quick is not None and GPU not in step.needs]
    assert all(step.quick_s > 0 for step in steps)
    assert sum(step.quick_s for step in steps) + REPORT_S <= QUICK_MINUTES * 60


def test_a_quick_step_measures_within_less_than_it_may_take() -> None:
    """Its record is kept before it is ended, and says what was cut."""
    for step in STEPS:
        if step.quick and "--within" in step.quick:
            within = float(step.quick[step.quick.index("--within") + 1])
            # Rounds of contenders may take half as much again.
            most = within * 1.5 if step.command == "contenders" else within
            assert most + 15 <= step.quick_s, step.name


def test_only_what_this_commit_has_records_of_is_spared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = ("engines", "--rounds", "400", "--out", "somewhere")
    mine = CodeVersion("a" * 40, False)
    monkeypatch.setattr(every, "code_version", lambda: mine)

    def keep(second: int, code: CodeVersion, *words: str) -> None:
        record = new_record("engines", models={}, settings={}, results={})
        record = dataclasses.replace(
            record, code=code, command_line=("xedge", "bench", *words),
            started_utc=f"2026-01-01T00:00:{second:02}+00:00",
        )  # fmt: skip
        write_record(record, tmp_path)

    assert measured_before(tmp_path, args) == 0
    keep(1, CodeVersion("b" * 40, False), *args)
    keep(2, mine, *args[:3])
    assert measured_before(tmp_path, args) == 0
    keep(3, mine, *args)
    assert measured_before(tmp_path, args) == 1
    keep(4, mine, *args)
    assert measured_before(tmp_path, args) == 2


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_every_step_is_a_command_that_takes_its_arguments(step: Step) -> None:
    for args in (step.full, step.quick):
        if args is not None:
            # Parses, and runs nothing.
            made = bench.commands[args[0]].make_context(args[0], [*args[1:], "--scratch"])
            assert made.args == []


def test_every_benchmark_is_a_step() -> None:
    no_benchmarks = {"accept", "all", "compare", "report"}
    days = {"studies"}
    assert set(bench.commands) - no_benchmarks - days == {step.command for step in STEPS}
    assert len({step.name for step in STEPS}) == len(STEPS)


def test_every_host_is_in_a_full_run() -> None:
    hosts = {step.full[1] for step in STEPS if step.command == "contenders" and step.full}
    assert hosts - {"--gpu"} == set(HOSTS)


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
    words = [
        word for step in STEPS for word in step.full or () if not word.replace(".", "").isdigit()
    ]
    assert not [word for word in words if "/" in word or "." in word]


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
    assert "--within 15" in done.stderr
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


def test_what_would_run_is_listed() -> None:
    done = bench_all("--list", "--only", "speed", "--scratch")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == sum(step.command == "speed" for step in STEPS)
    assert lines[0].startswith("xedge bench speed atss --scratch: about ")
    refused = bench_all("--runs", 2, "--scratch")
    assert refused.returncode == 2
    assert "leave --scratch away" in refused.stderr
