"""Whether places that come under the beam again look as they did before.

A belt that ran back and comes again shows what it has shown: those lines are not needed. An
encoder that errs, or a person who puts a bag on a belt that was run back, shows something else, and
those lines were never screened.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from xedge.scanner.flatfield import Mask
from xedge.types import AIR_COUNTS, I64, U16

COLUMNS = 32
"""Means across the belt that a line is remembered by."""

REMEMBERED_LINES = 8192
"""Lines that are remembered, 5 m of belt at 0.62 mm; what lies behind counts as air."""

NEAR_LINES = 2.0
"""A line is held against those remembered within this distance, lines: it lies between two."""

TOLERANCE = round(0.02 * AIR_COUNTS)
"""What a mean may lie outside of theirs; noise of a mean of 16 samples or more is far below."""


class ScannedPlaces:
    """Remembers roughly what was seen where.

    Args:
        elements: Elements of a line.
        counts_per_line: Encoder counts from one line to the next.
        columns: Means across the belt that a line is remembered by.
    """

    def __init__(self, elements: int, counts_per_line: float, columns: int = COLUMNS) -> None:
        columns = min(columns, elements)
        self._edges = np.linspace(0, elements, columns, endpoint=False).astype(np.int64)
        self._sizes = np.diff(self._edges, append=elements)
        self._near = NEAR_LINES * counts_per_line
        self._places: I64 = np.empty(2 * REMEMBERED_LINES, np.int64)
        self._means: U16 = np.empty((2 * REMEMBERED_LINES, columns), np.uint16)
        self._count = 0

    def __getstate__(self) -> dict[str, Any]:
        """What is remembered, without the room for more: a journal keeps it."""
        kept = slice(max(0, self._count - REMEMBERED_LINES), self._count)
        room = {"_places": self._places[kept], "_means": self._means[kept]}
        return self.__dict__ | room | {"_count": kept.stop - kept.start}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for name in ("_places", "_means"):
            kept = state[name]
            room = np.empty((2 * REMEMBERED_LINES, *kept.shape[1:]), kept.dtype)
            room[: len(kept)] = kept
            self.__dict__[name] = room

    def remember(self, places: I64, low: U16) -> None:
        """Take in lines.

        Args:
            places: Where they are, rising, behind all before them.
            low: Corrected low-energy counts, uint16 ``[n, elements]``.
        """
        places, low = places[-REMEMBERED_LINES:], low[-REMEMBERED_LINES:]
        if self._count + len(places) > len(self._places):
            keep = slice(self._count - REMEMBERED_LINES, self._count)
            self._places[:REMEMBERED_LINES] = self._places[keep]
            self._means[:REMEMBERED_LINES] = self._means[keep]
            self._count = REMEMBERED_LINES
        rows = slice(self._count, self._count + len(places))
        self._places[rows], self._means[rows] = places, self._columns(low)
        self._count = rows.stop

    def compare(self, places: I64, low: U16) -> tuple[Mask, Mask]:
        """Which lines look different from before, and which of them have more matter.

        Args:
            places: Where the lines are, in any order.
            low: Corrected low-energy counts, uint16 ``[n, elements]``.
        """
        known = self._places[: self._count]
        begin = np.searchsorted(known, places - self._near, "left")
        end = np.searchsorted(known, places + self._near, "right")
        differs: Mask = np.zeros(len(places), np.bool_)
        darker: Mask = np.zeros(len(places), np.bool_)
        lines = self._columns(low).astype(np.int32)
        air = np.full((1, lines.shape[1]), AIR_COUNTS, np.uint16)
        for k, (means, a, b) in enumerate(zip(lines, begin, end, strict=True)):
            seen = self._means[a:b] if a < b else air
            darker[k] = (means + TOLERANCE < seen.min(axis=0)).any()
            differs[k] = darker[k] or (means - TOLERANCE > seen.max(axis=0)).any()
        return differs, darker

    def _columns(self, low: U16) -> U16:
        columns = len(self._sizes)
        if low.shape[1] % columns:
            sums = np.add.reduceat(low, self._edges, axis=1, dtype=np.uint32)
            return np.asarray(sums // self._sizes, np.uint16)
        # The same, all columns being equally wide: floats hold sums below 2^24, and doubles their
        # quotients.
        each = low.shape[1] // columns
        wide = np.ascontiguousarray(low).reshape(-1, each)
        sums = cv2.reduce(wide, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32F)
        means: U16 = np.divide(sums.reshape(len(low), columns), each, dtype=np.float64).astype(
            np.uint16
        )
        return means
