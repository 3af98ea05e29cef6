"""YOLOv3's assignment of objects to anchors (Redmon and Farhadi, 2018, section 2.1)."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import box_iou

from xedge.models.yolov3 import Anchors


def assign(anchors: Anchors, boxes: Tensor) -> Tensor:
    """Index of the object of each anchor, -1 for background, int64 ``[A]``.

    An object has one anchor: of those of all levels whose cell holds its centre, the one whose
    width and height fit best (the IoU when both have one centre). Where two objects want the same,
    the later one has it, as in Darknet.

    Args:
        anchors: The anchors.
        boxes: Objects, ``[M, 4]`` in pixels; one whose centre is outside of all cells has none.
    """
    owner = torch.full((len(anchors.sizes),), -1, dtype=torch.int64)
    if not len(boxes):
        return owner
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    within = centre[None] - anchors.corners[:, None]
    holds = ((within >= 0) & (within < anchors.strides[:, None])).all(2)
    fit = torch.where(holds, box_iou(_at_origin(anchors.sizes), _at_origin(_sides(boxes))), -1.0)
    best, anchor = fit.max(0)
    # One by one: with two indices alike, an indexed assignment may keep either.
    for thing in (best >= 0).nonzero().flatten().tolist():
        owner[anchor[thing]] = thing
    return owner


def _sides(boxes: Tensor) -> Tensor:
    return boxes[:, 2:] - boxes[:, :2]


def _at_origin(sizes: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(sizes), sizes], 1)
