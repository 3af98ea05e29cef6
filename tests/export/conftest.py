"""A small detector to export: random weights, scores that are not all alike."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest
import torch
from xedge_export.contract import Stage
from xedge_export.to_onnx import export_model

from xedge.models.dense import DenseDetector
from xedge.train.checkpoint import Checkpoint

RECIPE = """
name = "tiny"
[model]
classes = ["gun", "knife", "can"]
depth = 2
groups = 4
[model.pyramid]
backbone = "resnet18d"
width = 16
[model.pyramid.options]
channels = [8, 8, 16, 16]
stem_width = 8
[data]
height = 96
width = 128
binning = 8
"""


def lively(model: DenseDetector, seed: int) -> DenseDetector:
    """The detector with predictors drawn so that scores spread and LA has something to do."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in (model.head.cls, model.head.reg):
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * 0.1)
        model.head.cls.bias.fill_(-1.0)
    return model.eval()


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a small detector with random weights."""
    torch.manual_seed(5)
    model = lively(DenseDetector(Checkpoint(RECIPE, {}, {}, "").recipe.model), 6)
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.ckpt"
    Checkpoint(RECIPE, model.state_dict(), {"ap50": 0.0}, "0000").save(path)
    return path


@pytest.fixture(scope="session")
def tiny_graph(tiny_checkpoint: Path) -> Callable[[Stage], ir.Model]:
    """The small detector's float32 graph of a stage; nobody may change it."""

    @functools.cache
    def graph(stage: Stage) -> ir.Model:
        data = export_model(tiny_checkpoint, stage).model
        return ir.serde.deserialize_model(onnx.load_model_from_string(data))

    return graph


@pytest.fixture(scope="session")
def parse() -> Callable[[str], ir.Model]:
    """From a graph in ONNX's own text to a model with types, its nodes named ``Op_index``."""

    def model_of(text: str) -> ir.Model:
        proto = onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text))
        model = ir.serde.deserialize_model(proto)
        for index, node in enumerate(model.graph):
            node.name = node.name or f"{node.op_type}_{index}"
        return model

    return model_of
