"""Backbone and feature pyramid: an image becomes one feature map a level."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork

from xedge.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class PyramidConfig:
    """Which backbone feeds the pyramid, and how wide the pyramid is.

    Attributes:
        backbone: Name of a timm model that offers ``features_only``.
        options: Keyword arguments for timm (widths, stem), a table of the recipe.
        strides: Strides of the levels, each twice the one before; the backbone gives them all.
        width: Channels of every level, F.
    """

    backbone: str = "resnet18d"
    options: dict[str, Any] = field(default_factory=dict)
    strides: tuple[int, ...] = (8, 16, 32)
    width: int = 64


class Pyramid(nn.Module):
    """timm backbone under torchvision's feature pyramid network (Lin et al., CVPR 2017)."""

    def __init__(self, config: PyramidConfig, weights: dict[str, Tensor] | None = None) -> None:
        super().__init__()
        options = {k: tuple(v) if isinstance(v, list) else v for k, v in config.options.items()}
        try:
            self.backbone = timm.create_model(
                config.backbone, features_only=True, pretrained=False, **options
            )
        except (RuntimeError, TypeError) as error:
            raise ConfigError(
                f"timm cannot make the backbone {config.backbone!r}",
                found=str(error),
                remedy="Choose a name from timm.list_models() and options that it takes",
            ) from error
        info = {i["reduction"]: (k, i["num_chs"]) for k, i in enumerate(self.backbone.feature_info)}
        if missing := [s for s in config.strides if s not in info]:
            raise ConfigError(
                f"backbone {config.backbone!r} lacks strides of the pyramid",
                expected=f"strides out of {sorted(info)}",
                found=str(missing),
            )
        self.taps = [info[s][0] for s in config.strides]
        self.fpn = FeaturePyramidNetwork([info[s][1] for s in config.strides], config.width)
        if weights is not None:
            self.backbone.load_state_dict(weights)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Feature maps, finest first: ``[N, F, H/s, W/s]`` for each stride s.

        Args:
            image: Normalised planes, float ``[N, 3, H, W]``, H and W multiples of the last stride.
        """
        features = self.backbone(image)
        named = OrderedDict((str(k), features[k]) for k in self.taps)
        return list(self.fpn(named).values())


def normalise(planes: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Planes as the backbone wants them: ``(planes - mean) * scale``, float32 ``[N, C, H, W]``."""
    return (planes.to(torch.float32) - mean) * scale
