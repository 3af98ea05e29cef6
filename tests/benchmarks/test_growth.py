"""Growth: a row a point, each from a process of its own; how steep it is is not asserted."""

from __future__ import annotations

import builtins
import json
from pathlib import Path

import pytest
import xedge_benchmarks.growth
from click.testing import CliRunner
from xedge_benchmarks.child import Limits, own_peak_mib
from xedge_benchmarks.growth import AXES, QUICKLY, GrowthSettings, bench_growth

from xedge.bundle import open_bundle
from xedge.cli import main
from xedge.errors import ConfigError

KEYS = {"name", "x_name", "x", "what", "latency_ms", "peak_mib", "not_measured"}


@pytest.fixture
def one_graph(quick_bundle_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The quick model at every point: exports are other tests'."""
    model = open_bundle(quick_bundle_path).model()
    monkeypatch.setattr(xedge_benchmarks.growth, "graph", lambda *_: model)


@pytest.mark.usefixtures("one_graph")
def test_graphs_take_turns_and_have_their_own_memory(tmp_path: Path) -> None:
    arguments = ["bench", "growth", "batch", "--quick", "--engine", "onnxruntime", "--threads", "1"]
    arguments += ["--scratch", "--out", str(tmp_path)]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "windows of one run" in result.stdout
    (path,) = tmp_path.rglob("*-growth-*.json")
    record = json.loads(path.read_text())
    rows = record["results"]["rows"]
    assert [(row["name"], row["x"]) for row in rows] == [("batch", 1), ("batch", 4)]
    for row in rows:
        assert set(row) == KEYS
        assert row["not_measured"] is None
        assert row["latency_ms"]["n"] == QUICKLY.rounds
        assert row["latency_ms"]["interval_95"]["p50"] is not None
        assert row["peak_mib"] > 20  # Python and an engine


def test_lanes(quick_bundle_path: Path) -> None:
    settings = GrowthSettings(axes=("lanes",), quick=True, seconds=1.0, bags=1, threads=1)
    record = bench_growth(quick_bundle_path, settings)
    for row, lanes in zip(record.results["rows"], (1, 2), strict=True):
        assert row["not_measured"] is None
        assert (row["name"], row["x"]) == ("lanes", lanes)
        assert set(row) == KEYS | {"bags", "late", "cpu_share"}
        assert row["latency_ms"]["n"] == row["bags"]


@pytest.mark.usefixtures("one_graph")
def test_a_point_that_takes_too_much_is_a_row_that_says_so(quick_bundle_path: Path) -> None:
    settings = GrowthSettings(axes=("candidates",), quick=True, limits=Limits(mib=1))
    rows = bench_growth(quick_bundle_path, settings).results["rows"]
    for row in rows:
        assert row["not_measured"] == "it took more than 1 MiB of memory"
        assert row["latency_ms"]["p50"] is row["peak_mib"] is None


def test_without_torch_graphs_are_not_measured(
    quick_bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *args: object, **more: object) -> object:
        if name == "xedge_benchmarks.speed_graphs":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        return real(name, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    settings = GrowthSettings(axes=("image-side",), quick=True)
    rows = bench_growth(quick_bundle_path, settings).results["rows"]
    assert [row["not_measured"] for row in rows] == ["torch is not installed"] * 2


def test_the_graph_of_a_point_has_its_size(tmp_path: Path) -> None:
    subject = pytest.importorskip(
        "xedge_benchmarks.speed_graphs", reason="the extra `export` is not installed"
    ).Subject
    onnx = pytest.importorskip("onnx")
    small = subject("atss-tiny", ("data.height=64", "data.width=64"))
    graph = onnx.load_model_from_string(small.graph(batch=3, candidates=20)).graph
    shapes = {
        value.name: [side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {"planes": [3, 3, 64, 64], "boxes": [3, 20, 4], "scores": [3, 20],
                      "labels": [3, 20]}  # fmt: skip


def test_unknown_axis() -> None:
    with pytest.raises(ConfigError, match="image-side"):
        GrowthSettings(axes=("widht",))
    assert all(len(axis.quick) >= 2 for axis in AXES.values())


def test_peak_memory_is_what_the_kernel_says(tmp_path: Path) -> None:
    assert own_peak_mib(tmp_path) is None
    status = tmp_path / "proc/self/status"
    status.parent.mkdir(parents=True)
    status.write_text("Name:\tpython\nVmHWM:\t  2048 kB\nVmRSS:\t1024 kB\n")
    assert own_peak_mib(tmp_path) == 2.0
