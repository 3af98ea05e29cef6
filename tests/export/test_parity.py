from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from xedge_export.parity import (
    Choice,
    ParityReport,
    check_parity,
    compare,
    with_labels_exposed,
)
from xedge_export.to_onnx import export_model

from xedge.engines import load
from xedge.errors import ExportError
from xedge.train.checkpoint import load_checkpoint
from xedge.types import Detections


def windows(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    small = [rng.integers(0, 256, (3, 12, 16), dtype=np.uint8) for _ in range(count)]
    return [w.repeat(8, 1).repeat(8, 2) for w in small]


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_an_export_is_at_parity_with_autograd(tiny_checkpoint: Path, name: str) -> None:
    exported = export_model(tiny_checkpoint)
    data, exposed = with_labels_exposed(exported.model)
    assert len(exposed) == 6
    model = load_checkpoint(tiny_checkpoint)[0].model()
    engine = load(data, name, threads=1)
    report = check_parity(model, exported.spec, engine, exposed, windows(6))
    assert report.holds, report
    assert report.identical > 50
    # 12x16 + 6x8 + 3x4 locations, two labels each.
    assert report.locations == 6 * 2 * (192 + 48 + 12)
    assert report.ties + report.wrong_choices <= 1


def test_a_graph_with_another_gradient_is_caught(tiny_checkpoint: Path) -> None:
    """Dropping one mean of GroupNorm's derivative is the classic mistake; parity must see it."""
    exported = export_model(tiny_checkpoint)
    model = onnx.load_model_from_string(exported.model)
    zero = numpy_helper.from_array(np.zeros((), np.float32), "zero")
    model.graph.initializer.append(zero)
    changed = 0
    for node in model.graph.node:
        if node.op_type == "Sub" and "/label_aware/backward/" in node.name:
            node.input[1] = "zero"
            changed += 1
    assert changed
    data, exposed = with_labels_exposed(model.SerializeToString())
    engine = load(data, "onnxruntime", threads=1)
    oracle = load_checkpoint(tiny_checkpoint)[0].model()
    report = check_parity(oracle, exported.spec, engine, exposed, windows(4))
    assert not report.holds


def test_a_graph_that_is_wrong_at_its_root_does_not_excuse_itself(tiny_checkpoint: Path) -> None:
    """Another mean: every feature differs, argmaxes flip everywhere, and that is no excuse."""
    exported = export_model(tiny_checkpoint)
    model = onnx.load_model_from_string(exported.model)
    (mean,) = [i for i in model.graph.initializer if i.name.endswith("trunk.mean")]
    mean.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(mean) * np.float32(0.7), mean.name))
    data, exposed = with_labels_exposed(model.SerializeToString())
    engine = load(data, "onnxruntime", threads=1)
    oracle = load_checkpoint(tiny_checkpoint)[0].model()
    report = check_parity(oracle, exported.spec, engine, exposed, windows(4))
    assert not report.holds
    assert report.wrong_choices > 0


def detections(*rows: tuple[float, float, int]) -> Detections:
    """Boxes of 100 pixels at an x, with a score and a label."""
    x = np.array([[r[0], 0, r[0] + 100, 100] for r in rows], np.float32).reshape(-1, 4)
    return Detections(
        x, np.array([r[1] for r in rows], np.float32), np.array([r[2] for r in rows], np.int32)
    )


NO_CHOICES = ParityReport(locations=10)
A_TIE = ParityReport(locations=10_000, ties=1)


def test_what_counts_as_identical() -> None:
    mine = detections((0, 0.9, 1), (200, 0.5, 2), (400, 0.0505, 0))
    same = compare(mine, detections((0.2, 0.9005, 1), (200, 0.5, 2)), 0.05, NO_CHOICES)
    assert (same.detections, same.identical, same.differing, same.extra) == (2, 2, 0, 0)
    assert same.worst_score == pytest.approx(5e-4, abs=1e-6)
    assert same.holds
    for other in (
        detections((0, 0.9, 2), (200, 0.5, 2)),
        detections((2, 0.9, 1), (200, 0.5, 2)),
        detections((0, 0.89, 1), (200, 0.5, 2)),
    ):
        report = compare(mine, other, 0.05, NO_CHOICES)
        assert (report.differing, report.extra) == (1, 1)
        assert not report.holds
        excused = compare(mine, other, 0.05, A_TIE)
        assert (excused.differing, excused.differing_with_ties) == (0, 1)
        assert excused.extra_with_ties == 1
        assert not excused.holds, "half of the detections differ: no tie explains that"


def test_a_rare_tie_excuses_little_and_a_wrong_choice_nothing() -> None:
    good = ParityReport(windows=50, detections=500, identical=499, differing_with_ties=1,
                        locations=100_000, ties=3)  # fmt: skip
    assert good.holds
    for change in (
        {"ties": 101},
        {"wrong_choices": 1},
        {"identical": 494},
        {"extra_with_ties": 6},
        {"differing": 1},
        {"extra": 1},
        {"detections": 0, "identical": 0},
    ):
        assert not dataclasses.replace(good, **change).holds, change


def test_a_tie_is_told_from_a_wrong_choice() -> None:
    scores = np.array([0.5, 0.5 * (1 - 5e-5), 0.4, 0.1], np.float32).reshape(1, 1, 4, 1, 1)
    choice = Choice(np.zeros((1, 1, 1, 1, 1), np.int32), scores)
    for label, expected in ((0, (0, 0)), (1, (1, 0)), (2, (0, 1))):
        assert choice.compare(np.full((1, 1, 1, 1), label, np.int32)) == expected


def test_bins_of_four_sides_are_four_choices() -> None:
    scores = np.tile(np.array([0.6, 0.3], np.float32).reshape(1, 1, 2, 1, 1), (1, 4, 1, 2, 3))
    choice = Choice(np.zeros((1, 4, 1, 2, 3), np.int32), scores)
    other = np.zeros((1, 4, 1, 2, 3), np.int32)
    other[0, 2, 0, 1, 1] = 1
    assert choice.compare(other) == (0, 1)


def test_two_of_the_oracles_cannot_share_one_of_the_engines() -> None:
    twice = detections((0, 0.9, 1), (0, 0.9, 1))
    assert compare(twice, detections((0, 0.9, 1)), 0.05, NO_CHOICES).differing == 1


def test_reports_add_up() -> None:
    total = ParityReport(1, 3, 2, 1, 0, 4, 5, 10, 1, 0, 1e-4, 0.999).merge(
        ParityReport(1, 1, 1, 0, 0, 0, 0, 10, 0, 2, 2e-4, 0.995)
    )
    assert total == ParityReport(2, 4, 3, 1, 0, 4, 5, 20, 1, 2, 2e-4, 0.995)


def test_nothing_to_compare_is_an_error(tiny_checkpoint: Path) -> None:
    exported = export_model(tiny_checkpoint)
    model = load_checkpoint(tiny_checkpoint)[0].model()
    engine = load(exported.model, "onnxruntime", threads=1)
    with pytest.raises(ExportError, match="nothing to compare"):
        check_parity(model, exported.spec, engine, [], [])
