"""What ends every detector's graph: decoding and TopK, as modules, so that nodes are named so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from xedge.errors import ExportError
from xedge.models.base import top_candidates


class Decode(nn.Module):
    """A detector's decoding.

    Args:
        decode: Of outputs in the detector's own form; boxes ``[N, A, 4]``, scores ``[N, A, C]``.
    """

    def __init__(self, decode: Callable[[Any], tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.decode = decode

    def forward(self, outputs: Any) -> tuple[Tensor, Tensor]:
        """Boxes ``[N, A, 4]`` in pixels and scores ``[N, A, C]`` in 0..1."""
        return self.decode(outputs)


class TopCandidates(nn.Module):
    """The best K pairs of location and class, see `xedge.models.base.top_candidates`."""

    def __init__(self, candidates: int) -> None:
        super().__init__()
        self.candidates = candidates

    def forward(self, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes ``[N, K, 4]``, scores ``[N, K]`` falling, labels int32 ``[N, K]``.

        Raises:
            ExportError: There are fewer than K pairs.
        """
        if (there := scores.shape[1] * scores.shape[2]) < self.candidates:
            raise ExportError(
                "the planes are too small for so many candidates",
                expected=f"{self.candidates} pairs of location and class or more",
                found=str(there),
            )
        return top_candidates(boxes, scores, self.candidates)
