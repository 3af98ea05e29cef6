"""`xedge bench scenarios` from end to end on a quick model; what it measures is not asserted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from xedge_benchmarks.load import QUOTED, Answers
from xedge_benchmarks.scenarios import scenario_row, warnings

from xedge.cli import main

MS = 1_000_000


def run(*args: object) -> Result:
    return CliRunner().invoke(main, ["bench", *map(str, args)], catch_exceptions=False)


def test_every_scenario_on_two_engines(quick_bundle_path: Path, tmp_path: Path) -> None:
    result = run(
        "scenarios", "--engine", "onnxruntime", "--engine", "openvino", "--queries", 40,
        "--bags", 1, "--streams", 2, "--accuracy-bags", 2, "--threads", 1,
        "--bundle", quick_bundle_path, "--out", tmp_path, "--scratch", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    (stored,) = (tmp_path / "scratch").glob("*-scenarios-*.json")
    assert json.loads(stored.read_text()) == record
    rows = record["results"]["rows"]
    assert [(row["engine"], row["scenario"]) for row in rows] == [
        (engine, scenario) for engine in ("onnxruntime", "openvino") for scenario in QUOTED
    ]
    for row in rows:
        offline, pairs = row["scenario"] == "offline", row["scenario"] == "multi-stream"
        assert row["queries"] == (1 if offline else 40)
        assert row["samples_per_query"] == (40 if offline else 2 if pairs else 1)
        latency, samples = row["latency_ms"], row["sample_ms"]
        assert latency["n"] == (0 if offline else 40)
        assert (latency["p90"] is None) == offline
        assert latency["p99"] is None
        # A window's stages are within the window, and a window within its query.
        assert row["stages_ms"]["infer"]["max"] <= samples["max"]
        assert offline or samples["max"] <= latency["max"]
        assert 0 < row["busy"] <= 1
        assert (row["offered_per_s"] is not None) == (row["scenario"] == "server")
        assert (row["samples_per_s_95"] is not None) == offline
    for engine in record["results"]["engines"]:
        assert engine["accuracy"]["bags"] == 2
        # Every bag has dark pixels, so this model alarms on all of them.
        assert engine["accuracy"]["alarmed_of_clean"] == engine["accuracy"]["clean_bags"]
        assert engine["first_ms"] > 0


def test_for_people_too_few_are_named(quick_bundle_path: Path, tmp_path: Path) -> None:
    result = run(
        "scenarios", "--scenario", "single-stream", "--queries", 10, "--bags", 1,
        "--accuracy-bags", 0, "--engine", "onnxruntime", "--bundle", quick_bundle_path,
        "--out", tmp_path, "--scratch",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "p90: too few, 10 of 36 queries" in result.stdout
    assert "p50: too few" not in result.stdout
    assert "accuracy not measured" in result.stdout


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--engine", "onxruntime"], "there is no engine 'onxruntime'"),
        (["--engine", "onnxruntime", "--engine", "tensorflow"], "there is no engine 'tensorflow'"),
        (["--variant", "int4"], "int4"),
    ],
)
def test_bad_input_is_one_line(
    quick_bundle_path: Path, tmp_path: Path, args: list[str], said: str
) -> None:
    options = ["--bags", 1, "--bundle", quick_bundle_path, "--out", tmp_path, "--scratch"]
    result = run("scenarios", *args, *options)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_unknown_scenario(tmp_path: Path) -> None:
    result = run("scenarios", "--scenario", "servr", "--out", tmp_path, "--scratch")
    assert result.exit_code == 2
    assert "'single-stream', 'multi-stream', 'server', 'offline'" in result.stderr


def test_a_server_that_cannot_keep_up_and_a_noisy_machine_are_named() -> None:
    works = tuple([MS] * 20 + [2 * MS] * 20)
    answers = Answers(latencies_ns=works, samples_ns=works, span_ns=sum(works))
    row = scenario_row("server", answers, 900.0) | {"engine": "e"}
    queue, noise = warnings([row])
    assert queue.startswith("e, server: 900 queries a second are more than it can answer")
    assert noise.startswith("e, server: the machine was too noisy")
    calm = Answers(latencies_ns=(MS,) * 40, samples_ns=(MS,) * 40, span_ns=80 * MS)
    assert warnings([scenario_row("server", calm, 500.0) | {"engine": "e"}]) == ()


def test_each_scenario_has_its_share_of_the_time_and_says_what_was_cut(
    quick_bundle_path: Path, tmp_path: Path
) -> None:
    result = run(
        "scenarios", "--scenario", "single-stream", "--scenario", "offline", "--queries", 50_000,
        "--bags", 1, "--accuracy-bags", 0, "--engine", "onnxruntime", "--within", 1,
        "--bundle", quick_bundle_path, "--out", tmp_path, "--scratch", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    single, offline = record["results"]["rows"]
    assert single["stopped"].startswith(f"stopped after {single['queries']} of 50000 queries")
    assert offline["queries"] == 1
    assert offline["samples_per_query"] < 50_000
    assert f"onnxruntime, offline: {offline['stopped']}" in record["notes"]
