"""What the recipes of the dense hosts promise of each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from xedge.models.dense import DenseConfig, DenseDetector
from xedge.models.label_aware import Coefficients
from xedge.train.assigners.grid import make_grid
from xedge.train.recipe import Recipe, load_recipe
from xedge.train.systems import SYSTEMS


def recipe(name: str) -> Recipe:
    return load_recipe(Path(name))[0]


def model_config(name: str) -> DenseConfig:
    config = recipe(name).model
    assert isinstance(config, DenseConfig)
    return config


def shapes(config: DenseConfig) -> dict[str, tuple[int, ...]]:
    return {n: tuple(p.shape) for n, p in DenseDetector(config).named_parameters()}


@pytest.mark.parametrize(
    ("with_la", "without"),
    [
        ("atss-lacls-tiny", "atss-tiny"),
        ("atss-lacls-0-2-0-tiny", "atss-tiny"),
        ("atss-lareg-tiny", "atss-tiny"),
        ("fcos-lacls-tiny", "fcos-tiny"),
        ("paa-lacls-tiny", "paa-tiny"),
    ],
)
def test_la_is_the_only_difference_of_a_pair(with_la: str, without: str) -> None:
    ours, plain = recipe(with_la), recipe(without)
    on, off = model_config(with_la), model_config(without)
    assert on.label_aware
    assert not off.label_aware
    assert (
        replace(
            on,
            label_aware=False,
            label_aware_by=off.label_aware_by,
            coefficients=off.coefficients,
        )
        == off
    )
    assert replace(ours, name=plain.name, model=plain.model) == plain
    assert shapes(on) == shapes(off)


def test_the_early_version_adds_its_own_weights_only() -> None:
    on, off = shapes(model_config("atss-early-la-tiny")), shapes(model_config("atss-tiny"))
    assert {n: s for n, s in on.items() if not n.startswith("head.early.")} == off
    assert len(on) > len(off)


FULL_SIZE = ("atss-r50", "atss-r50-lacls", "atss-r50-lareg", "fcos-r50", "fcos-r50-lacls",
             "fcos-r50-doam", "paa-r50", "paa-r50-lacls")  # fmt: skip


@pytest.mark.parametrize("name", FULL_SIZE)
def test_full_size_recipes_have_the_papers_levels_and_sgd(name: str) -> None:
    found = recipe(name)
    optim, config = found.optim, model_config(name)
    assert len(config.classes) == 12
    assert config.pyramid.levels == (8, 16, 32, 64, 128)
    assert (optim.optimizer, optim.lr, optim.momentum) == ("sgd", 0.01, 0.9)
    assert optim.weight_decay == 1e-4
    assert (optim.epochs, optim.batch, optim.milestones) == (12, 8, (8, 11))
    make_grid(found.data.height, found.data.width, config.pyramid.levels, config.anchor_scale)
    assert (config.doam is not None) == name.endswith("doam")
    assert config.label_aware == ("-la" in name)
    with torch.device("meta"):
        model = SYSTEMS[found.system].bare(config)
    assert sum(p.numel() for p in model.parameters()) == parameters(config)


def parameters(config: DenseConfig) -> int:
    """How many a head of 256 channels has, added up by hand."""
    backbone = 23_508_032  # ResNet-50 without its classifier
    conv = 9 * 256  # weights of a 3x3 convolution, an output channel
    pyramid = (512 + 1024 + 2048 + 3) * 256 + 5 * 256 * (conv + 1)
    towers = 8 * 256 * (conv + 2)  # no bias, but GroupNorm's two
    quality = {
        "conv": conv + 1,
        "statistics": 4 * 16 + 16 + 16 + 1,
        "top4": 20 * 32 + 32 + 32 + 1,
    }[config.quality]
    sides = 4 * (config.bins + 1 if config.regression == "distribution" else 1)
    predictors = (len(config.classes) + sides) * (conv + 1) + quality + len(config.pyramid.levels)
    doam = 23_740 + 64 * 7 * 7 if config.doam else 0  # and a fourth plane for the first layer
    return backbone + pyramid + towers + predictors + doam


def test_coefficients_are_those_of_the_paper_and_leave_an_idle_la_the_identity() -> None:
    found = {
        name: model_config(f"{name}-tiny").coefficients
        for name in ("atss-lacls", "atss-lacls-0-2-0", "atss-lacls-05-1-0", "atss-lacls-15-0-1",
                     "atss-lareg", "fcos-lacls", "paa-lacls")
    }  # fmt: skip
    assert list(found.values()) == [
        Coefficients(1.0, 1.0, 1.0),
        Coefficients(0.0, 2.0, 0.0),
        Coefficients(0.5, 1.0, 0.0),
        Coefficients(1.5, 0.0, 1.0),
        Coefficients(0.5, 1.0, 0.0),
        Coefficients(1.0, 5.0, 5.0),
        Coefficients(1.0, 1.0, 1.0),
    ]
    assert {k.a + k.b / 2 - k.c / 2 for k in found.values()} == {1.0}  # equation 8
