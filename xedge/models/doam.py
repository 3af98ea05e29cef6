"""De-occlusion attention (DOAM): an image becomes itself and its edges, gated pixel by pixel.

Source: Wei et al., "Occluded Prohibited Items Detection: an X-ray Security Inspection Benchmark
and De-occlusion Attention Module" and its extension, section IV-A, equations 1 to 9. The released
code departs from the text; `DOAMConfig.variant` chooses, docs/adr/0008 lists the differences.

Shapes: N images, planes ``[N, 3, H, W]`` of any size; E the edge image, P = planes and edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xedge.errors import ConfigError, InputError

VARIANTS: Final = ("released", "paper")
PARTS: Final = ("edge", "eg", "eg+ma-no-gate", "full")
CHANNELS_OUT: Final = 4
"""Channels that DOAM hands to its host: three planes and the edge image."""

EG_WIDTHS: Final = (1, 8, 16, 16, 8, 1)
MA_WIDTHS: Final = (CHANNELS_OUT, 8, 16, 32, 16, 8)
MA_CHANNELS: Final = MA_WIDTHS[-1]
# E^2 is 0 or at least 1 for 8-bit planes: the floor changes no image, only the slope at 0.
SMALLEST_SQUARE: Final = 1e-12


@dataclass(frozen=True, kw_only=True)
class DOAMConfig:
    """Which DOAM is built.

    Attributes:
        variant: ``released`` follows the authors' code, ``paper`` the text.
        parts: The paper's ablations (its table IX): ``edge`` concatenates the edge image and has
            no attention, ``eg`` adds edge guidance, ``eg+ma-no-gate`` material awareness with one
            region, ``full`` the gated choice among all regions.
        regions: Sides of RIA's square regions in pixels, each once.
        ungated_region: Side in pixels of the one region of ``eg+ma-no-gate`` (section V-E: 10).
        eps: Smallest range of the edge image that is stretched to 0..255, in its own unit
            (counts times Sobel's weights, 0..1442): a flatter image stays dark.
    """

    variant: str = "released"
    parts: str = "full"
    regions: tuple[int, ...] = (5, 10, 15)
    ungated_region: int = 10
    eps: float = 0.01

    def __post_init__(self) -> None:
        for name, value, known in (
            ("variant", self.variant, VARIANTS),
            ("parts", self.parts, PARTS),
        ):
            if value not in known:
                raise ConfigError(
                    f"DOAM has no such {name}",
                    expected=f"one of {', '.join(known)}",
                    found=repr(value),
                )
        distinct = len(set(self.regions)) == len(self.regions)
        if not self.regions or not distinct or min(*self.regions, self.ungated_region) < 1:
            raise ConfigError(
                "DOAM's regions cannot be averaged",
                expected="at least one side, each once, in whole pixels from 1",
                found=f"regions {list(self.regions)}, ungated_region {self.ungated_region}",
            )
        if not self.eps > 0:
            raise ConfigError(
                "DOAM's eps would divide by zero", expected="a number above 0", found=str(self.eps)
            )


def sobel(plane: Tensor) -> Tensor:
    """Edge image E, float32 ``[N, 1, H, W]``: length of Sobel's gradient, zeros beyond the border.

    Exact up to the root for whole counts: the squares' sum stays below 2.1e6, hence below 2^24.

    Args:
        plane: One plane, 0..255, ``[N, 1, H, W]``.
    """
    # Slices and sums, not a convolution: autocast and TF32, which round the counts or overflow
    # at the square, leave these alone.
    p = F.pad(plane.float(), (1, 1, 1, 1))
    rows = p[..., :-2] + 2 * p[..., 1:-1] + p[..., 2:]
    columns = p[..., :-2, :] + 2 * p[..., 1:-1, :] + p[..., 2:, :]
    horizontal = rows[..., 2:, :] - rows[..., :-2, :]
    vertical = columns[..., 2:] - columns[..., :-2]
    square = horizontal * horizontal + vertical * vertical
    return square.clamp(min=SMALLEST_SQUARE).sqrt()


def stretch(edges: Tensor, eps: float) -> Tensor:
    """Edge image between its own minimum and maximum as 0..255, image by image, same shape.

    Args:
        edges: E, ``[N, 1, H, W]``.
        eps: Smallest range that counts as contrast, in E's unit.
    """
    low, high = edges.amin((1, 2, 3), keepdim=True), edges.amax((1, 2, 3), keepdim=True)
    return (edges - low) / (high - low).clamp(min=eps) * 255


def region_means(x: Tensor, side: int) -> Tensor:
    """Mean of the ``side`` x ``side`` region around every pixel (RIA, equation 5), same shape.

    Regions tile the image from its top left corner; those that the right or bottom border cuts
    are averaged over the pixels that are there. (Equation 5's sums have k + 1 terms and divide by
    k^2; the mean of k x k pixels is taken, as its text says.)

    Args:
        x: Features ``[N, C, H, W]``.
        side: k, in pixels.
    """
    n, c, h, w = x.shape
    means = F.avg_pool2d(x, side, side, ceil_mode=True, count_include_pad=False)
    rows, columns = means.shape[-2:]
    # Not F.interpolate: its nearest picks the wrong source pixel for some sides (41, 47, 55, ...).
    painted = means[:, :, :, None, :, None].expand(n, c, rows, side, columns, side)
    return painted.reshape(n, c, rows * side, columns * side)[..., :h, :w]


def blocks(widths: tuple[int, ...], *, variant: str) -> nn.Sequential:
    """3x3 convolutions through ``widths``; the paper's with BatchNorm and ReLU after each."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers.append(nn.Conv2d(before, after, 3, padding=1))
        if variant == "paper":
            layers += [nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers)


class Gate(nn.Module):
    """Gated convolution G (equation 6): features times their own mask, then BatchNorm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.feature = nn.Conv2d(channels, MA_CHANNELS, 3, padding=1)
        self.mask = nn.Conv2d(channels, MA_CHANNELS, 3, padding=1)
        self.norm = nn.BatchNorm2d(MA_CHANNELS)
        for conv in (self.feature, self.mask):
            nn.init.kaiming_normal_(conv.weight)

    def forward(self, x: Tensor) -> Tensor:
        """B, ``[N, 8, H, W]``, of the set U ``[N, C, H, W]``."""
        chosen: Tensor = self.norm(self.feature(x) * self.mask(x).sigmoid())
        return chosen


class MaterialAwareness(nn.Module):
    """MA: colour and texture with what lies around them (equations 3 to 6)."""

    def __init__(self, config: DOAMConfig) -> None:
        super().__init__()
        gated = config.parts == "full"
        self.regions = config.regions if gated else (config.ungated_region,)
        self.blocks = blocks(MA_WIDTHS, variant=config.variant)
        self.pairs: nn.ModuleList | None = None
        width = 2 * MA_CHANNELS
        if config.variant == "released":
            self.pairs = nn.ModuleList(
                nn.Conv2d(width, MA_CHANNELS, 3, padding=1) for _ in self.regions
            )
            width = MA_CHANNELS
        self.gate = Gate(width * len(self.regions)) if gated else None
        self.channels_out = MA_CHANNELS if gated else width

    def forward(self, p: Tensor) -> Tensor:
        """B, ``[N, channels_out, H, W]``, of the concatenated image P ``[N, 4, H, W]``."""
        b1 = self.blocks(p)
        pairs = [torch.cat([b1, region_means(b1, k)], dim=1) for k in self.regions]
        if self.pairs is not None:
            pairs = [conv(pair) for conv, pair in zip(self.pairs, pairs, strict=True)]
        b = torch.cat(pairs, dim=1)
        return b if self.gate is None else self.gate(b)


class DOAM(nn.Module):
    """The module in front of a host's first layer; the host takes four channels instead of three.

    Nothing of one image reaches another in evaluation mode. In training BatchNorm's statistics do.
    """

    channels_out: Final = CHANNELS_OUT

    def __init__(self, config: DOAMConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or DOAMConfig()
        self.edge_guidance: nn.Sequential | None = None
        self.material: MaterialAwareness | None = None
        self.gamma: nn.Parameter | None = None
        if config.parts == "edge":
            return
        self.edge_guidance = blocks(EG_WIDTHS, variant=config.variant)
        fused = EG_WIDTHS[-1]
        if config.parts != "eg":
            self.material = MaterialAwareness(config)
            fused += self.material.channels_out
        side = 3 if config.variant == "released" else 1
        self.fuse = nn.Conv2d(fused, 1, side, padding=side // 2)
        if config.variant == "released":
            self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, planes: Tensor) -> Tensor:
        """Planes and edge image, gated, float32 ``[N, 4, H, W]``: D of equation 9.

        Released: ``gamma M P + (1 - gamma) P``, P itself while gamma is 0. Paper: ``M P``, pixel by
        pixel. Part ``edge``: P.

        Args:
            planes: uint8 or float ``[N, 3, H, W]``, 0..255, not normalised: RGB, or the dual-energy
                planes high, low, ratio. Edges are those of plane 0: red, or high energy.

        Raises:
            InputError: There are not three planes.
        """
        edges, p = self._concatenate(planes)
        if self.edge_guidance is None:
            return p
        gated = self._attend(edges, p) * p
        return gated if self.gamma is None else self.gamma * gated + (1 - self.gamma) * p

    def attention(self, planes: Tensor) -> Tensor:
        """Attention map M in 0..1, float32 ``[N, 1, H, W]`` (equation 8), to look at.

        Args:
            planes: As for `forward`.

        Raises:
            ConfigError: The part ``edge`` has no attention.
            InputError: There are not three planes.
        """
        if self.edge_guidance is None:
            raise ConfigError(
                "this DOAM only concatenates the edge image and has no attention map",
                expected=f"parts out of {', '.join(PARTS[1:])}",
                found=repr(self.config.parts),
            )
        return self._attend(*self._concatenate(planes))

    def _concatenate(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        if planes.ndim != 4 or planes.shape[1] != 3:
            raise InputError(
                "DOAM cannot take this image",
                expected="planes [N, 3, H, W]",
                found=str(list(planes.shape)),
            )
        planes = planes.float()
        edges = sobel(planes[:, :1])
        return edges, torch.cat([planes, stretch(edges, self.config.eps)], dim=1)

    def _attend(self, edges: Tensor, p: Tensor) -> Tensor:
        assert self.edge_guidance is not None
        features = [self.edge_guidance(edges)]
        if self.material is not None:
            features.insert(0, self.material(p))
        fused: Tensor = self.fuse(torch.cat(features, dim=1))
        return fused.float().sigmoid()
