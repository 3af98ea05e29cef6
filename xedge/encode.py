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

import numpy as np

from xedge.errors import ImageError
from xedge.spec import Channels
from xedge.types import AIR_COUNTS, U8, U16

RATIO_STEPS = 256
RATIO_LIMIT = 8 * RATIO_STEPS - 1


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
    # Row slices first: whole rows add at memory speed, a reshape to 4-d does not.
    rows = counts[: h * binning : binning, : w * binning].astype(np.uint32)
    for k in range(1, binning):
        rows += counts[k : h * binning : binning, : w * binning]
    total = rows[:, ::binning].copy()
    for k in range(1, binning):
        total += rows[:, k::binning]
    cells = binning * binning
    return ((total + cells // 2) // cells).astype(np.uint16)


def dual_energy_planes(low: U16, high: U16, binning: int = 1) -> U8:
    """Three planes of a dual-energy pair by equation 1: high, low, ratio.

    Args:
        low: Corrected low-energy counts, uint16 ``[lines, elements]``.
        high: Corrected high-energy counts, the same shape.
        binning: Lines and elements averaged into one pixel beforehand.

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
    low, high = bin_counts(low, binning), bin_counts(high, binning)
    planes = np.empty((3, *low.shape), np.uint8)
    np.right_shift(high, 8, out=planes[0], casting="unsafe")
    np.right_shift(low, 8, out=planes[1], casting="unsafe")
    ratio = (high.astype(np.uint32) << 8) // np.maximum(low, 1)
    planes[2] = RATIO_TABLE[np.minimum(ratio, RATIO_LIMIT)]
    return planes


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
