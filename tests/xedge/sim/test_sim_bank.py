"""A belt from a bank: counters without a gap, bags where it says, time that passes."""

from __future__ import annotations

import numpy as np
import pytest

from xedge.errors import ConfigError
from xedge.sim.bank import LEAD_LINES, BankBelt, Placed, Stretch, cut, render
from xedge.sim.physics import ScannerModel
from xedge.types import Verdict

AIR, MATTER = 60_000, 9_000


def stretch(lines: int = 320, head: int = 64, tail: int = 255) -> Stretch:
    low = np.full((lines, 6), AIR, np.uint16)
    low[head : tail + 1] = MATTER
    return Stretch(cut(low, low, 32), (Placed(head, tail, Verdict.CLEAR),))


def air(strips: int = 2):
    low = np.full((32 * strips, 6), AIR, np.uint16)
    return cut(low, low, 32)


def belt(**changes) -> BankBelt:
    values = {"seed": 4, "seconds": 20.0, "line_ns": 1e6}
    return BankBelt([stretch(), stretch(640, 96, 500)], air(), **(values | changes))


def test_counters_and_times_have_no_gap_and_the_bags_lie_where_it_says() -> None:
    a_belt = belt()
    strips = list(a_belt)
    counters = np.concatenate([s.first_line + np.arange(len(s)) for s in strips])
    places = np.concatenate([s.encoder for s in strips])
    assert (counters == np.arange(len(counters))).all()
    assert (places == counters).all()
    assert np.diff([s.captured_ns for s in strips]).tolist() == [32_000_000] * (len(strips) - 1)
    assert a_belt.now_ns == strips[-1].captured_ns >= 20e9
    matter = np.concatenate([s.low[:, 0] for s in strips]) == MATTER
    said = np.zeros(len(matter), bool)
    for bag in a_belt.placed:
        said[bag.head : bag.tail + 1] = True
    assert len(a_belt.placed) > 20
    assert (matter == said).all()


def test_what_is_ahead_is_matter() -> None:
    a_belt = belt()
    strips, ahead = [], []
    for strip in a_belt:
        strips.append(strip)
        ahead.append(a_belt.ahead)
    assert max(ahead) > 4
    for k, count in enumerate(ahead):
        assert all((s.low == MATTER).all() for s in strips[k + 1 : k + 1 + count])


def test_a_belt_with_a_duty_stands_and_is_silent_meanwhile() -> None:
    a_belt = belt(seconds=2000.0, duty=0.5)
    strips = list(a_belt)
    ran_s = len(strips) * 32e-3
    assert ran_s / (a_belt.now_ns * 1e-9) == pytest.approx(0.5, abs=0.1)
    assert {s.first_line % 32 for s in strips} == {0}


def test_counts_a_line_that_are_no_whole_number_still_rise() -> None:
    places = np.concatenate([s.encoder for s in belt(counts_per_line=2.4)])
    steps = np.diff(places)
    assert set(steps.tolist()) <= {2, 3}
    assert places[-1] == pytest.approx(2.4 * (len(places) - 1), abs=1)


def test_the_same_seed_is_the_same_belt() -> None:
    first, again, other = (
        [(s.first_line, id(s.low.base)) for s in belt_]
        for belt_ in (BankBelt(BANK, (), seed=k, seconds=20.0, line_ns=1e6) for k in (1, 1, 2))
    )
    assert first == again != other


BANK = [stretch(), stretch(640, 96, 500)]


@pytest.mark.parametrize("wrong", [{"seconds": -1.0}, {"line_ns": 0.0}, {"counts_per_line": 0.5},
                                   {"duty": 0.0}, {"duty": 1.5}])  # fmt: skip
def test_what_makes_no_belt_is_refused(wrong) -> None:
    with pytest.raises(ConfigError, match="bank makes no belt"):
        belt(**wrong)


def test_rendered_stretches_are_whole_strips_with_air_at_both_ends() -> None:
    scanner = ScannerModel(elements=120)
    low, high = next(iter(render(1, 1, scanner)))
    assert low.shape == high.shape
    assert len(low) % 32 == 0
    ends = np.concatenate((low[:LEAD_LINES], low[-LEAD_LINES:]))
    middle = np.median(ends, axis=0)
    assert np.abs(ends - middle).max() < 0.05 * middle.max()
    again_low, _ = next(iter(render(1, 1, scanner)))
    assert (again_low == low).all()
