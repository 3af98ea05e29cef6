"""A detector that drifts: gain and dark of its elements, slowly, along a belt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from xedge.errors import ConfigError
from xedge.scanner.flatfield import FlatField
from xedge.types import AIR_COUNTS, I64, U16, Strip


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How far a detector drifts, in equal steps from line to line, and then stays.

    Attributes:
        lines: Lines over which it drifts.
        gain: Share by which the signal of low and high energy has changed by then.
        dark: Share of air by which their offset has.
        spread: Share of it by which single elements drift less, a wave across the detector.

    Raises:
        ConfigError: When a number cannot be.
    """

    lines: int
    gain: tuple[float, float] = (0.0, 0.0)
    dark: tuple[float, float] = (0.0, 0.0)
    spread: float = 0.25

    def __post_init__(self) -> None:
        if self.lines < 1 or min(self.gain) <= -1 or not 0 <= self.spread <= 1:
            raise ConfigError("a detector cannot drift so", expected="lines, gains above -1, a "
                              "spread from 0 to 1", found=str(self))  # fmt: skip


class DriftingSource:
    """The strips of another source as a detector shows them that drifts.

    Args:
        strips: The source.
        correction: Of the detector, before it drifts.
        drift: How.

    Attributes:
        lines: Lines that have come.
    """

    def __init__(self, strips: Iterable[Strip], correction: FlatField, drift: Drift) -> None:
        self._strips, self._drift = strips, drift
        self._offset = correction.offset.astype(np.float64)
        self._air = AIR_COUNTS / correction.gain.astype(np.float64)  # counts of air above the dark
        wave = 0.5 + 0.5 * np.sin(0.3 * np.arange(correction.elements))
        self._across = 1.0 - drift.spread * wave
        self.lines = 0

    def __iter__(self) -> Iterator[Strip]:
        for strip in self._strips:
            lines = np.arange(self.lines, self.lines + len(strip))
            self.lines += len(strip)
            low, high = (
                self._drifted(energy, raw, lines)
                for energy, raw in enumerate((strip.low, strip.high))
            )
            yield replace(strip, low=low, high=high)

    def _drifted(self, energy: int, raw: U16, lines: I64) -> U16:
        drift = self._drift
        share = np.minimum(lines / drift.lines, 1.0)[:, None] * self._across
        offset = self._offset[energy]
        moved = offset + (raw - offset) * (1.0 + drift.gain[energy] * share)
        moved += drift.dark[energy] * share * self._air[energy]
        counts: U16 = np.rint(moved).clip(0, 65_535).astype(np.uint16)
        return counts
