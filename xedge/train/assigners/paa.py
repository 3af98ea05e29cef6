"""PAA's assignment of objects to locations: two Gaussians tell good candidates from bad ones.

Source: Kim and Lee, "Probabilistic Anchor Assignment with IoU Prediction for Object Detection",
ECCV 2020, algorithm 1, with the separation of figure 3 (c), which is what the released code does.
As there, scikit-learn fits the mixture; its means start at the least and the largest loss.
"""

from __future__ import annotations

import math
import warnings
from typing import Final

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor
from torchvision.ops import box_iou

from xedge.train.assigners.grid import Grid

MIN_IOU: Final = 0.1
"""Anchors that overlap an object by this much may be its candidates."""
TOP_K: Final = 9
"""Candidates with the least loss that each level may send."""


def candidates(grid: Grid, boxes: Tensor) -> Tensor:
    """Index of the object that each location may be taught, -1 for none, int64 ``[A]``.

    That is the object which its anchor overlaps most, by `MIN_IOU` or more; and the anchors that
    overlap an object most are its candidates however little that is.

    Args:
        grid: The locations.
        boxes: Objects, ``[M, 4]`` in pixels.
    """
    if not len(boxes):
        return torch.full((len(grid.points),), -1, dtype=torch.int64)
    overlap = box_iou(grid.boxes, boxes)
    best, owner = overlap.max(1)
    owner = torch.where(best >= MIN_IOU, owner, -1)
    for k, most in enumerate(overlap.amax(0)):
        if most > 0:
            owner[overlap[:, k] == most] = k
    return owner


def separate(losses: Tensor) -> Tensor:
    """Which of an object's candidates are positive, bool ``[n]``, at least one.

    Those of the Gaussian with the smaller mean, up to the most likely of them. A single
    candidate is positive (the released code drops the object).

    Args:
        losses: Of its candidates, ``[n]``, finite.
    """
    positive = torch.zeros(len(losses), dtype=torch.bool)
    least = losses.argmin()
    positive[least] = True
    if len(losses) < 2:
        return positive
    ordered, order = losses.double().sort()
    values = ordered.numpy()[:, None]
    mixture = GaussianMixture(
        2,
        covariance_type="diag",
        weights_init=[0.5, 0.5],
        means_init=[values[0], values[-1]],
        precisions_init=[[1.0], [1.0]],
    )
    with warnings.catch_warnings():
        # A mixture that still moves after 100 steps separates as well as one that has settled.
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(values)
    low = torch.from_numpy(mixture.predict(values) == 0)
    likely = torch.from_numpy(mixture.score_samples(values))[low]
    if len(likely):
        positive[order[low][: int(likely.argmax()) + 1]] = True
    return positive


def assign(grid: Grid, owner: Tensor, losses: Tensor) -> Tensor:
    """Index of the object of each location, -1 for background, int64 ``[A]``.

    Args:
        grid: The locations.
        owner: What `candidates` says, ``[A]``.
        losses: What each candidate's prediction costs as a positive, ``[A]``; whatever elsewhere.
    """
    result = torch.full_like(owner, -1)
    for k in torch.unique(owner[owner >= 0]):
        cost = torch.where(owner == k, losses, math.inf)
        chosen, start = [], 0
        for length in grid.lengths:
            value, index = cost[start : start + length].topk(min(TOP_K, length), largest=False)
            chosen.append(index[value.isfinite()] + start)
            start += length
        mine = torch.cat(chosen)
        result[mine[separate(cost[mine])]] = k
    return result
