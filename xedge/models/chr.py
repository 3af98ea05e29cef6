"""Class-balanced hierarchical refinement (CHR): coarse levels clean what finer ones see.

Source: Miao et al., "SIXray: A Large-scale Security Inspection X-ray Benchmark for Prohibited Item
Discovery in Overlapping Images" (CVPR 2019), sections 4 and 5; the widths and layers of g, of which
the text has none, as in the authors' released code. The loss is in
xedge.train.losses.multilabel; docs/adr/0010 says where text and code differ.

Shapes: N images, C classes, L levels of F_l channels, coarsest first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor, nn

from xedge.errors import ConfigError
from xedge.models.base import Classifier, ModelConfig
from xedge.models.levels import LevelHeads, LevelsOutput, finest, resize
from xedge.models.meta_fusion import FusionConfig, fuse, selection_network
from xedge.models.trunk import Trunk, TrunkConfig

HIERARCHIES: Final = ("none", "plain", "refined")
OUTPUTS: Final = ("coarsest", "fused")
BALANCES: Final = ("none", "released", "paper")


@dataclass(frozen=True, kw_only=True)
class CHRConfig(ModelConfig):
    """Shape of the classifier, and what its loss leaves out.

    Attributes:
        trunk: Backbone; each of its strides is a level.
        hierarchy: Which levels predict (the paper's table 4): ``none`` is the plain backbone, the
            coarsest alone; ``plain`` all, each by itself (H); ``refined`` all, told by the coarser
            ones (HR).
        output: What the score is: ``fused`` is the mean of the levels' scores (paper, equation
            5), ``coarsest`` that of the coarsest level (released evaluation).
        fusion: Meta Fusion in place of that mean, a table of its own.
        balance: Which easy negatives the loss leaves out: ``none``, those of each level by itself
            with a logit below -20 (``released``), or those that this or a coarser level scores at
            most `epsilon` (``paper``: the C in CHR).
        epsilon: Of ``paper``, a score in 0..1. The paper does not state it.
    """

    trunk: TrunkConfig = field(default_factory=TrunkConfig)
    hierarchy: str = "refined"
    output: str = "fused"
    fusion: FusionConfig | None = None
    balance: str = "paper"
    epsilon: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value, known in (
            ("hierarchy", self.hierarchy, HIERARCHIES),
            ("output", self.output, OUTPUTS),
            ("balance", self.balance, BALANCES),
        ):
            if value not in known:
                raise ConfigError(
                    f"CHR has no such {name}",
                    expected=f"one of {', '.join(known)}",
                    found=repr(value),
                )
        if not 0 <= self.epsilon < 1:
            raise ConfigError(
                "model.epsilon cannot be used",
                expected="a score of 0 or more, below 1",
                found=str(self.epsilon),
            )
        if self.fusion is not None and (self.hierarchy == "none" or self.output != "fused"):
            raise ConfigError(
                "there is nothing to fuse",
                expected='model.output "fused" and a hierarchy of several levels',
                found=f"output {self.output!r}, hierarchy {self.hierarchy!r}",
                remedy="Leave out [model.fusion], or change these",
            )

    @property
    def learns_from_teacher(self) -> bool:
        """Whether a trained CHR says which level is the right one."""
        return self.fusion is not None and self.fusion.kind == "mf-n"


class Refine(nn.Module):
    """g of equation 4: a level's map, told by the refined one of the next coarser level."""

    def __init__(self, channels: int, coarser: int) -> None:
        super().__init__()
        self.own = nn.Conv2d(channels, channels, 1)
        self.joined = nn.Conv2d(coarser + channels, channels, 1)

    def forward(self, x: Tensor, coarser: Tensor) -> Tensor:
        """The refined map, of the shape of x ``[N, F, h, w]``.

        Args:
            x: The level's map.
            coarser: Of the next coarser level, ``[N, F', h', w']`` of any size.
        """
        # To the finer map's size, not times two: 12 cells lie over 5 in Inception-v3.
        height, width = x.shape[-2:]
        pair = [resize(coarser, (height, width)), self.own(x).relu()]
        refined: Tensor = self.joined(torch.cat(pair, dim=1)).relu()
        return refined


class CHR(Classifier):
    """A backbone with a prediction at each of its levels; or, without hierarchy, at its last."""

    config: CHRConfig

    def __init__(self, config: CHRConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config, config.trunk)
        channels = self.trunk.channels[::-1]
        if config.hierarchy == "none":
            channels = channels[:1]
        alone = channels if config.hierarchy == "plain" else channels[:1]
        self.own = nn.ModuleList(nn.Conv2d(c, c, 1) for c in alone)
        told = zip(channels[1:], channels[:-1], strict=True)
        self.refine = nn.ModuleList(
            Refine(c, coarser) for c, coarser in told if config.hierarchy == "refined"
        )
        self.heads = LevelHeads(channels, len(config.classes))
        fusion = config.fusion
        self.selection = None if fusion is None else selection_network(fusion, channels)

    def forward(self, planes: Tensor) -> LevelsOutput:
        """Logits and maps of each level, of planes ``[N, 3, H, W]``, 0..255."""
        levels = self.trunk(planes)[::-1]
        maps = [own(x).relu() for own, x in zip(self.own, levels, strict=False)]
        # What the second level is told is the last map as it comes, not what its own head sees.
        told = levels[0]
        for refine, x in zip(self.refine, levels[1:], strict=False):
            told = refine(x, told)
            maps.append(told)
        selection = None if self.selection is None else self.selection(maps)
        return LevelsOutput(self.heads(maps), maps, selection)

    def scores(self, outputs: LevelsOutput) -> Tensor:
        """Score of each class, ``[N, C]`` in 0..1: fused, or the coarsest level's."""
        if self.config.fusion is not None:
            return fuse(outputs).sigmoid()
        if self.config.output == "coarsest":
            return outputs.logits[0].sigmoid()
        return mean_score(outputs)

    def locate(self, outputs: LevelsOutput, size: tuple[int, int] | None = None) -> Tensor:
        """Localisation map of each class, ``[N, C, h, w]``: the largest activation of all levels.

        Section 5.3 rescales each level's to the image (``size``) and takes the maximum.
        """
        activations = self.heads.activations(outputs.maps, size or finest(outputs.maps))
        return activations.amax(dim=1)


def mean_score(outputs: LevelsOutput) -> Tensor:
    """Mean of the levels' scores, ``[N, C]`` in 0..1 (equation 5)."""
    return torch.stack(outputs.logits).sigmoid().mean(dim=0)
