"""Losses of classifiers of whole images: the class-balanced one of CHR, and plain cross-entropy.

Source: Miao et al. (SIXray, CVPR 2019), section 4.3, equation 6. docs/adr/0010 says which of its
two readings is taken, and why.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

SMALLEST_SCORE: Final = 1e-10
"""What is added inside the logarithms, as released; the most that one answer costs is 23."""
RELEASED_LOGIT: Final = -20.0
"""Below this logit the released code leaves a negative out."""


def targets_of(presence: Tensor) -> Tensor:
    """What the classes' scores should be, float32 ``[N, C]``: 1 where the class is there, else 0.

    A difficult class (presence 0) counts as there, as in the released code.

    Args:
        presence: int8 ``[N, C]``, as in `Batch`.
    """
    return (presence >= 0).to(torch.float32)


def cross_entropies(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of each class and image, float32 ``[N, C]``: E of equation 6."""
    z = logits.float()
    # Not 1 - sigmoid(z): that is 0 in float32 from z = 17 on, and so is its slope.
    there, absent = z.sigmoid() + SMALLEST_SCORE, (-z).sigmoid() + SMALLEST_SCORE
    return -(targets * there.log() + (1 - targets) * absent.log())


def kept(logits: list[Tensor], targets: Tensor, balance: str, epsilon: float) -> list[Tensor]:
    """Which classes count in the loss, bool ``[N, C]`` for each level: w of equation 6.

    Positives always do; of negatives, the easy ones do not, see `CHRConfig.balance`.

    Args:
        logits: Of each level ``[N, C]``, coarsest first.
        targets: ``[N, C]``.
        balance: One of `BALANCES`.
        epsilon: For ``paper``.
    """
    positive = targets > 0
    if balance == "none":
        return [torch.ones_like(positive) for _ in logits]
    if balance == "released":
        return [positive | (level >= RELEASED_LOGIT) for level in logits]
    masks, so_far = [], torch.ones_like(positive)
    for level in logits:
        so_far = so_far & (positive | (level.float().sigmoid() > epsilon))
        masks.append(so_far)
    return masks


def balanced_loss(
    logits: list[Tensor], targets: Tensor, balance: str, epsilon: float
) -> tuple[Tensor, Tensor]:
    """The loss of a batch, a scalar, and the share of its entries that counted.

    Each level's is the mean over all B x C entries, those left out among them (they cost nothing
    but are divided by), and the levels' losses are summed; both as released.
    """
    masks = torch.stack(kept(logits, targets, balance, epsilon))
    losses = torch.stack([cross_entropies(level, targets) for level in logits])
    return (losses * masks).mean(dim=(1, 2)).sum(), masks.float().mean()
