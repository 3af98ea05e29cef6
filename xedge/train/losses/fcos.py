"""What FCOS is taught by (Tian et al., TPAMI 2022): with centre sampling, and GIoU for its IoU."""

from __future__ import annotations

from xedge.train.assigners.fcos import assign
from xedge.train.criterion import Setting
from xedge.train.losses.dense import DenseCriterion, Weights

WEIGHTS = Weights(giou=1.0)


def fcos_criterion(setting: Setting) -> DenseCriterion:
    """The criterion of FCOS: its assignment; focal loss, GIoU, centerness."""
    return DenseCriterion(setting, assign, WEIGHTS)
