"""Tables of docs/speed.md: the clock that leads, goals, and what did not run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from xedge_benchmarks.record import new_record, write_record
from xedge_benchmarks.report import report_of
from xedge_benchmarks.speed import TABLES
from xedge_benchmarks.speed_page import GOALS, PAIRS, SIDE, START, speed_tables

from xedge.provenance import CodeVersion

BUSY = ("other processes kept 1.20 cores busy during the run",)


def keep(folder: Path, kind: str, results: dict[str, Any], second: int,
         notes: tuple[str, ...] = (), **settings: Any) -> None:  # fmt: skip
    record = new_record(kind, models={}, settings={"rounds": 9} | settings, results=results,
                        notes=notes)  # fmt: skip
    write_record(dataclasses.replace(record, code=CodeVersion("a" * 40, False),
                                     started_utc=f"2026-01-01T00:00:{second:02}+00:00"),
                 folder)  # fmt: skip


def row(name: str, ratio: float, cpu: float, against: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "against": against, "median_ms": 10.0, "ratio": ratio, "cpu_ratio": cpu,
            "ratio_low": ratio - 0.1, "ratio_high": ratio + 0.1, "cpu_ratio_low": None,
            "cpu_ratio_high": None, **more}  # fmt: skip


LA = "LA, one backward pass, openvino"
ROWS = {"rows": [row("plain", 1.0, 1.0, "plain"), row(LA, 1.6, 1.5, "plain")]}


@pytest.mark.parametrize(
    ("notes", "cells"),
    [((), "| 1.600 | 1.500 to 1.700 | 1.500 | plain |  | 1.55: **missed** |"),
     (BUSY, "| 1.500 | too few rounds | 1.600 | plain |  | 1.55: met |")],
)  # fmt: skip
def test_the_clock_that_leads_is_held_against_the_goal(
    tmp_path: Path, notes: tuple[str, ...], cells: str
) -> None:
    keep(tmp_path, "speed-label-aware", ROWS, 1, notes)
    table = speed_tables(report_of(tmp_path), tmp_path)["speed-label-aware"]
    assert f"| {LA} | 10 {cells}" in table
    first = "processor time" if notes else "the clock"
    assert f"× time, by {first} |" in table
    assert f"{first} leads: [2026-01-01, aaaaaaaaaaaa](" in table


def test_the_newest_alone_and_nothing_where_there_is_none(tmp_path: Path) -> None:
    keep(tmp_path, "speed-label-aware", ROWS, 1, threads=1)
    keep(tmp_path, "speed-label-aware", {"rows": ROWS["rows"][:1]}, 2)
    tables = speed_tables(report_of(tmp_path), tmp_path)
    assert set(tables) == {*PAIRS, START, SIDE}
    assert LA not in tables["speed-label-aware"]
    assert tables["speed-doam"] == "not measured.\n"


def test_contenders_stand_below_each_other(tmp_path: Path) -> None:
    first = {"contender": "torch", "title": "PyTorch", "ours": False}
    failed = {"contender": "x", "title": "X", "ours": False, "failed": "out of memory"}
    for second in range(5):
        mine = row("", 0.5, 0.4, "torch", contender="y", title="Y", ours=True)
        rows = [row("", 1.0, 1.0, "torch") | first, mine, failed]
        host = {"host": f"h{second}", "title": f"Host {second}", "rows": rows, "foreign_cores": 0.0}
        keep(tmp_path, "contenders", {"hosts": [host]}, second, hosts=[f"h{second}"])
    table = speed_tables(report_of(tmp_path), tmp_path)[SIDE]
    assert "| Contender | Host 0 | Host 1 | Host 2 | Host 3 |" in table
    assert "| Contender | Host 4 |" in table
    assert "| `torch` | 10 ms |" in table
    assert "| `y` | × 0.500 (0.400 to 0.600) |" in table
    assert "| `x` | fails |" in table


def test_goals_are_of_rows_that_there_are() -> None:
    names = {one.name for table in TABLES.values() for one in table}
    others = ("chr-", "import xedge", "start, ", "installed: ")
    assert {goal for goal in GOALS if not goal.startswith(others)} <= names
