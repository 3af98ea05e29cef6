"""DOAM's gated choice with the means of regions at their own resolution, exact.

Released form. Between region means and gate there are two convolutions and nothing else: together
one of 5x5 on features and painted means, see `collapsed`. That of painted means is one of 3x3 on
the means themselves, with an answer for each pixel of the smallest region: a kernel that
is moved by pixels inside regions sees but nine of them. So nothing is painted at the full size.

The two convolutions answer differently within one pixel of the border, and what follows them within
two; those are computed as they are, on strips of five pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from xedge_export.collapsed import composed, ends, framed, on_tiles

if TYPE_CHECKING:
    from xedge_export.doam import DeployedGate

BORDER = 2
STRIP = 5
"""Rows of the input that three 3x3 convolutions need for `BORDER` rows of their answer."""


def joined(pairs: nn.ModuleList) -> nn.Conv2d:
    """The convolutions of pairs as one, of features and all means to all answers.

    Args:
        pairs: 3x3 convolutions, each of features and its own means.
    """
    first = pairs[0]
    assert isinstance(first, nn.Conv2d)
    outs, ins = first.out_channels, first.in_channels // 2
    whole = nn.Conv2d(ins * (1 + len(pairs)), outs * len(pairs), 3, padding=1)
    assert whole.bias is not None
    with torch.no_grad():
        whole.weight.zero_()
        for index, pair in enumerate(pairs):
            assert isinstance(pair, nn.Conv2d)
            assert pair.bias is not None
            rows = slice(index * outs, (index + 1) * outs)
            own = slice((index + 1) * ins, (index + 2) * ins)
            whole.weight[rows, :ins] = pair.weight[:, :ins]
            whole.weight[rows, own] = pair.weight[:, ins:]
            whole.bias[rows] = pair.bias
    return whole


def on_regions(kernel: Tensor, side: int) -> Tensor:
    """The kernel on means of what a kernel answers on painted means.

    Args:
        kernel: ``[out, in, 5, 5]``.
        side: Of a region, in pixels, 2 or more.

    Returns:
        ``[out side side, in, 3, 3]``, in the order of `torch.nn.functional.pixel_shuffle`.
    """
    reach = kernel.shape[-1] // 2
    aligned = functional.pad(kernel, [side - reach] * 4)
    tiles = on_tiles(aligned, side)
    # A region's pixels are equal: the weights of all of them are one.
    outs, _, *taps = tiles.shape
    return tiles.reshape(outs, kernel.shape[1], side**2, *taps).sum(2)


class CoarseChoice(nn.Module):
    """From features to the attention before its sigmoid, at a fixed size.

    Args:
        pairs: Convolutions of features and means, one a region.
        gate: As it is deployed.
        fuse: Convolution of the gate's answer and the guidance, 3x3.
        regions: Their sides in pixels; see `fits`.
    """

    def __init__(
        self, pairs: nn.ModuleList, gate: DeployedGate, fuse: nn.Conv2d, regions: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.side, self.factors = min(regions), [k // min(regions) for k in regions]
        self.pairs, self.gate, self.fuse = joined(pairs), gate, fuse
        kernel, bias = composed(nn.Sequential(self.pairs, gate.both))
        ins, outs = self.pairs.in_channels // (1 + len(pairs)), kernel.shape[0]
        self.of_features = nn.Conv2d(ins, outs, 5, padding=2)
        self.of_features.weight = nn.Parameter(kernel[:, :ins].float().contiguous())
        self.of_features.bias = nn.Parameter(bias.float())
        of_means = on_regions(kernel[:, ins:], self.side).float()
        self.of_means = nn.Conv2d(of_means.shape[1], of_means.shape[0], 3, padding=1, bias=False)
        self.of_means.weight = nn.Parameter(of_means)

    @staticmethod
    def fits(regions: tuple[int, ...], height: int, width: int) -> bool:
        """Whether all regions are whole, and made of the smallest, which a strip lies in."""
        side = min(regions)
        whole = all(k % side == height % k == width % k == 0 for k in regions)
        return whole and side >= STRIP and min(height, width) >= 2 * side

    def forward(self, features: Tensor, guidance: Tensor) -> Tensor:
        """Attention before its sigmoid, ``[N, 1, H, W]``.

        Args:
            features: B1, ``[N, 8, H, W]``.
            guidance: A, ``[N, 1, H, W]``.
        """
        least = functional.avg_pool2d(features, self.side)
        means = torch.cat([self._means(least, factor) for factor in self.factors], dim=1)
        both = self.of_features(features)
        both = both + functional.pixel_shuffle(self.of_means(means), self.side)
        whole = self.fuse(torch.cat([self.gate.choose(both), guidance], dim=1))
        over, beside = (self._strips(features, means, guidance, dim) for dim in (2, 3))
        return framed(whole, over, beside, BORDER)

    @staticmethod
    def _means(least: Tensor, factor: int) -> Tensor:
        """Means of regions of ``factor`` x ``factor`` smallest ones, painted over these."""
        if factor == 1:
            return least
        means = functional.avg_pool2d(least, factor)
        return functional.interpolate(means, scale_factor=factor, mode="nearest-exact")

    def _strips(self, features: Tensor, means: Tensor, guidance: Tensor, dim: int) -> Tensor:
        painted = functional.interpolate(
            ends(means, dim, 1), scale_factor=self.side, mode="nearest-exact"
        )
        pairs = self.pairs(torch.cat([ends(features, dim, STRIP), ends(painted, dim, STRIP)], 1))
        chosen = self.gate(pairs)
        answer: Tensor = self.fuse(torch.cat([chosen, ends(guidance, dim, STRIP)], dim=1))
        return answer
