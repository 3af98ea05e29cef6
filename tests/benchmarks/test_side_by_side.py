"""Contenders in processes of their own; what is measured of them is not asserted."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import pytest
from click.testing import CliRunner
from xedge_benchmarks import side_by_side
from xedge_benchmarks.child import Child, Limits, Turns, one_line, own_peak_mib
from xedge_benchmarks.side_by_side import Ready, SideSettings, bench_contenders, serve

from xedge.cli import main
from xedge.errors import ConfigError, EngineRunError

GRAPH = """
<ir_version: 10, opset_import: ["" : 20]>
g (uint8[1, 3, 8, 12] planes) => (float[1, 3, 8, 12] y)
{
    y = Cast <to = 1> (planes)
}
"""
ORT = "onnxruntime:fp32"


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "graph.onnx"
    path.write_bytes(onnx.parser.parse_model(GRAPH).SerializeToString())
    return str(path)


PATIENT = Limits(seconds=60)


def child_of(file: str, name: str = ORT, limits: Limits = PATIENT) -> Iterator[Child]:
    with closing(Child(serve, ("bundle", name, file, 1), limits)) as child:
        yield child


def test_a_process_runs_and_looks_at_its_own_clocks(file: str) -> None:
    for child in child_of(file):
        ready = child.hear()
        assert isinstance(ready, Ready)
        assert set(ready.versions) == {"python", "onnxruntime"}
        assert len(ready.sha256) == 64
        wall, spent, total = child.ask(None)
        assert wall > 0
        assert 0 <= spent <= total
        # One that dies says how.
        os.kill(child._process.pid or 0, signal.SIGKILL)
        with pytest.raises(EngineRunError, match="SIGKILL"):
            child.ask(None)
        assert not child.alive


@pytest.mark.parametrize(
    ("limits", "name", "why"),
    [
        (Limits(seconds=0.01), ORT, "longer than 0.01 s"),
        (Limits(seconds=60, mib=1), ORT, "more than 1 MiB"),
        (PATIENT, "onnxruntime-cuda:fp32", "cannot drive this device"),
    ],
)
def test_one_that_cannot_says_why(limits: Limits, name: str, why: str, file: str) -> None:
    for child in child_of(file, name, limits):
        with pytest.raises(EngineRunError, match=why):
            child.hear()


def test_contenders_on_the_shipped_bundle() -> None:
    told: list[str] = []
    names = (ORT, "tensorrt-rtx:fp32")
    settings = SideSettings(rounds=2, warmup=1, threads=1, seconds=120)
    record = bench_contenders(["bundle"], names, settings, tell=told.append)
    assert any("loading" in line for line in told)
    assert json.loads(record.to_json())["settings"]["contenders"] == list(names)
    (host,) = record.results["hosts"]
    first, failed = host["rows"]
    assert (first["contender"], first["ratio"], first["rounds"]) == (ORT, 1.0, 2)
    assert first["against"] == ORT
    assert first["ours"]
    assert first["versions"]["onnxruntime"]
    assert failed["contender"] == "tensorrt-rtx:fp32"
    assert failed["failed"]
    assert set(record.models) == {f"bundle, {ORT}"}


def test_an_error_is_one_line_with_what_began_it() -> None:
    error = RuntimeError("step 1\nof 3")
    error.__cause__ = ValueError("\x1b[96mred\x1b[0m\nmore")
    assert one_line(error) == "RuntimeError: step 1, from ValueError: red"
    assert one_line(KeyError()) == "KeyError"
    error.__cause__.__cause__ = error  # a circle ends
    assert one_line(error).startswith("RuntimeError: step 1")


def test_memory_is_the_processes_own(tmp_path: Path, file: str) -> None:
    held = np.ones(1 << 28, np.uint8)  # 256 MiB of ours are none of a child's
    for child in child_of(file):
        peak = child.hear().peak_mib
        assert 0 < peak < 256
    assert own_peak_mib() >= len(held) >> 20  # type: ignore[operator]
    assert own_peak_mib(tmp_path) is None


class Breaking:
    """Stands for a process that dies in its second turn."""

    mib = 1

    def __init__(self) -> None:
        self.asked = 0

    def ask(self, question: object) -> tuple[int, int, int]:
        self.asked += 1
        if self.asked == 2:
            raise EngineRunError("its process was ended by SIGSEGV")
        return 1, 1, self.asked


def test_one_that_breaks_has_no_row_and_no_more_turns() -> None:
    child: Any = Breaking()
    turn = Turns(child)
    for _ in range(4):
        turn()
    assert child.asked == 2
    assert turn.why == "its process was ended by SIGSEGV"


def test_where_no_time_is_left_nobody_is_loaded() -> None:
    record = bench_contenders(["bundle"], [ORT], SideSettings(within_s=1e-9))
    (row,) = record.results["hosts"][0]["rows"]
    assert row["failed"].startswith("no time was left")


def test_bad_input() -> None:
    with pytest.raises(ConfigError, match="no such host"):
        bench_contenders(["sdd"])


def test_a_gpu_must_be_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = side_by_side.read_machine()
    monkeypatch.setattr(side_by_side, "read_machine", lambda: machine)
    object.__setattr__(machine, "gpus", ())
    result = CliRunner().invoke(
        main, ["bench", "contenders", "bundle", "--gpu", "--scratch", "--out", str(tmp_path)]
    )
    assert result.exit_code == 1
    assert "no NVIDIA GPU" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.full
def test_the_command_for_people(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        main,
        ["bench", "contenders", "--quick", "--rounds", "2", "--contender", ORT, "--contender",
         "torch", "--contender", "cuda", "--threads", "1", "--seconds", "200", "--scratch",
         "--out", str(tmp_path)],
        catch_exceptions=False,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "with python" in result.stdout
    assert "not measured: PyTorch eager on CUDA" in result.stdout
