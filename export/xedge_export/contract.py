"""What every exported graph has in common: its input, its outputs by kind of model, its stages."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor

from xedge.spec import Kind

INPUT_NAME: Final = "planes"
OUTPUTS: Final[Mapping[Kind, tuple[str, ...]]] = MappingProxyType(
    {
        Kind.DETECTOR: ("boxes", "scores", "labels"),
        Kind.CLASSIFIER: ("scores", "maps"),
    }
)
"""Names of a graph's outputs, in their order.

A detector's are float32 ``[N, K, 4]`` in pixels, float32 ``[N, K]`` falling and int32 ``[N, K]``; a
classifier's float32 ``[N, C]`` in 0..1 and float32 ``[N, C, h, w]``, see `Classifier.locate`.
"""


class Stage(str, enum.Enum):
    """Which passes of the head are in the graph."""

    FIRST_PASS = "first-pass"
    """No label-aware step: the head once, on the pyramid's features."""
    REFINED = "refined"
    """The label-aware step, then the head on the refined features."""


def example_planes(height: int, width: int, batch: int = 1) -> Tensor:
    """Planes to trace with: air, uint8 ``[batch, 3, height, width]``."""
    return torch.full((batch, 3, height, width), 234, dtype=torch.uint8)
