"""YOLOv3: three maps, three anchors a cell, each an object or not, and of which class.

Source: Redmon and Farhadi, "YOLOv3: An Incremental Improvement", arXiv:1804.02767, 2018; what the
report leaves out (widths, order of layers) is Darknet's yolov3.cfg. The defaults are its own.

Shapes: N images, C classes, A anchors over all cells of all levels, finest level first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xedge.errors import ConfigError, InputError
from xedge.models.anchors import grow, rows
from xedge.models.base import Detector, ModelConfig, centres
from xedge.models.trunk import Trunk, TrunkConfig

LEAK: Final = 0.1
RARE: Final = 0.01
"""Objectness that every anchor begins with. Ours: thousands of empty cells would swamp the rest."""


@dataclass(frozen=True, kw_only=True)
class YOLOv3Config(ModelConfig):
    """Shape of the detector.

    Attributes:
        trunk: Backbone; each stride that it taps is twice the one before.
        width: Channels of the neck at the coarsest level; half as many at each finer one.
        anchors: Width and height of the anchors in pixels, those of the finest level first, as many
            a level. The defaults are COCO's.
        anchor_side: Side of the square image that `anchors` are meant for; on another they grow
            with its shorter side.
    """

    trunk: TrunkConfig = field(default_factory=lambda: TrunkConfig(backbone="darknet53"))
    width: int = 512
    anchors: tuple[tuple[float, float], ...] = (
        (10, 13), (16, 30), (33, 23),
        (30, 61), (62, 45), (59, 119),
        (116, 90), (156, 198), (373, 326),
    )  # fmt: skip
    anchor_side: int = 416

    def __post_init__(self) -> None:
        super().__post_init__()
        strides = self.trunk.strides
        levels = len(strides)
        doubled = all(b == 2 * a for a, b in pairwise(strides))
        per_level, left = divmod(len(self.anchors), levels)
        sides = [side for anchor in self.anchors for side in anchor]
        sound = {
            "trunk.strides": (doubled, "strides that double", strides),
            "width": (
                self.width >= 2**levels and self.width % 2 ** (levels - 1) == 0,
                f"a number that can be halved {levels - 1} times",
                self.width,
            ),
            "anchors": (
                per_level >= 1 and not left and min(sides, default=0) > 0,
                f"pairs of numbers above 0, as many for each of {levels} levels",
                self.anchors,
            ),
            "anchor_side": (self.anchor_side >= 1, "1 or more pixels", self.anchor_side),
        }
        for name, (good, expected, found) in sound.items():
            if not good:
                raise ConfigError(
                    f"model.{name} cannot be used", expected=expected, found=repr(found)
                )

    @property
    def per_cell(self) -> int:
        """Number of anchors of a cell."""
        return len(self.anchors) // len(self.trunk.strides)


class Anchors(NamedTuple):
    """The anchors of all cells, in pixels.

    Attributes:
        corners: x and y of the top left corner of each one's cell, ``[A, 2]``.
        strides: Side of that cell, ``[A, 1]``.
        sizes: Width and height of the anchor, ``[A, 2]``.
    """

    corners: Tensor
    strides: Tensor
    sizes: Tensor


class YOLOv3Output(NamedTuple):
    """What the whole detector answers.

    Attributes:
        logits: Class logits, each class by itself, ``[N, A, C]``.
        objectness: Logit of there being an object, ``[N, A]``.
        offsets: t_x, t_y, t_w, t_h of the report's section 2.1, ``[N, A, 4]``, see `decode`.
        anchors: The anchors.
    """

    logits: Tensor
    objectness: Tensor
    offsets: Tensor
    anchors: Anchors


def make_anchors(
    config: YOLOv3Config,
    image: tuple[int, int],
    maps: Sequence[tuple[int, int]],
    device: torch.device | None = None,
) -> Anchors:
    """The anchors of all levels, cell by cell, row by row, each cell's together.

    Args:
        config: The configuration.
        image: Height and width of the image.
        maps: Height and width of each level.
        device: Where the anchors are made.
    """
    k = config.per_cell
    sizes = torch.tensor(config.anchors, device=device, dtype=torch.float32)
    sizes = (sizes * (min(image) / config.anchor_side)).reshape(-1, k, 2)
    levels = []
    for (h, w), stride, size in zip(maps, config.trunk.strides, sizes, strict=True):
        corner = (centres(h, w, stride, device) - stride / 2)[:, None].expand(-1, k, 2)
        side = torch.full_like(corner[..., :1], stride)
        levels.append(torch.cat([corner, side, size.expand(h * w, k, 2)], dim=2).reshape(-1, 5))
    made = torch.cat(levels)
    return Anchors(made[:, :2], made[:, 2:3], made[:, 3:])


def decode(offsets: Tensor, anchors: Anchors) -> Tensor:
    """Boxes x1 y1 x2 y2 in pixels, ``[..., A, 4]`` (section 2.1).

    The centre stays in its cell; width and height are the anchor's times the exponential.
    """
    middle = anchors.corners + offsets[..., :2].sigmoid() * anchors.strides
    half = grow(anchors.sizes, offsets[..., 2:]) / 2
    return torch.cat([middle - half, middle + half], dim=-1)


def layer(channels: int, width: int, side: int) -> nn.Sequential:
    """Convolution without bias, BatchNorm, leaky ReLU: ``channels`` to ``width``."""
    return nn.Sequential(
        nn.Conv2d(channels, width, side, padding=side // 2, bias=False),
        nn.BatchNorm2d(width),
        nn.LeakyReLU(LEAK),
    )


def five_layers(channels: int, width: int) -> nn.Sequential:
    """1x1 to ``width``, 3x3 to twice that, and so on: five layers that end in ``width``."""
    return nn.Sequential(
        layer(channels, width, 1),
        layer(width, 2 * width, 3),
        layer(2 * width, width, 1),
        layer(width, 2 * width, 3),
        layer(2 * width, width, 1),
    )


class Neck(nn.Module):
    """From the coarsest map on, each level's five layers see the coarser level's as well."""

    def __init__(self, channels: list[int], width: int) -> None:
        super().__init__()
        self.widths = [width // 2**k for k in reversed(range(len(channels)))]
        joined = [c + w for c, w in zip(channels, self.widths[:-1], strict=False)]
        befores = [*joined, channels[-1]]
        self.blocks = nn.ModuleList(map(five_layers, befores, self.widths))
        self.down = nn.ModuleList(layer(2 * w, w, 1) for w in self.widths[:-1])

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Features ``[N, width_l, H_l, W_l]`` of maps ``[N, C_l, H_l, W_l]``, both finest first.

        Raises:
            InputError: A map is more than twice as large as the coarser one.
        """
        levels: list[Tensor] = [self.blocks[-1](maps[-1])]
        for k in reversed(range(len(maps) - 1)):
            # An odd map has one row less than twice the coarser one's.
            h, w = maps[k].shape[2:]
            larger = F.interpolate(self.down[k](levels[0]), scale_factor=2.0)[..., :h, :w]
            if larger.shape[2:] != (h, w):
                raise InputError(
                    "this backbone rounds odd maps down, which the neck cannot join",
                    expected="height and width that the last stride divides",
                    found=f"maps of {h} x {w} above {maps[k + 1].shape[2]} x "
                    f"{maps[k + 1].shape[3]} cells",
                )
            levels.insert(0, self.blocks[k](torch.cat([larger, maps[k]], dim=1)))
        return levels


class YOLOv3(Detector):
    """The whole detector: planes in, an answer an anchor out."""

    config: YOLOv3Config

    def __init__(self, config: YOLOv3Config) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config, config.trunk)
        self.neck = Neck(self.trunk.channels, config.width)
        self.outputs = 5 + len(config.classes)
        self.heads = nn.ModuleList(
            nn.Sequential(layer(w, 2 * w, 3), nn.Conv2d(2 * w, config.per_cell * self.outputs, 1))
            for w in self.neck.widths
        )
        for head in self.heads:
            assert isinstance(head, nn.Sequential)
            assert isinstance(head[1], nn.Conv2d)
            assert head[1].bias is not None
            nn.init.zeros_(head[1].bias)
            nn.init.constant_(head[1].bias[4 :: self.outputs], math.log(RARE / (1 - RARE)))

    def forward(self, planes: Tensor) -> YOLOv3Output:
        """An answer an anchor, and the anchors.

        Args:
            planes: uint8 or float ``[N, 3, H, W]``, 0..255.
        """
        levels = self.neck(self.trunk(planes))
        answers = [rows(head(x), self.outputs) for head, x in zip(self.heads, levels, strict=True)]
        answer = torch.cat(answers, dim=1)
        image = (planes.shape[2], planes.shape[3])
        maps = [(x.shape[2], x.shape[3]) for x in levels]
        anchors = make_anchors(self.config, image, maps, planes.device)
        return YOLOv3Output(answer[..., 5:], answer[..., 4], answer[..., :4], anchors)

    def decode(self, outputs: YOLOv3Output) -> tuple[Tensor, Tensor]:
        """Boxes ``[N, A, 4]`` in pixels, scores ``[N, A, C]``: objectness times the class's own."""
        scores = outputs.objectness.sigmoid()[..., None] * outputs.logits.sigmoid()
        return decode(outputs.offsets, outputs.anchors), scores
