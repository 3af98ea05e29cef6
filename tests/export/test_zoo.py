"""Every tiny recipe leaves PyTorch and answers on engines as it did there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from xedge_export.class_parity import ClassParityReport, check_scores
from xedge_export.drawn import random_planes
from xedge_export.parity import ParityReport, check_parity, with_labels_exposed
from xedge_export.to_onnx import Exported
from xedge_export.zoo import Entry, zoo

from xedge.engines import load
from xedge.models.base import Classifier
from xedge.spec import Kind
from xedge.train.shipped import SHIPPED
from xedge.train.systems import SYSTEMS

NOWHERE = Path("no-such-folder")
ENTRIES = zoo(NOWHERE)


def test_every_tiny_recipe_is_in_it() -> None:
    names = {path.stem for path in SHIPPED.glob("*-tiny.toml") if not path.stem.startswith("_")}
    assert {entry.name for entry in zoo(NOWHERE)} == names
    assert {entry.system for entry in ENTRIES} == set(SYSTEMS)


def test_weights_are_the_trained_ones_or_drawn(tiny_checkpoint: Path) -> None:
    trained, digest = Entry("x", "atss", Kind.DETECTOR, tiny_checkpoint).checkpoint()
    assert trained.recipe.name == "tiny"
    assert len(digest) == 64
    drawn, other = Entry("fcos-tiny", "fcos", Kind.DETECTOR, None).checkpoint()
    assert drawn.recipe.name == "fcos-tiny"
    assert "drawn" in drawn.commit
    assert other != digest


@pytest.mark.full
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_it_is_exported_and_answers_alike(entry: Entry, tiny: Callable[[Entry], Exported]) -> None:
    exported = tiny(entry)  # which verifies the graph
    model = exported.checkpoint.model()
    torch.manual_seed(12)
    planes = list(random_planes(2, exported.spec.height, exported.spec.width).numpy())
    data, exposed = with_labels_exposed(exported.model)
    for name in ("onnxruntime", "openvino"):
        engine = load(data, name, threads=1)
        report: ParityReport | ClassParityReport
        if isinstance(model, Classifier):
            report = check_scores(model.eval(), exported.spec, engine, planes)
        else:
            report = check_parity(model, exported.spec, engine, exposed, planes)
        engine.close()
        assert report.holds, (name, report)
