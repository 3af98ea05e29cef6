"""Classifiers as they are traced: CHR, SXMNet, the plain backbone, Meta Fusion on any of them."""

from __future__ import annotations

from torch import Tensor, nn

from xedge.models.base import Classifier


class DeployedClassifier(nn.Module):
    """The graph to export: normalisation, classifier, its scores and where it points.

    Args:
        model: The trained classifier, in evaluation mode.
    """

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """Scores ``[N, C]`` in 0..1 and localisation maps ``[N, C, h, w]`` at the finest size.

        Args:
            planes: uint8 ``[N, 3, H, W]``.
        """
        outputs = self.model(planes)
        return self.model.scores(outputs), self.model.locate(outputs)
