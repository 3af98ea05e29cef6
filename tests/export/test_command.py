from __future__ import annotations

import datetime
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from xedge_export import checking, command
from xedge_export.pack import pack
from xedge_export.parity import ParityReport
from xedge_export.probes import CHECK_SEED
from xedge_export.to_onnx import export_model
from xedge_export.zoo import Entry

from xedge import packing
from xedge.bundle import open_bundle
from xedge.cli import main
from xedge.detector import open_detector
from xedge.errors import ExportError
from xedge.golden import verify_golden
from xedge.sim.bags import BagConfig
from xedge.spec import Channels, Kind
from xedge.train.bags import simulate
from xedge.train.checkpoint import load_checkpoint
from xedge.train.sample import fit


def test_an_onnx_file_is_written_after_parity_was_checked(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "model.onnx"
    arguments = ["export", str(tiny_checkpoint), "-o", str(out), "--check", "2", "--json"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert out.read_bytes() == export_model(tiny_checkpoint).model
    assert record["parity"]["windows"] == 2
    assert record["parity"]["identical"] == record["parity"]["detections"] > 0
    assert record["stage"] == "refined"


def test_half_precision_is_written_beside_it(tiny_checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.onnx"
    arguments = ["export", str(tiny_checkpoint), "-o", str(out), "--check", "1", "--json",
                 "--precision", "fp16,fp32"]  # fmt: skip
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    half = (tmp_path / "model-fp16.onnx").read_bytes()
    assert len(half) < 0.8 * out.stat().st_size
    assert {p.name for p in tmp_path.iterdir()} == {"model.onnx", "model-fp16.onnx"}
    assert packing.spec_of(half) == packing.spec_of(out.read_bytes())


def test_an_unknown_precision_is_refused_before_anything_runs(tmp_path: Path) -> None:
    arguments = ["export", "none.ckpt", "-o", str(tmp_path / "m.onnx"), "--precision", "fp8"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code != 0
    assert "one or more of fp32, fp16" in str(result.output) + str(result.exception)


def test_a_model_of_whole_bags_in_pseudo_colour_is_checked_on_such(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = tmp_path / "whole.ckpt", tmp_path / "model.onnx"
    tiny, _ = load_checkpoint(tiny_checkpoint)
    text = tiny.recipe_text + 'view = "whole"\nchannels = "pseudo-colour"\n'
    replace(tiny, recipe_text=text).save(path)
    seen = []
    real = checking.check_parity

    def check_parity(
        model: Any, spec: Any, engine: Any, exposed: Any, windows: Any, *_: Any
    ) -> Any:
        seen.extend(windows)
        return real(model, spec, engine, exposed, seen)

    monkeypatch.setattr(checking, "check_parity", check_parity)
    arguments = ["export", str(path), "-o", str(out), "--check", "2", "--json"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    packing = BagConfig(clean=0.0)
    for planes, seed in zip(seen, (CHECK_SEED, CHECK_SEED + 1), strict=True):
        bag = simulate(seed, 8, packing, Channels.PSEUDO_COLOUR)
        whole = fit(bag, 96, 128, Channels.PSEUDO_COLOUR, keep_ratio=False)
        assert np.array_equal(planes, whole.planes)


def test_a_bundle_is_complete_and_reproduces_its_golden_answer(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Random weights are sure of nothing; what is a detection at all will do here.
    monkeypatch.setattr(packing, "SURE", 0.06)
    out = tmp_path / "model.xedge"
    arguments = ["export", str(tiny_checkpoint), "-o", str(out), "--check", "1",
                 "--precision", "fp32,fp16"]  # fmt: skip
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    bundle = open_bundle(out)
    assert set(bundle.variants) == {"fp32", "fp16"}
    assert bundle.spec.parents["checkpoint"] == load_checkpoint(tiny_checkpoint)[1]
    assert 'name = "tiny"' in bundle.recipe
    assert "Apache License" in bundle.licence
    for engine in ("onnxruntime", "openvino"):
        for variant in bundle.variants:
            with open_detector(bundle, engine, 1, variant=variant) as detector:
                assert verify_golden(bundle, detector.engine, variant).objects >= 2


def test_a_bundle_of_a_model_of_pictures_is_refused_at_once(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = tmp_path / "pictures.ckpt", tmp_path / "model.xedge"
    tiny, _ = load_checkpoint(tiny_checkpoint)
    pictures = tiny.recipe_text.replace("binning = 8", 'format = "sixray"')
    replace(tiny, recipe_text=pictures).save(path)
    monkeypatch.setattr(command, "parity_of", None)
    result = CliRunner().invoke(main, ["export", str(path), "-o", str(out)])
    assert result.exit_code == 1
    assert "this model learned from pictures" in result.stderr
    assert "xedge pack" in result.stderr
    assert not out.exists()


def test_the_table_holds_the_whole_digest(tiny_checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.onnx"
    arguments = ["export", str(tiny_checkpoint), "-o", str(out), "--check", "0"]
    result = CliRunner(env={"COLUMNS": "40"}).invoke(main, arguments, catch_exceptions=False)
    cells = "".join(line.split("│")[2].strip() for line in result.stdout.splitlines()[1:-1])
    assert hashlib.sha256(out.read_bytes()).hexdigest() in cells


def test_fewer_bags_than_none_are_no_check(tiny_checkpoint: Path, tmp_path: Path) -> None:
    arguments = ["export", str(tiny_checkpoint), "-o", str(tmp_path / "m.onnx"), "--check", "-3"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "x>=0" in result.stderr


def test_a_difference_stops_the_export_and_nothing_is_written(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = ParityReport(windows=1, detections=5, identical=4, differing=1)
    assert not bad.holds
    monkeypatch.setattr(command, "parity_of", lambda *_: bad)
    out = tmp_path / "model.onnx"
    result = CliRunner().invoke(main, ["export", str(tiny_checkpoint), "-o", str(out)])
    assert result.exit_code == 1
    assert "does not answer as PyTorch does" in result.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "message"), [("model.pt", "FILE.onnx or FILE.xedge"), ("model", "FILE.onnx")]
)
def test_an_output_without_a_known_suffix_is_refused(
    tiny_checkpoint: Path, tmp_path: Path, name: str, message: str
) -> None:
    result = CliRunner().invoke(main, ["export", str(tiny_checkpoint), "-o", str(tmp_path / name)])
    assert result.exit_code == 1
    assert message in result.stderr


def test_a_detector_that_is_sure_of_nothing_makes_no_bundle(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "SURE", 1.1)
    monkeypatch.setattr(packing, "TRIES", 2)
    with pytest.raises(ExportError, match="sure of nothing"):
        pack(export_model(tiny_checkpoint), tmp_path / "x.xedge", "text", datetime.date.min)


def of_pictures(tiny_checkpoint: Path, path: Path) -> Path:
    tiny, _ = load_checkpoint(tiny_checkpoint)
    text = tiny.recipe_text.replace("binning = 8", 'format = "sixray"')
    replace(tiny, recipe_text=text).save(path)
    return path


def test_a_model_of_pictures_is_checked_on_bags_or_on_pictures_given(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    path = of_pictures(tiny_checkpoint, tmp_path / "pictures.ckpt")
    folder, out = tmp_path / "given", tmp_path / "model.onnx"
    folder.mkdir()
    small = np.random.default_rng(2).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / "a.png"), small.repeat(8, 0).repeat(8, 1))
    for more in (["--check", "1"], ["--pictures", str(folder)]):
        arguments = ["export", str(path), "-o", str(out), "--json", *more]
        result = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        parity = json.loads(result.stdout)["parity"]
        assert parity["windows"] == 1
        assert parity["identical"] == parity["detections"] > 0
        out.unlink()


def test_all_exports_what_it_can_and_names_what_it_cannot(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.ckpt"
    broken.write_bytes(b"")
    entries = [
        Entry("tiny", "atss", Kind.DETECTOR, tiny_checkpoint),
        Entry("broken", "atss", Kind.DETECTOR, broken),
    ]
    monkeypatch.setattr(command, "zoo", lambda runs: entries)
    out = tmp_path / "onnx"
    arguments = ["export", "--all", "-o", str(out), "--check", "1", "--json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "1 of 2 models were not exported: found broken" in result.stderr
    good, bad = json.loads(result.stdout)
    assert (good["weights"], good["error"]) == (str(tiny_checkpoint), "")
    assert good["compared"] > 0
    assert good["bytes"] == (out / "tiny.onnx").stat().st_size
    assert "not a checkpoint" in bad["error"]
    assert [path.name for path in out.iterdir()] == ["tiny.onnx"]


def test_the_list_says_what_there_is_and_with_which_weights(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "ssd-tiny").mkdir()
    (tmp_path / "ssd-tiny" / "final.ckpt").write_bytes(tiny_checkpoint.read_bytes())
    arguments = ["export", "--list", "--runs", str(tmp_path)]
    result = CliRunner().invoke(main, [*arguments, "--json"], catch_exceptions=False)
    listed = {row["name"]: row for row in json.loads(result.stdout)}
    assert listed["ssd-tiny"]["weights"] == str(tmp_path / "ssd-tiny" / "final.ckpt")
    assert listed["fcos-tiny"] == {
        "name": "fcos-tiny", "system": "fcos", "kind": "detector", "weights": "drawn",
        "exportable": True,
    }  # fmt: skip
    assert listed["chr-tiny"]["kind"] == "classifier"
    assert "ssd300-vgg16" not in listed
    table = CliRunner().invoke(main, arguments, catch_exceptions=False).stdout
    assert "yolov3-tiny" in table


@pytest.mark.parametrize("arguments", [[], ["x.ckpt"], ["--all"], ["x.ckpt", "--all", "-o", "y"]])
def test_what_to_export_and_where_must_be_said(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, ["export", *arguments])
    assert result.exit_code == 2
    assert "Give a CHECKPOINT or --all" in result.stderr


def test_options_that_all_has_no_use_for_are_refused(tmp_path: Path) -> None:
    arguments = ["export", "--all", "-o", str(tmp_path), "--stage", "first-pass"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "no use for" in result.stderr
