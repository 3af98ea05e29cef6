"""Accepted records: copied, booked, never replaced, and what later ones are held against."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from xedge_benchmarks.accept import accept
from xedge_benchmarks.compare import compare
from xedge_benchmarks.stored import stored_in

from xedge.cli import main
from xedge.errors import ConfigError

Keep = Callable[..., Path]


def run(*args: object) -> Result:
    return CliRunner().invoke(main, ["bench", "accept", *map(str, args)], catch_exceptions=False)


def test_the_newest_of_each_is_copied_and_booked(keep: Keep, tmp_path: Path) -> None:
    keep(tmp_path, 1, 10.0, 0.5)
    newest = keep(tmp_path, 2, 10.2, 0.5)
    named = ("--why", "a quiet night", "--who", "Ada", "--results", tmp_path)
    done = run(newest.parent, *named, "--json")
    assert done.exit_code == 0, done.output
    (told,) = json.loads(done.stdout)
    assert told["second_run"] == "a second run agrees within the intervals"
    copy = tmp_path / "reference" / newest.parent.name / newest.name
    assert copy.read_bytes() == newest.read_bytes()
    assert list(copy.parent.iterdir()) == [copy]
    (line,) = map(json.loads, (tmp_path / "reference/accepted.jsonl").read_text().splitlines())
    assert line["record"] == f"{newest.parent.name}/{newest.name}"
    assert line["sha256"] == hashlib.sha256(newest.read_bytes()).hexdigest()
    assert line == told
    assert (line["who"], line["why"]) == ("Ada", "a quiet night")
    assert len(stored_in(tmp_path)) == 2  # references are not among the results


def test_what_is_slower_and_what_is_faster_is_flagged(keep: Keep, tmp_path: Path) -> None:
    first = keep(tmp_path, 1, 10.0, 0.5)
    accept([first], tmp_path, "Ada", "why not")
    verdicts = ((2, 13.0, "slower"), (3, 7.0, "faster"), (4, 10.1, "same"))
    for second, median, verdict in verdicts:  # each of a commit of its own
        keep(tmp_path, second, median, 0.5, commit=str(second))
        (found,) = compare(tmp_path / "reference", tmp_path).verdicts
        assert found.verdict == verdict


def test_a_later_one_counts_and_the_log_only_grows(keep: Keep, tmp_path: Path) -> None:
    accept([keep(tmp_path, 1, 10.0, 0.5)], tmp_path, "Ada", "first")
    log = tmp_path / "reference/accepted.jsonl"
    before = log.read_text()
    accept([keep(tmp_path, 2, 20.0, 0.5, commit="b")], tmp_path, "Bo", "second")
    assert log.read_text().startswith(before)
    (found,) = compare(tmp_path / "reference", tmp_path).verdicts
    assert found.before.value == 20.0


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"code": {"commit": "a" * 40, "dirty": True}}, "a commit's code"),
        ({"code": {"commit": "xedge 0.1", "dirty": False}}, "a commit's code"),
        ({"conditions": {"throttled": ["cpu0 grew by 3"]}}, "throttled"),
    ],
)
def test_refused(keep: Keep, tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    good, bad = keep(tmp_path, 1, 10.0, 0.5), keep(tmp_path, 2, 10.0, 0.5)
    bad.write_text(json.dumps(json.loads(bad.read_text()) | changes))
    with pytest.raises(ConfigError, match=why):
        accept([good, bad], tmp_path, "Ada", "why not")
    assert not (tmp_path / "reference").exists()


def test_neither_twice_nor_by_nobody(keep: Keep, tmp_path: Path) -> None:
    path = keep(tmp_path, 1, 10.0, 0.5)
    with pytest.raises(ConfigError, match="somebody and a reason"):
        accept([path], tmp_path, " ", "why not")
    accept([path], tmp_path, "Ada", "why not")
    with pytest.raises(ConfigError, match="accepted before"):
        accept([path], tmp_path, "Ada", "again")


def test_of_a_folder_the_quiet_records_of_a_commit(keep: Keep, tmp_path: Path) -> None:
    keep(tmp_path, 1, 10.0, 0.5, threads=1)
    quiet = keep(tmp_path, 2, 10.0, 0.5, commit="b", threads=2)
    busy = keep(tmp_path, 3, 10.0, 0.5, commit="b", threads=3)
    content = json.loads(busy.read_text())
    content["notes"] = ["other processes kept 1.20 cores busy during the run"]
    busy.write_text(json.dumps(content))
    (line,) = accept([quiet.parent], tmp_path, "Ada", "why not", "bbbb")
    assert line.record.endswith(quiet.name)
    with pytest.raises(ConfigError, match="nothing to accept"):
        accept([quiet.parent], tmp_path, "Ada", "why not", "cccc")
    (line,) = accept([busy], tmp_path, "Ada", "it is named")
    assert line.record.endswith(busy.name)
