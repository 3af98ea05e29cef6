"""SXMNet: a pyramid whose levels an attention mask refines, and a fusion of their predictions.

Source: "Security X-ray Multi-label Classification Network" (SXMNet), section 3.2; the layers of
the attention head, of which the text has none, as in the authors' released code. The fusion is
xedge.models.meta_fusion, the losses xedge.train.losses.sxmnet; docs/adr/0011 says what is taken
where text and code differ.

Shapes: N images, C classes, L levels of F channels, coarsest first. The text's p3, p4, p5 are the
levels of strides 8, 16, 32; the attention head looks at a level finer than these. The pyramid
is torchvision's, with a 3x3 convolution behind every level; the released one has it behind its
finest only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xedge.errors import ConfigError
from xedge.models.base import Classifier, ModelConfig
from xedge.models.levels import LevelHeads, LevelsOutput, finest, resize
from xedge.models.meta_fusion import FusionConfig, fuse, selection_network, weights
from xedge.models.pyramid import Pyramid, PyramidConfig
from xedge.models.trunk import normalise


@dataclass(frozen=True, kw_only=True)
class SXMNetConfig(ModelConfig):
    """Shape of the classifier.

    Attributes:
        pyramid: Backbone and pyramid. With attention its finest level feeds the attention head
            alone, and the others are the L levels that predict; without, all of them predict.
        attention: Whether there is the attention head; the paper's ablations leave it out.
        coarse_widths: Channels of the dilated convolutions of its first stage.
        fine_widths: Of its second, at twice the resolution.
        fusion: How the predictions of the levels become one, a table of its own.
        smoothing: What the loss wants of a class that is not there, 0..1 (released: label
            smoothing of negatives by 0.1; the paper has none).
    """

    pyramid: PyramidConfig = field(
        default_factory=lambda: PyramidConfig(strides=(4, 8, 16, 32), width=256)
    )
    attention: bool = True
    coarse_widths: tuple[int, ...] = (128, 128, 128, 64)
    fine_widths: tuple[int, ...] = (32, 32, 32, 16)
    fusion: FusionConfig = field(default_factory=FusionConfig)
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.levels < 1 or not self.coarse_widths or not self.fine_widths:
            raise ConfigError(
                "the attention head has nothing to refine, or no layer",
                expected="a level finer than those that predict, and a width or more a stage",
                found=f"{len(self.pyramid.levels)} levels, widths {list(self.coarse_widths)} and "
                f"{list(self.fine_widths)}",
            )
        if not 0 <= self.smoothing < 1:
            raise ConfigError(
                "model.smoothing cannot be used", expected="0..1", found=str(self.smoothing)
            )

    @property
    def levels(self) -> int:
        """L, the number of levels that predict."""
        return len(self.pyramid.levels) - self.attention

    @property
    def learns_from_teacher(self) -> bool:
        """Whether a trained CHR says which level is the right one."""
        return self.fusion.kind == "mf-n"


def dilated(before: int, widths: tuple[int, ...]) -> nn.Sequential:
    """3x3 convolutions of dilation 2 through ``widths``, ReLU after each, then 1x1 to one."""
    layers: list[nn.Module] = []
    for into, out in pairwise((before, *widths)):
        conv = nn.Conv2d(into, out, 3, padding=2, dilation=2)
        # PyTorch's own start loses two thirds of the signal a layer, and ten of them stand in a
        # row without a norm: the masks would be constant for hundreds of steps.
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        layers += [conv, nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 1))


class BottomUpAttention(nn.Module):
    """The attention head: where objects are, told by features and by the image itself."""

    def __init__(self, config: SXMNetConfig) -> None:
        super().__init__()
        width = config.pyramid.width
        half = max(width // 2, 1)
        self.reduce = nn.Conv2d(width, half, 3, stride=2, padding=2, dilation=2)
        self.coarse = dilated(half + 3, config.coarse_widths)
        self.fine = dilated(1 + 3, config.fine_widths)

    def forward(self, level: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Masks in 0..1, float32 ``[N, 1, h/2, w/2]`` and ``[N, 1, h, w]``.

        Args:
            level: The pyramid's finest, ``[N, F, h, w]``.
            image: Planes, normalised, ``[N, 3, H, W]``.
        """
        reduced = self.reduce(level)
        coarse = _mask(self.coarse, reduced, image)
        return coarse, _mask(self.fine, resize(coarse, _size(level)), image)


def _size(x: Tensor) -> tuple[int, int]:
    return x.shape[-2], x.shape[-1]


def _mask(layers: nn.Module, x: Tensor, image: Tensor) -> Tensor:
    seen = F.adaptive_avg_pool2d(image, _size(x)).to(x.dtype)
    mask: Tensor = layers(torch.cat([x, seen], dim=1)).float().sigmoid()
    return mask


class SXMNet(Classifier):
    """The whole classifier; without attention, a pyramid with a fusion."""

    config: SXMNetConfig

    def __init__(self, config: SXMNetConfig) -> None:
        super().__init__()
        self.config = config
        self.pyramid = Pyramid(config, config.pyramid)
        self.attention = BottomUpAttention(config) if config.attention else None
        channels = [config.pyramid.width] * config.levels
        self.heads = LevelHeads(channels, len(config.classes))
        self.selection = selection_network(config.fusion, channels)

    def forward(self, planes: Tensor) -> LevelsOutput:
        """Logits, refined maps and attention masks, of planes ``[N, 3, H, W]``, 0..255."""
        levels, masks = self.pyramid(planes), ()
        if self.attention is not None:
            trunk = self.pyramid.trunk
            image = normalise(planes, trunk.mean[:, :3], trunk.scale[:, :3])
            masks = self.attention(levels[0], image)
            # The mean over each cell: the released code's repeated 2x2 average, at any size.
            levels = [x * F.adaptive_avg_pool2d(masks[-1], _size(x)) for x in levels[1:]]
        maps = levels[::-1]
        selection = None if self.selection is None else self.selection(maps)
        return LevelsOutput(self.heads(maps), maps, selection, masks)

    def scores(self, outputs: LevelsOutput) -> Tensor:
        """Score of each class, ``[N, C]`` in 0..1, fused."""
        return fuse(outputs).sigmoid()

    def locate(self, outputs: LevelsOutput, size: tuple[int, int] | None = None) -> Tensor:
        """Localisation map of each class, ``[N, C, h, w]``, weighed as the predictions are.

        The paper points at nothing but by its masks, which know no class. This is the activation
        map of the fused prediction: its mean is the fused logit but for the biases.
        """
        activations = self.heads.activations(outputs.maps, size or finest(outputs.maps))
        if outputs.selection is None:
            return activations.mean(dim=1)
        return (weights(outputs.selection)[:, :, None, None, None] * activations).sum(dim=1)
