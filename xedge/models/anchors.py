"""What hosts with prior boxes share: maps become rows, one a prior, and priors grow into boxes."""

from __future__ import annotations

import math
from typing import Final

from torch import Tensor

LARGEST_GROWTH: Final = math.log(1000 / 16)
"""Most that a prior grows, as a logarithm (torchvision's bound): exp overflows FP16 from 11.1."""


def rows(level: Tensor, per_prior: int) -> Tensor:
    """Answers of one level, cell by cell and row by row, each cell's priors together.

    Args:
        level: ``[N, K * per_prior, H, W]``, the K priors of a cell one after the other.
        per_prior: Numbers a prior answers.

    Returns:
        ``[N, H * W * K, per_prior]``, float32.
    """
    return level.permute(0, 2, 3, 1).reshape(len(level), -1, per_prior).float()


def grow(sizes: Tensor, logarithms: Tensor) -> Tensor:
    """Sizes times ``exp(logarithms)``, at most 62.5 times as large; shapes that broadcast."""
    return sizes * logarithms.clamp(max=LARGEST_GROWTH).exp()
