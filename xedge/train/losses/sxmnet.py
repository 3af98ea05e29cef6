"""Losses of SXMNet's two stages: attention masks first, then classes and levels.

Source: SXMNet's paper, section 3.2, equations 3 and 4, and its ground truth. Not done: mixup, which
the released code has in its second stage and the paper does not.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xedge.errors import ConfigError
from xedge.models.levels import LevelsOutput
from xedge.models.sxmnet import SXMNetConfig
from xedge.train.batch import Batch
from xedge.train.criterion import Moment, Setting
from xedge.train.losses.fusion import FusionLoss
from xedge.train.losses.multilabel import targets_of


def ellipses(boxes: list[Tensor], image: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """What the masks should be, float32 ``[N, 1, *size]``: 1 in the ellipses of the boxes, else 0.

    A cell lies in an ellipse when its centre does. The released code sums the ellipses of an image,
    divides by 3, and then by the largest; the paper's text is taken. An ellipse is never smaller
    than the circle through a cell's corners, so that no object is lost.

    Args:
        boxes: Of each image, ``[n, 4]`` in pixels.
        image: Height and width of the images in pixels.
        size: Height and width of the masks in cells.
    """
    cell = torch.tensor([image[1] / size[1], image[0] / size[0]])
    xs = (torch.arange(size[1]) + 0.5) * cell[0]
    ys = (torch.arange(size[0]) + 0.5) * cell[1]
    masks = torch.zeros(len(boxes), 1, *size)
    for mask, own in zip(masks, boxes, strict=True):
        middles = (own[:, :2] + own[:, 2:]) / 2
        halves = torch.maximum((own[:, 2:] - own[:, :2]) / 2, cell * 0.5**0.5)
        across = ((xs - middles[:, :1]) / halves[:, :1]).square()[:, None, :]
        along = ((ys - middles[:, 1:]) / halves[:, 1:]).square()[:, :, None]
        # A little more than 1: a cell may have the middle of a box at its very corner.
        mask[0] = ((across + along) <= 1 + 1e-5).any(dim=0)
    return masks


def attention_loss(masks: tuple[Tensor, ...], batch: Batch) -> Tensor:
    """Squared error of the masks: summed over each, and over them; the mean over images.

    Images that hold a class of which no box is known say nothing, and are left out.

    Args:
        masks: ``[N, 1, h, w]`` each.
        batch: What they are of.
    """
    device = masks[0].device
    boxed = torch.tensor([len(b) > 0 for b in batch.boxes])
    known = (boxed | ~(batch.presence >= 0).any(dim=1)).to(device)
    image = (batch.planes.shape[2], batch.planes.shape[3])
    total = masks[0].new_zeros(())
    for mask in masks:
        target = ellipses(batch.boxes, image, (mask.shape[2], mask.shape[3])).to(device)
        errors = (mask - target).square().sum(dim=(1, 2, 3))
        total = total + (errors * known).sum() / known.sum().clamp(min=1)
    return total


class SXMNetCriterion:
    """Attention in the stage ``before``, the fused prediction in the stage ``main``."""

    def __init__(self, setting: Setting) -> None:
        """Make ready; without attention, its stage is refused when it comes.

        Raises:
            ConfigError: As `FusionLoss` says.
        """
        assert isinstance(setting.config, SXMNetConfig)
        self.config = config = setting.config
        self.fusion = FusionLoss(config.fusion, setting, config.levels, absent=config.smoothing)

    def __call__(
        self, model: nn.Module, batch: Batch, moment: Moment
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Criterion`. In the stage ``before``, what only predicts gets no gradient.

        Raises:
            ConfigError: When attention has a stage of its own and there is none.
        """
        if moment.stage == "before" and not self.config.attention:
            raise ConfigError(
                "the stage before teaches SXMNet's attention, and this one has none",
                remedy="Leave out the recipe's table [before], or set model.attention = true",
            )
        outputs: LevelsOutput = model(batch.planes)
        if moment.stage == "before":
            loss = attention_loss(outputs.attention, batch)
            return loss, {"attention": loss.detach()}
        targets = targets_of(batch.presence).to(batch.planes.device)
        return self.fusion(outputs, targets, batch, moment)
