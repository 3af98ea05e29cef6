"""`xedge bench report`: the newest records on one page and in one table, and nothing else."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from xedge_benchmarks.record import new_record, write_record
from xedge_benchmarks.report import html_page, markdown, repeated, report_of

from xedge.cli import main
from xedge.errors import ConfigError
from xedge.provenance import CodeVersion

PAGE = "# A\n<!-- benchmarks: all -->\nold\n<!-- end -->\nafter\n"


def keep(folder: Path, kind: str, results: dict[str, Any], second: int, **settings: Any) -> Path:
    record = new_record(kind, models={}, settings=settings, results=results, notes=("a | b",))
    clean = dataclasses.replace(record, code=CodeVersion("a" * 40, False),
                                started_utc=f"2026-01-01T00:00:{second:02}+00:00")  # fmt: skip
    return write_record(clean, folder)


def engines(median: float) -> dict[str, Any]:
    row = {"name": "openvino", "rounds": 368, "median_ms": median,
           "p99_ms": median, "median_ms_low": median - 1, "median_ms_high": median + 1}  # fmt: skip
    work = {"operations": {"float32": 10_000_000_000}, "bytes": 10_000_000}
    return {"engines": [row], "not_measured": {}, "work": work}


PEAK = {"rows": [
    {"name": n, "device": "cpu", "threads": 1, "arithmetic": a, "best": b}
    for n, a, b in (("chain", "float32", 100.0), ("copying", "memory", 10.0))
]}  # fmt: skip


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    keep(folder, "engines", engines(300.0), 1, threads=1, rounds=5)
    keep(folder, "engines", engines(200.0), 2, threads=1, rounds=9)
    keep(folder, "peak", PEAK, 3)
    return folder


def run(*args: object) -> Result:
    return CliRunner().invoke(main, ["bench", "report", *map(str, args)], catch_exceptions=False)


def test_the_newest_of_each(results: Path) -> None:
    report = report_of(results)
    assert [s.stored.benchmark for s in report.sections] == ["engines", "peak"]
    (line,) = report.sections[0].findings
    assert line.result == "200 ms (p99 200)"
    assert line.share.startswith("50 %")
    assert [c.title for c in report.sections[0].charts] == [
        "Roofline: rows under the measured peak"
    ]
    assert "Growth" in report.missing
    assert "Anything on a Jetson" in report.missing
    assert "One window on every engine" not in report.missing


def test_markdown(results: Path) -> None:
    report = report_of(results)
    table = markdown(report, results.parent)
    lines = table.splitlines()
    assert len(lines) == 2 + 2 + len(report.missing)
    # A pipe in a note must not make a column.
    assert {line.count("|") for line in lines} == {5}
    assert "; 1 thread; a / b" in lines[2]
    path = report.sections[0].stored.path.relative_to(results.parent)
    assert f"({path.as_posix()})" in lines[2]
    assert "openvino: 200 ms (p99 200) (50 %" in lines[2]
    assert sum("not measured" in line for line in lines) == len(report.missing)


def test_the_page_holds_every_section(results: Path) -> None:
    keep(results, "growth", {"rows": [
        {"name": "batch", "x_name": "windows of one run", "x": x, "what": "run", "peak_mib": 50.0,
         "latency_ms": {"p50": 9.0 * x, "interval_95": {"p50": [8.0, 20.0]}}, "not_measured": None}
        for x in (1, 2)
    ]}, 4)  # fmt: skip
    page = html_page(report_of(results))
    for text in ("One window on every engine", "windows of one run", "Peak memory", "Not measured",
                 "polyline", "a | b"):  # fmt: skip
        assert text in page
    assert "<script" not in page
    assert "http" not in page.replace("https://", "http").split("<body>")[1]


def test_a_machine_that_throttled_is_told(results: Path) -> None:
    path = keep(results, "engines", engines(250.0), 9, threads=1)
    content = json.loads(path.read_text())
    content["notes"] = ["THE MACHINE THROTTLED: cpu0 grew by 3"]
    content["conditions"] = {
        "seconds": 1.0, "governors": [], "power_mode": None, "clocks": {}, "temperatures_c": {},
        "watts": {}, "gpus": [], "throttled": ["cpu0 grew by 3"],
    }  # fmt: skip
    path.write_text(json.dumps(content))
    report = report_of(results)
    assert "THE MACHINE THROTTLED" in markdown(report, results.parent)
    assert "throttling cpu0 grew by 3" in html_page(report)


def test_whether_two_runs_agree_is_told(results: Path) -> None:
    assert report_of(results).sections[0].caveats == ""  # other settings are no second run
    assert repeated(report_of(results)) == ""
    keep(results, "engines", engines(200.5), 5, threads=1, rounds=9)
    assert report_of(results).sections[0].caveats == "a second run agrees within the intervals"
    assert repeated(report_of(results)) == "measured twice: 1, of which 1 agree"
    keep(results, "engines", engines(250.0), 6, threads=1, rounds=9)
    section = report_of(results).sections[0]
    assert repeated(report_of(results)).endswith("0 agree; TOO NOISY: One window on every engine")
    assert section.caveats == (
        "TOO NOISY: in 1 of 1 figures a second run lies beyond the intervals, by up to 25%"
    )
    assert section.caveats in section.notes


def test_the_peak_is_the_highest_ever_seen(results: Path) -> None:
    busy = [row | {"best": row["best"] / 4} for row in PEAK["rows"]]
    keep(results, "peak", {"rows": busy}, 8)
    section = report_of(results).sections[0]
    assert section.findings[0].share.startswith("50 %")
    keep(results, "engines", engines(50.0), 9, threads=1)
    section = report_of(results).sections[0]
    assert section.findings[0].share.startswith("200 %")
    assert "FASTER THAN THE PEAK" in section.notes


def test_command_writes_and_checks(results: Path, tmp_path: Path) -> None:
    readme, html = tmp_path / "README.md", tmp_path / "out/report.html"
    readme.write_text(PAGE)
    arguments = ("--results", results, "--page", readme, "--html", html)
    stale = run(*arguments, "--check")
    assert stale.exit_code == 1
    assert "is stale" in stale.stderr
    assert readme.read_text() == PAGE
    assert not html.exists()
    assert run(*arguments).exit_code == 0
    text = readme.read_text()
    assert text.startswith("# A\n<!-- benchmarks: all -->\n| What |")
    assert text.endswith("<!-- end -->\nafter\n")
    assert html.read_text().startswith("<!doctype html>")
    assert run(*arguments, "--check").exit_code == 0
    keep(results, "engines", engines(100.0), 10, threads=1)
    assert run(*arguments, "--check").exit_code == 1


def test_the_short_table_has_the_main_rows_alone(results: Path, tmp_path: Path) -> None:
    short, full = tmp_path / "README.md", tmp_path / "docs/all.md"
    full.parent.mkdir()
    short.write_text(PAGE.replace("all", "headlines"))
    full.write_text(PAGE)
    for name, beside in (("as it is run", "nothing"), ("beside", "thread")):
        row = {"beside": beside, "speed_m_s": 0.5, "lanes": 1, "late": 0, "decisions": 1, "bags": 1,
               "seconds": 2.0, "lines_in": 9, "lines_lost_by_cause": {},
               "latency_ms": {"p50": 1.0, "max": 1.0}}  # fmt: skip
        keep(results, "lane", {"runs": [row], "engine": name}, 20 + len(name), how=name)
    pages = ("--page", short, "--page", full)
    assert run("--results", results, *pages, "--html", tmp_path / "a.html").exit_code == 0
    mine, every = short.read_text(), full.read_text()
    assert "One window on every engine" in mine
    assert "as it is run" in mine
    assert "Anything on a Jetson" in mine
    for what in ("beside", "measured peak", "Growth"):
        assert what not in mine
        assert what in every
    assert "](../results/" in every
    short.write_text(mine.replace("200 ms", "100 ms"))
    assert run("--results", results, *pages, "--check").exit_code == 1


def test_json(results: Path, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(PAGE)
    done = run("--results", results, "--page", readme, "--html", tmp_path / "a.html", "--json")
    told = json.loads(done.stdout)
    assert told["sections"][0]["findings"][0]["label"] == "openvino"
    assert "Growth" in told["not_measured"]


def test_bad_input(results: Path, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("no marks")
    done = run("--results", results, "--page", tmp_path / "a.md")
    assert done.exit_code == 1
    assert "no place for the table" in done.stderr
    assert run("--results", results, "--page", tmp_path / "none.md").exit_code == 1
    (results / "x.json").write_text('{"schema": 99}')
    with pytest.raises(ConfigError, match="another schema"):
        report_of(results)
