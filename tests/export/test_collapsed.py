"""A chain of convolutions as one: against the chain itself, in float64 and in float32."""

from __future__ import annotations

from itertools import pairwise

import onnx_ir as ir
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from xedge_export.collapsed import CollapsedChain, composed, is_linear, on_tiles
from xedge_export.to_onnx import trace

from xedge.engines import load


def chain(*widths: int, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = (nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(widths))
    return nn.Sequential(*layers).eval()


def image(channels: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(seed))


@given(
    st.lists(st.integers(1, 6), min_size=3, max_size=6),
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(0, 2**31 - 1),
)
@settings(max_examples=40)
def test_it_answers_as_the_chain_at_any_size(
    widths: list[int], more_rows: int, more_columns: int, seed: int
) -> None:
    layers = chain(*widths, seed=seed)
    height, width = 8 * len(layers) + more_rows, 8 * len(layers) + more_columns
    x = image(widths[0], height, width, seed)
    collapsed = CollapsedChain(layers, height, width)
    assert min(collapsed.whole.weight.shape[:2]) >= 16
    with torch.no_grad():
        wanted, found = layers(x), collapsed(x)
        exact = layers.double()(x.double())
    # Up to 120 x 6 products of numbers below 1, each rounded to 6e-8 of the largest partial sum.
    bound = 800 * 6e-8 * max(1.0, float(exact.abs().max()))
    assert found.shape == exact.shape
    assert (found - exact).abs().max() < bound
    assert (wanted - exact).abs().max() < bound


def test_in_double_precision_only_the_order_of_sums_differs() -> None:
    layers = chain(4, 8, 16, 32, 16, 8).double()
    x = image(4, 52, 47).double()
    collapsed = CollapsedChain(layers, 52, 47)
    kernel, bias = composed(layers)
    collapsed.whole.double()
    collapsed.whole.weight.data = on_tiles(kernel, collapsed.side)
    collapsed.whole.bias.data = bias.repeat_interleave(collapsed.side**2)
    with torch.no_grad():
        # 121 x 4 products below 1, each rounded to 1.1e-16: 1e-13 leaves a margin.
        assert (collapsed(x) - layers(x)).abs().max() < 1e-13


def test_the_one_convolution_alone_is_wrong_along_the_border() -> None:
    """What the strips are for: without them the first and last four pixels differ."""
    layers, n = chain(1, 8, 16, 16, 8, 1).double(), 5
    x = image(1, 40, 40).double()
    kernel, bias = composed(layers)
    with torch.no_grad():
        off = (functional.conv2d(x, kernel, bias, padding=n) - layers(x)).abs()
    assert off[..., n - 1 : -n + 1, n - 1 : -n + 1].max() < 1e-13
    assert off[..., n - 2, :].max() > 1e-6


@pytest.mark.parametrize(
    ("layers", "linear"),
    [
        (chain(4, 8, 8), True),
        (chain(4, 8), False),
        (nn.Sequential(*chain(4, 8), nn.ReLU(), *chain(8, 8)), False),
        (nn.Sequential(*chain(4, 8), nn.Conv2d(8, 8, 1)), False),
        (nn.Sequential(*chain(4, 8), nn.Conv2d(8, 8, 3, padding=1, stride=2)), False),
        (nn.Sequential(*chain(4, 8), nn.Conv2d(8, 8, 3, padding=1, bias=False)), False),
        (nn.Conv2d(4, 8, 3, padding=1), False),
    ],
)
def test_only_plain_convolutions_are_a_chain(layers: nn.Module, linear: bool) -> None:
    assert is_linear(layers) is linear


def test_small_images_are_left_to_the_chain() -> None:
    assert CollapsedChain.fits(chain(1, 2, 1), 16, 17)
    assert not CollapsedChain.fits(chain(1, 2, 1), 15, 300)


class Planes(nn.Module):
    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.layers = CollapsedChain(chain(3, 8, 4, 5), height, width)

    def forward(self, planes: Tensor) -> Tensor:
        found: Tensor = self.layers(planes.float())
        return found


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_engines_answer_as_the_chain(engine: str) -> None:
    height, width = 39, 50
    planes = (image(3, height, width) * 255).to(torch.uint8)
    model = ir.serde.serialize_model(trace(Planes(height, width), height, width, ("y",)))
    runner = load(model.SerializeToString(), engine, threads=1)
    answer = torch.from_numpy(runner.run({"planes": planes.numpy()})["y"])
    runner.close()
    with torch.no_grad():
        wanted = chain(3, 8, 4, 5)(planes.float())
    # Some 200 products of numbers up to 255, as above.
    assert (answer - wanted).abs().max() < 200 * 6e-8 * 255
