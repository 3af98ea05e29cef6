"""`xedge bench lane` from end to end on a quick model; what it measures is not asserted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from xedge_benchmarks.ingest import BELT_S
from xedge_benchmarks.lane import LaneSettings

from xedge.cli import main
from xedge.errors import ConfigError

RUN = {
    "speed_m_s", "lanes", "beside", "bags", "decisions", "late", "not_cleared_by_reason",
    "lines_in", "lines_used", "lines_lost_by_cause", "ledger_balanced", "latency_ms", "engine_ms",
    "added_ms", "added_steady", "added_share", "strip_ms",
    "window_ms", "answer_ms", "decision_ms", "cpu_share",
    "core_share", "seconds", "rss_mb",
}  # fmt: skip


def run(*args: object) -> Result:
    return CliRunner().invoke(main, ["bench", "lane", *map(str, args)], catch_exceptions=False)


def test_two_lanes_on_one_engine(quick_bundle_path: Path, tmp_path: Path) -> None:
    result = run(
        "--speed", 2.5, "--lanes", 2, "--seconds", 1, "--bundle", quick_bundle_path, "--threads", 1,
        "--ingest", 1, "--out", tmp_path, "--scratch", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    (stored,) = (tmp_path / "scratch").glob("*-lane-*.json")
    assert json.loads(stored.read_text()) == record
    (figures,) = record["results"]["runs"]
    assert set(figures) == RUN
    assert figures["bags"] == figures["decisions"] == figures["latency_ms"]["n"] >= 2
    assert figures["ledger_balanced"]
    assert figures["lines_in"] == figures["lines_used"] + sum(
        figures["lines_lost_by_cause"].values()
    )
    assert figures["added_ms"]["n"] <= figures["engine_ms"]["n"]
    ingest = record["results"]["ingest"]
    ways = [(way["way"], way["strip_lines"]) for way in ingest["ways"]]
    assert len(set(ways)) == len(ways) == 6
    # Four views, in each of six ways.
    assert ingest["lines_in"] >= 4 * 6 * ingest["lines_s"] * BELT_S


def test_a_tail_counts_windows_of_an_engine_that_only_takes_time(tmp_path: Path) -> None:
    result = run(
        "--tail", "--windows", 6, "--views", 2, "--lanes", 1, "--work-ms", 5,
        "--out", tmp_path, "--scratch",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "added at p99.9: too few windows" in result.stdout
    (stored,) = (tmp_path / "scratch").glob("*-lane-*.json")
    record = json.loads(stored.read_text())
    (figures,) = record["results"]["runs"]
    assert record["results"]["engine"] == "pause 5 ms"
    assert figures["ledger_balanced"]
    assert 4 <= figures["added_ms"]["n"] == figures["engine_ms"]["n"]
    assert figures["added_ms"]["n"] % 2 == 0  # of two views
    assert figures["engine_ms"]["max"] >= 5


def test_beside_a_busy_thread_for_people(quick_bundle_path: Path, tmp_path: Path) -> None:
    result = run(
        "--engine", "null", "--speed", 2.5, "--lanes", 1, "--beside", "thread", "--seconds", 1,
        "--bundle", quick_bundle_path, "--ingest", 1, "--out", tmp_path, "--scratch",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "thread" in result.stdout
    assert "4 views of 4000 lines/s" in result.stdout


@pytest.mark.parametrize(
    "wrong",
    [
        {"speeds_m_s": ()},
        {"lanes": (0,)},
        {"beside": ("radio",)},
        {"seconds": -1.0},
        {"windows": 0},
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="measured"):
        LaneSettings(**wrong)  # type: ignore[arg-type]
