"""Boxes and occlusion levels, from what an object and the matter around it do to the beam."""

from __future__ import annotations

import numpy as np

from xedge.types import F32

VISIBLE = 0.03
"""Line integral at 80 keV below which a pixel is not counted to an object (3 % of the beam)."""

LEVELS = (0.25, 0.6)
"""Shares of covered pixels at which level 2 and level 3 begin."""

COVERED = 0.6
"""Line integral of other matter at 80 keV that covers any object: it halves the beam, nearly."""


def tight_box(own: F32, x0: int, y0: int) -> tuple[float, float, float, float] | None:
    """x1 y1 x2 y2 of the pixels where an object is visible, or None where none is.

    Args:
        own: Line integral of the object alone, float32 ``[h, w]``.
        x0: Element of its first column.
        y0: Line of its first row.
    """
    seen = own > VISIBLE
    columns, rows = np.flatnonzero(seen.any(axis=0)), np.flatnonzero(seen.any(axis=1))
    if not columns.size:
        return None
    return (
        float(x0 + columns[0]),
        float(y0 + rows[0]),
        float(x0 + columns[-1] + 1),
        float(y0 + rows[-1] + 1),
    )


def covered_share(own: F32, other: F32) -> float:
    """Share of an object's visible pixels that other matter covers.

    A pixel is covered where the other matter attenuates by more than `COVERED`, and by more
    than half of what the object does itself: cloth over a gun hides nothing.
    """
    seen = own > VISIBLE
    count = int(np.count_nonzero(seen))
    if not count:
        return 1.0
    hidden = seen & (other > COVERED) & (other > 0.5 * own)
    return float(np.count_nonzero(hidden)) / count


def level(share: float) -> int:
    """Occlusion level 1 to 3 for a share of covered pixels, after OPIXray's OL1 to OL3."""
    return 1 + sum(share >= limit for limit in LEVELS)
