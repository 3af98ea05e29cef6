"""The dense head of ATSS, FCOS and PAA, with an optional label-aware step (LA), top to bottom.

The three differ in which locations they teach (xedge.train.assigners), not in what they compute.

Sources: Zhang et al., "Bridging the Gap Between Anchor-based and Anchor-free Detection via
Adaptive Training Sample Selection", CVPR 2020 (ATSS); Zhao et al., IEEE TIFS 2022 (LAcls, eq. 5,
and section IV-E for the distribution over 16 intervals); Li et al., CVPR 2021 (quality from the
distribution, as in the authors' released head, which this follows where the paper is silent:
see docs/adr/0006).

Shapes: N images, F features, C classes, one square anchor a location, level l of stride s_l.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from xedge.errors import ConfigError
from xedge.models.base import Detector, ModelConfig, centres
from xedge.models.label_aware import Coefficients, Update, refine_by_autograd
from xedge.models.pyramid import Pyramid, PyramidConfig


@dataclass(frozen=True, kw_only=True)
class DenseConfig(ModelConfig):
    """Shape of the detector.

    Attributes:
        pyramid: Backbone and pyramid.
        depth: Layers of each tower.
        groups: Groups of the towers' GroupNorm; divides the pyramid's width.
        bins: Intervals of the distance distribution; distances reach ``bins * stride``.
        regression_repeats: How often the regression tower is applied in a row, shared weights
            (paper, section IV-A: twice with LA).
        anchor_scale: Side of the one anchor of a location, in strides.
        label_aware: Whether the LA step is there.
        coefficients: a, b, c of equation 7.
    """

    pyramid: PyramidConfig = field(default_factory=PyramidConfig)
    depth: int = 3
    groups: int = 16
    bins: int = 16
    regression_repeats: int = 2
    anchor_scale: int = 8
    label_aware: bool = True
    coefficients: Coefficients = field(default_factory=Coefficients)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pyramid.width % self.groups:
            raise ConfigError(
                "the towers cannot be normalised in groups",
                expected=f"groups that divide the width {self.pyramid.width}",
                found=str(self.groups),
            )


class LevelOutput(NamedTuple):
    """The head's answer at one level.

    Attributes:
        logits: Class logits ``[N, C, H, W]``.
        distances: Distances to the left, top, right, bottom side in pixels ``[N, 4, H, W]``.
        quality: Centerness logit ``[N, 1, H, W]``.
    """

    logits: Tensor
    distances: Tensor
    quality: Tensor


class DenseOutput(NamedTuple):
    """What the whole detector answers.

    Attributes:
        levels: The head's answer at each level, finest first.
        updates: LA's update at each level; empty without LA.
    """

    levels: list[LevelOutput]
    updates: list[Update]


def tower(width: int, depth: int, groups: int) -> nn.Sequential:
    """``depth`` times 3x3 convolution without bias, GroupNorm, ReLU; F to F channels."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        nn.init.normal_(conv.weight, std=(2 / (9 * width)) ** 0.5)
        layers += [conv, nn.GroupNorm(groups, width), nn.ReLU()]
    return nn.Sequential(*layers)


class Quality(nn.Module):
    """Centerness from the shape of the distance distribution: max - mean of each side's 17 bins."""

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(4, hidden, 1)
        self.score = nn.Conv2d(hidden, 1, 1)

    def forward(self, probability: Tensor) -> Tensor:
        """Logit ``[N, 1, H, W]`` for distributions ``[N, 4, bins + 1, H, W]``."""
        statistics = probability.amax(dim=2) - probability.mean(dim=2)
        score: Tensor = self.score(self.reduce(statistics).relu())
        return score


class DenseHead(nn.Module):
    """Towers and predictors, shared by all levels; one learned scale a level."""

    def __init__(self, config: DenseConfig) -> None:
        super().__init__()
        width, self.config = config.pyramid.width, config
        self.cls_tower = tower(width, config.depth, config.groups)
        self.reg_tower = tower(width, config.depth, config.groups)
        self.cls = nn.Conv2d(width, len(config.classes), 3, padding=1)
        self.reg = nn.Conv2d(width, 4 * (config.bins + 1), 3, padding=1)
        self.quality = Quality()
        self.level_scale = nn.Parameter(torch.ones(len(config.pyramid.levels)))
        self.register_buffer("bin_centres", torch.arange(config.bins + 1, dtype=torch.float32))
        self.bin_centres: Tensor
        nn.init.normal_(self.cls.weight, std=0.01)
        # Focal loss starts stable when every class begins at a score of 0.01 (Lin et al., 2017).
        nn.init.constant_(self.cls.bias, -4.59512)  # type: ignore[arg-type]
        nn.init.normal_(self.reg.weight, std=0.01)
        nn.init.zeros_(self.reg.bias)  # type: ignore[arg-type]

    def classify(self, x: Tensor) -> Tensor:
        """Class logits ``[N, C, H, W]`` of features ``[N, F, H, W]``."""
        logits: Tensor = self.cls(self.cls_tower(x))
        return logits

    def predict(self, x: Tensor, level: int) -> LevelOutput:
        """Everything the head says of features ``[N, F, H, W]`` of one level."""
        stride = self.config.pyramid.levels[level]
        y = x
        for _ in range(self.config.regression_repeats):
            y = self.reg_tower(y)
        n, _, h, w = x.shape
        raw = self.reg(y).float() * self.level_scale[level]
        probability = raw.reshape(n, 4, self.config.bins + 1, h, w).softmax(dim=2)
        expected = (probability * self.bin_centres.reshape(1, 1, -1, 1, 1)).sum(dim=2)
        return LevelOutput(
            self.classify(x).float(), expected * stride, self.quality(probability).float()
        )

    def forward(
        self, levels: list[Tensor], labels: list[Tensor] | None, label_aware: bool
    ) -> DenseOutput:
        """Outputs and LA's updates a level; no updates without LA.

        Args:
            levels: Features, ``[N, F, H_l, W_l]`` each.
            labels: One-hot labels ``[N, C, H_l, W_l]`` for LA in training, None at test.
            label_aware: Whether the LA step runs.
        """
        outputs, updates = [], []
        for index, x in enumerate(levels):
            if label_aware:
                label = None if labels is None else labels[index]
                x, update = refine_by_autograd(self.classify, x, label, self.config.coefficients)
                updates.append(update)
            outputs.append(self.predict(x, index))
        return DenseOutput(outputs, updates)


class DenseDetector(Detector):
    """The whole detector: planes in, level outputs out."""

    config: DenseConfig

    def __init__(self, config: DenseConfig) -> None:
        super().__init__()
        self.config = config
        self.pyramid = Pyramid(config, config.pyramid)
        self.head = DenseHead(config)

    def forward(
        self,
        planes: Tensor,
        labels: list[Tensor] | None = None,
        *,
        label_aware: bool | None = None,
    ) -> DenseOutput:
        """Level outputs, finest first, and LA's updates.

        Args:
            planes: uint8 or float ``[N, 3, H, W]``, 0..255.
            labels: One-hot labels a level for LA (training); None takes pseudo-labels.
            label_aware: Overrides the configuration, to measure what LA changes.
        """
        on = self.config.label_aware if label_aware is None else label_aware
        outputs: DenseOutput = self.head(self.pyramid(planes), labels, on)
        return outputs

    def decode(self, outputs: DenseOutput) -> tuple[Tensor, Tensor]:
        """Boxes ``[N, A, 4]`` in pixels and scores ``[N, A, C]``, see `decode`."""
        return decode(outputs.levels, self.config.pyramid.levels)


def decode(outputs: list[LevelOutput], strides: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Boxes ``[N, A, 4]`` in pixels and scores ``[N, A, C]``, over the A locations of all levels.

    The score is the class score times the quality, both after the sigmoid, as released.
    """
    boxes, scores = [], []
    for out, stride in zip(outputs, strides, strict=True):
        n, c, h, w = out.logits.shape
        centre = centres(h, w, stride, out.logits.device)
        d = out.distances.reshape(n, 4, h * w).transpose(1, 2)
        boxes.append(torch.cat([centre - d[..., :2], centre + d[..., 2:]], dim=2))
        score = out.logits.sigmoid() * out.quality.sigmoid()
        scores.append(score.reshape(n, c, h * w).transpose(1, 2))
    return torch.cat(boxes, dim=1), torch.cat(scores, dim=1)
