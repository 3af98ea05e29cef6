"""The loss of CHR and of its plain baselines."""

from __future__ import annotations

from torch import Tensor, nn

from xedge.models.chr import CHRConfig
from xedge.models.levels import LevelsOutput
from xedge.train.batch import Batch
from xedge.train.criterion import Moment, Setting
from xedge.train.losses.fusion import FusionLoss
from xedge.train.losses.multilabel import balanced_loss, targets_of


class CHRCriterion:
    """The class-balanced loss over all levels; with Meta Fusion, that of the fusion on top.

    SXMNet's paper plugs Meta Fusion into CHR without saying by which loss. Here the levels keep
    CHR's own, and the fused prediction and the choice of the level are added as in SXMNet.
    """

    def __init__(self, setting: Setting) -> None:
        assert isinstance(setting.config, CHRConfig)
        self.config, fusion = setting.config, setting.config.fusion
        levels = len(self.config.trunk.strides)
        self.fusion = None if fusion is None else FusionLoss(fusion, setting, levels)

    def __call__(
        self, model: nn.Module, batch: Batch, moment: Moment
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Criterion`."""
        outputs: LevelsOutput = model(batch.planes)
        targets = targets_of(batch.presence).to(batch.planes.device)
        total, share = balanced_loss(
            outputs.logits, targets, self.config.balance, self.config.epsilon
        )
        parts = {"balanced": total.detach(), "kept": share}
        if self.fusion is not None:
            fused, more = self.fusion(outputs, targets, batch, moment)
            total, parts = total + fused, parts | more
        return total, parts
