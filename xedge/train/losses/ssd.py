"""Targets and losses of SSD: cross entropy with hard negatives, or focal, and smooth L1.

Source: Liu et al., ECCV 2016, equations 1 to 3 and "hard negative mining". As released, an image
without an object teaches the mined loss nothing: its negatives would be three times none.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import box_convert

from xedge.models.ssd import SSDConfig, SSDOutput, encode
from xedge.train.assigners.ssd import assign
from xedge.train.batch import Batch
from xedge.train.criterion import Moment, Setting

NEGATIVES = 3
"""Most negatives for each positive of an image."""
GAMMA = 2.0


@dataclass(frozen=True)
class Targets:
    """What a batch of N images should have answered, over all A priors.

    Attributes:
        labels: int64 ``[N, A]``: 0 for background, 1 + c for class c.
        offsets: ``[N, A, 4]``; zero at background.
    """

    labels: Tensor
    offsets: Tensor

    def to(self, device: torch.device) -> Targets:
        """The same targets on a device."""
        return Targets(self.labels.to(device), self.offsets.to(device))


def make_targets(priors: Tensor, boxes: list[Tensor], labels: list[Tensor]) -> Targets:
    """Targets of a batch; depends on the objects and the priors only, not on the answers.

    Args:
        priors: As in `SSDOutput`, ``[A, 4]``.
        boxes: Objects of each image, ``[n, 4]`` in pixels.
        labels: Their classes, int64 ``[n]``.
    """
    n, a = len(boxes), len(priors)
    label, offsets = torch.zeros(n, a, dtype=torch.int64), torch.zeros(n, a, 4)
    corners = box_convert(priors, "cxcywh", "xyxy")
    for i, (box, name) in enumerate(zip(boxes, labels, strict=True)):
        owner = assign(corners, box)
        mine = owner >= 0
        label[i, mine] = 1 + name[owner[mine]]
        offsets[i, mine] = encode(box[owner[mine]], priors[mine])
    return Targets(label, offsets)


def hard_negatives(loss: Tensor, positive: Tensor) -> Tensor:
    """The negatives with the largest loss, `NEGATIVES` for each positive, image by image.

    Args:
        loss: ``[N, A]``.
        positive: bool ``[N, A]``.

    Returns:
        bool ``[N, A]``.
    """
    order = loss.detach().masked_fill(positive, -1).argsort(dim=1, descending=True, stable=True)
    rank = order.argsort(dim=1)
    return (rank < NEGATIVES * positive.sum(1, keepdim=True)) & ~positive


def focal_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """``-(1 - p)^2 log p`` of the right class's softmax p, ``[N, A]``.

    Equation 20 of DOAM's extension (Lin et al., 2017, without alpha). torchvision's is of sigmoids,
    which would make another host of SSD: other scores, another decoding.

    Args:
        logits: ``[N, A, 1 + C]``.
        labels: int64 ``[N, A]``.
    """
    entropy = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
    return (1 - (-entropy).exp()) ** GAMMA * entropy


def detection_loss(
    outputs: SSDOutput, targets: Targets, loss: str
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a batch, a scalar, and the figures of it for the record.

    Args:
        outputs: What the model answered.
        targets: What it should have answered.
        loss: One of xedge.models.ssd's `LOSSES`.
    """
    positive = targets.labels > 0
    positives = positive.sum().clamp(min=1)
    if loss == "focal":
        classes = focal_loss(outputs.logits, targets.labels).sum() / positives
    else:
        entropy = F.cross_entropy(outputs.logits.transpose(1, 2), targets.labels, reduction="none")
        counted = positive | hard_negatives(entropy, positive)
        classes = (entropy * counted).sum() / positives
    apart = F.smooth_l1_loss(outputs.offsets[positive], targets.offsets[positive], reduction="sum")
    box = apart / positives
    parts = {"classes": classes, "box": box}
    return classes + box, {name: value.detach() for name, value in parts.items()}


class SSDCriterion:
    """The loss of SSD."""

    def __init__(self, setting: Setting) -> None:
        assert isinstance(setting.config, SSDConfig)
        self.loss = setting.config.loss
        self.priors: Tensor | None = None

    def __call__(
        self, model: nn.Module, batch: Batch, moment: Moment
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Criterion`."""
        outputs: SSDOutput = model(batch.planes)
        if self.priors is None:
            # Kept: fetching them at every step would wait for the device.
            self.priors = outputs.priors.cpu()
        # On the CPU, whatever the device: matching is many small steps.
        targets = make_targets(self.priors, batch.boxes, batch.labels)
        return detection_loss(outputs, targets.to(outputs.logits.device), self.loss)
