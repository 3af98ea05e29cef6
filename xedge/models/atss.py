"""ATSS with an optional label-aware step (LAcls), top to bottom.

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
from xedge.models.label_aware import Coefficients, Update, refine_by_autograd
from xedge.models.pyramid import Pyramid, PyramidConfig, normalise


@dataclass(frozen=True, kw_only=True)
class ATSSConfig:
    """Shape of the detector.

    Attributes:
        classes: Names of the classes, C of them.
        pyramid: Backbone and pyramid.
        depth: Layers of each tower.
        groups: Groups of the towers' GroupNorm; divides the pyramid's width.
        bins: Intervals of the distance distribution; distances reach ``bins * stride``.
        regression_repeats: How often the regression tower is applied in a row, shared weights
            (paper, section IV-A: twice with LA).
        anchor_scale: Side of the one anchor of a location, in strides.
        label_aware: Whether the LA step is there.
        coefficients: a, b, c of equation 7.
        mean: What is subtracted from each plane.
        scale: What each plane is multiplied by afterwards.
    """

    classes: tuple[str, ...]
    pyramid: PyramidConfig = field(default_factory=PyramidConfig)
    depth: int = 3
    groups: int = 16
    bins: int = 16
    regression_repeats: int = 2
    anchor_scale: int = 8
    label_aware: bool = True
    coefficients: Coefficients = field(default_factory=Coefficients)
    mean: tuple[float, float, float] = (190.0, 180.0, 130.0)
    scale: tuple[float, float, float] = (1 / 64, 1 / 64, 1 / 32)

    def __post_init__(self) -> None:
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


class ATSSHead(nn.Module):
    """Towers and predictors, shared by all levels; one learned scale a level."""

    def __init__(self, config: ATSSConfig) -> None:
        super().__init__()
        width, self.config = config.pyramid.width, config
        self.cls_tower = tower(width, config.depth, config.groups)
        self.reg_tower = tower(width, config.depth, config.groups)
        self.cls = nn.Conv2d(width, len(config.classes), 3, padding=1)
        self.reg = nn.Conv2d(width, 4 * (config.bins + 1), 3, padding=1)
        self.quality = Quality()
        self.level_scale = nn.Parameter(torch.ones(len(config.pyramid.strides)))
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
        stride = self.config.pyramid.strides[level]
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
    ) -> tuple[list[LevelOutput], list[Update]]:
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
        return outputs, updates


class ATSS(nn.Module):
    """The whole detector: planes in, level outputs out."""

    def __init__(self, config: ATSSConfig, weights: dict[str, Tensor] | None = None) -> None:
        super().__init__()
        self.config = config
        self.pyramid = Pyramid(config.pyramid, weights)
        self.head = ATSSHead(config)
        self.register_buffer("mean", torch.tensor(config.mean).reshape(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(config.scale).reshape(1, 3, 1, 1))
        self.mean: Tensor
        self.scale: Tensor

    def forward(
        self,
        planes: Tensor,
        labels: list[Tensor] | None = None,
        *,
        label_aware: bool | None = None,
    ) -> tuple[list[LevelOutput], list[Update]]:
        """Level outputs, finest first, and LA's updates.

        Args:
            planes: uint8 or float ``[N, 3, H, W]``, 0..255.
            labels: One-hot labels a level for LA (training); None takes pseudo-labels.
            label_aware: Overrides the configuration, to measure what LA changes.
        """
        on = self.config.label_aware if label_aware is None else label_aware
        outputs: tuple[list[LevelOutput], list[Update]] = self.head(
            self.pyramid(normalise(planes, self.mean, self.scale)), labels, on
        )
        return outputs


def centres(height: int, width: int, stride: int, device: torch.device | None = None) -> Tensor:
    """Anchor centres of one level in pixels, ``[height * width, 2]`` as x, y, row by row."""
    ys = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) * stride
    xs = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) * stride
    grid_y, grid_x = torch.meshgrid(ys, xs, indexing="ij")
    return torch.stack([grid_x.reshape(-1), grid_y.reshape(-1)], dim=1)


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


def top_candidates(boxes: Tensor, scores: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """The k best (location, class) pairs: boxes ``[N, k, 4]``, scores ``[N, k]``, labels int32."""
    n, _, c = scores.shape
    best, index = scores.reshape(n, -1).topk(k, dim=1)
    label = torch.remainder(index, c)
    # Exact in float32: a multiple of c below 2^24. Integer division exports as ten nodes.
    location = ((index - label).to(torch.float32) / c).to(torch.int64)
    chosen = boxes.gather(1, location.unsqueeze(2).expand(n, k, 4))
    return chosen, best, label.to(torch.int32)
