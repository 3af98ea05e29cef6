"""Tiny models with random weights, of each kind that can be explained."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from xedge.models.base import Classifier, Detector, ModelConfig
from xedge.models.dense import DenseDetector
from xedge.models.trunk import Trunk, TrunkConfig
from xedge.spec import Channels, ModelSpec
from xedge.train.checkpoint import Checkpoint
from xedge.train.explain.subjects import Subject, colours
from xedge.train.recipe import parse_recipe
from xedge.train.systems import SYSTEMS

SIDE = 96
CLASSES = ("gun", "knife", "utility_knife")
BACKBONE = {"channels": [8, 8, 16, 16], "stem_width": 8}


def recipe_text(
    cache: Path, tables: str = "", *, label_aware: bool = False, attention: str = "none"
) -> str:
    return f"""
name = "tiny"
[model]
classes = {list(CLASSES)}
depth = 1
groups = 4
label_aware = {str(label_aware).lower()}
{tables}
[model.pyramid]
width = 16
attention = "{attention}"
[model.pyramid.options]
channels = {BACKBONE["channels"]}
stem_width = 8
[data]
binning = 8
height = {SIDE}
width = {SIDE + 32}
train_bags = 8
val_bags = 3
val_clean = 0.0
val_seed = 2_000_003
cache = "{cache}"
"""


@pytest.fixture(scope="session")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bags")


@pytest.fixture(scope="session")
def recipe(bags: Path) -> Callable[..., str]:
    """What writes the text of a tiny recipe, with more tables where they are given."""
    return partial(recipe_text, bags)


@pytest.fixture(scope="session")
def build() -> Callable[[str], Detector]:
    """What makes the detector of a recipe, weights drawn at random."""

    def make(text: str) -> Detector:
        torch.manual_seed(0)
        parsed = parse_recipe(text)
        model = SYSTEMS[parsed.system].build(parsed.model)
        if not isinstance(model, DenseDetector):
            return model.eval()
        with torch.no_grad():
            # Far from the scores of 0.01 that a head begins with: there must be something to see.
            model.head.cls.bias.fill_(0.0)
            model.head.cls.weight.mul_(20)
        return model.eval()

    return make


@pytest.fixture
def save(tmp_path: Path, build: Callable[[str], Detector]) -> Callable[[str], Path]:
    """What writes a checkpoint of a recipe, weights drawn at random."""

    def write(text: str) -> Path:
        path = tmp_path / "tiny.ckpt"
        weights = build(text).state_dict()
        Checkpoint(text, weights, {"alarm_threshold": 0.25}, "c" * 40).save(path)
        return path

    return write


class Pooled(Classifier):
    """The smallest classifier on a trunk: global average pooling and one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.config = ModelConfig(classes=CLASSES)
        self.trunk = Trunk(self.config, TrunkConfig(options=BACKBONE, strides=(16, 32)))
        self.linear = nn.Linear(self.trunk.channels[-1], len(CLASSES))

    def forward(self, planes: Tensor) -> Tensor:
        return self.trunk(planes)[-1]

    def scores(self, outputs: Tensor) -> Tensor:
        return self.linear(outputs.mean(dim=(2, 3))).sigmoid()

    def locate(self, outputs: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        del size
        return torch.einsum("ck,nkhw->nchw", self.linear.weight, outputs)


@pytest.fixture(scope="session")
def classifier() -> Classifier:
    torch.manual_seed(0)
    return Pooled().eval()


@pytest.fixture(scope="session")
def planes() -> Tensor:
    drawn = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE + 32), dtype=np.uint8)
    return torch.from_numpy(drawn)


@pytest.fixture(scope="session")
def spec() -> ModelSpec:
    return ModelSpec(
        name="tiny", classes=CLASSES, height=SIDE, width=SIDE + 32, channels=Channels.DUAL_ENERGY,
        binning=8, pixel_mm=4.96, candidates=50, alarm_threshold=0.3,
        parents={"checkpoint": "a" * 64, "recipe": "b" * 64, "commit": "c" * 40},
    )  # fmt: skip


@pytest.fixture
def subject(planes: Tensor) -> Subject:
    return Subject("a bag", planes.numpy(), colours(planes.numpy(), Channels.DUAL_ENERGY))
