"""The dense head of ATSS, FCOS and PAA, with an optional label-aware step (LA), top to bottom.

The three differ in which locations they teach (xedge.train.assigners) and in what (losses there);
regression and quality are options of the head (xedge.models.distances).

Sources: Zhang et al., "Bridging the Gap Between Anchor-based and Anchor-free Detection via
Adaptive Training Sample Selection", CVPR 2020 (ATSS); Tian et al., ICCV 2019 and TPAMI 2022
(FCOS); Kim and Lee, "Probabilistic Anchor Assignment with IoU Prediction for Object Detection",
ECCV 2020 (PAA); Zhao et al., IEEE TIFS 2022 (LA: LAcls, eq. 5; LAreg, eq. 6; the early version,
figure 8). Where the papers and the authors' released heads differ: docs/adr/0006 and 0009.

Shapes: N images, F features, C classes, one square anchor a location, level l of stride s_l.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from xedge.errors import ConfigError
from xedge.models.base import Detector, ModelConfig, centres
from xedge.models.distances import (
    QUALITIES,
    REGRESSIONS,
    TOP,
    expected_distances,
    make_quality,
)
from xedge.models.early_la import EarlyLabelAware
from xedge.models.label_aware import Coefficients, Update, refine_by_autograd
from xedge.models.pyramid import Pyramid, PyramidConfig

SIDES: Final = 4
LABEL_AWARE_BY: Final = ("class", "regression", "early")
"""What LA is told at a location: its class (LAcls), the bins of its distances (LAreg), or its
class by the early version, which has weights of its own."""


@dataclass(frozen=True, kw_only=True)
class DenseConfig(ModelConfig):
    """Shape of the detector.

    Attributes:
        pyramid: Backbone and pyramid.
        depth: Layers of each tower.
        groups: Groups of the towers' GroupNorm; divides the pyramid's width.
        regression: One of `REGRESSIONS`.
        bins: Intervals of the distance distribution; distances reach ``bins * stride``.
        quality: One of `QUALITIES`.
        regression_repeats: How often the regression tower is applied in a row, shared weights
            (LA paper, section IV-A: twice with LA; the plain hosts: once).
        anchor_scale: Side of the one anchor of a location, in strides.
        label_aware: Whether the LA step is there.
        label_aware_by: One of `LABEL_AWARE_BY`.
        coefficients: a, b, c of equation 7; the early version has none.
    """

    pyramid: PyramidConfig = field(default_factory=PyramidConfig)
    depth: int = 3
    groups: int = 16
    regression: str = "distribution"
    bins: int = 16
    quality: str = "statistics"
    regression_repeats: int = 2
    anchor_scale: int = 8
    label_aware: bool = True
    label_aware_by: str = "class"
    coefficients: Coefficients = field(default_factory=Coefficients)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pyramid.width % self.groups:
            raise ConfigError(
                "the towers cannot be normalised in groups",
                expected=f"groups that divide the width {self.pyramid.width}",
                found=str(self.groups),
            )
        for name, known in (
            ("regression", REGRESSIONS),
            ("quality", QUALITIES),
            ("label_aware_by", LABEL_AWARE_BY),
        ):
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"model.{name} is not known",
                    expected=", ".join(known),
                    found=repr(getattr(self, name)),
                )
        if min(self.depth, self.bins, self.regression_repeats) < 1:
            raise ConfigError(
                "the head cannot be built",
                expected="depth, bins and regression_repeats of 1 or more",
                found=f"{self.depth}, {self.bins} and {self.regression_repeats}",
            )
        self._check_parts_fit()

    def _check_parts_fit(self) -> None:
        by_bins = self.label_aware and self.label_aware_by == "regression"
        if self.regression == "direct" and (self.quality != "conv" or by_bins):
            raise ConfigError(
                "the head has no bins to read quality or labels from",
                expected='quality = "conv" and no LA by regression, with regression = "direct"',
                found=f"quality = {self.quality!r}, label_aware_by = {self.label_aware_by!r}",
            )
        if self.quality == "top4" and self.bins < TOP - 1:
            raise ConfigError(
                "the distance distribution is too short for its four largest values",
                expected=f"bins of {TOP - 1} or more",
                found=str(self.bins),
            )
        if by_bins and self.coefficients.c:
            raise ConfigError(
                "LA by regression has no misleading label (equation 6)",
                expected="model.coefficients with c = 0; the paper's are a = 0.5, b = 1, c = 0",
                found=f"c = {self.coefficients.c:g}",
            )

    @property
    def label_parts(self) -> int:
        """In how many parts the channels of LA's labels are compared, see `one_hot_argmax`."""
        return SIDES if self.label_aware_by == "regression" else 1


class LevelOutput(NamedTuple):
    """The head's answer at one level.

    Attributes:
        logits: Class logits ``[N, C, H, W]``.
        distances: Distances to the left, top, right, bottom side in pixels ``[N, 4, H, W]``.
        quality: Logit of how good the box is, ``[N, 1, H, W]``: centerness, or PAA's IoU.
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


LevelLabels = list[Tensor | None]
"""LA's labels a level, one-hot ``[N, C, H, W]``, or ``[N, 4 (bins + 1), H, W]`` for LAreg; None
for a level whose own best predictions take their place."""
Labelling = LevelLabels | Callable[[list[LevelOutput]], LevelLabels]
"""LA's labels, or what makes them of the outputs of a first pass, without gradients (PAA)."""


class DenseHead(nn.Module):
    """Towers and predictors, shared by all levels; one learned scale a level."""

    def __init__(self, config: DenseConfig) -> None:
        super().__init__()
        width, self.config = config.pyramid.width, config
        self.cls_tower = tower(width, config.depth, config.groups)
        self.reg_tower = tower(width, config.depth, config.groups)
        self.cls = nn.Conv2d(width, len(config.classes), 3, padding=1)
        values = config.bins + 1 if config.regression == "distribution" else 1
        self.reg = nn.Conv2d(width, SIDES * values, 3, padding=1)
        self.quality = make_quality(config.quality, width)
        self.level_scale = nn.Parameter(torch.ones(len(config.pyramid.levels)))
        self.register_buffer("bin_centres", torch.arange(config.bins + 1, dtype=torch.float32))
        self.bin_centres: Tensor
        nn.init.normal_(self.cls.weight, std=0.01)
        # Focal loss starts stable when every class begins at a score of 0.01 (Lin et al., 2017).
        nn.init.constant_(self.cls.bias, -4.59512)  # type: ignore[arg-type]
        nn.init.normal_(self.reg.weight, std=0.01)
        nn.init.zeros_(self.reg.bias)  # type: ignore[arg-type]
        early = config.label_aware and config.label_aware_by == "early"
        self.early = EarlyLabelAware(len(config.classes), width) if early else None

    def classify(self, x: Tensor) -> Tensor:
        """Class logits ``[N, C, H, W]`` of features ``[N, F, H, W]``."""
        logits: Tensor = self.cls(self.cls_tower(x))
        return logits

    def regress(self, x: Tensor, level: int, repeats: int) -> tuple[Tensor, Tensor]:
        """The regression tower's features ``[N, F, H, W]``, and raw values of the four sides.

        The latter are float32 ``[N, 4 (bins + 1), H, W]`` or, regressed directly, ``[N, 4, H, W]``.

        Args:
            x: Features ``[N, F, H, W]`` of one level.
            level: Which level.
            repeats: How often the tower is applied.
        """
        for _ in range(repeats):
            x = self.reg_tower(x)
        return x, self.reg(x).float() * self.level_scale[level]

    def predict(self, x: Tensor, level: int, repeats: int | None = None) -> LevelOutput:
        """Everything the head says of features ``[N, F, H, W]`` of one level.

        Args:
            x: The features.
            level: Which level.
            repeats: How often the regression tower is applied; the configuration's by default.
        """
        stride = self.config.pyramid.levels[level]
        tower, raw = self.regress(x, level, repeats or self.config.regression_repeats)
        probability: Tensor | None = None
        if self.config.regression == "distribution":
            n, _, h, w = raw.shape
            probability = raw.reshape(n, SIDES, self.config.bins + 1, h, w).softmax(dim=2)
            distances = expected_distances(probability, self.bin_centres)
        else:
            distances = raw.exp()
        return LevelOutput(
            self.classify(x).float(), distances * stride, self.quality(tower, probability).float()
        )

    def refine(self, x: Tensor, level: int, label: Tensor | None) -> tuple[Tensor, Update]:
        """LA: features ``[N, F, H, W]`` of one level adjusted by their labels, and the `Update`.

        Args:
            x: The features.
            level: Which level.
            label: See `LevelLabels`.
        """
        config = self.config
        if config.label_aware_by == "early":
            assert self.early is not None, "built without its weights"
            # The first prediction is a constant, as in LAcls. No torch.no_grad: the autocast of
            # PyTorch before its pull request 165068 keeps the weights that it casts in there, and
            # the second pass would find them constant.
            scores = self.classify(x.detach()).float().sigmoid().detach()
            refined, weight = self.early(x, scores, label)
            return refined, Update(weight.detach(), scores)

        def bins(features: Tensor) -> Tensor:
            return self.regress(features, level, 1)[1]

        predict = bins if config.label_aware_by == "regression" else self.classify
        return refine_by_autograd(predict, x, label, config.coefficients, config.label_parts)

    def forward(
        self, levels: list[Tensor], labels: Labelling | None, label_aware: bool
    ) -> DenseOutput:
        """Outputs and LA's updates a level; no updates without LA.

        Args:
            levels: Features, ``[N, F, H_l, W_l]`` each.
            labels: LA's labels in training, None at test.
            label_aware: Whether the LA step runs.
        """
        if not label_aware:
            return DenseOutput([self.predict(x, k) for k, x in enumerate(levels)], [])
        if callable(labels):
            # As released, the first pass applies the regression tower once.
            labels = labels([self.first_pass(x, k) for k, x in enumerate(levels)])
        outputs, updates = [], []
        for index, x in enumerate(levels):
            refined, update = self.refine(x, index, None if labels is None else labels[index])
            updates.append(update)
            outputs.append(self.predict(refined, index))
        return DenseOutput(outputs, updates)

    def first_pass(self, x: Tensor, level: int) -> LevelOutput:
        """What the head says before LA, without gradients, to assign labels by."""
        # No torch.no_grad, for the reason in `refine`.
        return LevelOutput(*(value.detach() for value in self.predict(x.detach(), level, 1)))


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
        labels: Labelling | None = None,
        *,
        label_aware: bool | None = None,
    ) -> DenseOutput:
        """Level outputs, finest first, and LA's updates.

        Args:
            planes: uint8 or float ``[N, 3, H, W]``, 0..255.
            labels: LA's labels (training), see `Labelling`; None takes pseudo-labels.
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
