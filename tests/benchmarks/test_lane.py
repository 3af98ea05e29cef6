"""`xedge bench lane`: books and samples; how long anything takes is no matter here."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner
from xedge_benchmarks.lane_command import lane


def test_a_record_has_the_books_and_no_percentile_of_too_few(tmp_path: Path) -> None:
    arguments = ["--quick", "--scratch", "--out", str(tmp_path), "--json"]
    done = CliRunner().invoke(lane, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    results = json.loads(done.stdout)["results"]
    (row,) = results["runs"]
    assert row["bags"] == row["decisions"] == 1
    assert row["ledger_balanced"]
    assert row["lines_in"] == row["lines_used"] == results["ingest"]["lines"]
    assert row["acquisition_ms"]["n"] == row["core_ms"]["n"] > 0
    assert row["latency_ms"]["n"] == 1
    assert row["latency_ms"]["p99"] is None
