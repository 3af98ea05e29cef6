"""The trunk of every model: planes become feature maps, with mechanisms plugged in on the way."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

import timm
import torch
from torch import Tensor, nn

from xedge.errors import ConfigError
from xedge.models.attention import attention
from xedge.models.base import ModelConfig
from xedge.models.doam import DOAM


@dataclass(frozen=True, kw_only=True)
class TrunkConfig:
    """Which backbone a model stands on.

    Attributes:
        backbone: Name of a timm model that offers ``features_only``.
        options: Keyword arguments for timm (widths, stem), a table of the recipe.
        strides: Strides of the feature maps that are tapped, finest first.
        attention: One of `ATTENTIONS`, plugged behind each map that is tapped.
        pretrained: Start from timm's weights, which it fetches from the network.
        table: Its key in the table of the model.
    """

    table: ClassVar[str] = "trunk"

    backbone: str = "resnet18d"
    options: dict[str, Any] = field(default_factory=dict)
    strides: tuple[int, ...] = (8, 16, 32)
    attention: str = "none"
    pretrained: bool = False

    def __post_init__(self) -> None:
        if not self.strides or list(self.strides) != sorted({s for s in self.strides if s > 0}):
            raise ConfigError(
                f"model.{self.table}.strides cannot be used",
                expected="one or more whole numbers above 0, rising",
                found=str(list(self.strides)),
            )


def without_fetching(model: ModelConfig) -> ModelConfig:
    """The configuration with weights that are not fetched, for a model that others are loaded into.

    Args:
        model: One whose `TrunkConfig` is an attribute of it.
    """
    parts = {f.name: getattr(model, f.name) for f in fields(model)}
    bare: dict[str, Any] = {
        name: replace(part, pretrained=False)
        for name, part in parts.items()
        if isinstance(part, TrunkConfig)
    }
    return replace(model, **bare)


def make_backbone(config: TrunkConfig, planes: int, maps: int | None = None) -> Any:
    """Timm's backbone of a configuration, taking ``planes`` input planes.

    Args:
        config: The configuration.
        planes: Number of input planes.
        maps: Feature maps that it offers, from the finest on; None for all.

    Raises:
        ConfigError: When timm has no such model, refuses the options or cannot get the weights.
    """
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in config.options.items()}
    if maps is not None:
        options["out_indices"] = tuple(range(maps))
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
    """DOAM where it is asked for, normalisation, a timm backbone, attention behind its maps.

    DOAM's fourth plane, the edges, lies on the same 0..255 as the others; it is taken as it is but
    for the first plane's scale, since the released code normalises none of the four.
    """

    def __init__(self, model: ModelConfig, config: TrunkConfig) -> None:
        super().__init__()
        self.doam = None if model.doam is None else DOAM(model.doam)
        planes = 3 if self.doam is None else self.doam.channels_out
        self.backbone = make_backbone(config, planes)
        info = {i["reduction"]: (k, i["num_chs"]) for k, i in enumerate(self.backbone.feature_info)}
        if missing := [s for s in config.strides if s not in info]:
            raise ConfigError(
                f"backbone {config.backbone!r} lacks strides that the model taps",
                expected=f"strides out of {sorted(info)}",
                found=str(missing),
            )
        self.taps = [info[s][0] for s in config.strides]
        if max(self.taps) + 1 < len(info):
            # Layers behind the last tap would be run for nothing and get no gradient, which stops
            # a run on several processes. timm leaves them out, once the taps are known.
            self.backbone = make_backbone(config, planes, max(self.taps) + 1)
        self.channels = [info[s][1] for s in config.strides]
        self.attention = nn.ModuleList(attention(config.attention, c) for c in self.channels)
        extra = planes - 3
        mean, scale = (*model.mean, *[0.0] * extra), (*model.scale, *[model.scale[0]] * extra)
        self.register_buffer("mean", torch.tensor(mean).reshape(1, planes, 1, 1))
        self.register_buffer("scale", torch.tensor(scale).reshape(1, planes, 1, 1))
        self.mean: Tensor
        self.scale: Tensor

    def forward(self, planes: Tensor) -> list[Tensor]:
        """Feature maps ``[N, C_s, H/s, W/s]``, one for each stride s in `TrunkConfig.strides`.

        Args:
            planes: uint8 or float ``[N, 3, H, W]``, 0..255.
        """
        image = planes if self.doam is None else self.doam(planes)
        maps = self.backbone(normalise(image, self.mean, self.scale))
        return [attend(maps[k]) for k, attend in zip(self.taps, self.attention, strict=True)]


def normalise(planes: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Planes as the backbone wants them: ``(planes - mean) * scale``, float32 ``[N, C, H, W]``."""
    return (planes.to(torch.float32) - mean) * scale
