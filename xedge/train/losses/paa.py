"""What PAA is taught by (Kim and Lee, ECCV 2020): its own predictions choose the positives.

Quality is the overlap of the predicted box. Weights as released. At test the head's score is the
product of class score and quality, as for the other hosts; the released code takes the root of it,
which orders alike, and moves each box by its neighbours' (score voting), which is left out here.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torchvision.ops import box_iou, generalized_box_iou_loss, sigmoid_focal_loss

from xedge.models.dense import LevelLabels, LevelOutput
from xedge.train.assigners.grid import Grid
from xedge.train.assigners.paa import assign, candidates
from xedge.train.batch import Batch
from xedge.train.criterion import Moment, Setting
from xedge.train.losses.dense import (
    DenseCriterion,
    Targets,
    Weights,
    detection_loss,
    flatten,
    level_labels,
    make_targets,
)

WEIGHTS = Weights(giou=1.3, quality=0.5)


def candidate_losses(outputs: list[LevelOutput], targets: Targets, grid: Grid) -> Tensor:
    """What each candidate's prediction costs as a positive: focal loss and GIoU, ``[N, A]``.

    Infinite elsewhere; without gradients.

    Args:
        outputs: The detector's.
        targets: With every candidate as a positive.
        grid: The locations.
    """
    logits, boxes, _ = (value.detach() for value in flatten(outputs, grid))
    mine = targets.positive
    focal = sigmoid_focal_loss(logits[mine], targets.one_hot[mine]).sum(1)
    giou = generalized_box_iou_loss(boxes[mine], targets.boxes[mine])
    losses = torch.full(mine.shape, math.inf, device=logits.device)
    losses[mine] = focal + WEIGHTS.giou * giou
    return losses


class PAACriterion(DenseCriterion):
    """The loss of PAA. With LA, the first pass's assignment labels, the second's teaches."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting, candidates, WEIGHTS)

    def __call__(
        self, model: nn.Module, batch: Batch, moment: Moment
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Criterion`. LA runs once its share of the run has come."""
        device, classes = batch.planes.device, len(self.config.classes)
        owners = [self.assign(self.grid, boxes) for boxes in batch.boxes]
        possible = make_targets(self.grid, owners, batch.boxes, batch.labels, classes).to(device)
        grid = self.grid.to(device)

        def taught(outputs: list[LevelOutput]) -> Targets:
            losses = candidate_losses(outputs, possible, grid).cpu()
            chosen = [assign(self.grid, o, c) for o, c in zip(owners, losses, strict=True)]
            return make_targets(self.grid, chosen, batch.boxes, batch.labels, classes).to(device)

        def labels(first: list[LevelOutput]) -> LevelLabels:
            return level_labels(taught(first), grid, self.config)

        on = self.is_label_aware(moment)
        outputs = model(batch.planes, labels if on else None, label_aware=on)
        targets = taught(outputs.levels)

        def overlap(boxes: Tensor) -> Tensor:
            ious: Tensor = box_iou(boxes, targets.boxes[targets.positive])
            return ious.diagonal()

        return detection_loss(outputs.levels, targets, grid, self.weights, overlap)
