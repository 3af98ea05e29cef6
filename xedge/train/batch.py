"""What a model is taught with: pictures or windows of bags, with what is in them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from xedge.metrics import Truth
from xedge.train.sample import Sample


@dataclass(frozen=True, eq=False)
class Item:
    """One picture or window.

    Attributes:
        name: What it is called in its data set, for messages.
        planes: uint8 ``[3, H, W]``.
        boxes: float32 ``[n, 4]``, x1 y1 x2 y2 in the planes' pixels.
        labels: int64 ``[n]``.
        levels: int64 ``[n]``, occlusion level 1 to 3, 0 where it is not known.
        presence: int8 ``[C]``: 1 for a class that is in the picture, -1 for one that is not, 0
            for one that is there but difficult (SIXray's mark; ignored when it is measured).
        difficult: bool ``[n]``, True for objects that need not be found; None where all must.
    """

    name: str
    planes: Tensor
    boxes: Tensor
    labels: Tensor
    levels: Tensor
    presence: Tensor
    difficult: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Batch:
    """N items of one size; a list has one value an item, since items differ in objects.

    Attributes:
        names: What the items are called.
        planes: uint8 ``[N, 3, H, W]``.
        boxes: float32 ``[n, 4]`` each.
        labels: int64 ``[n]`` each.
        levels: int64 ``[n]`` each.
        presence: int8 ``[N, C]``.
        difficult: bool ``[n]`` each, objects that need not be found; None where all must. A batch
            to train on has none: what learns from boxes takes all of them for objects.
    """

    names: list[str]
    planes: Tensor
    boxes: list[Tensor]
    labels: list[Tensor]
    levels: list[Tensor]
    presence: Tensor
    difficult: list[Tensor] | None = None

    def to(self, device: torch.device) -> Batch:
        """The same batch with its planes on a device, laid out channels last."""
        planes = self.planes.to(device, memory_format=torch.channels_last)
        return replace(self, planes=planes)


def to_item(name: str, sample: Sample, presence: npt.NDArray[np.int8]) -> Item:
    """A sample as tensors."""
    return Item(
        name,
        torch.from_numpy(np.ascontiguousarray(sample.planes)),
        torch.from_numpy(sample.boxes),
        torch.from_numpy(sample.labels).long(),
        torch.from_numpy(sample.levels).long(),
        torch.from_numpy(presence),
        None if sample.difficult is None else torch.from_numpy(sample.difficult),
    )


def collate(items: list[Item]) -> Batch:
    """The batch of some items."""
    return Batch(
        [item.name for item in items],
        torch.stack([item.planes for item in items]),
        [item.boxes for item in items],
        [item.labels for item in items],
        [item.levels for item in items],
        torch.stack([item.presence for item in items]),
        [_marks(item.labels, item.difficult) for item in items],
    )


def _marks(labels: Tensor, difficult: Tensor | None) -> Tensor:
    return torch.zeros_like(labels, dtype=torch.bool) if difficult is None else difficult


def truth_of(batch: Batch) -> list[Truth]:
    """The truth of each item of a batch.

    Difficult are objects that are marked so, and those of a class that is marked 0.
    """
    difficult = batch.difficult or [_marks(label, None) for label in batch.labels]
    return [
        Truth(
            box.numpy(),
            label.numpy().astype(np.int32),
            level.numpy().astype(np.int32),
            (hard | (presence[label] == 0)).numpy(),
        )
        for box, label, level, presence, hard in zip(
            batch.boxes, batch.labels, batch.levels, batch.presence, difficult, strict=True
        )
    ]
