"""Rows of every kind of record, held against a peak."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from xedge_benchmarks.limits import peak_of, peaks_in, reached
from xedge_benchmarks.record import new_record
from xedge_benchmarks.work import Peak, Share

from xedge.cli import main


def peak_row(kind: str, best: float, threads: int = 1, device: str = "cpu") -> dict[str, Any]:
    return {"device": device, "threads": threads, "arithmetic": kind, "best": best}


PEAKS = {
    "rows": [
        peak_row("float32", 100), peak_row("float32", 90), peak_row("bfloat16", 400),
        peak_row("memory", 10), peak_row("float32", 200, 2), peak_row("memory", 16, 2),
        peak_row("float16", 1e6, 0, "cuda"), peak_row("float32", 5e4, 0, "cuda"),
    ]
}  # fmt: skip
WORK = {"operations": {"float32": 10_000_000_000}, "bytes": 1_000_000_000}


def record(kind: str, results: dict[str, Any], threads: int | None = 1) -> dict[str, Any]:
    return {"benchmark": kind, "settings": {"threads": threads}, "results": results}


def test_a_peak_is_that_of_the_same_threads() -> None:
    assert peak_of(PEAKS, gpu=False, threads=1) == Peak({"float32": 1e11, "bfloat16": 4e11}, 1e10)
    assert peak_of(PEAKS, gpu=False, threads=2) == Peak({"float32": 2e11}, 1.6e10)
    assert peak_of(PEAKS, gpu=False, threads=None) == peak_of(PEAKS, gpu=False, threads=2)
    assert peak_of(PEAKS, gpu=True, threads=1).operations_s["float16"] == 1e15
    assert peak_of({"rows": []}, gpu=False, threads=None) == Peak({}, None)


def test_engines() -> None:
    rows = [{"name": "openvino", "median_ms": 200.0}, {"name": "openvino-bf16", "median_ms": 100.0},
            {"name": "tensorrt", "median_ms": 1.0}]  # fmt: skip
    found = reached(record("engines", {"engines": rows, "work": WORK}), PEAKS)
    # 10 Gop at 100 Gop/s take 0.1 s, at 400 Gop/s 25 ms; 1 GB at 10 GB/s takes 0.1 s.
    assert [row.share for row in found[:2]] == [Share(0.5, 0.5), Share(0.25, 1.0)]
    assert found[0].text == "50 % / 50 %"
    # Whether TensorRT takes TF32 for a graph in float32 is not told.
    assert found[2].share.arithmetic is None
    assert reached(record("engines", {"engines": rows, "work": None}), PEAKS) == []
    assert reached(record("engines", {"engines": rows}), PEAKS) == []


def test_speed_scenarios_and_contenders() -> None:
    speed = {"rows": [{"name": "a", "engine": "openvino", "median_ms": 200.0},
                      {"name": "b", "engine": "torch-eager", "median_ms": 9.0}],
             "work": {"a": WORK}}  # fmt: skip
    assert [r.label for r in reached(record("speed-atss", speed), PEAKS)] == ["a"]
    rows = [
        {"engine": "openvino", "scenario": "server", "stages_ms": {"infer": {"p50": 200.0}}},
        {"engine": "openvino", "scenario": "offline", "stages_ms": {"infer": {"p50": None}}},
    ]
    (found,) = reached(record("scenarios", {"rows": rows, "work": WORK}), PEAKS)
    assert (found.label, found.seconds) == ("openvino, server", 0.2)
    host = {
        "host": "atss",
        "work": {"fp32": WORK, "int8": None},
        "rows": [
            {"contender": "torch-bf16", "title": "PyTorch", "form": "", "median_ms": 100.0},
            {"contender": "openvino:fp32", "title": "ours", "form": "fp32", "failed": "no"},
            {"contender": "openvino:int8", "title": "int8", "form": "int8", "median_ms": 3.0},
            {"contender": "cuda-fp16", "title": "CUDA", "form": "", "median_ms": 1.0},
            {"contender": "openvino-nncf", "title": "NNCF", "form": "nncf", "median_ms": 1.0},
        ],
    }
    found, gpu = reached(record("contenders", {"hosts": [host]}), PEAKS)
    assert (found.label, found.share.arithmetic) == ("atss: PyTorch", 0.25)
    assert gpu.share.arithmetic == pytest.approx(0.01)


def test_other_records_have_no_rows() -> None:
    assert reached(record("belt", {"bags": 3}), PEAKS) == []
    assert reached(record("speed-start", {"rows": [{"name": "a"}]}), PEAKS) == []


def test_a_table_states_the_share(quick_bundle_path: Path, tmp_path: Path) -> None:
    peaks = new_record("peak", models={}, settings={}, results=PEAKS)
    folder = tmp_path / peaks.machine.slug
    folder.mkdir()
    assert peaks_in(folder) is None
    (folder / "2026-01-01T000000-peak-a.json").write_text(peaks.to_json())
    done = CliRunner().invoke(
        main,
        ["bench", "engines", "--engine", "onnxruntime", "--rounds", "2", "--warmup", "0", "--bags",
         "1", "--threads", "1", "--bundle", str(quick_bundle_path), "--out", str(tmp_path),
         "--scratch"],
        catch_exceptions=False,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "of the measured peak" in done.stdout
    (stored,) = (tmp_path / "scratch").glob("*-engines-*.json")
    # No convolution and no product in that graph.
    assert json.loads(stored.read_text())["results"]["work"] == {"operations": {}, "bytes": 0}
