"""What every model of the zoo shares: its configuration, and the two things that a model can be.

A `Detector` answers where objects are, a `Classifier` which classes are in the picture. Both take
planes as they come off the belt and normalise them themselves. What a model answers in between
(its outputs) is its own affair: its criterion in xedge.train reads them, and nobody else.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from xedge.errors import ConfigError
from xedge.models.doam import DOAMConfig


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Shape of a model; each system adds its own attributes.

    Attributes:
        classes: Names of the classes, C of them.
        mean: What is subtracted from each plane.
        scale: What each plane is multiplied by afterwards.
        doam: DOAM in front of the backbone, a table of its own; absent, there is none.
    """

    classes: tuple[str, ...]
    mean: tuple[float, float, float] = (190.0, 180.0, 130.0)
    scale: tuple[float, float, float] = (1 / 64, 1 / 64, 1 / 32)
    doam: DOAMConfig | None = None

    def __post_init__(self) -> None:
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise ConfigError(
                "model.classes cannot be used",
                expected="one or more names that differ",
                found=", ".join(self.classes) or "none",
            )
        if not all(math.isfinite(value) for value in self.mean):
            raise ConfigError(
                "model.mean cannot be used", expected="three numbers", found=str(list(self.mean))
            )
        if not all(math.isfinite(value) and value > 0 for value in self.scale):
            raise ConfigError(
                "model.scale cannot be used",
                expected="three numbers above 0",
                found=str(list(self.scale)),
            )

    @property
    def learns_from_teacher(self) -> bool:
        """Whether its criterion learns from a trained classifier."""
        return False


class Detector(nn.Module, ABC):
    """A model that says where objects are."""

    config: ModelConfig

    @abstractmethod
    def forward(self, planes: Tensor) -> Any:
        """Outputs, in the model's own form, of planes ``[N, 3, H, W]``, 0..255."""

    @abstractmethod
    def decode(self, outputs: Any) -> tuple[Tensor, Tensor]:
        """Boxes ``[N, A, 4]`` in pixels and scores ``[N, A, C]`` in 0..1 of the outputs."""


class Classifier(nn.Module, ABC):
    """A model that says which classes are in a picture, and points at them."""

    config: ModelConfig

    @abstractmethod
    def forward(self, planes: Tensor) -> Any:
        """Outputs, in the model's own form, of planes ``[N, 3, H, W]``, 0..255."""

    @abstractmethod
    def scores(self, outputs: Any) -> Tensor:
        """Score of each class, ``[N, C]`` in 0..1."""

    @abstractmethod
    def locate(self, outputs: Any, size: tuple[int, int] | None = None) -> Tensor:
        """Localisation map of each class, ``[N, C, h, w]``: large where it speaks for it.

        Args:
            outputs: Of `forward`.
            size: h and w; those of the model's finest map where nothing else is asked for.
        """


def top_candidates(boxes: Tensor, scores: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """The k best (location, class) pairs: boxes ``[N, k, 4]``, scores ``[N, k]``, labels int32."""
    n, _, c = scores.shape
    best, index = scores.reshape(n, -1).topk(k, dim=1)
    label = torch.remainder(index, c)
    # Exact in float32: a multiple of c below 2^24. Integer division exports as ten nodes.
    location = ((index - label).to(torch.float32) / c).to(torch.int64)
    chosen = boxes.gather(1, location.unsqueeze(2).expand(n, k, 4))
    return chosen, best, label.to(torch.int32)


def centres(height: int, width: int, stride: int, device: torch.device | None = None) -> Tensor:
    """Centres of the cells of one level in pixels, ``[height * width, 2]`` as x, y, row by row."""
    ys = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) * stride
    xs = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) * stride
    grid_y, grid_x = torch.meshgrid(ys, xs, indexing="ij")
    return torch.stack([grid_x.reshape(-1), grid_y.reshape(-1)], dim=1)
