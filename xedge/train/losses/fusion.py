"""Loss of Meta Fusion: of the fused prediction, and of which level was trusted.

Source: SXMNet's paper, section 3.2 (equation 4 and the ground truth of MF-N) and section 4.5 (that
of MF-I).
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from xedge.errors import ConfigError
from xedge.models.chr import CHR
from xedge.models.levels import LevelsOutput
from xedge.models.meta_fusion import FusionConfig, fuse
from xedge.train.batch import Batch
from xedge.train.criterion import Moment, Setting
from xedge.train.losses.multilabel import cross_entropies

SIZE_LIMITS: Final = (0.02, 0.2)
"""MF-I: the finest level below the first share of the image, the coarsest above the second."""
UNKNOWN: Final = -1
"""Label of an image that says nothing of its level."""


def labels_by_size(boxes: list[Tensor], area: float) -> Tensor:
    """MF-I's level of each image, int64 ``[N]``: 0 coarsest, 2 finest, -1 without an object.

    The smallest object decides: below 2 % of the image the finest of three levels, up to 20 % the
    middle one, above the coarsest.

    Args:
        boxes: Of each image, ``[n, 4]`` in pixels.
        area: Of an image, in square pixels.
    """
    labels = torch.full((len(boxes),), UNKNOWN, dtype=torch.int64)
    for i, own in enumerate(boxes):
        if len(own):
            share = float((own[:, 2:] - own[:, :2]).prod(dim=1).min()) / area
            labels[i] = (share <= SIZE_LIMITS[1]) + (share < SIZE_LIMITS[0])
    return labels


def labels_by_error(logits: list[Tensor], targets: Tensor) -> Tensor:
    """MF-N's level of each image, int64 ``[N]``: where a teacher's cross-entropy is smallest.

    Args:
        logits: Of each of the teacher's levels, ``[N, C]``, coarsest first.
        targets: ``[N, C]``.
    """
    errors = [cross_entropies(level, targets).sum(dim=1) for level in logits]
    return torch.stack(errors).argmin(dim=0)


class FusionLoss:
    """Cross-entropy of the fused prediction, plus lambda times that of the level (equation 4)."""

    def __init__(
        self, fusion: FusionConfig, setting: Setting, levels: int, *, absent: float = 0.0
    ) -> None:
        """Make ready to teach a model of so many levels.

        Args:
            fusion: What is taught.
            setting: Of the run; its teacher is what MF-N learns from.
            levels: Number of levels that are fused.
            absent: Target of a class that is not in the picture, 0 without label smoothing.

        Raises:
            ConfigError: When MF-N has no fitting teacher, or MF-I not three levels.
        """
        self.fusion, self.absent = fusion, absent
        self.area = float(setting.height * setting.width)
        if fusion.kind == "mf-i" and levels != len(SIZE_LIMITS) + 1:
            raise ConfigError(
                "MF-I knows which of three levels an object's size belongs to",
                expected="three levels that are fused",
                found=str(levels),
                remedy='Choose three strides, or another model.fusion.kind than "mf-i"',
            )
        if fusion.kind == "mf-n":
            self.teacher = fitting_teacher(setting, levels)
            theirs, ours = self.teacher.config.classes, setting.config.classes
            self.pairs = [(theirs.index(c), k) for k, c in enumerate(ours) if c in theirs]

    def __call__(
        self, outputs: LevelsOutput, targets: Tensor, batch: Batch, moment: Moment
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, a scalar, and its parts for the record.

        Args:
            outputs: Of the model that is taught.
            targets: ``[N, C]``, on the model's device.
            batch: What they are of.
            moment: Where the step lies in the run.
        """
        fused = fuse(outputs, weigh=moment.epoch >= self.fusion.mean_epochs)
        total = F.binary_cross_entropy_with_logits(fused, targets.clamp(min=self.absent))
        parts = {"classes": total.detach()}
        if self.fusion.taught:
            assert outputs.selection is not None
            labels = self.labels(batch, targets).to(targets.device)
            known = max(int((labels != UNKNOWN).sum()), 1)
            level = F.cross_entropy(
                outputs.selection, labels, reduction="sum", ignore_index=UNKNOWN
            ) / known  # fmt: skip
            total = total + self.fusion.weight * level
            parts["level"] = level.detach()
        return total, parts

    def labels(self, batch: Batch, targets: Tensor) -> Tensor:
        """Which level each image should trust, int64 ``[N]``, -1 where nothing says so."""
        if self.fusion.kind == "mf-i":
            return labels_by_size(batch.boxes, self.area)
        theirs, ours = (list(side) for side in zip(*self.pairs, strict=True))
        with torch.no_grad():
            logits = self.teacher.to(batch.planes.device)(batch.planes).logits
        return labels_by_error([level[:, theirs] for level in logits], targets[:, ours])


def fitting_teacher(setting: Setting, levels: int) -> CHR:
    """The CHR that a setting's teacher must be, in evaluation mode.

    Raises:
        ConfigError: When there is none, it is no CHR of as many levels, or knows no class of ours.
    """
    teacher = setting.teacher
    if not isinstance(teacher, CHR):
        raise ConfigError(
            "fusion mf-n learns from a CHR which level to trust, and has none",
            expected="a checkpoint of a trained CHR as the teacher",
            found="none" if teacher is None else type(teacher).__name__,
            remedy="Train one, `xedge train chr-tiny` for instance, and pass its checkpoint: "
            "`--teacher runs/chr-tiny/final.ckpt`",
        )
    known = [c for c in setting.config.classes if c in teacher.config.classes]
    if len(teacher.heads.linear) != levels or not known:
        raise ConfigError(
            "the teacher cannot say which level to trust",
            expected=f"{levels} levels, and one of {', '.join(setting.config.classes)} or more",
            found=f"{len(teacher.heads.linear)} levels, {', '.join(teacher.config.classes)}",
            remedy="Train a CHR with the same classes and as many strides",
        )
    return teacher.eval().requires_grad_(False)
