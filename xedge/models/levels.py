"""What classifiers with a prediction of their own at each level share: head, maps, outputs.

Levels come coarsest first wherever there is a list of them, as both papers count importance.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LevelsOutput(NamedTuple):
    """What such a classifier answers.

    Attributes:
        logits: Class logits of each level, float32 ``[N, C]``, coarsest first.
        maps: What each level's head averages, ``[N, F, h, w]``, coarsest first.
        selection: Logits of the levels, float32 ``[N, L]``, where a network weighs them.
        attention: SXMNet's attention masks in 0..1, ``[N, 1, h, w]``, coarse, then fine.
    """

    logits: list[Tensor]
    maps: list[Tensor]
    selection: Tensor | None = None
    attention: tuple[Tensor, ...] = ()


class LevelHeads(nn.Module):
    """Global average pooling and one linear layer a level, h of the papers."""

    def __init__(self, channels: list[int], classes: int) -> None:
        super().__init__()
        self.linear = nn.ModuleList(nn.Linear(c, classes) for c in channels)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Class logits of each level, float32 ``[N, C]``, of maps ``[N, F, h, w]``."""
        return [
            linear(x.mean(dim=(2, 3))).float() for linear, x in zip(self.linear, maps, strict=True)
        ]

    def activations(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Class activation maps of all levels at one size, float32 ``[N, L, C, h, w]``.

        ``sum_k w[c, k] F_k`` (Zhou et al., CVPR 2016), resized bilinearly: its mean over the map
        is the level's logit but for the bias.
        """
        resized = []
        for linear, x in zip(self.linear, maps, strict=True):
            assert isinstance(linear, nn.Linear)
            activation = F.conv2d(x, linear.weight[:, :, None, None].to(x.dtype))
            resized.append(resize(activation.float(), size))
        return torch.stack(resized, dim=1)


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps at another height and width, bilinearly, ``[N, C, *size]``."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def finest(maps: list[Tensor]) -> tuple[int, int]:
    """Height and width of the last map."""
    return maps[-1].shape[-2], maps[-1].shape[-1]
