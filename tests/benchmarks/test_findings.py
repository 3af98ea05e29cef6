"""Lines of every kind of record."""

from __future__ import annotations

from typing import Any

import pytest
from xedge_benchmarks.findings import findings
from xedge_benchmarks.record import read_record
from xedge_benchmarks.report import TITLES
from xedge_benchmarks.stored import stored_in

SCORE = {"ap50": 0.5, "alarmed_of_those": 3, "bags_with_objects": 4, "alarmed_of_clean": 1,
         "clean_bags": 2}  # fmt: skip


def record(kind: str, results: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {"benchmark": kind, "settings": settings, "results": results, "conditions": None}


def times(p50: float | None, p99: float | None = None) -> dict[str, Any]:
    ends = None if p50 is None else [p50 - 1, p50 + 1]
    return {"n": 9, "p50": p50, "p90": p50, "p99": p99, "max": p50,
            "interval_95": {"p50": ends, "p90": ends, "p99": None}}  # fmt: skip


def test_the_records_of_this_checkout(repository) -> None:  # type: ignore[no-untyped-def]
    for stored in stored_in(repository / "benchmarks/results"):
        lines = findings(stored.content, None)
        assert lines, stored.path
        assert all(line.label and line.result for line in lines), stored.path
        assert any(line.main for line in lines)
        assert stored.benchmark in TITLES


def test_every_line_of_the_control_page_is_there(repository) -> None:  # type: ignore[no-untyped-def]
    results = repository / "benchmarks/results/intel-xeon-processor-2-cores"
    lines = findings(read_record(results / "2026-11-25T082358-buses-c8294c7a3856.json"), None)
    assert lines[0].label == "modbus client"
    assert lines[0].result == "p50 0.89 ms (p99 5.22) to the PLC, 6.3 (p99 11.6) and back"


def test_bags_that_fell_apart_are_no_throughput(repository) -> None:  # type: ignore[no-untyped-def]
    results = repository / "benchmarks/results/intel-xeon-processor-2-cores"
    lines = findings(read_record(results / "2026-11-25T084129-lane-e32a430cc6f4.json"), None)
    assert lines[0].result.endswith("0 late of 39; 2775 bags an hour")
    assert lines[2].result.endswith("68 late of 108; LOST 6304 of 40832 lines")


def test_scenarios_quote_their_own_figure() -> None:
    row = {"engine": "openvino", "quoted": "p90", "scenario": "single-stream", "steady": False,
           "latency_ms": times(40.0), "stages_ms": {}}  # fmt: skip
    offline = {"engine": "openvino", "quoted": "throughput", "scenario": "offline", "steady": True,
               "latency_ms": times(None), "samples_per_s": 25.0, "samples_per_s_95": [24.0, 26.0],
               "stages_ms": {}}  # fmt: skip
    engines = [{"engine": "openvino", "accuracy": SCORE}, {"engine": "x", "accuracy": None}]
    found = findings(record("scenarios", {"rows": [row, offline], "engines": engines}), None)
    assert [(f.label, f.result, f.interval) for f in found[:2]] == [
        ("openvino, single-stream", "p90 40 ms, TOO NOISY", "39 to 41"),
        ("openvino, offline", "25 windows/s", "24 to 26"),
    ]
    assert found[2].result.startswith("AP50 0.500; alarms on 3 of 4")
    assert len(found) == 3


def test_a_percentile_that_too_few_samples_would_say() -> None:
    row = {"engine": "a", "quoted": "p99", "scenario": "server", "steady": None,
           "latency_ms": times(40.0), "stages_ms": {}}  # fmt: skip
    (found,) = findings(record("scenarios", {"rows": [row], "engines": []}), None)
    assert (found.result, found.interval) == ("p99 too few samples, p50 40 ms", "")


def test_contenders_and_what_failed() -> None:
    def row(title: str, ms: float, *, ours: bool) -> dict[str, Any]:
        return {"contender": title, "title": title, "form": "", "ours": ours, "median_ms": ms,
                "median_ms_low": ms - 1, "median_ms_high": ms + 1, "ratio": ms / 100,
                "cpu_ratio": ms / 200}  # fmt: skip

    rows = [
        row("eager", 100.0, ours=False),
        row("ours", 30.0, ours=True),
        row("ours, int8", 20.0, ours=True),
        {"contender": "x", "title": "x", "form": "", "ours": False, "failed": "out of memory"},
    ]
    host = {"host": "atss", "rows": rows}
    found = findings(record("contenders", {"hosts": [host]}), None)
    assert [f.main for f in found] == [False, False, True, False]
    assert found[2].result == "20 ms, of eager × 0.20 (on the clock; × 0.10 in processor time)"
    busy = findings(record("contenders", {"hosts": [host | {"foreign_cores": 0.5}]}), None)
    assert busy[2].result == "20 ms, of eager × 0.10 (processor time; × 0.20 on the clock)"
    assert found[2].interval == "19 to 21"
    assert found[3].result == "failed: out of memory"


def test_growth_says_what_was_not_measured() -> None:
    def row(x: float, p50: float | None, why: str | None = None) -> dict[str, Any]:
        return {"name": "batch", "x_name": "windows", "x": x, "what": "w", "latency_ms": times(p50),
                "peak_mib": None if why else 100.0, "not_measured": why}  # fmt: skip

    rows = [row(1, 30.0), row(2, 50.0), row(4, None, "out of memory")]
    found = findings(record("growth", {"rows": rows}), None)
    assert [f.result for f in found] == [
        "p50 30 ms, 100 MiB", "p50 50 ms, 100 MiB", "not measured: out of memory",
    ]  # fmt: skip


def test_energy_a_bag() -> None:
    belt = record(
        "belt",
        {"bags": 4, "decisions": 4, "late": 0, "realtime_factor": 2.0, "engine": "openvino",
         "latency_ms": {"p50": 1.0, "max": 2.0}},
        speed_m_s=0.5, realtime=True,
    )  # fmt: skip
    belt["conditions"] = {"seconds": 20.0, "watts": {"VDD_IN": {"mean": 6.0}}}
    # 6 W for 20 s are 120 J, of 4 bags.
    assert findings(belt, None)[-1].label == "energy a bag, VDD_IN"
    assert findings(belt, None)[-1].result == "30 J, 6 W"
    belt["conditions"]["watts"] = {}
    assert findings(belt, None)[-1].result == "not measured: nothing here tells its power"
    assert not findings(belt, None)[-1].main


@pytest.mark.parametrize(("rounds", "tail"), [(367, "p90 3"), (368, "p99 4"), (35, "max 5")])
def test_engines_quote_the_percentile_that_their_rounds_bound(rounds: int, tail: str) -> None:
    row = {"name": "a", "rounds": rounds, "median_ms": 2.0, "p90_ms": 3.0, "p99_ms": 4.0,
           "max_ms": 5.0}  # fmt: skip
    (found,) = findings(record("engines", {"engines": [row]}), None)
    assert found.result == f"2 ms ({tail})"


@pytest.mark.parametrize(
    ("clock", "said"),
    [("cpu", "processor time 3 ms, of backbone alone × 1.50"),
     ("wall", "3 ms, of backbone alone × 1.50 (on the clock)")],
)  # fmt: skip
def test_passes_say_of_what_graph_and_by_which_clock(clock: str, said: str) -> None:
    rows = [{"name": name, "median_ms": ms, "ratio": ms / 2, "ratio_low": 1.0, "ratio_high": 2.0}
            for name, ms in (("plain", 2.0), ("as traced", 3.0))]  # fmt: skip
    settings = {"recipe": "chr", "plain": "backbone", "engine": "openvino", "clock": clock}
    first, second = findings(record("algebra", {"graphs": rows}, **settings), None)
    assert first.label == "chr, openvino: backbone alone"
    assert (second.label, second.result) == ("chr, openvino: as traced", said)


def test_shares_stand_beside() -> None:
    work = {"operations": {"float32": 10e9}, "bytes": 1e9}
    row = {"name": "openvino", "rounds": 400, "median_ms": 200.0, "p99_ms": 300.0}
    peaks = {"rows": [{"device": "cpu", "threads": 1, "arithmetic": "float32", "best": 100.0}]}
    content = record("engines", {"engines": [row], "work": work}, threads=1)
    (found,) = findings(content, peaks)
    assert (found.share, found.interval) == ("50 % / -", "")
    assert findings(content, None)[0].share == ""


def test_peaks_of_all_threads_are_what_is_shown() -> None:
    rows = [{"device": "cpu", "threads": t, "arithmetic": "int8", "best": b, "name": n}
            for t, b, n in ((1, 5.0, "a"), (2, 9.0, "b"), (2, 8.0, "c"))]  # fmt: skip
    found = findings(record("peak", {"rows": rows}), None)
    assert [(f.label, f.result, f.main) for f in found] == [
        ("int8, 1 thread", "5 Gop/s (a)", False), ("int8, 2 threads", "9 Gop/s (b)", True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("agree", "said"),
    [({"p50": True, "p90": True}, "agrees with MLPerf's load generator within the intervals"),
     ({"p50": True, "p90": False}, "DOES NOT AGREE with MLPerf's load generator in p90"),
     ({}, "too few samples to compare")],
)  # fmt: skip
def test_loadgen(agree: dict[str, bool], said: str) -> None:
    (found,) = findings(record("loadgen", {"rows": [{"scenario": "s", "agree": agree}]}), None)
    assert found.result.startswith(said)


def test_a_kind_without_lines_is_named() -> None:
    assert findings(record("soak", {}), None)[0].label == "soak"
