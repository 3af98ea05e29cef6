"""Records found in folders, and the figures in them that have an interval."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from xedge_benchmarks.record import BenchRecord, Json, new_record
from xedge_benchmarks.stored import Figure, Stored, figures, newest, stored_in

from xedge.errors import ConfigError
from xedge.provenance import CodeVersion


def keep(folder: Path, name: str, **changes: object) -> Path:
    """A record's file; its code is clean, whatever this checkout is."""
    record = new_record("belt", models={}, settings={"engine": "auto", "bags": 3}, results={})
    record = dataclasses.replace(record, code=CodeVersion("a" * 40, False))
    path = folder / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(json.loads(record.to_json()) | changes))
    return path


def test_newest_of_each_subject(tmp_path: Path) -> None:
    old = keep(tmp_path, "m/a", started_utc="2026-01-01T00:00:00+00:00")
    new = keep(tmp_path, "m/b", started_utc="2026-01-02T00:00:00+00:00",
               settings={"engine": "auto", "bags": 9})  # fmt: skip
    other = keep(tmp_path, "m/c", started_utc="2026-01-01T00:00:00+00:00",
                 settings={"engine": "openvino", "bags": 3})  # fmt: skip
    keep(tmp_path, "scratch/d")
    keep(tmp_path, "reference/e")
    (tmp_path / "m/training").mkdir()
    (tmp_path / "m/training/f.json").write_text("{}")
    found = stored_in(tmp_path)
    assert {one.path for one in found} == {old, new, other}
    assert {one.path for one in newest(found)} == {new, other}
    # More bags are another question, but no other subject.
    assert found[0].question != found[-1].question
    assert len({one.question for one in found}) == 3


def test_a_reference_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    keep(tmp_path, "reference/e")
    assert len(stored_in(tmp_path / "reference")) == 1
    assert stored_in(tmp_path) == []


def test_no_place_and_no_record(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a file or a folder"):
        stored_in(tmp_path / "nowhere")
    (tmp_path / "a.json").write_text('{"schema": 99}')
    with pytest.raises(ConfigError, match="another schema"):
        stored_in(tmp_path)


def test_figures_by_every_kind_of_interval() -> None:
    results: Json = {
        "engines": [
            {"name": "a", "ratio": 1.0, "ratio_low": 1.0, "ratio_high": 1.0,
             "median_ms": 5.0, "median_ms_low": 4.0, "median_ms_high": 6.0},
            {"name": "b", "ratio": 2.0, "ratio_low": 1.9, "ratio_high": 2.2},
        ],
        "rows": [
            {"engine": "a", "scenario": "offline", "samples_per_s": 30.0,
             "samples_per_s_95": [28.0, 33.0],
             "latency_ms": {"n": 9, "p50": 3.0, "p99": None,
                            "interval_95": {"p50": [2.0, 4.0], "p99": None}}},
        ],
        "alone": 7.0,
    }  # fmt: skip
    found = figures(results)
    assert set(found) == {
        "engines a, against a median_ms",
        "engines b, against a ratio",
        "rows a, offline samples_per_s",
        "rows a, offline latency_ms p50",
    }
    assert found["rows a, offline latency_ms p50"].low == 2.0
    assert found["rows a, offline samples_per_s"].more_is_better
    assert not found["engines b, against a ratio"].more_is_better
    assert Figure("atss refined ap", 1, 1, 1).more_is_better
    assert not Figure("a gap", 1, 1, 1).more_is_better


def test_throttling_is_told(tmp_path: Path) -> None:
    record = json.loads(keep(tmp_path, "a").read_text())
    assert not Stored(tmp_path, record).throttled
    record["conditions"] = {"throttled": ["cpu0"]}
    assert Stored(tmp_path, record).throttled
    record["conditions"] = {"throttled": None}
    assert not Stored(tmp_path, record).throttled


def test_every_field_of_a_record_is_kept(tmp_path: Path) -> None:
    (found,) = stored_in(keep(tmp_path, "a"))
    assert {f.name for f in dataclasses.fields(BenchRecord)} < set(found.content)


def test_another_speed_of_the_belt_is_another_thing(tmp_path: Path) -> None:
    content = json.loads(keep(tmp_path, "a").read_text())
    slow, fast, longer = (
        Stored(tmp_path, content | {"settings": {"speed_m_s": speed, "bags": bags}})
        for speed, bags in ((0.2, 10), (0.5, 10), (0.5, 99))
    )
    assert slow.subject != fast.subject
    assert fast.subject == longer.subject
