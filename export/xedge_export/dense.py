"""The dense head's detectors as they are traced: ATSS, FCOS and PAA, with LA or without."""

from __future__ import annotations

import functools

from torch import Tensor, nn

from xedge.models.dense import DenseDetector, LevelOutput, decode
from xedge_export.candidates import Decode, TopCandidates
from xedge_export.contract import Stage
from xedge_export.early_la import DeployedEarlyLabelAware
from xedge_export.label_aware import UnrolledLabelAware, has_rule
from xedge_export.traced import TracedLabelAware


class Level(nn.Module):
    """The head at one level, with the refinement unrolled in front of it where it is asked for."""

    def __init__(
        self, model: DenseDetector, index: int, stage: Stage, shape: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.index, self.head = index, model.head
        self.label_aware: nn.Module = nn.Identity()
        if stage is Stage.REFINED:
            if model.config.label_aware_by == "early":
                self.label_aware = DeployedEarlyLabelAware(model.head)
            elif has_rule(model.head):
                self.label_aware = UnrolledLabelAware(model.head, index)
            else:
                self.label_aware = TracedLabelAware(model.head, index, shape)

    def forward(self, x: Tensor) -> LevelOutput:
        """What the head says of the level's features ``[N, F, H, W]``."""
        refined: Tensor = self.label_aware(x)
        return self.head.predict(refined, self.index)


class DeployedDense(nn.Module):
    """The graph to export: normalisation, detector, decoding and TopK.

    Args:
        model: The trained detector; taken as it is, in evaluation mode.
        stage: Which passes are in.
        candidates: K, rows that come out.
        size: Height and width of the planes.
    """

    def __init__(
        self, model: DenseDetector, stage: Stage, candidates: int, size: tuple[int, int]
    ) -> None:
        super().__init__()
        strides, width = model.config.pyramid.levels, model.config.pyramid.width
        self.pyramid = model.pyramid
        self.levels = nn.ModuleDict(
            {f"P{stride.bit_length() - 1}":
             Level(model, k, stage, (1, width, *(-(-side // stride) for side in size)))
             for k, stride in enumerate(strides)}
        )  # fmt: skip
        self.decode = Decode(functools.partial(decode, strides=strides))
        self.top = TopCandidates(candidates)

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes ``[N, K, 4]`` in pixels, scores ``[N, K]`` falling, labels int32 ``[N, K]``.

        Args:
            planes: uint8 ``[N, 3, H, W]``.
        """
        features = self.pyramid(planes)
        outputs = [level(x) for level, x in zip(self.levels.values(), features, strict=True)]
        found: tuple[Tensor, Tensor, Tensor] = self.top(*self.decode(outputs))
        return found
