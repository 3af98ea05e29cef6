"""From raw counts to planes: integer arithmetic and one table, the same bits in Python and C.

Source: CLCXray, section III-B, equation 1 (Zhao et al., IEEE TIFS 2022): channel 1 is the
high-energy count / 256, channel 2 the low-energy count / 256, channel 3 is
510 * sigmoid(R) - 255 of their ratio R = high / low. The ratio is taken in 1/256 steps and
saturates where channel 3 has reached 255, so that a table of 2,048 bytes serves it; a low
count of zero reads as one.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np

from xedge.errors import ImageError
from xedge.spec import Channels
from xedge.types import AIR_COUNTS, U8, U16

RATIO_STEPS = 256
RATIO_LIMIT = 8 * RATIO_STEPS - 1
_ROWS = 32  # of planes at a time: what lies between counts and planes stays in the L2 cache


def _ratio_table() -> U8:
    ratio = np.arange(RATIO_LIMIT + 1, dtype=np.float64) / RATIO_STEPS
    table: U8 = np.floor(510.0 / (1.0 + np.exp(-ratio)) - 255.0).astype(np.uint8)
    table.flags.writeable = False
    return table


RATIO_TABLE: U8 = _ratio_table()
"""Channel 3 for ``min(high * 256 // max(low, 1), 2047)``, uint8 ``[2048]``."""


def bin_counts(counts: U16, binning: int) -> U16:
    """Mean of each ``binning`` x ``binning`` block, halves rounded up; ragged ends are dropped.

    Args:
        counts: uint16 ``[lines, elements]``.
        binning: Block size, 1 to 8.

    Returns:
        uint16 ``[lines // binning, elements // binning]``.
    """
    if not 1 <= binning <= 8:
        raise ImageError("binning cannot be used", expected="1..8", found=str(binning))
    if binning == 1:
        return counts
    h, w = counts.shape[0] // binning, counts.shape[1] // binning
    if binning == 2 and h and w:
        # OpenCV's mean of 2 x 2 is (a + b + c + d + 2) >> 2 as well; of larger blocks it rounds
        # halves to even.
        even = cv2.resize(counts[: 2 * h, : 2 * w], (w, h), interpolation=cv2.INTER_AREA)
        return np.asarray(even, np.uint16)
    # Row slices first: whole rows add at memory speed, a reshape to 4-d does not.
    rows = counts[: h * binning : binning, : w * binning].astype(np.uint32)
    for k in range(1, binning):
        rows += counts[k : h * binning : binning, : w * binning]
    total = rows[:, ::binning].copy()
    for k in range(1, binning):
        total += rows[:, k::binning]
    cells = binning * binning
    return ((total + cells // 2) // cells).astype(np.uint16)


def dual_energy_planes(low: U16, high: U16, binning: int = 1, out: U8 | None = None) -> U8:
    """Three planes of a dual-energy pair by equation 1: high, low, ratio.

    Args:
        low: Corrected low-energy counts, uint16 ``[lines, elements]``.
        high: Corrected high-energy counts, the same shape.
        binning: Lines and elements averaged into one pixel beforehand.
        out: Where to write them, of the shape that is returned; None for a new array.

    Returns:
        uint8 ``[3, lines // binning, elements // binning]``.

    Raises:
        ImageError: When the two are not equally large uint16 images.
    """
    if low.shape != high.shape or low.ndim != 2 or {low.dtype, high.dtype} != {np.dtype("uint16")}:
        raise ImageError(
            "a dual-energy pair cannot be used",
            expected="two uint16 images of one size",
            found=f"low {low.dtype} {list(low.shape)}, high {high.dtype} {list(high.shape)}",
            remedy="Give the corrected counts of both energies",
        )
    planes = out
    if planes is None:
        planes = np.empty((3, low.shape[0] // binning, low.shape[1] // binning), np.uint8)
    for start in range(0, planes.shape[1], _ROWS):
        rows = slice(start, start + _ROWS)
        lines = slice(start * binning, (start + _ROWS) * binning)
        _encode(bin_counts(low[lines], binning), bin_counts(high[lines], binning), planes[:, rows])
    return planes


def _encode(low: U16, high: U16, planes: U8) -> None:
    """The planes of a few binned lines."""
    np.right_shift(high, 8, out=planes[0, : len(low)], casting="unsafe")
    np.right_shift(low, 8, out=planes[1, : len(low)], casting="unsafe")
    # Integers divide one by one, floats by vectors. Below 2^24 by below 2^16, a quotient is a whole
    # number or 2^-16 away from one; a double rounds by 2^-29 at the most: its floor is exact.
    ratio, below = high.astype(np.float64), low.astype(np.float64)
    ratio *= RATIO_STEPS
    ratio /= np.maximum(below, 1.0, out=below)
    # "clip" is what limits the ratio, too.
    np.take(RATIO_TABLE, ratio.astype(np.intp), mode="clip", out=planes[2, : len(low)])


AIR_PLANES: U8 = dual_energy_planes(
    np.full((1, 1), AIR_COUNTS, np.uint16), np.full((1, 1), AIR_COUNTS, np.uint16)
)[:, 0, 0]
AIR_PLANES.flags.writeable = False
"""The three plane values of air, uint8 ``[3]``: what pads a window beyond the detector."""

_WHITE: Final = np.full(3, 255, np.uint8)
_WHITE.flags.writeable = False
AIR: Final[Mapping[Channels, U8]] = MappingProxyType(
    {Channels.DUAL_ENERGY: AIR_PLANES, Channels.PSEUDO_COLOUR: _WHITE}
)
"""Plane values of air, uint8 ``[3]``."""
