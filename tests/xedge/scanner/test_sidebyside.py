"""Views side by side: what is read off a strip once serves all that is asked about it."""

from __future__ import annotations

import numpy as np
import pytest

from xedge.scanner.follow import FollowConfig
from xedge.scanner.reference import ReferenceElements
from xedge.scanner.sidebyside import SideBySide
from xedge.sim.correction import flat_field
from xedge.sim.physics import ScannerModel
from xedge.types import AIR_COUNTS, F32, U16, Reason

SCANNER = ScannerModel(elements=96)
FLAT = flat_field(SCANNER, 1, 2)
AIR = SCANNER.air_run(20, 4)
REFERENCE = FollowConfig(reference=((0, 7), (88, 95), (96, 103), (184, 191)))


def wide(*views: tuple[U16, U16]) -> tuple[U16, U16]:
    low, high = (np.concatenate([view[energy] for view in views], axis=1) for energy in (0, 1))
    return low, high


def test_the_level_is_read_once_a_strip_and_view(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    levels = ReferenceElements.levels

    def counted(self: ReferenceElements, low: U16, high: U16) -> F32:
        read.append(len(low))
        return levels(self, low, high)

    monkeypatch.setattr(ReferenceElements, "levels", counted)
    both = SideBySide((FLAT, FLAT), REFERENCE)
    strip = wide(AIR, AIR)
    assert both.unlit(*strip) is None
    use = np.arange(20) != 5
    both.correct(strip[0][use], strip[1][use], use)
    both.idle(strip[0][use], strip[1][use], use)
    assert read == [20, 20]


@pytest.mark.parametrize("config", [REFERENCE, FollowConfig.off()])
def test_lines_that_one_view_misses_are_air_there_and_the_others_are_as_ever(config) -> None:
    gone = AIR[0].copy(), AIR[1].copy()
    for energy in gone:
        energy[4:7] = 0
    both, alone = SideBySide((FLAT, FLAT), config), SideBySide((FLAT, FLAT), config)
    alone.unlit(*wide(AIR, AIR))
    as_ever, _ = alone.correct(*wide(AIR, AIR), None)
    strip = wide(gone, AIR)
    assert both.unlit(*strip) is None
    use = np.arange(20) >= 2
    low, high = both.correct(strip[0][use], strip[1][use], use)
    assert (low[2:5, :96] == AIR_COUNTS).all()
    assert (high[2:5, :96] == AIR_COUNTS).all()
    np.testing.assert_array_equal(low[:, 96:], as_ever[2:, 96:])
    np.testing.assert_array_equal(low[:2, :96], as_ever[2:4, :96])
    np.testing.assert_array_equal(low[5:, :96], as_ever[7:, :96])
    assert both.blind_lines == [3, 0]
    assert [(rows.start, rows.stop, flaw) for rows, flaw in both.flaws(use)] == [
        (0, 2, None), (2, 5, Reason.INCOMPLETE_SCAN), (5, 18, None)
    ]  # fmt: skip
