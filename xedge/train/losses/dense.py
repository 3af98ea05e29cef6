"""Targets and losses of ATSS: focal, GIoU weighted by centerness, centerness.

Weights as released: focal with gamma 2 and alpha 0.25, GIoU times 2, centerness once. The
released head's extra loss on the distance bins is left out (its author: "does not seem to matter").
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from xedge.models.dense import DenseConfig, LevelOutput
from xedge.train.assigners.atss import Grid, assign, make_grid
from xedge.train.batch import Batch
from xedge.train.criterion import Moment, Setting

GIOU_WEIGHT = 2.0


@dataclass(frozen=True)
class Targets:
    """What a batch of N images should have answered, over all A locations.

    Attributes:
        one_hot: ``[N, A, C]``; all zero for background.
        boxes: ``[N, A, 4]``; meaningful at positives only.
        positive: bool ``[N, A]``.
        centerness: ``[N, A]`` in 0..1, zero at background.
    """

    one_hot: Tensor
    boxes: Tensor
    positive: Tensor
    centerness: Tensor

    def to(self, device: torch.device) -> Targets:
        """The same targets on a device."""
        return Targets(*(value.to(device) for value in vars(self).values()))

    def label_maps(self, grid: Grid) -> list[Tensor]:
        """The one-hot labels as maps a level, ``[N, C, H, W]`` each, as LA takes them."""
        n, _, c = self.one_hot.shape
        return [
            part.transpose(1, 2).reshape(n, c, h, w)
            for part, (h, w) in zip(
                torch.split(self.one_hot, grid.lengths, 1), grid.sizes, strict=True
            )
        ]


def make_targets(grid: Grid, boxes: list[Tensor], labels: list[Tensor], classes: int) -> Targets:
    """Targets of a batch; depends on the objects and the anchors only, not on the model."""
    n, a = len(boxes), len(grid.points)
    one_hot, target = torch.zeros(n, a, classes), torch.zeros(n, a, 4)
    positive = torch.zeros(n, a, dtype=torch.bool)
    for i, (box, label) in enumerate(zip(boxes, labels, strict=True)):
        owner = assign(grid, box)
        positive[i] = owner >= 0
        mine = owner[positive[i]]
        one_hot[i, positive[i], label[mine]] = 1
        target[i, positive[i]] = box[mine]
    left_top = (grid.points - target[..., :2]).clamp(min=0)
    right_bottom = (target[..., 2:] - grid.points).clamp(min=0)
    ratio = torch.minimum(left_top, right_bottom) / torch.maximum(left_top, right_bottom).clamp(
        min=1e-6
    )
    return Targets(one_hot, target, positive, (ratio.prod(2).sqrt()) * positive)


def flatten(outputs: list[LevelOutput], grid: Grid) -> tuple[Tensor, Tensor, Tensor]:
    """Logits ``[N, A, C]``, boxes ``[N, A, 4]`` and centerness logits ``[N, A]`` of all levels."""

    def rows(maps: list[Tensor]) -> Tensor:
        return torch.cat([m.flatten(2).transpose(1, 2) for m in maps], 1)

    d = rows([o.distances for o in outputs])
    boxes = torch.cat([grid.points - d[..., :2], grid.points + d[..., 2:]], 2)
    return rows([o.logits for o in outputs]), boxes, rows([o.quality for o in outputs])[..., 0]


def detection_loss(
    outputs: list[LevelOutput], targets: Targets, grid: Grid
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a batch, a scalar, and the figures of it for the record."""
    logits, boxes, quality = flatten(outputs, grid)
    positives = max(int(targets.positive.sum()), 1)
    focal = sigmoid_focal_loss(logits, targets.one_hot, reduction="sum") / positives
    mine = targets.positive
    weight = targets.centerness[mine]
    giou = generalized_box_iou_loss(boxes[mine], targets.boxes[mine])
    box = (giou * weight).sum() / weight.sum().clamp(min=1.0)
    center = functional.binary_cross_entropy_with_logits(
        quality[mine], weight, reduction="sum"
    ) / positives  # fmt: skip
    total = focal + GIOU_WEIGHT * box + center
    parts = {"focal": focal, "giou": box, "centerness": center}
    return total, {name: value.detach() for name, value in parts.items()}


class DenseCriterion:
    """The loss of ATSS, and the labels that LA is taught with."""

    def __init__(self, setting: Setting) -> None:
        assert isinstance(setting.config, DenseConfig)
        self.config, self.label_aware_from = setting.config, setting.optim.label_aware_from
        self.grid = make_grid(
            setting.height, setting.width, self.config.pyramid.levels, self.config.anchor_scale
        )

    def __call__(
        self, model: nn.Module, batch: Batch, moment: Moment
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Criterion`. LA runs once its share of the run has come."""
        device = batch.planes.device
        classes = len(self.config.classes)
        # On the CPU, whatever the device: assignment is many small steps.
        targets = make_targets(self.grid, batch.boxes, batch.labels, classes).to(device)
        on = self.config.label_aware and moment.share >= self.label_aware_from
        outputs = model(batch.planes, targets.label_maps(self.grid), label_aware=on)
        return detection_loss(outputs.levels, targets, self.grid.to(device))
