"""Targets and losses of YOLOv3: objectness and classes by binary cross entropy, and the box.

Source: Redmon and Farhadi, 2018, sections 2.1 and 2.2. The report speaks of a sum of squared errors
for all four of the box; Darknet's gradient is that of cross entropy for x and y in the cell and of
half the squared error for the logarithms of width and height, small objects weighing up to twice as
much. That is what this is, summed over an image and divided by the images of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import box_iou

from xedge.models.yolov3 import Anchors, YOLOv3Config, YOLOv3Output, decode
from xedge.train.assigners.yolov3 import assign
from xedge.train.batch import Batch
from xedge.train.criterion import Moment, Setting

IGNORE_IOU = 0.5
"""A box that overlaps an object by more than this and has none assigned is not blamed (2.1)."""
SMALLEST_SIDE = 1.0
"""Pixels; a thinner object is taught as this wide: its logarithm has no end."""


@dataclass(frozen=True)
class Targets:
    """What a batch of N images should have answered, over all A anchors.

    Attributes:
        positive: bool ``[N, A]``.
        one_hot: ``[N, A, C]``; zero at background.
        offsets: x and y within the cell, 0..1, and t_w, t_h: ``[N, A, 4]``; zero at background.
        weight: Of the box, two less the object's share of the image, ``[N, A]``.
    """

    positive: Tensor
    one_hot: Tensor
    offsets: Tensor
    weight: Tensor

    def to(self, device: torch.device) -> Targets:
        """The same targets on a device."""
        return Targets(*(value.to(device) for value in vars(self).values()))


def make_targets(
    anchors: Anchors,
    boxes: list[Tensor],
    labels: list[Tensor],
    classes: int,
    image: tuple[int, int],
) -> Targets:
    """Targets of a batch; depends on the objects and the anchors only, not on the answers.

    Args:
        anchors: The anchors.
        boxes: Objects of each image, ``[n, 4]`` in pixels.
        labels: Their classes, int64 ``[n]``.
        classes: C.
        image: Height and width of the images.
    """
    n, a = len(boxes), len(anchors.sizes)
    positive = torch.zeros(n, a, dtype=torch.bool)
    one_hot, offsets, weight = (torch.zeros(n, a, *last) for last in ((classes,), (4,), ()))
    for i, (box, name) in enumerate(zip(boxes, labels, strict=True)):
        owner = assign(anchors, box)
        mine = owner >= 0
        positive[i] = mine
        thing = box[owner[mine]]
        one_hot[i, mine, name[owner[mine]]] = 1
        centre = (thing[:, :2] + thing[:, 2:]) / 2
        sides = (thing[:, 2:] - thing[:, :2]).clamp(min=SMALLEST_SIDE)
        within = (centre - anchors.corners[mine]) / anchors.strides[mine]
        offsets[i, mine] = torch.cat([within, (sides / anchors.sizes[mine]).log()], 1)
        weight[i, mine] = 2 - sides.prod(1) / (image[0] * image[1])
    return Targets(positive, one_hot, offsets, weight)


@torch.no_grad()
def near_objects(outputs: YOLOv3Output, boxes: list[Tensor]) -> Tensor:
    """Which answered boxes overlap some object by more than `IGNORE_IOU`, bool ``[N, A]``."""
    found = decode(outputs.offsets, outputs.anchors)
    near = torch.zeros(found.shape[:2], dtype=torch.bool, device=found.device)
    for i, box in enumerate(boxes):
        if len(box):
            near[i] = box_iou(found[i], box.to(found.device)).amax(1) > IGNORE_IOU
    return near


def detection_loss(
    outputs: YOLOv3Output, targets: Targets, ignored: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a batch, a scalar, and the figures of it for the record.

    Args:
        outputs: What the model answered.
        targets: What it should have answered.
        ignored: Anchors whose objectness does not count unless they are positive, bool ``[N, A]``.
    """
    mine, images = targets.positive, len(targets.positive)
    blame = F.binary_cross_entropy_with_logits(outputs.objectness, mine.float(), reduction="none")
    objectness = (blame * (mine | ~ignored)).sum() / images
    classes = F.binary_cross_entropy_with_logits(
        outputs.logits[mine], targets.one_hot[mine], reduction="sum"
    ) / images  # fmt: skip
    answer, wanted, weight = outputs.offsets[mine], targets.offsets[mine], targets.weight[mine]
    place = F.binary_cross_entropy_with_logits(answer[:, :2], wanted[:, :2], reduction="none")
    size = (answer[:, 2:] - wanted[:, 2:]) ** 2 / 2
    box = ((place + size).sum(1) * weight).sum() / images
    parts = {"objectness": objectness, "classes": classes, "box": box}
    return objectness + classes + box, {name: value.detach() for name, value in parts.items()}


class YOLOv3Criterion:
    """The loss of YOLOv3."""

    def __init__(self, setting: Setting) -> None:
        assert isinstance(setting.config, YOLOv3Config)
        self.classes, self.image = len(setting.config.classes), (setting.height, setting.width)
        self.anchors: Anchors | None = None

    def __call__(
        self, model: nn.Module, batch: Batch, moment: Moment
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Criterion`."""
        outputs: YOLOv3Output = model(batch.planes)
        if self.anchors is None:
            # Kept: fetching them at every step would wait for the device.
            self.anchors = Anchors(*(value.cpu() for value in outputs.anchors))
        # On the CPU, whatever the device: assignment is many small steps.
        targets = make_targets(self.anchors, batch.boxes, batch.labels, self.classes, self.image)
        targets = targets.to(outputs.logits.device)
        return detection_loss(outputs, targets, near_objects(outputs, batch.boxes))
