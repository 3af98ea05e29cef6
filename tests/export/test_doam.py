"""DOAM as it is exported, against the module that is trained."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from xedge_export.doam import SOBEL_SCALE, DeployedDOAM, RegionMeans, SobelEdges
from xedge_export.drawn import draw, random_planes, settle_norms
from xedge_export.to_onnx import trace

from xedge.engines import load
from xedge.models.doam import DOAM, PARTS, VARIANTS, DOAMConfig, region_means, sobel


def pixels(seed: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (1, 3, height, width), generator=generator, dtype=torch.uint8)


@given(st.integers(0, 2**31 - 1), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=30)
def test_edges_are_an_eighth_of_the_trained_ones(seed: int, height: int, width: int) -> None:
    plane = pixels(seed, height, width)[:, :1].float()
    edges = SobelEdges()(plane)
    # The trained one has a floor of 1e-6; all else is whole numbers and powers of two.
    assert (edges / SOBEL_SCALE - sobel(plane)).abs().max() <= 1e-6
    assert edges.max() ** 2 < torch.finfo(torch.float16).max


@given(st.integers(1, 50), st.integers(1, 70), st.integers(1, 70))
@settings(max_examples=60)
def test_means_are_those_of_the_trained_module(side: int, height: int, width: int) -> None:
    x = pixels(side, height, width).float()
    found, wanted = RegionMeans(side, height, width)(x), region_means(x, side)
    assert found.shape == wanted.shape
    # Sums of whole numbers below 2^24 are exact; what follows rounds three times.
    assert (found - wanted).abs().max() <= 4 * torch.finfo(torch.float32).eps * 255


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("parts", PARTS)
def test_every_form_answers_as_the_trained_one(variant: str, parts: str) -> None:
    height, width = 47, 61
    torch.manual_seed(3)
    doam = DOAM(DOAMConfig(variant=variant, parts=parts, regions=(5, 10, 15, 64)))
    draw(doam)
    settle_norms(doam, height, width)
    planes = random_planes(1, height, width)
    with torch.no_grad():
        wanted, found = doam(planes), DeployedDOAM(doam, height, width)(planes)
    # Five to ten layers, each a sum of some hundred products: a few hundred roundings of 6e-8.
    assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()
    if parts != "edge":
        assert (wanted[:, :3] - planes).abs().max() > 1, "drawn weights gate the image"


def test_the_trained_module_is_left_as_it_is() -> None:
    doam = DOAM().eval()
    before = {name: value.clone() for name, value in doam.state_dict().items()}
    DeployedDOAM(doam, 20, 20)
    assert all(torch.equal(value, before[name]) for name, value in doam.state_dict().items())


def test_an_image_without_edges_stays_dark() -> None:
    """Zeros around air make a frame of edges; where even that is missing, eps stands for range."""
    found = DeployedDOAM(DOAM(DOAMConfig(parts="edge")).eval(), 9, 9)(
        torch.zeros(1, 3, 9, 9, dtype=torch.uint8)
    )
    assert torch.equal(found, torch.zeros(1, 4, 9, 9))


class Means(nn.Module):
    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        # Sides where PyTorch's own nearest resize looks at the wrong pixel are among them.
        self.means = nn.ModuleList(RegionMeans(k, height, width) for k in (5, 10, 15, 41, 55))

    def forward(self, planes: Tensor) -> tuple[Tensor, ...]:
        x = planes.float()
        return tuple(means(x) for means in self.means)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_engines_paint_means_over_ragged_regions(engine: str) -> None:
    height, width = 173, 228
    outputs = ("a", "b", "c", "d", "e")
    model = ir.serde.serialize_model(trace(Means(height, width), height, width, outputs))
    runner = load(model.SerializeToString(), engine, threads=1)
    planes = pixels(1, height, width)
    answer = runner.run({"planes": planes.numpy()})
    runner.close()
    for name, side in zip(outputs, (5, 10, 15, 41, 55), strict=True):
        wanted = region_means(planes.float(), side).numpy()
        # As above; a wrong source pixel would be off by whole counts.
        assert np.abs(answer[name] - wanted).max() <= 1e-3, side
