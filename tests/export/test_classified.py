"""Classifiers on real engines, against PyTorch: scores and maps, whatever fuses the levels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from xedge_export.class_parity import check_scores
from xedge_export.drawn import random_planes
from xedge_export.fp16 import to_fp16
from xedge_export.to_onnx import Exported

from xedge.engines import load
from xedge.errors import ExportError
from xedge.models.base import Classifier
from xedge.models.chr import CHR
from xedge.spec import Kind


def windows(exported: Exported) -> list[np.ndarray]:
    torch.manual_seed(11)
    return list(random_planes(2, exported.spec.height, exported.spec.width).numpy())


def model_of(exported: Exported) -> Classifier:
    model = exported.checkpoint.model().eval()
    assert isinstance(model, Classifier)
    return model


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_an_engine_gives_what_pytorch_gives(each_classifier: Exported, name: str) -> None:
    engine = load(each_classifier.model, name, threads=1)
    report = check_scores(
        model_of(each_classifier), each_classifier.spec, engine, windows(each_classifier)
    )
    engine.close()
    assert report.holds
    assert report.compared == 2 * len(each_classifier.spec.classes)
    # Rounding through some forty layers: a hundred float32 steps; DOAM's are of numbers up to 255.
    assert report.worst_score < 2e-5
    assert report.worst_map < 2e-4


def test_the_graph_keeps_the_contract(each_classifier: Exported) -> None:
    graph = onnx.load_model_from_string(each_classifier.model).graph
    assert each_classifier.spec.kind is Kind.CLASSIFIER
    assert each_classifier.spec.stage == "first-pass"
    assert [o.name for o in graph.output] == ["scores", "maps"]
    assert not any(n.name.startswith("model/trunk") for n in graph.node)


def test_a_refinement_convolves_before_it_resizes(small: Callable[[str], Exported]) -> None:
    graph = onnx.load_model_from_string(small("chr-mf-doam").model).graph
    made = {o: n for n in graph.node for o in n.output}
    resizes = [n for n in graph.node if n.op_type == "Resize" and n.name.startswith("refine/")]
    assert [made[n.input[0]].op_type for n in resizes] == ["Conv", "Conv"]
    assert not any(n.op_type == "Concat" and n.name.startswith("refine/") for n in graph.node)


def test_half_precision_answers_nearly_the_same(each_classifier: Exported) -> None:
    model = ir.serde.deserialize_model(onnx.load_model_from_string(each_classifier.model))
    half = ir.serde.serialize_model(to_fp16(model)).SerializeToString()
    (planes, _) = windows(each_classifier)
    answers = []
    for data in (each_classifier.model, half):
        engine = load(data, "onnxruntime", threads=1)
        answers.append(engine.run({"planes": planes[None]}))
        engine.close()
    # As in test_fp16: 0.4 % of a logit after some thirty layers, and a score's slope is 1/4.
    assert np.abs(answers[0]["scores"] - answers[1]["scores"]).max() < 0.004 * 4 / 4
    peak = np.abs(answers[0]["maps"]).max()
    assert np.abs(answers[0]["maps"] - answers[1]["maps"]).max() < 0.02 * peak


def test_another_model_s_answers_are_told_apart(small: Callable[[str], Exported]) -> None:
    exported, other = small("chr-mf-doam"), small("sxmnet-gated")
    model = model_of(exported)
    assert isinstance(model, CHR)
    with torch.no_grad():
        for linear in model.heads.linear:
            linear.bias.add_(0.5)  # type: ignore[operator]
    engine = load(exported.model, "onnxruntime", threads=1)
    report = check_scores(model, exported.spec, engine, windows(exported))
    assert not report.holds
    assert (report.different, report.different_maps) == (6, 0)
    with pytest.raises(ExportError, match="does not line up"):
        check_scores(model_of(other), other.spec, engine, windows(exported))
    with pytest.raises(ExportError, match="nothing to compare"):
        check_scores(model, exported.spec, engine, [])
    engine.close()
