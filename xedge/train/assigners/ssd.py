"""SSD's matching of objects to priors (Liu et al., ECCV 2016, section 2.2)."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import box_iou

MATCH_IOU = 0.5


def assign(priors: Tensor, boxes: Tensor) -> Tensor:
    """Index of the object of each prior, -1 for background, int64 ``[A]``.

    First the two that overlap most of all are matched, then the two most of what is left, until
    every object has a prior of its own; then a prior that overlaps an object by more than
    `MATCH_IOU` goes to the one it overlaps most. (The code that DOAM was released with takes the
    best prior of each object at once, so that of two objects with the same one the first loses it.)

    Args:
        priors: x1 y1 x2 y2 in pixels, ``[A, 4]``.
        boxes: Objects, ``[M, 4]`` in pixels; one without an area overlaps no prior and has none.
    """
    if not len(boxes):
        return torch.full((len(priors),), -1, dtype=torch.int64)
    overlap = box_iou(priors, boxes)
    best, owner = overlap.max(1)
    owner = torch.where(best > MATCH_IOU, owner, -1)
    left = overlap.clone()
    for _ in range(min(overlap.shape)):
        prior, thing = divmod(int(left.argmax()), len(boxes))
        if left[prior, thing] <= 0:
            break
        owner[prior] = thing
        left[prior], left[:, thing] = -1, -1
    return owner
