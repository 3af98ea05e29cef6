from __future__ import annotations

import pytest
import torch

from xedge.models.distances import BinQuality, ConvQuality, expected_distances, make_quality


def bins_at(*values: float) -> torch.Tensor:
    """One location whose four sides all have this distribution, ``[1, 4, B, 1, 1]``."""
    return torch.tensor(values).reshape(1, 1, -1, 1, 1).expand(1, 4, -1, 1, 1)


def test_the_expectation_is_that_of_the_bins() -> None:
    distances = expected_distances(bins_at(0.5, 0.0, 0.25, 0.25), torch.arange(4.0))
    assert distances.shape == (1, 4, 1, 1)
    assert distances.flatten().tolist() == [1.25] * 4


def test_statistics_are_the_largest_minus_the_mean() -> None:
    seen = BinQuality("statistics").statistics(bins_at(0.7, 0.1, 0.2))
    assert seen.shape == (1, 4, 1, 1)
    assert seen.flatten().tolist() == pytest.approx([0.7 - 1 / 3] * 4)


def test_top4_are_the_four_largest_and_their_mean_side_by_side() -> None:
    seen = BinQuality("top4").statistics(bins_at(0.05, 0.4, 0.1, 0.3, 0.0, 0.15))
    assert seen.shape == (1, 20, 1, 1)
    assert seen.flatten().tolist() == pytest.approx([0.4, 0.3, 0.15, 0.1, 0.2375] * 4)


@pytest.mark.parametrize(("kind", "count"), [("statistics", 4 * 16 + 33), ("top4", 20 * 32 + 65)])
def test_layers_of_the_bins_quality_are_those_released(kind: str, count: int) -> None:
    quality = make_quality(kind, 8)
    assert sum(p.numel() for p in quality.parameters()) == count
    assert quality(torch.randn(2, 8, 3, 5), torch.rand(2, 4, 17, 3, 5)).shape == (2, 1, 3, 5)


def test_a_convolution_looks_at_the_tower() -> None:
    quality = make_quality("conv", 8)
    assert isinstance(quality, ConvQuality)
    tower = torch.randn(2, 8, 3, 5)
    assert quality(tower, None).shape == (2, 1, 3, 5)
    assert not torch.equal(quality(tower, None), quality(tower * 2, None))
