"""A small detector to export: random weights, scores that are not all alike."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

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
