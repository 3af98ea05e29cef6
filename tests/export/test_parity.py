from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from xedge_export.parity import ParityReport, check_parity, compare, with_labels_exposed
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
    assert report.flips < 0.01 * report.locations


def test_a_graph_with_another_gradient_is_caught(tiny_checkpoint: Path) -> None:
    """Dropping one mean of GroupNorm's derivative is the classic mistake; parity must see it."""
    exported = export_model(tiny_checkpoint)
    model = onnx.load_model_from_string(exported.model)
    zero = numpy_helper.from_array(np.zeros((), np.float32), "zero")
    model.graph.initializer.append(zero)
    changed = 0
    for node in model.graph.node:
        if node.op_type == "Mul" and "/label_aware/backward/" in node.name and changed < 40:
            node.input[1] = "zero" if "gamma" in node.input[1] else node.input[1]
            changed += "zero" in node.input
    assert changed
    data, exposed = with_labels_exposed(model.SerializeToString())
    engine = load(data, "onnxruntime", threads=1)
    oracle = load_checkpoint(tiny_checkpoint)[0].model()
    report = check_parity(oracle, exported.spec, engine, exposed, windows(4))
    assert not report.holds


def detections(*rows: tuple[float, float, int]) -> Detections:
    """Boxes of 100 pixels at an x, with a score and a label."""
    x = np.array([[r[0], 0, r[0] + 100, 100] for r in rows], np.float32).reshape(-1, 4)
    return Detections(
        x, np.array([r[1] for r in rows], np.float32), np.array([r[2] for r in rows], np.int32)
    )


def test_what_counts_as_identical() -> None:
    mine = detections((0, 0.9, 1), (200, 0.5, 2), (400, 0.0505, 0))
    same = compare(mine, detections((0.2, 0.9005, 1), (200, 0.5, 2)), 0.05, 0, 10)
    assert (same.detections, same.identical, same.differing, same.extra) == (2, 2, 0, 0)
    assert same.worst_score == pytest.approx(5e-4, abs=1e-6)
    assert same.holds
    for other in (
        detections((0, 0.9, 2), (200, 0.5, 2)),
        detections((2, 0.9, 1), (200, 0.5, 2)),
        detections((0, 0.89, 1), (200, 0.5, 2)),
    ):
        report = compare(mine, other, 0.05, 0, 10)
        assert (report.differing, report.extra) == (1, 1)
        assert not report.holds
        excused = compare(mine, other, 0.05, 1, 10)
        assert (excused.differing, excused.differing_with_flips) == (0, 1)


def test_two_of_the_oracles_cannot_share_one_of_the_engines() -> None:
    twice = detections((0, 0.9, 1), (0, 0.9, 1))
    assert compare(twice, detections((0, 0.9, 1)), 0.05, 0, 1).differing == 1


def test_reports_add_up() -> None:
    total = ParityReport(1, 3, 2, 1, 0, 0, 10, 1, 1e-4, 0.999).merge(
        ParityReport(1, 1, 1, 0, 0, 0, 10, 0, 2e-4, 0.995)
    )
    assert total == ParityReport(2, 4, 3, 1, 0, 0, 20, 1, 2e-4, 0.995)


def test_nothing_to_compare_is_an_error(tiny_checkpoint: Path) -> None:
    exported = export_model(tiny_checkpoint)
    model = load_checkpoint(tiny_checkpoint)[0].model()
    engine = load(exported.model, "onnxruntime", threads=1)
    with pytest.raises(ExportError, match="nothing to compare"):
        check_parity(model, exported.spec, engine, [], [])
