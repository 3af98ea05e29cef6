"""What the hosts of the dense head share in training: targets, losses, labels for LA, criterion.

Focal loss has gamma 2 and alpha 0.25, as in all three. The released LA head's extra loss on the
distance bins is left out (its author: "does not seem to matter").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from xedge.models.dense import DenseConfig, LevelLabels, LevelOutput
from xedge.train.assigners.grid import Grid, make_grid
from xedge.train.batch import Batch
from xedge.train.criterion import Moment, Setting


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


def make_targets(
    grid: Grid, owners: list[Tensor], boxes: list[Tensor], labels: list[Tensor], classes: int
) -> Targets:
    """Targets of a batch.

    Args:
        grid: The locations.
        owners: Index of the object of each location, -1 for background, ``[A]`` an image.
        boxes: Objects, ``[M, 4]`` an image.
        labels: Their classes.
        classes: C.
    """
    n, a = len(boxes), len(grid.points)
    one_hot, target = torch.zeros(n, a, classes), torch.zeros(n, a, 4)
    positive = torch.stack(owners) >= 0
    for i, (owner, box, label) in enumerate(zip(owners, boxes, labels, strict=True)):
        mine = owner[positive[i]]
        one_hot[i, positive[i], label[mine]] = 1
        target[i, positive[i]] = box[mine]
    left_top, right_bottom = grid.distances(target).clamp(min=0).chunk(2, -1)
    ratio = torch.minimum(left_top, right_bottom) / torch.maximum(left_top, right_bottom).clamp(
        min=1e-6
    )
    return Targets(one_hot, target, positive, (ratio.prod(2).sqrt()) * positive)


def bin_labels(targets: Targets, grid: Grid, bins: int) -> Tensor:
    """One-hot of the interval that each side's distance falls into, ``[N, A, 4 (bins + 1)]``.

    As released: the interval is the floor of the distance in strides, at most ``bins - 1``, and 0
    at background (LA's paper, section IV-E, names no label there).
    """
    strides = grid.distances(targets.boxes) / grid.point_strides[:, None]
    index = strides.floor().clamp(0, bins - 1).long() * targets.positive[..., None]
    return functional.one_hot(index, bins + 1).flatten(2).float()


def level_labels(targets: Targets, grid: Grid, config: DenseConfig) -> LevelLabels:
    """What LA is told in training.

    For LAreg, as released, a level without any positive is told nothing.
    """
    if config.label_aware_by != "regression":
        return list(grid.maps(targets.one_hot))
    maps = grid.maps(bin_labels(targets, grid, config.bins))
    taught = torch.split(targets.positive.any(0), grid.lengths)
    return [m if bool(some.any()) else None for m, some in zip(maps, taught, strict=True)]


def flatten(outputs: list[LevelOutput], grid: Grid) -> tuple[Tensor, Tensor, Tensor]:
    """Logits ``[N, A, C]``, boxes ``[N, A, 4]`` and quality logits ``[N, A]`` of all levels."""

    def rows(maps: list[Tensor]) -> Tensor:
        return torch.cat([m.flatten(2).transpose(1, 2) for m in maps], 1)

    d = rows([o.distances for o in outputs])
    boxes = torch.cat([grid.points - d[..., :2], grid.points + d[..., 2:]], 2)
    return rows([o.logits for o in outputs]), boxes, rows([o.quality for o in outputs])[..., 0]


@dataclass(frozen=True)
class Weights:
    """Weights of the losses beside the focal loss's 1.

    Attributes:
        giou: Of the GIoU loss, itself a mean weighted by the quality target.
        quality: Of the quality's cross-entropy.
    """

    giou: float
    quality: float = 1.0


def detection_loss(
    outputs: list[LevelOutput],
    targets: Targets,
    grid: Grid,
    weights: Weights,
    quality_of: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a batch, a scalar, and the figures of it for the record.

    Args:
        outputs: The detector's.
        targets: What they should have been.
        grid: The locations.
        weights: Of the losses.
        quality_of: Target of the quality at the positives, 0..1, from their predicted boxes
            ``[P, 4]``; centerness where it is absent.
    """
    logits, boxes, quality = flatten(outputs, grid)
    mine = targets.positive
    positives = max(int(mine.sum()), 1)
    focal = sigmoid_focal_loss(logits, targets.one_hot, reduction="sum") / positives
    goal = targets.centerness[mine] if quality_of is None else quality_of(boxes[mine].detach())
    giou = generalized_box_iou_loss(boxes[mine], targets.boxes[mine])
    box = (giou * goal).sum() / goal.sum().clamp(min=1.0)
    good = functional.binary_cross_entropy_with_logits(
        quality[mine], goal, reduction="sum"
    ) / positives  # fmt: skip
    total = focal + weights.giou * box + weights.quality * good
    parts = {"focal": focal, "giou": box, "quality": good}
    return total, {name: value.detach() for name, value in parts.items()}


class DenseCriterion:
    """The loss of a host whose assignment depends on objects and locations only.

    Args:
        setting: What it is made for.
        assign: Gives each location of a grid one of the objects ``[M, 4]``, or -1.
        weights: Of the losses.
    """

    def __init__(
        self, setting: Setting, assign: Callable[[Grid, Tensor], Tensor], weights: Weights
    ) -> None:
        assert isinstance(setting.config, DenseConfig)
        self.config, self.label_aware_from = setting.config, setting.optim.label_aware_from
        self.assign, self.weights = assign, weights
        self.grid = make_grid(
            setting.height, setting.width, self.config.pyramid.levels, self.config.anchor_scale
        )

    def is_label_aware(self, moment: Moment) -> bool:
        """Whether LA runs; the early version does from the start, since it has to learn."""
        config = self.config
        begun = config.label_aware_by == "early" or moment.share >= self.label_aware_from
        return config.label_aware and begun

    def __call__(
        self, model: nn.Module, batch: Batch, moment: Moment
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Criterion`. LA runs once its share of the run has come."""
        device = batch.planes.device
        # On the CPU, whatever the device: assignment is many small steps.
        owners = [self.assign(self.grid, boxes) for boxes in batch.boxes]
        targets = make_targets(
            self.grid, owners, batch.boxes, batch.labels, len(self.config.classes)
        ).to(device)
        grid = self.grid.to(device)
        on = self.is_label_aware(moment)
        labels = level_labels(targets, grid, self.config) if on else None
        outputs = model(batch.planes, labels, label_aware=on)
        return detection_loss(outputs.levels, targets, grid, self.weights)
