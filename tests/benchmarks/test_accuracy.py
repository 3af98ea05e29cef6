from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner
from xedge_benchmarks.accuracy import AccuracySettings, bench_accuracy

from xedge import engines
from xedge.bundle import Bundle
from xedge.cli import main
from xedge.sim import CLASSES
from xedge.train.config import SimulatedData


def test_bundles_are_measured_on_the_same_bags(quick_bundle: Bundle) -> None:
    seen: list[None] = []
    settings = AccuracySettings(bags=3, threads=1)
    record = bench_accuracy([quick_bundle, quick_bundle], settings, lambda: seen.append(None))
    first, second = record.results["models"]
    assert len(seen) == 3
    assert first == second
    assert first["bags_with_objects"] + first["clean_bags"] == 3
    # Every bag has dark pixels, so this model alarms on all of them.
    assert first["alarmed_of_clean"] == first["clean_bags"]
    assert first["alarmed_of_those"] == first["bags_with_objects"]
    assert set(first["ap50_by_class"]) == set(CLASSES)
    json.loads(record.to_json())
    # `auto` is what was asked for; the record says what it stood for.
    name, version = record.results["engine"].split(" ", 1)
    assert name in engines.AUTO
    assert version == engines.available()[name].detail


def test_fresh_bags_are_fresh() -> None:
    data, fresh = SimulatedData(), AccuracySettings()
    mine = range(fresh.seed, fresh.seed + fresh.bags)
    for first, count in ((data.train_seed, data.train_bags), (data.val_seed, data.val_bags)):
        assert not set(mine) & set(range(first, first + count))


def test_the_command_prints_a_table_and_keeps_a_record(
    quick_bundle_path: Path, tmp_path: Path
) -> None:
    arguments = ["bench", "accuracy", "--bundle", str(quick_bundle_path), "--bags", "2"]
    arguments += ["--engine", "onnxruntime", "--threads", "1", "--scratch", "--out", str(tmp_path)]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "AP50, occlusion OL3" in result.stdout
    assert "alarms, clean bags" in result.stdout
    assert len(list(tmp_path.rglob("*.json"))) == 1
