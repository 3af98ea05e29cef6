"""Small models to export: random weights, scores that are not all alike."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest
import torch
from xedge_export.contract import Stage
from xedge_export.drawn import drawn_checkpoint
from xedge_export.to_onnx import Exported, export_checkpoint, export_model
from xedge_export.zoo import Entry

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

BACKBONE = 'backbone = "resnet18d"\noptions = { channels = [8, 8, 16, 16], stem_width = 8 }\n'
DATA = "[data]\nheight = 96\nwidth = 128\nbinning = 8\n"
DENSE = 'classes = ["gun", "knife", "can"]\ndepth = 1\ngroups = 4\nregression_repeats = 1\n'
PYRAMID = f"[model.pyramid]\nwidth = 16\n{BACKBONE}"

SMALL = {
    # 96 x 128 is cut raggedly by regions of 5, 10 and 15 pixels.
    "fcos-lacls-doam": f'system = "fcos"\n[model]\n{DENSE}regression = "direct"\nquality = "conv"\n'
    f"coefficients = {{ a = 1.0, b = 5.0, c = 5.0 }}\n[model.doam]\n{PYRAMID}",
    "atss-lareg-top4": f'[model]\n{DENSE}quality = "top4"\nbins = 8\n'
    'label_aware_by = "regression"\n'
    f'coefficients = {{ a = 0.5, b = 1.0, c = 0.0 }}\n{PYRAMID}attention = "non-local"\n',
    "atss-early": f'[model]\n{DENSE}label_aware_by = "early"\n{PYRAMID}attention = "cbam"\n',
    "paa-misleading-only": f'system = "paa"\n[model]\n{DENSE}regression = "direct"\n'
    'quality = "conv"\ncoefficients = { a = 1.5, b = 0.0, c = 1.0 }\n'
    f'{PYRAMID}attention = "da"\nextra = 1\n',
    "ssd-doam-paper": 'system = "ssd"\n[model]\nclasses = ["gun", "knife"]\nwidth = 16\n'
    "extra = [16, 8]\nextra_strides = [2, 1]\nsizes = [0.1, 0.3, 0.5, 0.7, 0.9]\n"
    "ratios = [[2], [2, 3], [2], [2]]\nl2_scale = 4.0\n"
    f'[model.doam]\nvariant = "paper"\n[model.trunk]\nstrides = [8, 16]\n{BACKBONE}',
    "yolov3-se": 'system = "yolov3"\n[model]\nclasses = ["gun", "knife"]\nwidth = 16\n'
    f'[model.trunk]\nattention = "se"\n{BACKBONE}',
}
"""Text of a small recipe of each kind of detector, with the mechanisms spread over them."""

LEVELS = f"[model.trunk]\n{BACKBONE}"
CLASSIFIERS = {
    "chr-mf-doam": 'system = "chr"\n[model]\nclasses = ["gun", "knife", "can"]\n[model.fusion]\n'
    f'kind = "mf-i"\nwidth = 8\n[model.doam]\n{LEVELS}attention = "se"\n',
    "sxmnet-gated": 'system = "sxmnet"\n[model]\nclasses = ["gun", "knife"]\ncoarse_widths = [8]\n'
    'fine_widths = [4]\n[model.fusion]\nkind = "gated"\nwidth = 8\n'
    f"[model.pyramid]\nstrides = [4, 8, 16, 32]\nwidth = 8\n{BACKBONE}",
}
"""Text of small recipes of classifiers; between them they have all that one can have."""


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


@pytest.fixture(scope="session")
def small() -> Callable[[str], Exported]:
    """The exported model of a name in `SMALL` or `CLASSIFIERS`, drawn; each is exported once."""

    @functools.cache
    def exported(name: str) -> Exported:
        text = f'name = "{name}"\n{(SMALL | CLASSIFIERS)[name]}\n{DATA}'
        checkpoint = drawn_checkpoint(text, seed=1)
        return export_checkpoint(checkpoint, "0" * 64)

    return exported


@pytest.fixture(scope="session")
def tiny() -> Callable[[Entry], Exported]:
    """The exported model of a tiny recipe; each is exported once."""
    return functools.cache(lambda entry: export_checkpoint(*entry.checkpoint()))


@pytest.fixture(params=list(SMALL))
def each_small(request: pytest.FixtureRequest, small: Callable[[str], Exported]) -> Exported:
    """Each of them in turn."""
    return small(request.param)


@pytest.fixture(params=list(CLASSIFIERS))
def each_classifier(request: pytest.FixtureRequest, small: Callable[[str], Exported]) -> Exported:
    """Each classifier in turn."""
    return small(request.param)


@pytest.fixture(params=[*SMALL, *CLASSIFIERS])
def any_small(request: pytest.FixtureRequest, small: Callable[[str], Exported]) -> Exported:
    """Each detector and each classifier in turn."""
    return small(request.param)
