"""A trained detector as it leaves PyTorch: planes in, a fixed number of candidates out."""

from __future__ import annotations

import enum

import torch
from torch import Tensor, nn

from xedge.errors import ExportError
from xedge.models.base import Classifier, Detector, top_candidates
from xedge.models.dense import DenseDetector, LevelOutput, decode
from xedge_export.label_aware import UnrolledLabelAware

OUTPUT_NAMES = ("boxes", "scores", "labels")
INPUT_NAME = "planes"


class Stage(str, enum.Enum):
    """Which passes of the head are in the graph."""

    FIRST_PASS = "first-pass"
    """No label-aware step: the head once, on the pyramid's features."""
    REFINED = "refined"
    """The label-aware step, then the head on the refined features."""


class Level(nn.Module):
    """The head at one level, with the refinement unrolled in front of it where it is asked for."""

    def __init__(self, model: DenseDetector, index: int, stage: Stage) -> None:
        super().__init__()
        self.index, self.head = index, model.head
        refine = stage is Stage.REFINED
        self.label_aware: nn.Module = UnrolledLabelAware(model.head) if refine else nn.Identity()

    def forward(self, x: Tensor) -> LevelOutput:
        """What the head says of the level's features ``[N, F, H, W]``."""
        return self.head.predict(self.label_aware(x), self.index)


class DeployedDense(nn.Module):
    """The graph to export: normalisation, detector, decoding and TopK.

    Args:
        model: The trained detector; taken as it is, in evaluation mode.
        stage: Which passes are in.
        candidates: K, rows that come out.
    """

    def __init__(self, model: DenseDetector, stage: Stage, candidates: int) -> None:
        super().__init__()
        self.candidates, self.strides = candidates, model.config.pyramid.levels
        self.pyramid = model.pyramid
        self.levels = nn.ModuleDict(
            {f"P{stride.bit_length() - 1}": Level(model, k, stage)
             for k, stride in enumerate(self.strides)}
        )  # fmt: skip

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes ``[N, K, 4]`` in pixels, scores ``[N, K]`` falling, labels int32 ``[N, K]``.

        Args:
            planes: uint8 ``[N, 3, H, W]``.
        """
        features = self.pyramid(planes)
        outputs = [level(x) for level, x in zip(self.levels.values(), features, strict=True)]
        boxes, scores = decode(outputs, self.strides)
        return top_candidates(boxes, scores, self.candidates)


def deployable(model: Detector | Classifier) -> DenseDetector:
    """The model, when it is of a kind that can be exported.

    Raises:
        ExportError: When it is not.
    """
    if not isinstance(model, DenseDetector):
        raise ExportError(
            "this kind of model cannot be exported yet",
            expected="a model on the dense head (system atss)",
            found=type(model).__name__,
        )
    config = model.config
    if config.doam is not None:
        raise ExportError(
            "DOAM cannot be exported yet: its gate ends in a normalisation that no engine folds",
            expected="a model without a table model.doam",
            found=f"variant {config.doam.variant!r}, parts {config.doam.parts!r}",
        )
    unrolled = not config.label_aware or config.label_aware_by == "class"
    if (config.regression, config.quality, unrolled) != ("distribution", "statistics", True):
        raise ExportError(
            "this form of the dense head cannot be exported yet",
            expected='regression = "distribution", quality = "statistics", LA by "class" or none',
            found=f'regression = "{config.regression}", quality = "{config.quality}", LA '
            + (f'by "{config.label_aware_by}"' if config.label_aware else "off"),
        )
    return model


def example_planes(height: int, width: int) -> Tensor:
    """Planes to trace with: air, uint8 ``[1, 3, height, width]``."""
    return torch.full((1, 3, height, width), 234, dtype=torch.uint8)
