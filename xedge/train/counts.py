"""Bags kept as counts, so that each time they may be framed and shown another way.

A `Sample` holds planes of bytes: those of a bag as counts are its uint16 pair, low and high, byte
by byte, ``[2, h, 2 w]``. Boxes are in pixels of the pair.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from xedge.sim.display import Display
from xedge.train.sample import Sample
from xedge.types import AIR_COUNTS, U8, U16

_MATTER: Final = 0.96 * AIR_COUNTS
"""High counts below which a pixel is no air: far below noise, and cloth still shows."""

_SPECKS: Final = 2
"""Pixels of matter that a row or column of air may have: noise."""


def as_planes(low: U16, high: U16) -> U8:
    """The bytes of a pair of counts, uint8 ``[2, h, 2 w]``.

    Args:
        low: uint16 ``[h, w]``.
        high: Likewise.
    """
    return np.stack([low, high]).view(np.uint8)


def counts_of(counted: Sample) -> tuple[U16, U16]:
    """Low and high counts of a bag kept as counts, uint16 ``[h, w]`` each."""
    low, high = np.ascontiguousarray(counted.planes).view(np.uint16)
    return low, high


def shown(counted: Sample, display: Display) -> Sample:
    """The picture of a bag kept as counts, uint8 ``[3, h, w]``, red first."""
    picture = display.show(*counts_of(counted))
    return replace(counted, planes=np.ascontiguousarray(picture.transpose(2, 0, 1)))


def framed(counted: Sample, air: tuple[float, float, float, float]) -> Sample:
    """A bag kept as counts with so much air around it and no more; boxes are moved along.

    Args:
        counted: The bag. One of air alone stays as it is.
        air: Columns to its left, rows above, columns to its right and rows below, as shares of the
            bag's own width and height.
    """
    low, high = counts_of(counted)
    matter = high < _MATTER
    columns, rows = (np.flatnonzero(matter.sum(axis) > _SPECKS) for axis in (0, 1))
    if not len(columns) or not len(rows):
        return counted
    x1, y1, x2, y2 = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    left, top, right, bottom = (
        round(share * side) for share, side in zip(air, (x2 - x1, y2 - y1) * 2, strict=True)
    )
    margins = ((top, bottom), (left, right))
    pair = [np.pad(c[y1:y2, x1:x2], margins, constant_values=AIR_COUNTS) for c in (low, high)]
    height, width = pair[0].shape
    moved = counted.boxes - np.tile(np.array([x1 - left, y1 - top], np.float32), 2)
    boxes = np.clip(moved, 0, np.array([width, height] * 2)).astype(np.float32)
    return replace(counted, planes=as_planes(pair[0], pair[1]), boxes=boxes)
