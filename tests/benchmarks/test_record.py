"""Records: complete, traceable, never overwritten, refused where no commit names the code."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy
import pytest
from xedge_benchmarks.record import (
    BenchRecord,
    checkout,
    new_record,
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
    assert stored["schema"] == 1
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


def test_this_checkout(repository: Path) -> None:
    expected = repository if (repository / ".git").exists() else None
    assert checkout() == expected
