"""Meta Fusion: a small network weighs the predictions of a classifier's levels, image by image.

Source: Hu, Wang, et al., "Security X-ray Multi-label Classification Network" (SXMNet), section
3.2, equations 1 and 2, table 1. A plug-in: SXMNet, its pyramid alone and CHR all take it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xedge.errors import ConfigError
from xedge.models.levels import LevelsOutput

FUSIONS: Final = ("mean", "gated", "mf-i", "mf-n")
POOLED: Final = 7
"""Side of the maps that the network looks at: three valid 3x3 convolutions leave one cell."""


@dataclass(frozen=True, kw_only=True)
class FusionConfig:
    """How the predictions of the levels become one.

    Attributes:
        kind: ``mean`` weighs all alike (equation 1). The others weigh them by a network (equation
            2), which differs in what teaches it: ``gated`` nothing but the classification itself,
            ``mf-i`` the size of the smallest object (intuition), ``mf-n`` the level where a
            trained CHR errs least (neural). Released as gated is a network whose gates are
            commented out; the paper's reference for it has gates without a label, as here.
        width: Channels of the network (paper: 256).
        weight: lambda, what the choice of a level weighs in the loss (paper: 0.1).
        mean_epochs: Epochs at first in which the levels are weighed alike (released: 4; the paper
            has none). The network is taught its choice meanwhile.
    """

    kind: str = "mf-n"
    width: int = 256
    weight: float = 0.1
    mean_epochs: int = 0

    def __post_init__(self) -> None:
        if self.kind not in FUSIONS:
            raise ConfigError(
                "there is no such fusion",
                expected=f"one of {', '.join(FUSIONS)}",
                found=repr(self.kind),
            )
        if self.mean_epochs and not self.taught:
            raise ConfigError(
                "fusion.mean_epochs has no use",
                expected="0: only mf-i and mf-n teach their network while it does not weigh",
                found=f"{self.mean_epochs} with kind {self.kind!r}",
            )
        if self.width < 1 or self.weight < 0 or self.mean_epochs < 0:
            raise ConfigError(
                "the fusion cannot be used",
                expected="a width of 1 or more, weight and mean_epochs of 0 or more",
                found=f"{self.width}, {self.weight} and {self.mean_epochs}",
            )

    @property
    def taught(self) -> bool:
        """Whether a label says which level is the right one."""
        return self.kind in ("mf-i", "mf-n")


class MetaSelection(nn.Module):
    """The meta-selection network of table 1: maps of all levels to one logit a level."""

    def __init__(self, channels: list[int], width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(sum(channels), width, 3),
            nn.ReLU(),
            nn.Conv2d(width, width, 3),
            nn.ReLU(),
            nn.Conv2d(width, width, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(width, len(channels)),
        )

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Logits of the levels, float32 ``[N, L]``, of maps ``[N, F, h, w]`` of any size."""
        # At 28, 14 and 7 cells this is the released code's 4x4 and 2x2 average.
        pooled = [x if x.shape[-2:] == (POOLED,) * 2 else pool(x) for x in maps]
        chosen: Tensor = self.layers(torch.cat(pooled, dim=1))
        return chosen.float()


def pool(x: Tensor) -> Tensor:
    """Means of 7 x 7 regions that share the map, ``[N, C, 7, 7]``; they overlap where they must."""
    return F.adaptive_avg_pool2d(x, POOLED)


def selection_network(fusion: FusionConfig, channels: list[int]) -> MetaSelection | None:
    """The network that a fusion weighs levels of so many channels by; None for the mean."""
    return None if fusion.kind == "mean" else MetaSelection(channels, fusion.width)


def fuse(outputs: LevelsOutput, *, weigh: bool = True) -> Tensor:
    """The fused class logits y, ``[N, C]``: equation 2, or 1 where no network weighs the levels.

    Args:
        outputs: Of the classifier.
        weigh: False takes equation 1 in any case.
    """
    stacked = torch.stack(outputs.logits, dim=1)
    if outputs.selection is None or not weigh:
        return stacked.mean(dim=1)
    return (weights(outputs.selection)[:, :, None] * stacked).sum(dim=1)


def weights(selection: Tensor) -> Tensor:
    """W of equation 2: weights of the levels, ``[N, L]``, that sum to one."""
    return selection.softmax(dim=1)
