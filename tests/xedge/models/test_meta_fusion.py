from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from xedge.errors import ConfigError
from xedge.models.levels import LevelsOutput
from xedge.models.meta_fusion import (
    FusionConfig,
    MetaSelection,
    fuse,
    pool,
    selection_network,
    weights,
)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), levels=st.integers(1, 5), scale=st.floats(0, 100))
def test_weights_sum_to_one(seed: int, levels: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    found = weights(torch.randn(4, levels, generator=generator) * scale)
    # A sum of at most 5 float32 numbers up to 1.
    torch.testing.assert_close(found.sum(1), torch.ones(4), atol=1e-6, rtol=0)
    assert (found >= 0).all()


def test_fusion_by_hand() -> None:
    logits = [torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]), torch.tensor([[4.0, 4.0]])]
    # Softmax of log 1, log 2, log 5: 1/8, 2/8, 5/8.
    selection = torch.tensor([[1.0, 2.0, 5.0]]).log()
    outputs = LevelsOutput(logits, [], selection)
    torch.testing.assert_close(fuse(outputs), torch.tensor([[21 / 8, 24 / 8]]))
    torch.testing.assert_close(fuse(outputs, weigh=False), torch.tensor([[5 / 3, 2.0]]))
    torch.testing.assert_close(fuse(LevelsOutput(logits, [])), torch.tensor([[5 / 3, 2.0]]))


def test_the_network_is_that_of_table_1() -> None:
    network = MetaSelection([256, 256, 256], 256)
    convolutions = [m for m in network.layers if isinstance(m, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size, c.padding) for c in convolutions] == [
        (768, 256, (3, 3), (0, 0)),
        (256, 256, (3, 3), (0, 0)),
        (256, 256, (3, 3), (0, 0)),
    ]
    assert sum(isinstance(m, nn.ReLU) for m in network.layers) == 3


def test_maps_are_pooled_as_released_where_they_divide_and_somehow_elsewhere() -> None:
    x = torch.rand(1, 2, 28, 14)
    torch.testing.assert_close(pool(x), F.avg_pool2d(x, (4, 2)))
    network = MetaSelection([2, 3], 4).eval()
    for size in (7, 4, 9, 1):
        maps = [torch.rand(2, 2, size, size), torch.rand(2, 3, 2 * size + 1, 2 * size)]
        assert network(maps).shape == (2, 2)


def test_the_mean_needs_no_network() -> None:
    assert selection_network(FusionConfig(kind="mean"), [8, 8]) is None
    for kind in ("gated", "mf-i", "mf-n"):
        network = selection_network(FusionConfig(kind=kind, width=16), [8, 8])
        assert isinstance(network, MetaSelection)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "max"}, "no such fusion.*mean, gated, mf-i, mf-n"),
        ({"kind": "gated", "mean_epochs": 4}, "mean_epochs has no use"),
        ({"kind": "mean", "mean_epochs": 4}, "mean_epochs has no use"),
        ({"weight": -1.0}, "fusion cannot be used"),
        ({"width": 0}, "fusion cannot be used"),
    ],
)
def test_a_bad_fusion_says_what_is_wrong(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FusionConfig(**changes)
