"""Every tiny recipe leaves PyTorch and answers on engines as it did there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from xedge_calibration.observe import observe
from xedge_calibration.placement import FORMS, place
from xedge_calibration.qdq import to_int8
from xedge_export.class_parity import ClassParityReport, check_scores
from xedge_export.drawn import random_planes
from xedge_export.parity import ParityReport, check_parity, with_labels_exposed
from xedge_export.to_onnx import Exported
from xedge_export.zoo import Entry, zoo

from xedge.engines import arithmetic, load
from xedge.models.base import Classifier
from xedge.spec import Kind
from xedge.train.shipped import SHIPPED
from xedge.train.systems import SYSTEMS
from xedge.types import U8

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


@pytest.mark.full
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_it_answers_in_eight_bits(entry: Entry, tiny: Callable[[Entry], Exported]) -> None:
    exported = tiny(entry)
    model = ir.serde.deserialize_model(onnx.load_model_from_string(exported.model))
    torch.manual_seed(13)
    planes = list(random_planes(2, exported.spec.height, exported.spec.width).numpy())
    plain = [best(answer) for answer in answers(exported.model, "onnxruntime", planes)]
    for variant, engine in (("int8", "openvino"), ("int8-u8s8", "onnxruntime")):
        form = FORMS[variant]
        histograms = observe(model, place(model.graph, form).tensors, planes)
        data = ir.serde.serialize_model(to_int8(model, histograms, form)).SerializeToString()
        ran = arithmetic(data, engine, 1)
        assert ran is not None
        assert ran.get("int8", 0) > 0, ran
        found = answers(data, engine, planes)
        for answer, expected in zip(found, plain, strict=True):
            # Some twenty layers of steps of 1/127 of a range, each adding in squares: 0.035 of the
            # range of the logits, here some ten, so a logit within 0.4 and a score within 0.1.
            assert abs(best(answer) - expected) < 0.1, (variant, best(answer), expected)


def answers(model: bytes, engine: str, planes: list[U8]) -> list[Mapping[str, Any]]:
    with closing(load(model, engine, threads=1)) as loaded:
        return [loaded.run({"planes": window[None]}) for window in planes]


def best(answer: Mapping[str, Any]) -> float:
    scores = answer["scores"]
    assert np.isfinite(scores).all()
    return float(scores.max())
