"""FCOS' assignment of objects to locations, with centre sampling.

Source: Tian et al., "FCOS: A Simple and Strong Anchor-Free Object Detector", TPAMI 2022
(arXiv:2006.09214), section 2.1 (a level for each range of sizes) and 3.1 (centre sampling); the
ICCV 2019 version has no centre sampling.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from xedge.train.assigners.grid import Grid

REACH = 8
"""Farthest side that a level answers for, in strides: 64 pixels at stride 8."""
RADIUS = 1.5
"""Half of the square around an object's centre whose locations are taught, in strides."""


def ranges(strides: tuple[int, ...]) -> list[tuple[float, float]]:
    """For each level, the farthest side in pixels lies above the first and up to the second."""
    upper = [float(REACH * s) for s in strides[:-1]] + [math.inf]
    return list(zip([0.0, *upper[:-1]], upper, strict=True))


def assign(grid: Grid, boxes: Tensor) -> Tensor:
    """Index of the object of each location, -1 for background, int64 ``[A]``.

    A location belongs to an object that it lies in, when it also lies within `RADIUS` strides of
    its centre and its farthest side is in the level's range. Of several the smallest wins.

    Args:
        grid: The locations.
        boxes: Objects, ``[M, 4]`` in pixels.
    """
    a, m = len(grid.points), len(boxes)
    if m == 0:
        return torch.full((a,), -1, dtype=torch.int64)
    sides = grid.distances(boxes[:, None].expand(m, a, 4)).transpose(0, 1)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    off_centre = (grid.points[:, None] - middle).abs().amax(2)
    levels = torch.repeat_interleave(
        torch.tensor(ranges(grid.strides)), torch.tensor(grid.lengths), dim=0
    )
    low, high = levels[:, None].unbind(2)
    farthest = sides.amax(2)
    mine = (sides.amin(2) > 0) & (off_centre < RADIUS * grid.point_strides[:, None])
    mine &= (farthest > low) & (farthest <= high)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    smallest, owner = torch.where(mine, area, math.inf).min(1)
    return torch.where(smallest.isfinite(), owner, -1)
