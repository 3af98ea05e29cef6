"""LA's early version as it is traced: its own weights, and labels by comparison."""

from __future__ import annotations

import copy

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from xedge.models.dense import DenseHead
from xedge.models.early_la import EarlyLabelAware
from xedge_export.label_aware import OneHotArgmax


def without_norms(early: EarlyLabelAware, height: int, width: int) -> EarlyLabelAware:
    """A copy whose batch norms went into the convolutions before them.

    torch's exporter folds those of a layer that runs once; this one runs at every level.
    """
    del height, width
    folded = copy.deepcopy(early)
    layers: list[nn.Module] = []
    for module in early.blocks:
        if isinstance(module, nn.BatchNorm2d):
            conv = layers.pop()
            assert isinstance(conv, nn.Conv2d)
            module = fuse_conv_bn_eval(conv, module)
        layers.append(module)
    folded.blocks = nn.Sequential(*layers)
    return folded


class DeployedEarlyLabelAware(nn.Module):
    """The early version's refinement of the features of one level (Zhao et al., figure 8 (A)).

    Nothing in it needs a gradient; only the scatter of its pseudo-labels has to go.

    Args:
        head: The trained head, whose weights are shared.
    """

    def __init__(self, head: DenseHead) -> None:
        super().__init__()
        assert head.early is not None, "built without its weights"
        self.tower, self.predict, self.early = head.cls_tower, head.cls, head.early
        self.one_hot = OneHotArgmax(len(head.config.classes))

    def forward(self, x: Tensor) -> Tensor:
        """Refined features x' ``[N, F, H, W]``."""
        scores = self.predict(self.tower(x)).sigmoid()
        refined: Tensor = self.early(x, scores, self.one_hot(scores))[0]
        return refined
