"""`xedge bench speed`; what it measures is not asserted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from xedge_benchmarks import speed
from xedge_benchmarks.contenders import noise
from xedge_benchmarks.shelf import Shelf
from xedge_benchmarks.speed import Row, SpeedSettings, bench_speed, rows_of
from xedge_benchmarks.speed_graphs import FORMS_OF, Subject, as_advised, by_onnxruntime, sides
from xedge_benchmarks.start import bench_start
from xedge_calibration.placement import FORMS

from xedge.engines import load
from xedge.errors import ConfigError
from xedge.provenance import CodeVersion

GRAPH = """
<ir_version: 10, opset_import: ["" : 20]>
g (uint8[1, 3, 8, 12] planes, float[4, 3, 3, 3] w) => (float[1, 4, 6, 10] y)
{
    x = Cast <to = 1> (planes)
    y = Conv (x, w)
}
"""


@pytest.fixture
def graph() -> bytes:
    model = onnx.parser.parse_model(GRAPH)
    random = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(random, "w"))
    del model.graph.input[1]
    data: bytes = model.SerializeToString()
    return data


def test_every_row_names_a_form_and_a_row_of_its_table() -> None:
    for name in speed.TABLES:
        rows = rows_of(name)
        names = [row.name for row in rows]
        assert len(set(names)) == len(names)
        for row in rows:
            assert row.form in FORMS_OF
            assert row.against in (*names, "")
    with pytest.raises(ConfigError, match="label-aware"):
        rows_of("nothing")


def test_a_graph_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def make() -> bytes:
        made.append(1)
        return b"graph"

    clean = version("a" * 40, dirty=False)
    monkeypatch.setattr("xedge_benchmarks.shelf.code_version", clean)
    shelf = Shelf(tmp_path / "graphs")
    assert [shelf.take("x", make), shelf.take("x", make)] == [b"graph"] * 2
    assert len(made) == 1
    assert Shelf().take("x", make) == b"graph"
    other = version("b" * 40, dirty=False)
    monkeypatch.setattr("xedge_benchmarks.shelf.code_version", other)
    shelf.take("x", make)
    assert len(made) == 3
    # Of code that no commit names nothing is kept, and nothing taken.
    changed = version("b" * 40, dirty=True)
    monkeypatch.setattr("xedge_benchmarks.shelf.code_version", changed)
    shelf.take("x", make)
    assert len(made) == 4


def version(commit: str, *, dirty: bool) -> Callable[[], object]:
    return lambda: CodeVersion(commit, dirty)


def test_the_rival_is_on_integers(graph: bytes) -> None:
    assert sides(graph) == (8, 12)
    assert set(FORMS) <= set(FORMS_OF)
    quantised = as_advised(graph)
    assert quantised != by_onnxruntime(graph)
    operators = {n.op_type for n in onnx.load_model_from_string(quantised).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators
    planes = {"planes": noise(8, 12)[0][None]}
    a, b = (load(model, "onnxruntime", 1).run(planes)["y"] for model in (graph, quantised))
    # Sums of 27 products of a number up to 255 with an error of half of 1/127 of a weight up to 3,
    # and two steps of 1/255 of the output's range.
    assert 0 < np.abs(a - b).max() < 0.05 * np.abs(a).max() + 10


def test_rows_are_compared_in_both_clocks(graph: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Subject, "graph", lambda self: graph)
    subject = Subject("any")
    rows = (Row("a", subject, "onnxruntime"), Row("b", subject, "onnxruntime", against="a"),
            Row("c", subject, "onnxruntime", "int8-onnxruntime", "c"))  # fmt: skip
    monkeypatch.setattr(speed, "TABLES", {"mine": rows})
    record = bench_speed("mine", SpeedSettings(rounds=3, warmup=1, threads=1))
    found = record.results["rows"]
    assert [row["name"] for row in found] == ["a", "b", "c"]
    assert [row["against"] for row in found] == ["a", "a", "c"]
    assert found[0]["ratio"] == found[0]["cpu_ratio"] == found[2]["ratio"] == 1.0
    assert all(row["rounds"] == 3 and row["cpu_median_ms"] > 0 for row in found)
    assert set(record.models) == {"a", "b", "c"}
    with pytest.raises(ConfigError, match="no such row"):
        bench_speed("mine", only="tensorrt")
    monkeypatch.setattr(speed, "TABLES", {"mine": (*rows, Row("d", subject, "tensorrt-weak"))})
    record = bench_speed("mine", SpeedSettings(rounds=2, warmup=0, threads=1))
    assert [row["name"] for row in record.results["rows"]] == ["a", "b", "c"]
    assert any("not measured: tensorrt-weak: " in note for note in record.notes)
    with pytest.raises(ConfigError, match="no engine of the table"):
        bench_speed("mine", only="tensorrt-weak")


def test_a_belt_is_made_of_quiet_and_refined_windows() -> None:
    rows = rows_of("quiet")[:4]
    assert [row.windows for row in rows] == ["", "", "quiet", "refined"]
    found = [{"name": row.name, "median_ms": float(ms), "ratio": ms / 8, "max_ms": 2.0 * ms,
              "rounds": 5} for row, ms in zip(rows, (8, 12, 6, 14), strict=True)]  # fmt: skip
    (belt,) = speed.belts(rows, found, 0.75)
    # The slowest window of a belt is no mean of the slowest of both kinds.
    assert belt == {"name": "LA, mean of a belt, openvino", "median_ms": 8.0, "ratio": 1.0,
                    "max_ms": None, "rounds": 5, "stopped": 0.75}  # fmt: skip
    assert speed.belts(rows_of("label-aware"), [{}] * 6, 0.75) == []
    assert speed.stopped_share(0.5) == 0.5


def test_a_window_that_stops_does_not_do_the_work_of_the_graph(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subject = Subject("atss-lacls-tiny")
    rows = [Row(name, subject, "onnxruntime", against="whole", windows=windows)
            for name, windows in (("whole", ""), ("stops", "quiet"), ("goes on", "refined"))
            ]  # fmt: skip
    monkeypatch.setattr(speed, "TABLES", {"mine": rows})
    settings = SpeedSettings(rounds=6, warmup=1, threads=1, stopped=0.5)
    works = bench_speed("mine", settings).results["work"]
    assert set(works) == {"whole", "goes on"}


@pytest.mark.full
def test_a_start_is_measured() -> None:
    record = bench_start(2)
    rows = {row["name"]: row for row in record.results["rows"]}
    assert rows["import xedge, inside Python"]["samples"] == 2
    assert rows["installed: numpy"]["median"] > 1
    assert rows["installed: together"]["median"] > rows["installed: numpy"]["median"]


def test_a_graph_of_noise_is_the_same_every_time() -> None:
    assert all(np.array_equal(a, b) for a, b in zip(noise(3, 4), noise(3, 4), strict=True))
