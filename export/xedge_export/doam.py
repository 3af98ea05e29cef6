"""DOAM written with what every engine computes alike, at any size of the planes.

What stands in the model (xedge.models.doam, the oracle) and what stands here:

- Sobel's slices and sums become one convolution with constant kernels. They are divided by 8, an
  exact power of two: the squares' sum stays below 2^15 and fits a 16-bit float; the edge
  guidance's first kernel is multiplied by 8, and eps divided.
- A region's mean is taken over regions that zeros complete at the right and the bottom, and
  multiplied by k^2 over the number of pixels that are there: engines do not agree on the divisor
  of a pool that a border cuts (ceil_mode).
- Means are painted over their regions by a resize that looks at pixels' centres. Those lie half a
  pixel or more from the next region, so that no engine's rounding can reach it.
- The two convolutions of the gate see the same set and run as one; its BatchNorm, which no
  convolution precedes, goes into the feature's weights and a shift.
- The released form's chains have nothing between their convolutions: see `collapsed`; nor is there
  anything between means and gate: where regions tile the planes, see `coarse`.
- ``gamma M P + (1 - gamma) P`` is ``(1 + gamma (M - 1)) P``: one product of the whole image.
"""

from __future__ import annotations

import copy
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from xedge.models.doam import DOAM, Gate, MaterialAwareness
from xedge_export.coarse import CoarseChoice
from xedge_export.collapsed import CollapsedChain, is_linear

SOBEL_SCALE: Final = 0.125


class SobelEdges(nn.Module):
    """Length of Sobel's gradient over 8, zeros beyond the border."""

    def __init__(self) -> None:
        super().__init__()
        smooth, slope = torch.tensor([1.0, 2.0, 1.0]), torch.tensor([-1.0, 0.0, 1.0])
        vertical = torch.outer(slope, smooth)
        kernels = torch.stack([vertical, vertical.T])[:, None] * SOBEL_SCALE
        self.register_buffer("kernels", kernels)
        self.kernels: Tensor

    def forward(self, plane: Tensor) -> Tensor:
        """E / 8, float32 ``[N, 1, H, W]``, of one plane of that shape, 0..255."""
        gradient = functional.conv2d(plane, self.kernels, padding=1)
        return (gradient * gradient).sum(1, keepdim=True).sqrt()


class RegionMeans(nn.Module):
    """Mean of the region around every pixel (RIA), see `xedge.models.doam.region_means`.

    Args:
        side: k, in pixels.
        height: Of the features.
        width: Of the features.
    """

    def __init__(self, side: int, height: int, width: int) -> None:
        super().__init__()
        self.side, self.height, self.width = side, height, width
        rows, columns = (_pixels_there(n, side) for n in (height, width))
        self.missing = (len(columns) * side - width, len(rows) * side - height)
        correction = side * side / (rows[:, None] * columns)
        self.register_buffer("correction", correction[None, None])
        self.correction: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Means ``[N, C, H, W]`` of features of that shape."""
        right, below = self.missing
        if right or below:
            x = functional.pad(x, (0, right, 0, below))
        means = functional.avg_pool2d(x, self.side)
        if right or below:
            means = means * self.correction
        painted = functional.interpolate(means, scale_factor=self.side, mode="nearest-exact")
        return painted[..., : self.height, : self.width]


def _chain(layers: nn.Module, height: int, width: int) -> nn.Module:
    """The layers, as one convolution where they are a chain of them."""
    if is_linear(layers) and CollapsedChain.fits(layers, height, width):
        return CollapsedChain(layers, height, width)
    return layers


def _pixels_there(length: int, side: int) -> Tensor:
    """How many pixels of each region lie inside, float32 ``[ceil(length / side)]``."""
    starts = torch.arange(0, length, side, dtype=torch.float32)
    return (length - starts).clamp(max=side)


class DeployedGate(nn.Module):
    """Gated convolution G with BatchNorm: ``feature sigmoid(mask)``, scaled and shifted."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        norm = gate.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        feature, mask = gate.feature, gate.mask
        assert feature.bias is not None
        assert mask.bias is not None
        self.both = nn.Conv2d(feature.in_channels, 2 * feature.out_channels, 3, padding=1)
        weight = torch.cat([feature.weight * scale[:, None, None, None], mask.weight])
        self.both.weight = nn.Parameter(weight.detach())
        self.both.bias = nn.Parameter(torch.cat([feature.bias * scale, mask.bias]).detach())
        shift = norm.bias - norm.running_mean * scale
        self.register_buffer("shift", shift.detach().reshape(1, -1, 1, 1))
        self.shift: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """B, ``[N, 8, H, W]``, of the set U ``[N, C, H, W]``."""
        return self.choose(self.both(x))

    def choose(self, both: Tensor) -> Tensor:
        """B of what the convolution answers."""
        feature, mask = both.chunk(2, dim=1)
        chosen: Tensor = feature * mask.sigmoid() + self.shift
        return chosen


class DeployedMaterial(nn.Module):
    """MA (equations 3 to 6) at a fixed size."""

    def __init__(self, material: MaterialAwareness, height: int, width: int) -> None:
        super().__init__()
        self.blocks, self.pairs = _chain(material.blocks, height, width), material.pairs
        self.means = nn.ModuleList(RegionMeans(k, height, width) for k in material.regions)
        self.gate = None if material.gate is None else DeployedGate(material.gate)

    def forward(self, p: Tensor) -> Tensor:
        """B, ``[N, channels_out, H, W]``, of the concatenated image P ``[N, 4, H, W]``."""
        b1 = self.blocks(p)
        pairs = [torch.cat([b1, means(b1)], dim=1) for means in self.means]
        if self.pairs is not None:
            pairs = [conv(pair) for conv, pair in zip(self.pairs, pairs, strict=True)]
        b = torch.cat(pairs, dim=1) if len(pairs) > 1 else pairs[0]
        return b if self.gate is None else self.gate(b)


class DeployedDOAM(nn.Module):
    """DOAM at a fixed size; what it answers is `xedge.models.doam.DOAM`'s but for rounding.

    Args:
        doam: The trained module, in evaluation mode.
        height: Of the planes.
        width: Of the planes.
    """

    def __init__(self, doam: DOAM, height: int, width: int) -> None:
        super().__init__()
        self.sobel = SobelEdges()
        self.eps = doam.config.eps * SOBEL_SCALE
        self.edge_guidance: nn.Module | None = None
        self.material: nn.Module | None = None
        self.gamma = None if doam.gamma is None else doam.gamma.item()
        if doam.edge_guidance is None:
            return
        guidance = copy.deepcopy(doam.edge_guidance)
        first = guidance[0]
        assert isinstance(first, nn.Conv2d)
        with torch.no_grad():
            first.weight.div_(SOBEL_SCALE)
        self.edge_guidance = _chain(guidance, height, width)
        self.choice: CoarseChoice | None = None
        self.fuse = doam.fuse
        if (material := doam.material) is None:
            return
        pairs, regions = material.pairs, material.regions
        if pairs is None or material.gate is None or not CoarseChoice.fits(regions, height, width):
            self.material = DeployedMaterial(material, height, width)
            return
        self.material = _chain(material.blocks, height, width)
        self.choice = CoarseChoice(pairs, DeployedGate(material.gate), doam.fuse, regions)

    def forward(self, planes: Tensor) -> Tensor:
        """Planes and edge image, gated, float32 ``[1, 4, H, W]``, of uint8 ``[1, 3, H, W]``."""
        planes = planes.float()
        edges = self.sobel(planes[:, :1])
        low, high = edges.amin((1, 2, 3), keepdim=True), edges.amax((1, 2, 3), keepdim=True)
        stretched = (edges - low) * (255 / (high - low).clamp(min=self.eps))
        p = torch.cat([planes, stretched], dim=1)
        if self.edge_guidance is None:
            return p
        attention = self._fused(p, self.edge_guidance(edges)).sigmoid()
        if self.gamma is not None:
            attention = attention * self.gamma + (1 - self.gamma)
        return attention * p

    def _fused(self, p: Tensor, guidance: Tensor) -> Tensor:
        """Attention before its sigmoid, ``[1, 1, H, W]``."""
        if self.material is not None:
            features = self.material(p)
            if self.choice is not None:
                return self.choice(features, guidance)  # type: ignore[no-any-return]
            guidance = torch.cat([features, guidance], dim=1)
        fused: Tensor = self.fuse(guidance)
        return fused
