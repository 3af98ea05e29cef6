"""LA's early version: the network learns the weight of its features from its own classification.

Source: Zhao et al., IEEE TIFS 2022, section IV-C and figure 8 (A). "The early version of LA first
calculates the cross-entropy of the confidence of the predicted category and the class label and
then uses a set of 1x1 convolutions to learn weights based on the calculated results"; the figure's
are blocks of 1x1 convolution, BatchNorm, ReLU, and a last 1x1 convolution. The authors found it
"unstable" and released no code. Left open by the text, and chosen here:

- the cross-entropy is kept per class, since the weight is to come from "the category of the
  assigned label and the multi-class confidences"; its sum would not tell which class is meant;
- there are two blocks, F wide;
- ``x' = x + w x``. Equations 2 and 3 multiply, ``w x``; with the last convolution's bias these are
  the same functions, and the residual form of equation 4 makes w comparable with LAcls's;
- the last convolution starts at zero, hence the layer as the identity.

Shapes: N images, F features, C classes, one label a location.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xedge.errors import ConfigError
from xedge.models.label_aware import one_hot_argmax


def class_cross_entropy(scores: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy of each class's score and label in nats, float32 ``[N, C, H, W]``, 0..16.

    Args:
        scores: y in 0..1, ``[N, C, H, W]``.
        label: One-hot, all zero for background, same shape.
    """
    y, label = scores.float(), label.float()
    right = label * y + (1 - label) * (1 - y)
    # The smallest step below 1: a score that is 0 or 1 to float32 is not an infinite surprise.
    return -right.clamp(min=torch.finfo(torch.float32).eps).log()


class EarlyLabelAware(nn.Module):
    """Features adjusted by a weight that 1x1 convolutions read off scores and labels.

    Args:
        classes: C.
        width: F, of the features and of the blocks.
        blocks: How many 1x1 ConvBlocks come before the last convolution.
    """

    def __init__(self, classes: int, width: int, blocks: int = 2) -> None:
        super().__init__()
        if min(classes, width, blocks) < 1:
            raise ConfigError(
                "the early label-aware step cannot be built",
                expected="classes, width and blocks of at least 1",
                found=f"{classes}, {width}, {blocks}",
            )
        layers: list[nn.Module] = []
        for before in [classes] + [width] * (blocks - 1):
            layers += [nn.Conv2d(before, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        self.blocks = nn.Sequential(*layers)
        self.weight = nn.Conv2d(width, width, 1)
        nn.init.zeros_(self.weight.weight)
        nn.init.zeros_(self.weight.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, scores: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """Refined features ``x' = x + w x`` and the weight w, both float32 ``[N, F, H, W]``.

        Gradients reach x, the convolutions and the scores; with detached scores the first
        prediction is a constant, as it is in LAcls.

        Args:
            x: Features ``[N, F, H, W]``.
            scores: y of the first prediction, 0..1, ``[N, C, H, W]``.
            label: One-hot ``[N, C, H, W]`` of the assigned labels (all zero for background), in
                training; None at test, where the best class of the first prediction takes its
                place at every location (section IV-D).
        """
        if label is None:
            label = one_hot_argmax(scores.detach())
        weight = self.weight(self.blocks(class_cross_entropy(scores, label))).float()
        # Kept in float32 for the reason of xedge.models.label_aware.apply_update.
        x = x.float()
        return x + weight * x, weight
