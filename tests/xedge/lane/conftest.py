"""A small belt for the lane's tests: 24 elements, windows of 32 lines, a line a microsecond."""

from __future__ import annotations

import numpy as np
import pytest

from xedge.lane import LaneConfig
from xedge.scanner.cutter import CutterConfig
from xedge.scanner.flatfield import FlatField
from xedge.scanner.windows import WindowPlan
from xedge.types import AIR_COUNTS, Detections, Strip

ELEMENTS = 24
LINE_NS = 1_000_000


class SmallBelt:
    """Makes strips out of marks: ``.`` a line of air, ``#`` a line of matter."""

    elements = ELEMENTS
    line_ns = LINE_NS

    @property
    def flat_field(self) -> FlatField:
        shape = (2, ELEMENTS)
        return FlatField(np.zeros(shape, np.float32), np.ones(shape, np.float32),
                         np.zeros(shape, np.bool_))  # fmt: skip

    def config(self, **changes) -> LaneConfig:
        values = {
            "pitch_mm": 1.0,
            "counts_per_mm": 1.0,
            "deadline_counts": 60,
            "bag_limit_s": 1.0,
            "windows": WindowPlan(32, 8, 2),
            "cutter": CutterConfig(
                min_elements=4, min_gap_lines=6, margin_lines=3, max_bag_lines=100
            ),
        }
        return LaneConfig(**(values | changes))

    def strip(self, marks: str, first: int, *, elements=ELEMENTS, intact=True, encoder=None):
        low = np.full((len(marks), elements), AIR_COUNTS, np.uint16)
        low[[mark == "#" for mark in marks], 6:18] = 20_000
        places = np.arange(first, first + len(marks)) if encoder is None else np.asarray(encoder)
        captured_ns = (first + len(marks)) * LINE_NS
        return Strip(first, places.astype(np.int64), low, low.copy(), captured_ns, intact)

    def strips(self, marks: str, size: int = 5) -> list[Strip]:
        return [self.strip(marks[k : k + size], k) for k in range(0, len(marks), size)]

    def found(self, score: float) -> Detections:
        return Detections(
            np.array([[4, 2, 8, 6]], np.float32),
            np.array([score], np.float32),
            np.array([1], np.int32),
        )


@pytest.fixture(scope="session")
def belt() -> SmallBelt:
    return SmallBelt()
