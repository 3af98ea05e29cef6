"""A picture with its objects as arrays, and what may be done to it without leaving physics.

A bag lies on the belt either way round, so mirrors are true to the scanner. Thickness may vary: by
Beer and Lambert a transmission t becomes t^e when everything is e times as thick, which changes no
material. Colours are never turned or swapped: in X-ray pictures they mean material.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from xedge.encode import AIR
from xedge.errors import ConfigError
from xedge.preprocess import pad_planes
from xedge.spec import Channels
from xedge.types import F32, I32, U8

Flags = npt.NDArray[np.bool_]

_TRANSMISSIONS: Final[Mapping[Channels, int]] = MappingProxyType(
    {Channels.DUAL_ENERGY: 2, Channels.PSEUDO_COLOUR: 3}
)
"""How many of the planes are transmissions; dual energy's third is a ratio of two."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One picture or bag as planes, with its truth in planes' pixels.

    Attributes:
        planes: uint8 ``[3, h, w]``.
        boxes: float32 ``[n, 4]``.
        labels: int32 ``[n]``.
        levels: int32 ``[n]``, occlusion level 1 to 3, 0 where it is not known.
        difficult: bool ``[n]``, True for objects that are neither taught nor must be found; None
            where there are none.
        inside: Height and width, from the upper left corner, of what `fit` did not fill up with
            air; None where that is not known, or nothing is filled up.
    """

    planes: U8
    boxes: F32
    labels: I32
    levels: I32
    difficult: Flags | None = None
    inside: tuple[int, int] | None = None

    def keep(self, chosen: Flags) -> Sample:
        """The sample with some of its objects, bool ``[n]``."""
        return replace(
            self,
            boxes=self.boxes[chosen],
            labels=self.labels[chosen],
            levels=self.levels[chosen],
            difficult=None if self.difficult is None else self.difficult[chosen],
        )

    def taught(self) -> Sample:
        """The sample without its difficult objects."""
        if self.difficult is None:
            return self
        return replace(self.keep(~self.difficult), difficult=None)


def fit(sample: Sample, height: int, width: int, channels: Channels, *, keep_ratio: bool) -> Sample:
    """The whole sample at a size, ``[3, height, width]``, its boxes scaled along.

    Args:
        sample: Any size.
        height: Pixels.
        width: Pixels.
        channels: What the planes are; decides what air is.
        keep_ratio: Scale both sides alike and fill up with air to the right and below, instead of
            warping.
    """
    h, w = sample.planes.shape[1:]
    ratio = np.array([width / w, height / h])
    if keep_ratio:
        ratio[:] = ratio.min()
    size = np.maximum(np.rint(ratio * [w, h]), 1).astype(int)
    shrinks = size[0] * size[1] < w * h
    image = cv2.resize(
        np.ascontiguousarray(sample.planes.transpose(1, 2, 0)),
        (int(size[0]), int(size[1])),
        interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
    )
    planes = pad_planes(image.transpose(2, 0, 1).astype(np.uint8), height, width, AIR[channels])
    scale = np.tile(size / [w, h], 2).astype(np.float32)
    inside = min(int(size[1]), height), min(int(size[0]), width)
    return replace(sample, planes=planes, boxes=sample.boxes * scale, inside=inside)


def crop(sample: Sample, top: int, height: int, width: int, least: float, air: U8) -> Sample:
    """The window of a bag from line ``top``, padded with air to the window's size.

    Args:
        sample: A bag no wider than the window.
        top: First line.
        height: Height of the window, pixels.
        width: Width of the window, pixels.
        least: Share of a box that must lie inside; what shows less of itself is dropped.
        air: Plane values of air.
    """
    part = sample.planes[:, top : top + height]
    if part.shape[2] > width:
        raise ConfigError(
            "the window is narrower than the detector",
            expected=f"at least {part.shape[2]} pixels",
            found=str(width),
            remedy="Raise data.width or data.binning",
        )
    moved = sample.boxes - np.array([0, top, 0, top], np.float32)
    cut = np.clip(moved, 0, [width, part.shape[1]] * 2).astype(np.float32)

    def area(b: F32) -> F32:
        product: F32 = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
        return product

    keep = area(cut) >= least * np.maximum(area(moved), 1e-6)
    planes = pad_planes(part, height, width, air)
    return replace(sample, planes=planes, boxes=cut, inside=None).keep(keep)


def augment(
    sample: Sample, rng: np.random.Generator, tone: float, channels: Channels = Channels.DUAL_ENERGY
) -> Sample:
    """The sample mirrored along and across the belt by chance, its tone bent.

    Args:
        sample: The sample.
        rng: Decides.
        tone: Spread of the logarithm of the thickness exponent; 0 leaves the tone alone. It acts
            on all transmissions alike (tube output and thickness of lining differ).
        channels: What the planes are.
    """
    planes, boxes = sample.planes, sample.boxes.copy()
    _, height, width = planes.shape
    if rng.random() < 0.5:
        planes, boxes[:, [0, 2]] = planes[:, :, ::-1], width - boxes[:, [2, 0]]
    if rng.random() < 0.5:
        planes, boxes[:, [1, 3]] = planes[:, ::-1], height - boxes[:, [3, 1]]
    exponent = np.exp(rng.normal(0.0, tone)) if tone else 1.0
    bent = planes.copy()
    for k in range(_TRANSMISSIONS[channels]):
        air = float(AIR[channels][k])
        table = air * (np.arange(256) / air) ** exponent
        bent[k] = np.clip(np.rint(table), 0, 255).astype(np.uint8)[planes[k]]
    return replace(sample, planes=bent, boxes=boxes, inside=None)
