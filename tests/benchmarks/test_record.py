"""Records: complete, traceable, never overwritten, refused where no commit names the code."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy
import pytest
from xedge_benchmarks.conditions import Watch
from xedge_benchmarks.record import (
    BenchRecord,
    checkout,
    new_record,
    read_record,
    write_record,
)

from xedge.errors import ConfigError
from xedge.provenance import CodeVersion

CLEAN = CodeVersion("0123456789abcdef0123456789abcdef01234567", dirty=False)


@pytest.fixture
def record() -> BenchRecord:
    made = new_record(
        "engines",
        models={"m": "ab" * 32},
        settings={"rounds": 3},
        results={"a": {"median_ms": 1.5}},
    )
    return dataclasses.replace(made, code=CLEAN)


def test_file_holds_everything(record: BenchRecord, tmp_path: Path) -> None:
    path = write_record(record, tmp_path)
    assert path.parent == tmp_path / record.machine.slug
    assert path.name.endswith("-engines-0123456789ab.json")
    stored = json.loads(path.read_text())
    assert stored["schema"] == 2
    assert stored["code"] == {"commit": CLEAN.commit, "dirty": False}
    assert stored["command_line"] == [Path(sys.argv[0]).name, *sys.argv[1:]]
    assert stored["machine"]["cores"] >= 1
    assert stored["versions"]["numpy"] == numpy.__version__
    assert stored["models"] == {"m": "ab" * 32}
    assert stored["results"] == {"a": {"median_ms": 1.5}}
    assert set(stored) == {"schema", *(f.name for f in dataclasses.fields(BenchRecord))}


def test_records_are_appended_never_overwritten(record: BenchRecord, tmp_path: Path) -> None:
    path = write_record(record, tmp_path)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="exists"):
        write_record(dataclasses.replace(record, results={}), tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (CodeVersion(CLEAN.commit, dirty=True), "0123456789ab with uncommitted changes"),
        (CodeVersion("xedge 0.1.0", dirty=False), "xedge 0.1.0"),
    ],
)
def test_untraceable_measurement(
    record: BenchRecord, tmp_path: Path, code: CodeVersion, found: str
) -> None:
    record = dataclasses.replace(record, code=code)
    with pytest.raises(ConfigError, match=f"found {found}. .*--scratch"):
        write_record(record, tmp_path)
    assert list(tmp_path.iterdir()) == []
    path = write_record(record, tmp_path, scratch=True)
    assert path.parent == tmp_path / "scratch"
    assert " " not in path.name
    assert json.loads(path.read_text())["code"] == dataclasses.asdict(code)


def test_folder_that_cannot_be_made(record: BenchRecord, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--out"):
        write_record(record, tmp_path / "file")


def test_what_was_written_is_read_again(record: BenchRecord, tmp_path: Path) -> None:
    with Watch() as watch:
        pass
    record = dataclasses.replace(record, conditions=watch.conditions)
    path = write_record(record, tmp_path)
    assert read_record(path) == json.loads(record.to_json())
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # no part is left behind


def test_notes_of_the_conditions_are_in_the_record(tmp_path: Path) -> None:
    with Watch() as watch:
        pass
    seen = dataclasses.replace(watch.conditions, throttled=("cpu0 slowed",))
    record = new_record("a", models={}, settings={}, results={}, conditions=seen, notes=("first",))
    assert record.notes[0] == "first"
    assert "THE MACHINE THROTTLED: cpu0 slowed" in record.notes


def test_a_record_that_cannot_be_written_leaves_nothing(
    record: BenchRecord, tmp_path: Path
) -> None:
    nothing = dataclasses.replace(record, results={"a": float("nan")})  # no number of JSON
    with pytest.raises(ValueError, match="JSON"):
        write_record(nothing, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_older_records_are_read(repository: Path) -> None:
    paths = sorted((repository / "benchmarks/results").glob("*/*.json"))
    assert paths
    for path in paths:
        content = read_record(path)
        assert set(content) == {"schema", *(f.name for f in dataclasses.fields(BenchRecord))}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is no record of a benchmark"),
        ("[1]", "is no record of a benchmark"),
        ("{}", "is no record of a benchmark: expected a key"),
        ('{"schema": true}', "is no record of a benchmark"),
        ('{"schema": 99}', "of another schema: expected 1 to 2, found 99"),
        ('{"schema": 0}', "of another schema"),
        ('{"schema": 2, "benchmark": "belt"}', "of schema 2: found nothing of code"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ConfigError, match=f"a.json .*{said}"):
        read_record(tmp_path / "a.json")


def test_this_checkout(repository: Path) -> None:
    expected = repository if (repository / ".git").exists() else None
    assert checkout() == expected
