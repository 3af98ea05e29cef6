"""`xedge calibrate`, end to end on the shipped model."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner
from xedge_calibration.command import calibrate, mixtures
from xedge_calibration.sensitivity import Cost
from xedge_calibration.sets import CalibrationSet

from xedge.bundle import open_bundle
from xedge.errors import CalibrationError, ConfigError

SHIPPED = Path("xedge/bundles/default.xedge")


@pytest.fixture
def shipped(repository: Path) -> str:
    return str(repository / SHIPPED)


def test_a_bundle_gets_its_variants(shipped: str, tmp_path: Path) -> None:
    out, kept = tmp_path / "int8.xedge", tmp_path / "set.json"
    arguments = [shipped, "-o", str(out), "--variant", "int8", "--count", "1", "--check", "0",
                 "--force", "--save-set", str(kept), "--json"]  # fmt: skip
    result = CliRunner().invoke(calibrate, arguments, catch_exceptions=False)
    record = json.loads(result.output)
    bundle, source = open_bundle(out), open_bundle(shipped)
    assert tuple(bundle.variants) == ("fp32", "int8")
    assert len(bundle.model("int8")) < len(bundle.model()) / 2
    assert record["broken"] == ["not checked"]
    assert record["sha256"] == bundle.sha256
    assert record["set"]["sha256"] == CalibrationSet.from_json(kept.read_text()).digest
    assert bundle.measured["calibration"]["method"] == "mse"
    assert bundle.model() == source.model()
    row = record["variants"]["int8"]
    assert row["convolutions_in_int8"] == 27
    assert set(row["convolutions_in_float"].values()) == {"first", "label-aware"}


@pytest.mark.full
def test_what_was_not_shown_is_not_written(shipped: str, tmp_path: Path) -> None:
    out = tmp_path / "int8.xedge"
    arguments = [shipped, "-o", str(out), "--variant", "int8", "--count", "1", "--check", "3"]
    with pytest.raises(CalibrationError, match="budget"):
        CliRunner().invoke(calibrate, arguments, catch_exceptions=False)
    assert not out.exists()


@pytest.mark.full
def test_a_scan_says_what_each_convolution_costs(shipped: str, tmp_path: Path) -> None:
    out = tmp_path / "int8.xedge"
    arguments = [shipped, "-o", str(out), "--variant", "int8", "--count", "1", "--check", "0",
                 "--scan", "1", "--force", "--threads", "1", "--json"]  # fmt: skip
    result = CliRunner().invoke(calibrate, arguments, catch_exceptions=False)
    scan = json.loads(result.output)["scan"]
    assert len({cost["convolution"] for cost in scan}) == 27
    assert [c["mean"] for c in scan] == sorted((c["mean"] for c in scan), reverse=True)
    assert scan[0]["most"] > 0
    assert open_bundle(out).measured["calibration"]["scan"] == scan


def test_a_mixture_leaves_ever_more_in_float() -> None:
    scan = [asdict(Cost(name, 1.0, 1.0)) for name in "abcdefgh"]
    kept = {"keep": ("x",), "mixed": False}
    assert list(mixtures(scan, kept)) == [["x"]]
    found = list(mixtures(scan, kept | {"mixed": True}))
    assert ["".join(names) for names in found] == ["x", "xa", "xab", "xabcd", "xabcdef"]
    assert list(mixtures([], kept | {"mixed": True})) == [["x"]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "x.onnx"], "name says nothing"),
        (["-o", "x.xedge", "--check", "0"], "--force"),
        (["-o", "x.xedge", "--check", "0", "--force", "--mixed"], "when the budget holds"),
        (["-o", "x.xedge", "--data", "."], "go together"),
        (["-o", "x.xedge", "--count", "1", "--keep", "nowhere"], "nowhere"),
    ],
)
def test_options_that_cannot_be_used(shipped: str, arguments: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        CliRunner().invoke(calibrate, [shipped, *arguments], catch_exceptions=False)


def test_a_wrong_set_is_refused(shipped: str, tmp_path: Path) -> None:
    manifest = tmp_path / "set.json"
    manifest.write_text('{"schema": 1, "format": "simulated", "part": "", "items": []}')
    arguments = [shipped, "-o", "x.xedge", "--set", str(manifest)]
    with pytest.raises(CalibrationError, match="empty"):
        CliRunner().invoke(calibrate, arguments, catch_exceptions=False)
