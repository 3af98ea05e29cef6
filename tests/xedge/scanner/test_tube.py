"""A tube that goes off and comes on, on a simulated scanner."""

from __future__ import annotations

import numpy as np
import pytest

from xedge.scanner.tube import TubeWatch
from xedge.sim.correction import flat_field
from xedge.sim.physics import ScannerModel
from xedge.types import U16

SCANNER = ScannerModel(elements=200)
FLAT = flat_field(SCANNER, 1, 2)
DARK = SCANNER.dark_run(20, 3)
AIR = SCANNER.air_run(20, 4)


def faded(share: float) -> tuple[U16, U16]:
    low, high = (
        (d + share * (a.astype(np.float64) - d)).clip(0, 65_535).astype(np.uint16)
        for d, a in zip(DARK, AIR, strict=True)
    )
    return low, high


def test_off_ramp_and_on() -> None:
    tube = TubeWatch(FLAT)
    assert tube.unlit(*AIR) is None
    assert tube.unlit(*faded(0.5)) is None  # matter, for all that anybody knows
    for lines in (DARK, faded(0.01), faded(0.5), faded(0.8)):
        unlit = tube.unlit(*lines)
        assert unlit is not None
        assert unlit.all()
    assert tube.unlit(*AIR) is None
    assert tube.unlit(*faded(0.5)) is None


def test_it_is_told_line_by_line_however_they_are_packed() -> None:
    lines = [
        np.concatenate([AIR[e][:7], DARK[e][:9], faded(0.4)[e][:3], AIR[e][:5]]) for e in (0, 1)
    ]
    expected = [*[False] * 7, *[True] * 12, *[False] * 5]
    for size in (1, 4, 24):
        tube = TubeWatch(FLAT)
        told: list[bool] = []
        for k in range(0, 24, size):
            part = [energy[k : k + size] for energy in lines]
            unlit = tube.unlit(part[0], part[1])
            told += [False] * len(part[0]) if unlit is None else unlit.tolist()
        assert told == expected


@pytest.mark.parametrize("side", ["left", "right"])
def test_lead_across_all_but_the_rim_is_no_tube_that_is_off(side: str) -> None:
    low, high = (a.copy() for a in AIR)
    inner = slice(4, None) if side == "left" else slice(None, -4)
    low[:, inner], high[:, inner] = DARK[0][:, inner], DARK[1][:, inner]
    assert TubeWatch(FLAT).unlit(low, high) is None


def test_a_level_that_strays_counts_as_off_until_air_is_seen_again() -> None:
    tube = TubeWatch(FLAT)
    levels = np.ones((2, 20), np.float32)
    levels[1, 6:9] = 0.7
    unlit = tube.unlit(*AIR, levels)
    assert unlit is not None
    assert np.flatnonzero(unlit).tolist() == [6, 7, 8]
    assert tube.unlit(*AIR, np.ones((2, 20), np.float32)) is None


def test_a_tube_that_is_off_is_told_although_one_end_reads_something_in_some_lines() -> None:
    low, high = (a.copy() for a in DARK)
    low[3:, 0], low[:3, -1] = AIR[0][3:, 0], AIR[0][:3, -1]  # each line at one end, neither in all
    assert TubeWatch(FLAT).unlit(low, high) is None
    low[5, 0] = DARK[0][5, 0]
    unlit = TubeWatch(FLAT).unlit(low, high)
    assert unlit is not None
    # From there on, until an element sees air in both energies: none does, in these.
    assert np.flatnonzero(unlit).tolist() == list(range(5, 20))
