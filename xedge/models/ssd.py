"""SSD: priors of several sizes and shapes on six maps, each classified and moved onto an object.

Source: Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016 (section 2.2 for the priors).
The defaults are SSD300 on VGG16 with the priors of DOAM's released host: 8732 of them.

Shapes: N images, C classes, A priors over all levels, one level after the other, finest first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import box_convert

from xedge.errors import ConfigError, InputError
from xedge.models.anchors import grow, rows
from xedge.models.base import Detector, ModelConfig, centres
from xedge.models.trunk import Trunk, TrunkConfig

LOSSES: Final = ("multibox", "focal")
VARIANCES: Final = (0.1, 0.2)
"""Units of the offsets: of the centre in a prior's sides, of the logarithm of the sides."""
RARE: Final = 0.01
"""Score that all objects together begin with under focal loss (Lin et al., 2017)."""


@dataclass(frozen=True, kw_only=True)
class SSDConfig(ModelConfig):
    """Shape of the detector.

    Attributes:
        trunk: Backbone; it taps two strides, the second twice the first: VGG's conv4_3, conv5_3.
        l2_scale: Length that the first level's features begin with; 20 suits VGG's 512 channels, a
            narrow backbone wants less, in proportion to the root of its channels.
        width: Channels of fc6 and fc7, the second level.
        extra: Channels of each further level; a 1x1 convolution to half of them comes before.
        extra_strides: Stride of each further level's 3x3 convolution: 2 with a border of one
            pixel, or 1 without a border, which takes away two rows and two columns.
        sizes: Side of each level's square prior as a share of the image's shorter side, and one
            share more: the second square of a level lies between its own and the next.
        ratios: Width to height of each level's further priors; the inverse comes with each.
        loss: ``multibox``, or ``focal`` in place of mining hard negatives; one of `LOSSES`.
    """

    trunk: TrunkConfig = field(
        default_factory=lambda: TrunkConfig(backbone="vgg16", strides=(8, 16))
    )
    l2_scale: float = 20.0
    width: int = 1024
    extra: tuple[int, ...] = (512, 256, 256, 256)
    extra_strides: tuple[int, ...] = (2, 2, 1, 1)
    sizes: tuple[float, ...] = (0.1, 0.2, 0.37, 0.54, 0.71, 0.88, 1.05)
    ratios: tuple[tuple[float, ...], ...] = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))
    loss: str = "multibox"

    def __post_init__(self) -> None:
        super().__post_init__()
        levels = 2 + len(self.extra)
        strides = self.trunk.strides
        rising = all(0 < a < b for a, b in pairwise(self.sizes))
        ratios = [r for level in self.ratios for r in level]
        sound = {
            "trunk.strides": (
                len(strides) == 2 and strides[1] == 2 * strides[0],
                "two, the second twice the first",
            ),
            "l2_scale": (self.l2_scale > 0, "a number above 0"),
            "width": (self.width >= 1, "1 or more"),
            "extra": (all(c >= 2 for c in self.extra), "2 channels or more a level"),
            "extra_strides": (
                len(self.extra_strides) == len(self.extra) and {1, 2} >= {*self.extra_strides},
                f"{len(self.extra)} of 1 or 2, as many as in extra",
            ),
            "sizes": (
                len(self.sizes) == levels + 1 and rising,
                f"{levels + 1} rising shares for {levels} levels",
            ),
            "ratios": (
                len(self.ratios) == levels and all(r > 0 and r != 1 for r in ratios),
                f"{levels} lists of numbers above 0 other than 1, one a level",
            ),
            "loss": (self.loss in LOSSES, " or ".join(LOSSES)),
        }
        for name, (good, expected) in sound.items():
            if not good:
                value = strides if name == "trunk.strides" else getattr(self, name)
                raise ConfigError(
                    f"model.{name} cannot be used", expected=expected, found=repr(value)
                )

    @property
    def strides(self) -> tuple[int | None, ...]:
        """Stride of each level in pixels; None from the first level that has lost its border."""
        strides: list[int | None] = list(self.trunk.strides)
        for factor in self.extra_strides:
            before = strides[-1]
            strides.append(None if before is None or factor == 1 else before * factor)
        return tuple(strides)


class SSDOutput(NamedTuple):
    """What the whole detector answers.

    Attributes:
        logits: Class logits ``[N, A, 1 + C]``, background first.
        offsets: How each prior moves and grows, ``[N, A, 4]``, see `decode`.
        priors: The priors in pixels ``[A, 4]``: x and y of the centre, width, height.
    """

    logits: Tensor
    offsets: Tensor
    priors: Tensor


def shapes(config: SSDConfig, level: int, side: float) -> list[tuple[float, float]]:
    """Width and height of each prior of a level's cells, in pixels.

    Args:
        config: The configuration.
        level: Index of the level.
        side: Shorter side of the image in pixels.
    """
    size = config.sizes[level] * side
    between = math.sqrt(size * config.sizes[level + 1] * side)
    made = [(size, size), (between, between)]
    for ratio in config.ratios[level]:
        root = math.sqrt(ratio)
        made += [(size * root, size / root), (size / root, size * root)]
    return made


def make_priors(
    config: SSDConfig,
    image: tuple[int, int],
    maps: list[tuple[int, int]],
    device: torch.device | None = None,
) -> Tensor:
    """Priors of all levels in pixels, ``[A, 4]``: x and y of the centre, width, height.

    As released, a level without its borders is stretched over the image, which at 300 pixels gives
    the steps 8, 16, 32, 64, 100, 300; and centre, width and height end at the image's.

    Args:
        config: The configuration.
        image: Height and width of the image.
        maps: Height and width of each level.
        device: Where the priors are made.
    """
    height, width = image
    largest = torch.tensor([width, height, width, height], device=device, dtype=torch.float32)
    levels = []
    for index, ((h, w), stride) in enumerate(zip(maps, config.strides, strict=True)):
        across, down = (width / w, height / h) if stride is None else (stride, stride)
        step = torch.tensor([across, down], device=device, dtype=torch.float32)
        size = torch.tensor(shapes(config, index, min(image)), device=device)
        centre = (centres(h, w, 1, device) * step)[:, None].expand(-1, len(size), 2)
        level = torch.cat([centre, size.expand(len(centre), -1, 2)], dim=2)
        levels.append(level.reshape(-1, 4))
    return torch.minimum(torch.cat(levels), largest)


def encode(boxes: Tensor, priors: Tensor) -> Tensor:
    """Offsets that turn priors into boxes, ``[..., 4]``; the inverse of `decode`.

    Args:
        boxes: x1 y1 x2 y2 in pixels, with an area.
        priors: As in `SSDOutput`.
    """
    wanted = box_convert(boxes, "xyxy", "cxcywh")
    centre, side = VARIANCES
    move = (wanted[..., :2] - priors[..., :2]) / priors[..., 2:] / centre
    return torch.cat([move, (wanted[..., 2:] / priors[..., 2:]).log() / side], dim=-1)


def decode(offsets: Tensor, priors: Tensor) -> Tensor:
    """Boxes x1 y1 x2 y2 in pixels, ``[..., 4]``, of priors after their offsets."""
    centre, side = VARIANCES
    middle = priors[..., :2] + offsets[..., :2] * centre * priors[..., 2:]
    half = grow(priors[..., 2:], offsets[..., 2:] * side) / 2
    return torch.cat([middle - half, middle + half], dim=-1)


class L2Norm(nn.Module):
    """Features of length 1 at every location, times a learned scale a channel (section 3.1)."""

    def __init__(self, channels: int, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels, 1, 1), scale))

    def forward(self, x: Tensor) -> Tensor:
        """Scaled features, float32 of the shape of x, ``[N, F, H, W]``."""
        return F.normalize(x.float(), dim=1) * self.scale


def second_level(channels: int, width: int) -> nn.Sequential:
    """pool5 without a stride, fc6 as a dilated convolution, fc7: ``channels`` to ``width``."""
    return nn.Sequential(
        nn.MaxPool2d(3, stride=1, padding=1),
        nn.Conv2d(channels, width, 3, padding=6, dilation=6),
        nn.ReLU(),
        nn.Conv2d(width, width, 1),
        nn.ReLU(),
    )


def further_level(channels: int, width: int, stride: int) -> nn.Sequential:
    """1x1 to half the width, then 3x3 to the width: stride 2 with a border, 1 without."""
    return nn.Sequential(
        nn.Conv2d(channels, width // 2, 1),
        nn.ReLU(),
        nn.Conv2d(width // 2, width, 3, stride=stride, padding=stride - 1),
        nn.ReLU(),
    )


class SSD(Detector):
    """The whole detector: planes in, an answer a prior out."""

    config: SSDConfig

    def __init__(self, config: SSDConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config, config.trunk)
        for layer in self.trunk.backbone.modules():
            # VGG's pools would drop an odd last row: 75 become 38 in the released host.
            if isinstance(layer, nn.MaxPool2d) and layer.padding == 0:
                layer.ceil_mode = True
        fine, coarse = self.trunk.channels
        self.norm = L2Norm(fine, config.l2_scale)
        self.second = second_level(coarse, config.width)
        befores = (config.width, *config.extra[:-1])
        self.further = nn.ModuleList(
            further_level(before, after, stride)
            for before, after, stride in zip(
                befores[: len(config.extra)], config.extra, config.extra_strides, strict=True
            )
        )
        widths = (fine, config.width, *config.extra)
        counts = [len(shapes(config, k, 1.0)) for k in range(len(widths))]
        self.outputs = 1 + len(config.classes)
        self.cls, self.reg = (
            nn.ModuleList(
                nn.Conv2d(w, k * n, 3, padding=1) for w, k in zip(widths, counts, strict=True)
            )
            for n in (self.outputs, 4)
        )
        self._draw_weights()

    def _draw_weights(self) -> None:
        for part in (self.second, self.further, self.cls, self.reg):
            for layer in part.modules():
                if isinstance(layer, nn.Conv2d):
                    nn.init.xavier_uniform_(layer.weight)
                    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        if self.config.loss == "focal":
            background = math.log((1 - RARE) / RARE * len(self.config.classes))
            for layer in self.cls:
                assert isinstance(layer, nn.Conv2d)
                assert layer.bias is not None
                nn.init.constant_(layer.bias[:: self.outputs], background)

    def levels(self, planes: Tensor) -> list[Tensor]:
        """Feature maps ``[N, F_l, H_l, W_l]``, finest first.

        Raises:
            InputError: The image is too small for a level that loses its border.
        """
        fine, coarse = self.trunk(planes)
        levels = [self.norm(fine), self.second(coarse)]
        for layer, stride in zip(self.further, self.config.extra_strides, strict=True):
            before = levels[-1]
            if stride == 1 and min(before.shape[2:]) < 3:
                raise InputError(
                    "the image is too small for this SSD",
                    expected="3 x 3 cells or more before a level of stride 1",
                    found=f"{before.shape[2]} x {before.shape[3]} cells, of an image of "
                    f"{planes.shape[2]} x {planes.shape[3]} pixels",
                    remedy="Take 2 in model.extra_strides, or fewer levels",
                )
            levels.append(layer(before))
        return levels

    def forward(self, planes: Tensor) -> SSDOutput:
        """An answer a prior, and the priors.

        Args:
            planes: uint8 or float ``[N, 3, H, W]``, 0..255.
        """
        levels = self.levels(planes)
        maps = [(x.shape[2], x.shape[3]) for x in levels]
        logits, offsets = (
            torch.cat([rows(head(x), n) for head, x in zip(heads, levels, strict=True)], dim=1)
            for heads, n in ((self.cls, self.outputs), (self.reg, 4))
        )
        image = (planes.shape[2], planes.shape[3])
        return SSDOutput(logits, offsets, make_priors(self.config, image, maps, planes.device))

    def decode(self, outputs: SSDOutput) -> tuple[Tensor, Tensor]:
        """Boxes ``[N, A, 4]`` in pixels and scores ``[N, A, C]``: the softmax less background."""
        scores = outputs.logits.softmax(dim=2)[..., 1:]
        return decode(outputs.offsets, outputs.priors), scores
