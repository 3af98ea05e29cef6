"""Feature pyramid: a trunk's maps become maps of one width, each told by the coarser ones."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork

from xedge.models.base import ModelConfig
from xedge.models.trunk import Trunk, TrunkConfig


@dataclass(frozen=True, kw_only=True)
class PyramidConfig(TrunkConfig):
    """Which backbone feeds the pyramid, and how wide the pyramid is.

    Attributes:
        width: Channels of every level, F.
        extra: Levels added above the backbone's last, each at twice the stride, by a 3x3
            convolution of stride 2 on the coarsest pyramid level.
    """

    table: ClassVar[str] = "pyramid"

    width: int = 64
    extra: int = 0

    @property
    def levels(self) -> tuple[int, ...]:
        """Strides of the pyramid's levels, finest first."""
        more = tuple(self.strides[-1] * 2 ** (k + 1) for k in range(self.extra))
        return (*self.strides, *more)


class Pyramid(nn.Module):
    """A trunk under torchvision's feature pyramid network (Lin et al., CVPR 2017)."""

    def __init__(self, model: ModelConfig, config: PyramidConfig) -> None:
        super().__init__()
        self.trunk = Trunk(model, config)
        self.fpn = FeaturePyramidNetwork(self.trunk.channels, config.width)
        self.coarser = nn.ModuleList(
            nn.Conv2d(config.width, config.width, 3, stride=2, padding=1)
            for _ in range(config.extra)
        )

    def forward(self, planes: Tensor) -> list[Tensor]:
        """Feature maps, finest first: ``[N, F, H/s, W/s]`` for each of `PyramidConfig.levels`.

        Args:
            planes: uint8 or float ``[N, 3, H, W]``, 0..255; H and W multiples of the last stride.
        """
        named = OrderedDict((str(k), x) for k, x in enumerate(self.trunk(planes)))
        levels = list(self.fpn(named).values())
        for convolution in self.coarser:
            levels.append(convolution(levels[-1]))
        return levels
