"""ATSS' assignment of objects to locations (Zhang et al., CVPR 2020, algorithm 1)."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import box_iou

from xedge.train.assigners.grid import Grid

TOP_K = 9


def assign(grid: Grid, boxes: Tensor) -> Tensor:
    """Index of the object of each location, -1 for background, int64 ``[A]``.

    For each object the `TOP_K` nearest locations of every level are candidates; those whose
    anchors overlap it by at least mean + standard deviation of the candidates' overlaps, and
    whose centres lie inside it, are its positives. A location that two objects want goes to the
    one it overlaps more.

    Args:
        grid: The locations.
        boxes: Objects, ``[M, 4]`` in pixels.
    """
    a, m = len(grid.points), len(boxes)
    if m == 0:
        return torch.full((a,), -1, dtype=torch.int64)
    overlap = box_iou(grid.boxes, boxes)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    distance = torch.cdist(grid.points, middle)
    candidates, start = [], 0
    for length in grid.lengths:
        k = min(TOP_K, length)
        candidates.append(distance[start : start + length].topk(k, 0, largest=False)[1] + start)
        start += length
    index = torch.cat(candidates)
    near = overlap.gather(0, index)
    threshold = near.mean(0) + (near.std(0) if len(near) > 1 else 0)
    p = grid.points[index]
    inside = torch.minimum(p - boxes[:, :2], boxes[:, 2:] - p).amin(2) > 0.01
    positive = (near >= threshold) & inside
    best = torch.full((a, m), -1.0).scatter(0, index, torch.where(positive, near, -1.0))
    value, owner = best.max(1)
    return torch.where(value >= 0, owner, -1)
