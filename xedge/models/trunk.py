"""The trunk of every model: planes become feature maps, with mechanisms plugged in on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import timm
import torch
from torch import Tensor, nn

from xedge.errors import ConfigError
from xedge.models.base import ModelConfig


@dataclass(frozen=True, kw_only=True)
class TrunkConfig:
    """Which backbone a model stands on.

    Attributes:
        backbone: Name of a timm model that offers ``features_only``.
        options: Keyword arguments for timm (widths, stem), a table of the recipe.
        strides: Strides of the feature maps that are tapped, finest first.
        pretrained: Start from timm's weights, which it fetches from the network.
    """

    backbone: str = "resnet18d"
    options: dict[str, Any] = field(default_factory=dict)
    strides: tuple[int, ...] = (8, 16, 32)
    pretrained: bool = False


def make_backbone(config: TrunkConfig, planes: int) -> Any:
    """Timm's backbone of a configuration, taking ``planes`` input planes.

    Raises:
        ConfigError: When timm has no such model, refuses the options or cannot get the weights.
    """
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in config.options.items()}
    try:
        return timm.create_model(
            config.backbone,
            features_only=True,
            pretrained=config.pretrained,
            in_chans=planes,
            **options,
        )
    except (RuntimeError, TypeError, ValueError, OSError) as error:
        raise ConfigError(
            f"timm cannot make the backbone {config.backbone!r}",
            found=str(error),
            remedy="Choose a name from timm.list_models() and options that it takes; "
            "pretrained = true needs a network",
        ) from error


class Trunk(nn.Module):
    """Normalisation and a timm backbone; the maps of the strides that are asked for come back."""

    def __init__(self, model: ModelConfig, config: TrunkConfig) -> None:
        super().__init__()
        self.backbone = make_backbone(config, planes=3)
        info = {i["reduction"]: (k, i["num_chs"]) for k, i in enumerate(self.backbone.feature_info)}
        if missing := [s for s in config.strides if s not in info]:
            raise ConfigError(
                f"backbone {config.backbone!r} lacks strides that the model taps",
                expected=f"strides out of {sorted(info)}",
                found=str(missing),
            )
        self.taps = [info[s][0] for s in config.strides]
        self.channels = [info[s][1] for s in config.strides]
        self.register_buffer("mean", torch.tensor(model.mean).reshape(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(model.scale).reshape(1, 3, 1, 1))
        self.mean: Tensor
        self.scale: Tensor

    def forward(self, planes: Tensor) -> list[Tensor]:
        """Feature maps ``[N, C_s, H/s, W/s]``, one for each stride s in `TrunkConfig.strides`.

        Args:
            planes: uint8 or float ``[N, 3, H, W]``, 0..255.
        """
        maps = self.backbone(normalise(planes, self.mean, self.scale))
        return [maps[k] for k in self.taps]


def normalise(planes: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Planes as the backbone wants them: ``(planes - mean) * scale``, float32 ``[N, C, H, W]``."""
    return (planes.to(torch.float32) - mean) * scale
