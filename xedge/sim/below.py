"""A simulated belt seen from below: a second view of the same bags."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from xedge.scanner.flatfield import FlatField
from xedge.scanner.source import Source
from xedge.sim.belt import NS_PER_S, SimulatedBelt
from xedge.types import Strip


class FromBelow(Source):
    """The strips of a detector above the belt, whose tube is below it: each line mirrored.

    It stands farther along the belt and reads the same encoder, so that it sees a place later; what
    it sees before the first place of the belt is air.

    Args:
        belt: The belt.
        offset_lines: Lines of belt from the first view to this one.
    """

    def __init__(self, belt: SimulatedBelt, offset_lines: int) -> None:
        self._belt, self._offset = belt, offset_lines

    @property
    def elements(self) -> int:
        """Detector elements in a line."""
        return self._belt.elements

    def __iter__(self) -> Iterator[Strip]:
        """All strips from the first line to the last."""
        size, pace_ns = self._belt.strip_lines, NS_PER_S / self._belt.lines_per_s
        for first in range(0, self._offset, size):
            lines = min(size, self._offset - first)
            air = self._belt.scanner.air_run(lines, self._belt.seed ^ first)
            low, high = (run[:, ::-1].copy() for run in air)
            places = np.arange(first, first + lines, dtype=np.int64)
            yield Strip(first, places, low, high, round((first + lines) * pace_ns))
        for strip in self._belt:
            low, high = (lines[:, ::-1].copy() for lines in (strip.low, strip.high))
            yield Strip(
                strip.first_line + self._offset, strip.encoder + self._offset, low, high,
                strip.captured_ns + round(self._offset * pace_ns),
            )  # fmt: skip


def mirrored(flat_field: FlatField) -> FlatField:
    """The correction of the detector of `FromBelow`."""
    return FlatField(
        flat_field.offset[:, ::-1].copy(),
        flat_field.gain[:, ::-1].copy(),
        flat_field.dead[:, ::-1].copy(),
        flat_field.saturated_share,
    )
