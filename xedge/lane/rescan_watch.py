"""What comes under the beam again and is not what was there: bags that nobody has screened."""

from __future__ import annotations

from collections.abc import Sequence

from xedge.lane.config import LaneConfig
from xedge.scanner.rescan import COLUMNS, ScannedPlaces
from xedge.types import I64, U16


class RescanWatch:
    """Compares lines at places scanned before with what was seen there.

    Args:
        elements: Elements of a line.
        config: The set-up of the lane.
        views: How many views these are of.
    """

    def __init__(self, elements: int, config: LaneConfig, views: int = 1) -> None:
        self._config = config
        self._seen = ScannedPlaces(elements, config.counts_per_line, views * COLUMNS)
        self._differing = 0  # lines in a row
        self._strange = 0  # the same, of matter where no bag is known
        cutter = config.cutter
        self._long = cutter.min_gap_lines + cutter.margin_lines + cutter.begin_lines
        self._calm = self._long  # lines in a row since the last strange one

    def remember(self, places: I64, low: U16) -> None:
        """Take in lines that are used, corrected."""
        self._seen.remember(places, low)
        self._differing = self._strange = 0
        self._calm = self._long

    @property
    def restless(self) -> bool:
        """True when the last lines were strange: what follows may be part of the same thing."""
        cutter = self._config.cutter
        return self._calm <= cutter.margin_lines + cutter.begin_lines

    def look(
        self, low: U16, places: I64, bags: Sequence[tuple[int, int]]
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """Places that look different, and new bags where there was none, as head and tail.

        One line alone may be noise: as many in a row as begin a bag are believed.

        Args:
            low: Corrected low-energy lines that come again.
            places: Where they are.
            bags: Head and tail of the bags that are known there.
        """
        differs, darker = self._seen.compare(places, low)
        changed: list[int] = []
        strange: list[tuple[int, int]] = []
        wanted = self._config.cutter.begin_lines
        for place, other, more in zip(places.tolist(), differs, darker, strict=True):
            self._differing = self._differing + 1 if other else 0
            if self._differing >= wanted:
                changed.append(place)
            known = any(head <= place <= tail for head, tail in bags)
            self._strange = self._strange + 1 if more and not known else 0
            if self._strange >= wanted and self._calm >= self._config.cutter.min_gap_lines:
                strange.append((place, place))
            self._calm = 0 if self._strange >= wanted else self._calm + 1
        return changed, strange
