"""What the regression branch of a dense head says: distances to four sides, and how good they are.

Distances come as a distribution over bins, whose expectation they are (Li et al., "Generalized
Focal Loss", NeurIPS 2020), or directly, as FCOS writes them. Quality is read off the distribution
(Li et al., "Generalized Focal Loss V2", CVPR 2021) or off the regression tower, by a convolution.

Shapes: N images, F features, B = bins + 1 values a side.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

REGRESSIONS: Final = ("distribution", "direct")
"""``distribution``: 4 B logits, softmax and expectation; ``direct``: 4 logarithms of distances."""

QUALITIES: Final = ("statistics", "top4", "conv")
"""``statistics``: largest bin of a side minus the mean; ``top4``: its four largest and their mean
(both of a distribution only); ``conv``: a 3x3 convolution on the regression tower."""

TOP: Final = 4


class BinQuality(nn.Module):
    """Quality from the shape of the distance distribution, by two 1x1 convolutions.

    Args:
        kind: ``statistics`` (4 > 16 > 1) or ``top4`` (20 > 32 > 1).
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        channels, hidden = (4, 16) if kind == "statistics" else (4 * (TOP + 1), 32)
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.score = nn.Conv2d(hidden, 1, 1)

    def statistics(self, probability: Tensor) -> Tensor:
        """What the convolutions see of distributions ``[N, 4, B, H, W]``."""
        if self.kind == "statistics":
            return probability.amax(dim=2) - probability.mean(dim=2)
        top = probability.topk(TOP, dim=2)[0]
        return torch.cat([top, top.mean(dim=2, keepdim=True)], dim=2).flatten(1, 2)

    def forward(self, tower: Tensor, probability: Tensor) -> Tensor:
        """Logit ``[N, 1, H, W]``; the tower's features are not looked at."""
        score: Tensor = self.score(self.reduce(self.statistics(probability)).relu())
        return score


class ConvQuality(nn.Module):
    """Quality from the regression tower, as plain ATSS, FCOS and PAA predict it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Conv2d(width, 1, 3, padding=1)
        nn.init.normal_(self.score.weight, std=0.01)
        nn.init.zeros_(self.score.bias)  # type: ignore[arg-type]

    def forward(self, tower: Tensor, probability: Tensor | None) -> Tensor:
        """Logit ``[N, 1, H, W]`` of features ``[N, F, H, W]``."""
        score: Tensor = self.score(tower)
        return score


def make_quality(kind: str, width: int) -> nn.Module:
    """The quality branch of that kind, one of `QUALITIES`, for towers of that width."""
    return ConvQuality(width) if kind == "conv" else BinQuality(kind)


def expected_distances(probability: Tensor, bin_centres: Tensor) -> Tensor:
    """Expectation in strides, ``[N, 4, H, W]``, of distributions ``[N, 4, B, H, W]``."""
    return (probability * bin_centres.reshape(1, 1, -1, 1, 1)).sum(dim=2)
