"""DOAM's choice at the resolution of the means: against the trained module, at sizes that fit."""

from __future__ import annotations

import onnx_ir as ir
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from xedge_export.coarse import CoarseChoice, joined, on_regions
from xedge_export.doam import DeployedDOAM, DeployedGate
from xedge_export.drawn import draw, random_planes, settle_norms
from xedge_export.to_onnx import trace

from xedge.engines import load
from xedge.models.doam import DOAM, DOAMConfig, region_means


def drawn(regions: tuple[int, ...], seed: int = 3) -> DOAM:
    torch.manual_seed(seed)
    doam = DOAM(DOAMConfig(regions=regions))
    draw(doam)
    settle_norms(doam, 48, 48)
    return doam.eval()


def choice(doam: DOAM) -> CoarseChoice:
    material = doam.material
    assert material is not None
    assert material.pairs is not None
    assert material.gate is not None
    gate = DeployedGate(material.gate)
    return CoarseChoice(material.pairs, gate, doam.fuse, material.regions).eval()


def as_trained(doam: DOAM, features: Tensor, guidance: Tensor) -> Tensor:
    """Equations 5, 6 and 8, of features that are there."""
    material = doam.material
    assert material is not None
    assert material.pairs is not None
    assert material.gate is not None
    pairs = [
        conv(torch.cat([features, region_means(features, side)], 1))
        for conv, side in zip(material.pairs, material.regions, strict=True)
    ]
    return torch.as_tensor(doam.fuse(torch.cat([material.gate(torch.cat(pairs, 1)), guidance], 1)))


@given(
    st.sampled_from([(5, 10, 15), (5,), (12, 6), (7, 14)]),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(0, 2**31 - 1),
)
@settings(max_examples=30)
def test_it_answers_as_the_trained_layers(
    regions: tuple[int, ...], rows: int, columns: int, seed: int
) -> None:
    whole = max(max(regions), 2 * min(regions))
    while any(whole % side for side in regions):
        whole += 1
    height, width = rows * whole, columns * whole
    assert CoarseChoice.fits(regions, height, width)
    doam = drawn(regions, seed % 7)
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(1, 8, height, width, generator=generator)
    guidance = torch.randn(1, 1, height, width, generator=generator)
    with torch.no_grad():
        found = choice(doam)(features, guidance)
        exact = as_trained(doam.double(), features.double(), guidance.double())
    # Three layers, sums of a few hundred products, each rounded to 6e-8 of what it adds up to.
    assert (found - exact).abs().max() < 1e-4 * max(1.0, float(exact.abs().max()))


def test_a_kernel_on_means_is_that_on_painted_means() -> None:
    kernel = torch.randn(
        3, 2, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    means = torch.randn(1, 2, 4, 5, dtype=torch.float64)
    for side in (2, 3, 5, 8):
        painted = means.repeat_interleave(side, 2).repeat_interleave(side, 3)
        wanted = functional.conv2d(painted, kernel, padding=2)
        coarse = functional.conv2d(means, on_regions(kernel, side), padding=1)
        # Some 50 products of numbers near 1, rounded to 1.1e-16 each.
        assert (functional.pixel_shuffle(coarse, side) - wanted).abs().max() < 1e-13


def test_pairs_as_one_convolution_answer_alike() -> None:
    torch.manual_seed(0)
    pairs = nn.ModuleList(nn.Conv2d(6, 4, 3, padding=1) for _ in range(3))
    features, *means = torch.randn(4, 1, 3, 9, 7).unbind()
    with torch.no_grad():
        wanted = torch.cat(
            [p(torch.cat([features, m], 1)) for p, m in zip(pairs, means, strict=True)], 1
        )
        found = joined(pairs)(torch.cat([features, *means], 1))
    assert (found - wanted).abs().max() < 1e-5  # 54 products below 3


@pytest.mark.parametrize(
    ("regions", "height", "width", "fits"),
    [
        ((5, 10, 15), 300, 300, True),
        ((15, 5, 10), 60, 90, True),
        ((5, 10, 15), 416, 416, False),
        ((5, 10, 15), 300, 310, False),
        ((5, 8), 40, 40, False),
        ((4, 8), 32, 32, False),
        ((6,), 6, 6, False),
    ],
)
def test_regions_must_tile_the_planes(
    regions: tuple[int, ...], height: int, width: int, fits: bool
) -> None:
    assert CoarseChoice.fits(regions, height, width) is fits
    assert (DeployedDOAM(drawn(regions), height, width).choice is not None) is fits


@pytest.mark.parametrize("engine", ["torch", "onnxruntime", "openvino"])
def test_the_whole_module_answers_as_the_trained_one(engine: str) -> None:
    height, width, doam = 60, 90, drawn((5, 10, 15))
    deployed = DeployedDOAM(doam, height, width).eval()
    planes = random_planes(1, height, width)
    with torch.no_grad():
        wanted, found = doam(planes), deployed(planes)
    if engine != "torch":
        model = ir.serde.serialize_model(trace(deployed, height, width, ("y",)))
        runner = load(model.SerializeToString(), engine, threads=1)
        found = torch.from_numpy(runner.run({"planes": planes.numpy()})["y"])
        runner.close()
    # As in test_doam: a few hundred roundings of 6e-8.
    assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()
    assert (wanted[:, :3] - planes).abs().max() > 1, "drawn weights gate the image"
