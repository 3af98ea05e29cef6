"""The locations of a dense head, which the assigners give objects to."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from xedge.errors import ConfigError
from xedge.models.base import centres


@dataclass(frozen=True)
class Grid:
    """Locations of all levels of one image size.

    Attributes:
        points: Centres in pixels, ``[A, 2]``.
        boxes: The square anchors, ``[A, 4]``.
        point_strides: Stride of each location's level, float32 ``[A]``.
        sizes: Height and width of each level.
        strides: Stride of each level.
    """

    points: Tensor
    boxes: Tensor
    point_strides: Tensor
    sizes: tuple[tuple[int, int], ...]
    strides: tuple[int, ...]

    @property
    def lengths(self) -> list[int]:
        """Number of locations of each level."""
        return [h * w for h, w in self.sizes]

    def distances(self, boxes: Tensor) -> Tensor:
        """Distances of each location to the left, top, right, bottom side, negative outside.

        Args:
            boxes: ``[..., A, 4]``, a box for each location.

        Returns:
            Pixels, in the shape of ``boxes``.
        """
        return torch.cat([self.points - boxes[..., :2], boxes[..., 2:] - self.points], -1)

    def maps(self, rows: Tensor) -> list[Tensor]:
        """Values ``[N, A, K]`` of all locations as maps a level, ``[N, K, H, W]`` each."""
        n, _, k = rows.shape
        return [
            part.transpose(1, 2).reshape(n, k, h, w)
            for part, (h, w) in zip(torch.split(rows, self.lengths, 1), self.sizes, strict=True)
        ]

    def to(self, device: torch.device) -> Grid:
        """The same grid on a device."""
        tensors = {name: getattr(self, name) for name in ("points", "boxes", "point_strides")}
        return replace(self, **{name: value.to(device) for name, value in tensors.items()})


def make_grid(height: int, width: int, strides: tuple[int, ...], anchor_scale: int) -> Grid:
    """The grid of an image of ``height`` by ``width`` pixels, finest level first.

    Raises:
        ConfigError: When the image is no whole number of the coarsest level's cells: the levels
            would not lie over each other.
    """
    if height % strides[-1] or width % strides[-1]:
        raise ConfigError(
            "the recipe's data.height and data.width do not fit the pyramid",
            expected=f"multiples of {strides[-1]}, the stride of its coarsest level",
            found=f"{height} x {width}",
        )
    sizes = tuple((height // s, width // s) for s in strides)
    points = torch.cat([centres(h, w, s) for (h, w), s in zip(sizes, strides, strict=True)])
    lengths = torch.tensor([h * w for h, w in sizes])
    stride = torch.tensor(strides, dtype=torch.float32).repeat_interleave(lengths)
    half = (stride * anchor_scale / 2)[:, None]
    return Grid(points, torch.cat([points - half, points + half], 1), stride, sizes, strides)
