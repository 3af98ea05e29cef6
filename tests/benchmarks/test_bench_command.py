"""`xedge bench` from end to end on a quick model; what it measures is not asserted."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from xedge_benchmarks import command_record

from xedge import engines
from xedge.bundle import Bundle, open_bundle
from xedge.cli import main
from xedge.provenance import CodeVersion


def run(*args: object) -> Result:
    return CliRunner().invoke(main, ["bench", *map(str, args)], catch_exceptions=False)


@pytest.fixture
def bundle(quick_bundle_path: Path) -> Bundle:
    return open_bundle(quick_bundle_path)


def test_engines(quick_bundle_path: Path, bundle: Bundle, tmp_path: Path) -> None:
    result = run(
        "engines", "--engine", "onnxruntime", "--engine", "openvino", "--rounds", 3, "--warmup", 1,
        "--bags", 1, "--threads", 1, "--bundle", quick_bundle_path, "--out", tmp_path, "--scratch",
        "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    (stored,) = (tmp_path / "scratch").glob("*-engines-*.json")
    assert json.loads(stored.read_text()) == record
    first, second = record["results"]["engines"]
    assert (first["name"], second["name"]) == ("onnxruntime", "openvino")
    assert first["ratio"] == 1.0
    assert 0 < second["min_ms"] <= second["median_ms"] <= second["max_ms"]
    assert second["cpu_ratio"] > 0
    assert second["ratio_low"] is None  # three rounds bound nothing
    assert record["settings"] == {"rounds": 3, "warmup": 1, "bags": 1, "seed": 1, "threads": 1,
                                  "within_s": None,
                                  "engines": ["onnxruntime", "openvino"]}  # fmt: skip
    assert record["models"] == {
        "darkest-pixels": hashlib.sha256(bundle.model()).hexdigest(),
        "bundle": bundle.sha256,
    }


def test_a_run_that_is_cut_short_says_so(quick_bundle_path: Path, tmp_path: Path) -> None:
    result = run(
        "engines", "--engine", "onnxruntime", "--rounds", 10_000, "--within", 1e-9, "--bags", 1,
        "--bundle", quick_bundle_path, "--out", tmp_path, "--scratch", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["results"]["engines"][0]["rounds"] == 2
    assert any("stopped after 2 of 10000 rounds" in note for note in record["notes"])


def test_engines_for_people(quick_bundle_path: Path, tmp_path: Path) -> None:
    result = run(
        "engines", "--rounds", 2, "--warmup", 0, "--bags", 1, "--bundle", quick_bundle_path,
        "--out", tmp_path, "--scratch",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "onnxruntime" in result.stdout
    assert "not measured: onnxruntime-cuda" in result.stdout
    assert str(tmp_path) in result.stdout


def test_belt(quick_bundle_path: Path, tmp_path: Path) -> None:
    result = run(
        "belt", "--bags", 3, "--speed", 0.5, "--threads", 1,
        "--bundle", quick_bundle_path, "--out", tmp_path, "--scratch", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    found = record["results"]
    assert found["bags"] == found["decisions"] == 3
    assert found["ledger_balanced"] is True
    assert found["realtime_factor"] == pytest.approx(
        found["belt_s"] / (found["engine_s"] + found["core_s"])
    )
    assert found["latency_ms"]["p50"] <= found["latency_ms"]["max"]
    assert record["settings"]["speed_m_s"] == 0.5
    name, version = found["engine"].split(" ", 1)
    assert name in engines.AUTO
    assert version == engines.available()[name].detail


def test_belt_for_people(quick_bundle_path: Path, tmp_path: Path) -> None:
    result = run("belt", "--bags", 1, "--bundle", quick_bundle_path, "--out", tmp_path, "--scratch")
    assert result.exit_code == 0, result.output
    assert "factor to real time" in result.stdout
    assert "balanced" in result.stdout


def test_untraceable_code_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dirty = CodeVersion("0123456789abcdef0123456789abcdef01234567", dirty=True)
    monkeypatch.setattr(command_record, "code_version", lambda: dirty)
    for command in ("engines", "belt", "scenarios"):
        # A bundle that is not there would be the error of a command that had begun.
        result = run(command, "--bundle", "no-such.xedge", "--out", tmp_path)
        assert result.exit_code == 1
        assert "0123456789ab with uncommitted changes" in result.stderr
        assert run(command, "--help").exit_code == 0


@pytest.mark.parametrize(
    "args",
    [
        ["engines", "--engine", "onxruntime"],
        ["belt", "--engine", "tensorflow"],
        ["belt", "--bundle", "no-such.xedge"],
    ],
)
def test_bad_input_is_one_line(quick_bundle_path: Path, tmp_path: Path, args: list[str]) -> None:
    if "--bundle" not in args:
        args = [*args, "--bundle", str(quick_bundle_path)]
    result = run(*args, "--out", tmp_path, "--scratch")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
