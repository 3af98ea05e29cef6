"""Lines without X-rays: a tube that is off, or that is switched on and not at its level yet.

No bag is as wide as the detector and lets nothing through anywhere: where every element reads
next to nothing in both energies, the tube is off. From then on lines do not count until some
element sees air again in both energies, so that nothing is screened by a tube that comes up.
A tube that fades, without ever being off, is matter to the lane: it looks the same. Only reference
elements tell one from the other; with them a tube is off as well while its level has strayed.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from xedge.scanner.flatfield import FlatField, Mask
from xedge.scanner.reference import STRAYED
from xedge.types import AIR_COUNTS, F32, U16

OFF: Final = 0.02
"""Share of air below which every element is without X-rays: a hundred times their noise."""

LIT: Final = 0.9
"""Share of air that the brightest element must reach in both energies once the tube was off."""

SAMPLED: Final = 64
"""Elements that are looked at, spread over the detector, both ends among them."""


class TubeWatch:
    """Watches one detector line by line. Deterministic, without clock or I/O.

    Args:
        flat_field: The correction of the detector.
    """

    def __init__(self, flat_field: FlatField) -> None:
        alive = [np.flatnonzero(~dead) for dead in flat_field.dead]
        self._columns = [
            some[np.unique(np.linspace(0, some.size - 1, SAMPLED).astype(np.intp))]
            for some in alive
        ]
        self._offset = [flat_field.offset[e, c] for e, c in enumerate(self._columns)]
        self._scale: list[F32] = [
            flat_field.gain[e, c] / np.float32(AIR_COUNTS) for e, c in enumerate(self._columns)
        ]
        self._off = False

    def unlit(self, low: U16, high: U16, levels: F32 | None = None) -> Mask | None:
        """Raw lines that no X-rays or too few made, bool ``[n]``; None when all are lit.

        Args:
            low: Raw low-energy lines.
            high: Raw high-energy lines.
            levels: What `xedge.scanner.reference` reads off them, float32 ``[2, n]``, if anything.
        """
        strays = None
        if levels is not None:
            strayed: Mask = np.any(np.abs(levels - 1) > STRAYED, axis=0)
            strays = strayed if strayed.any() else None
        if strays is None and not self._off and self._sees_some(low):
            return None
        brightest = [
            ((lines[:, c] - offset) * scale).max(axis=1)
            for lines, c, offset, scale in zip(
                (low, high), self._columns, self._offset, self._scale, strict=True
            )
        ]
        dark: Mask = np.maximum(*brightest) < OFF
        if strays is not None:
            dark |= strays
        if not self._off and not dark.any():
            return None
        lit: Mask = np.minimum(*brightest) >= LIT
        unlit = np.empty(len(low), np.bool_)
        for line, (is_dark, is_lit) in enumerate(zip(dark.tolist(), lit.tolist(), strict=True)):
            self._off = is_dark or (self._off and not is_lit)
            unlit[line] = self._off
        return unlit if unlit.any() else None

    def _sees_some(self, low: U16) -> bool:
        """True when one outermost element alone says that no line is without X-rays."""
        # Nearly always: air is at the ends of nearly every line, and a share of it behind a bag.
        return any(
            bool((((low[:, self._columns[0][k]] - self._offset[0][k]) * self._scale[0][k])
                  >= OFF).all())
            for k in (0, -1)
        )  # fmt: skip
