"""Every mechanism and host, exported, on real engines: at parity with PyTorch's own decoding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from xedge_export.drawn import random_planes
from xedge_export.parity import check_parity, with_labels_exposed
from xedge_export.to_onnx import Exported

from xedge.engines import load
from xedge.errors import ExportError
from xedge.models.base import Detector, top_candidates

WINDOWS = 2


def pictures(exported: Exported) -> list[np.ndarray]:
    torch.manual_seed(11)
    planes = random_planes(WINDOWS, exported.spec.height, exported.spec.width)
    return list(planes.numpy())


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_it_is_at_parity_with_pytorch(each_small: Exported, name: str) -> None:
    data, exposed = with_labels_exposed(each_small.model)
    engine = load(data, name, threads=1)
    model = each_small.checkpoint.model()
    assert isinstance(model, Detector)
    report = check_parity(model, each_small.spec, engine, exposed, pictures(each_small))
    engine.close()
    assert report.holds, report
    assert report.detections > 20
    assert bool(report.locations) == bool(exposed)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_candidates_are_those_of_pytorch(each_small: Exported, name: str) -> None:
    """Before any threshold or suppression: every row's score, and nearly every row's box."""
    model, spec = each_small.checkpoint.model(), each_small.spec
    assert isinstance(model, Detector)
    engine = load(each_small.model, name, threads=1)
    for planes in pictures(each_small):
        with torch.no_grad():
            decoded = model.decode(model(torch.from_numpy(planes[None])))
        boxes, scores, labels = (t.numpy() for t in top_candidates(*decoded, spec.candidates))
        answer = engine.run({"planes": planes[None]})
        # Forty layers' roundings of 6e-8 on logits of a few units; DOAM's are of numbers up to 255.
        assert np.abs(answer["scores"] - scores).max() < 2e-5
        near = np.abs(answer["boxes"] - boxes).max(axis=2) < 1e-3 * max(spec.height, spec.width)
        # Scores that tie come in another order: few do.
        assert (near & (answer["labels"] == labels)).mean() > 0.95
    engine.close()


def test_every_node_depends_on_the_planes(each_small: Exported) -> None:
    """Anchors, priors and centres are constants: they are not made anew for each window."""
    graph = onnx.load_model_from_string(each_small.model).graph
    constants = {tensor.name for tensor in graph.initializer} | {""}
    assert [node.name for node in graph.node if constants.issuperset(node.input)] == []


EXPECTED = {
    "fcos-lacls-doam": [
        "pyramid/trunk/doam/sobel/Conv",
        "pyramid/trunk/doam/material/means/2/AveragePool",
        "pyramid/trunk/doam/material/means/2/Resize",
        "pyramid/trunk/doam/material/gate/both/Conv",
        "P3/label_aware/backward/0/Conv",
        "P5/label_aware/one_hot/ArgMax_1",
    ],
    "atss-lareg-top4": [
        "P3/label_aware/predict/Conv",
        "P3/label_aware/one_hot/ArgMax",
        "pyramid/trunk/attention/0/MatMul",
        "P4/head/quality/TopK",
    ],
    "atss-early": [
        "P3/label_aware/early/blocks/0/Conv",
        "P4/label_aware/early/weight/Conv",
        "pyramid/trunk/attention/1/channel/fc1/Conv",
    ],
    "paa-misleading-only": ["P6/label_aware/one_hot/ArgMax_1", "pyramid/trunk/attention/0/Softmax"],
    "ssd-doam-paper": ["trunk/doam/fuse/Conv", "cls/3/Conv", "decode/Softmax", "top/TopK"],
    "yolov3-se": ["neck/Resize", "trunk/attention/0/fc1/Conv", "heads/2/1/Conv", "decode/Exp"],
}


@pytest.mark.parametrize("name", list(EXPECTED))
def test_nodes_are_named_after_the_modules_they_come_from(
    name: str, small: Callable[[str], Exported]
) -> None:
    nodes = {node.name for node in onnx.load_model_from_string(small(name).model).graph.node}
    assert [wanted for wanted in EXPECTED[name] if wanted not in nodes] == []


def test_labels_without_an_effect_are_not_in_the_graph(small: Callable[[str], Exported]) -> None:
    per_level = {
        name: len(with_labels_exposed(small(name).model)[1]) / levels
        for name, levels in (
            ("fcos-lacls-doam", 3),
            ("atss-lareg-top4", 3),
            ("atss-early", 3),
            ("paa-misleading-only", 4),
            ("ssd-doam-paper", 1),
        )
    }
    assert list(per_level.values()) == [2, 1, 1, 2, 0]


def test_more_candidates_than_there_are_is_refused(small: Callable[[str], Exported]) -> None:
    from xedge_export.candidates import TopCandidates

    with pytest.raises(ExportError, match=r"expected 13 pairs.*found 12"):
        TopCandidates(13)(torch.zeros(1, 4, 4), torch.zeros(1, 4, 3))
