"""SSD and YOLOv3 as they are traced: the model's own decoding, then TopK.

Priors and anchors depend on the size of the planes alone, which is fixed: what makes them is
folded into constants (xedge_export.passes).
"""

from __future__ import annotations

from torch import Tensor, nn

from xedge.models.base import Detector
from xedge_export.candidates import Decode, TopCandidates


class DeployedPriors(nn.Module):
    """The graph to export: normalisation, detector, decoding and TopK.

    Args:
        model: The trained detector, in evaluation mode.
        candidates: K, rows that come out.
    """

    def __init__(self, model: Detector, candidates: int) -> None:
        super().__init__()
        self.model = model
        self.decode, self.top = Decode(model.decode), TopCandidates(candidates)

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes ``[N, K, 4]`` in pixels, scores ``[N, K]`` falling, labels int32 ``[N, K]``.

        Args:
            planes: uint8 ``[N, 3, H, W]``.
        """
        found: tuple[Tensor, Tensor, Tensor] = self.top(*self.decode(self.model(planes)))
        return found
