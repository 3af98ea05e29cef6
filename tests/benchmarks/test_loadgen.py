"""The scenarios and MLPerf's own load generator count the same."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from xedge_benchmarks.load import MULTI_STREAM, OFFLINE, QUOTED, SERVER, SINGLE_STREAM, Plan, serve
from xedge_benchmarks.loadgen import through_loadgen

from xedge.cli import main
from xedge.lane.clock import MonotonicClock

pytest.importorskip(
    "mlperf_loadgen", reason="mlcommons-loadgen (extra `loadgen`) has no wheel here"
)

WORK_S = 0.01


def work(sample: int) -> None:
    time.sleep(WORK_S)


@pytest.mark.parametrize("scenario", [SINGLE_STREAM, MULTI_STREAM, SERVER])
def test_its_own_summary_says_what_is_read_from_its_trace(scenario: str) -> None:
    found = through_loadgen(lambda sample: None, scenario, 40, 4, streams=3, rate=2000.0)
    latencies = np.sort(found.answers.latencies_ns)
    assert len(latencies) == 40
    assert len(found.answers.samples_ns) == 40 * (3 if scenario == MULTI_STREAM else 1)
    said = {
        float(percent): int(ns)
        for percent, ns in re.findall(r"^([\d.]+) percentile latency \(ns\) +: (\d+)",
                                      found.summary, re.MULTILINE)
    }  # fmt: skip
    for percent in (50.0, 90.0, 99.0):
        # Its ranks and ours may be one apart.
        rank = round(percent / 100 * 39)
        assert said[percent] in latencies[max(0, rank - 1) : rank + 2]


def test_offline_is_one_query_of_all_samples() -> None:
    found = through_loadgen(lambda sample: None, OFFLINE, 25, 4)
    assert (len(found.answers.latencies_ns), len(found.answers.samples_ns)) == (1, 25)


def test_its_server_waits_for_a_poisson_process() -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy knows the distribution")
    due_ns = through_loadgen(lambda sample: None, SERVER, 400, 4, rate=2000.0).due_ns
    assert stats.kstest(np.diff(due_ns), stats.expon(scale=1e9 / 2000).cdf).pvalue > 0.01


@pytest.mark.parametrize("scenario", [SINGLE_STREAM, MULTI_STREAM, SERVER])
def test_both_count_the_same_latency(scenario: str) -> None:
    """On one schedule, with work that needs no processor; a quarter of the work is the noise."""
    theirs = through_loadgen(work, scenario, 24, 4, streams=2, rate=60.0)
    each = 2 if scenario == MULTI_STREAM else 1
    queries = Plan(queries=((0,) * each,) * 24,
                   due_ns=theirs.due_ns if scenario == SERVER else None)  # fmt: skip
    ours = serve(work, queries, MonotonicClock())
    medians = [np.median(answers.latencies_ns) / 1e9 for answers in (theirs.answers, ours)]
    assert abs(medians[0] - medians[1]) < WORK_S / 4
    assert min(medians) >= WORK_S * each


def test_an_error_of_the_system_comes_out() -> None:
    with pytest.raises(ZeroDivisionError):
        through_loadgen(lambda sample: sample / 0, SINGLE_STREAM, 3, 1)


def test_the_command_keeps_a_record(quick_bundle_path: Path, tmp_path: Path) -> None:
    arguments = ["bench", "loadgen", "--bundle", str(quick_bundle_path), "--queries", "40"]
    arguments += ["--rounds", "2", "--streams", "2", "--bags", "2", "--engine", "onnxruntime"]
    arguments += ["--threads", "1", "--scratch", "--out", str(tmp_path)]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "throughput" in result.stdout
    (path,) = tmp_path.rglob("*-loadgen-*.json")
    rows = json.loads(path.read_text())["results"]["rows"]
    assert [row["scenario"] for row in rows] == list(QUOTED)
    for row in rows[:3]:
        assert row["here"]["n"] == row["loadgen"]["n"] == 40
        assert set(row["agree"]) == {"p50", "p90"}
