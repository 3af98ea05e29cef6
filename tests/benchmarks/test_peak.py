"""`xedge bench peak` in small; how high the peaks are is not asserted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from xedge_benchmarks import peak
from xedge_benchmarks.limits import best_rows, peak_of
from xedge_benchmarks.peak import PeakSettings, bench_peak, chain
from xedge_benchmarks.stored import figures
from xedge_benchmarks.work import INT8, Peak, work_of

from xedge.cli import main

SMALL = PeakSettings(threads=(1,), rounds=6, warmup=1, channels=8, side=8, depth=2, matrix=32,
                     copied_mib=1)  # fmt: skip


def test_every_arithmetic_of_this_machine() -> None:
    record = bench_peak(SMALL)
    rows = record.results["rows"]
    assert {"float32", INT8, "memory"} <= {row["arithmetic"] for row in rows}
    assert {row["threads"] for row in rows} == {1}
    assert {"onnxruntime int8-u8s8, 3 x 3", "openvino int8, 1 x 1"} <= set(record.models)
    for row in rows:
        key = "gb_s" if row["arithmetic"] == "memory" else "gop_s"
        assert 0 < row[f"{key}_low"] <= row[key] <= row[f"{key}_high"] <= row["best"] * (1 + 1e-9)
    found = figures(record.results)
    assert all(figure.more_is_better for figure in found.values())
    assert len(found) == len(rows)
    best = peak_of(record.results, gpu=False, threads=1)
    assert best.operations_s[INT8] == 1e9 * max(
        row["best"] for row in rows if row["arithmetic"] == INT8
    )
    assert best.bytes_s is not None
    assert peak_of(record.results, gpu=False, threads=3) == Peak(
        {}, None
    )  # measured with one thread alone
    assert record.settings["threads"] == [1]
    assert record.conditions is not None


def test_a_gpu_has_no_threads() -> None:
    row = {"device": "cuda", "threads": 0, "arithmetic": "float16", "best": 700e3}
    less = row | {"best": 600e3}
    found = peak_of({"rows": [row, less]}, gpu=True, threads=4)
    assert found == Peak({"float16": 700e12}, None)
    assert best_rows([less, row, less])["cuda", 0, "float16"] is row


@pytest.mark.parametrize("kernel", [1, 3])
def test_the_chain_does_what_is_counted(kernel: int) -> None:
    found = work_of(chain(8, 10, 3, kernel))
    assert found is not None
    places = 10 * 10 * kernel * kernel
    assert found.operations == {"float32": 2 * places * (3 * 8 + 3 * 8 * 8 + 8)}


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "bench_peak", lambda settings, tell: bench_peak(SMALL, tell))
    told = CliRunner().invoke(
        main, ["bench", "peak", "--threads", "1", "--out", str(tmp_path), "--scratch"],
        catch_exceptions=False,
    )  # fmt: skip
    assert told.exit_code == 0, told.output
    assert "GB/s" in told.stdout
    (path,) = (tmp_path / "scratch").glob("*-peak-*.json")
    assert json.loads(path.read_text())["results"]["rows"]
