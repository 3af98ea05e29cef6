"""Elements that read more than air: what lies in front of them may read as air.

More neighbours than interpolation can bridge that read too much, a board whose gain has jumped say,
are a fault of the detector. Fewer are as wide as a blade seen edge-on, and are used as they read.

Too little is no fault here: it may be matter. It hides nothing, for what lies in front of it reads
less still; from the level on that begins a bag it is cut as one, which is never cleared, and
`xedge.scanner.health` says when it has lasted for longer than any bag.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from xedge.scanner.flatfield import MAX_ADJACENT_DEAD, Mask, longest_run

FOUND_BLOCKS: Final = 4
"""Blocks in a row that change what is said of an element: 0.6 m of idle belt."""


class BrightWatch:
    """Looks for neighbours that read more than air. Deterministic, without clock or I/O.

    Args:
        limit: Share of air from which on it is too much.

    Attributes:
        why: What a person has to know of them; empty while there are none.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._contrary = 0  # blocks in a row that say otherwise than `fault`
        self.why = ""

    @property
    def fault(self) -> bool:
        """True while more neighbours read too much than interpolation can bridge."""
        return self.why != ""

    def judge(self, mean: npt.NDArray[np.float64], living: Mask, dead: Mask) -> None:
        """Take in a block of idle lines; whatever lies on the belt, no matter reads too much.

        Args:
            mean: Deviations from air as a share of it, ``[2, elements]``.
            living: Elements that the correction was made with.
            dead: Elements that are interpolated.
        """
        bright = (mean > self._limit) & living
        # Dead ones are made of their neighbours, and read too much as well.
        runs = [longest_run(row | gaps) if row.any() else 0
                for row, gaps in zip(bright, dead, strict=True)]  # fmt: skip
        wide = max(runs) > MAX_ADJACENT_DEAD
        self._contrary = self._contrary + 1 if wide != self.fault else 0
        if self._contrary < FOUND_BLOCKS:
            return
        self._contrary, self.why = 0, ""
        if wide:
            which = np.flatnonzero(bright.any(axis=0))
            self.why = (
                f"{which.size} elements, {which[0]} to {which[-1]}, read up to "
                f"{100 * (1 + float(mean[bright].max())):.1f} % of the air of the correction: "
                "matter in front of them may not show, and no bag is cleared; clear the belt and "
                "make a new correction"
            )
