"""What ATSS is taught by (Zhang et al., CVPR 2020); weights as released."""

from __future__ import annotations

from xedge.train.assigners.atss import assign
from xedge.train.criterion import Setting
from xedge.train.losses.dense import DenseCriterion, Weights

WEIGHTS = Weights(giou=2.0)


def atss_criterion(setting: Setting) -> DenseCriterion:
    """The criterion of ATSS: its assignment; focal loss, GIoU, centerness."""
    return DenseCriterion(setting, assign, WEIGHTS)
