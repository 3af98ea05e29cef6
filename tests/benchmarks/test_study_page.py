from __future__ import annotations

from pathlib import Path

import pytest
from xedge_benchmarks.studies import Arm, Study, load_studies, runs_of
from xedge_benchmarks.study_page import MISSING, paired, rewritten, spread, table_of
from xedge_benchmarks.study_record import (
    OTHER_PARENT,
    OTHER_TEXT,
    Kept,
    records_in,
    stale_among,
)

from xedge.errors import ConfigError

STUDY = Study(
    "s", "S", (Arm("a", "A", "d"), Arm("b", "B", "d")), (1, 2), {"ap50": "AP50", "ap": "AP"}
)


def record(ap50: float, folder: str = "z80", **more: object) -> Kept:
    content = {
        "figures": {"ap50": ap50},
        "parameters": 1234,
        "commit": "abc",
        "sizes": {"train": 10, "held_out": 5},
        "epochs": 3,
        "machine": {"cpu": "Z80", "cores": 1},
        "seconds": 1800.0,
    }
    return Kept(content | more, folder)


def test_a_row_holds_mean_and_deviation_and_the_difference_of_pairs() -> None:
    records = {
        "a-on-d-seed1": record(0.4),
        "a-on-d-seed2": record(0.6),
        "b-on-d-seed1": record(0.5),
    }
    table = table_of(STUDY, records, {})
    a, b = table.splitlines()[2:4]
    assert a == f"| A | 2 | 0.500 ± 0.141 | {MISSING} |  | 1,234 |"
    # Only seed 1 has both: 0.5 - 0.4.
    assert b == f"| B | 1 | 0.500 | {MISSING} | +0.100 on A | 1,234 |"
    assert "3 of 4 runs; commit abc; 10 items trained on, 5 held out; 3 epochs; Z80" in table
    assert "1.5 hours" in table


def test_what_was_not_run_is_not_measured() -> None:
    table = table_of(STUDY, {}, {})
    assert table.count(MISSING) == 5  # two figures an arm, and a difference
    assert "No run of `s` has been measured." in table


def test_an_arm_is_compared_with_the_one_that_it_names() -> None:
    arms = (Arm("a", "A", "d"), Arm("b", "B", "d"), Arm("c", "C", "d", against="B"))
    study = Study("s", "S", arms, (1,), {"ap50": "AP50"})
    runs = {"a-on-d-seed1": 0.1, "b-on-d-seed1": 0.5, "c-on-d-seed1": 0.25}
    table = table_of(study, {name: record(value) for name, value in runs.items()}, {})
    assert "| C | 1 | 0.250 | -0.250 on B |" in table


def test_the_line_below_names_folders_and_counts_what_is_stale() -> None:
    records = {
        "a-on-d-seed1": record(0.4, "z80"),
        "a-on-d-seed2": record(0.6, "6502"),
        "b-on-d-seed1": record(0.5, "z80"),
    }
    plain = table_of(STUDY, records, {})
    assert "records in `6502`, `z80`.\n" in plain
    stale = {
        "a-on-d-seed1": OTHER_TEXT,
        "a-on-d-seed2": OTHER_TEXT,
        "b-on-d-seed1": OTHER_PARENT,
        "b-on-d-seed2": OTHER_TEXT,  # of which there is no record here
    }
    table = table_of(STUDY, records, stale)
    assert table.startswith(plain.rstrip())  # their numbers are shown all the same
    assert f"2 of the runs were made with {OTHER_TEXT}." in table
    assert f"1 of the runs were made with {OTHER_PARENT}." in table


def test_arms_that_are_one_run_both_have_its_numbers() -> None:
    study = Study("s", "S", (Arm("a", "A", "d"), Arm("a", "again", "d")), (1,), {"ap50": "AP50"})
    table = table_of(study, {"a-on-d-seed1": record(0.5)}, {})
    assert "| A | 1 | 0.500 |" in table
    assert "| again | 1 | 0.500 |" in table


def test_a_worse_arm_has_a_minus() -> None:
    assert paired({1: 0.2, 2: 0.2}, {1: 0.3, 2: 0.3}) == "-0.100 ± 0.000"
    assert spread([]) == MISSING


def test_only_what_stands_between_the_marks_is_written() -> None:
    page = "Text.\n<!-- study: s -->\nold\n<!-- end -->\nMore | text.\n"
    new = rewritten(page, {"s": "| new |\n"})
    assert new == "Text.\n<!-- study: s -->\n| new |\n<!-- end -->\nMore | text.\n"
    assert rewritten(new, {"s": "| new |\n"}) == new
    with pytest.raises(ConfigError, match="unknown study"):
        rewritten(page, {})


def test_the_results_page_holds_what_the_records_say(repository: Path) -> None:
    records = records_in(repository / "benchmarks/results")
    studies = load_studies(repository / "benchmarks/studies.toml")
    page = (repository / "docs/results.md").read_text(encoding="utf-8")
    tables = {
        study.name: table_of(study, records, stale_among(runs_of(study), records))
        for study in studies
    }
    assert rewritten(page, tables) == page, "xedge bench studies --page docs/results.md"
    for name in tables:
        assert f"<!-- study: {name} -->" in page
