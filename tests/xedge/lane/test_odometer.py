"""Where the belt is at the most, between strips and behind them."""

from __future__ import annotations

import numpy as np
import pytest

from xedge.lane.odometer import Odometer


def strip(first: int):
    return np.arange(first, first + 5, dtype=np.int64)


def moving() -> Odometer:
    """Two strips of five lines, a count every 10 ns; the last place is 9, read out at 100 ns."""
    odometer = Odometer(1.0)
    odometer.moved(strip(0), 50)
    odometer.moved(strip(5), 100)
    return odometer


def test_nothing_is_known_before_the_first_line() -> None:
    odometer = Odometer(1.0)
    odometer.stood(10)
    odometer.lost(3)
    assert odometer.reached(1000) is None


@pytest.mark.parametrize(("now_ns", "place"), [(100, 14), (150, 14), (160, 15), (1100, 109)])
def test_the_belt_goes_on_by_a_strip_or_by_the_time_that_has_passed(now_ns, place) -> None:
    assert moving().reached(now_ns) == pytest.approx(place)


def test_a_place_is_due_no_later_than_it_may_be_reached() -> None:
    odometer = Odometer(1.0)
    assert odometer.due_ns(20, 0) is None
    odometer.moved(strip(0), 50)
    assert odometer.due_ns(20, 60) is None  # nobody knows the pace
    odometer.moved(strip(5), 100)
    assert odometer.due_ns(14, 130) == 130
    assert odometer.due_ns(34, 130) == 100 + 200
    reached = moving().reached(300)
    assert reached is not None
    assert reached <= 34


def test_lost_lines_and_standing_strips_count() -> None:
    odometer = moving()
    odometer.lost(20)
    assert odometer.reached(120) == pytest.approx(34)
    odometer = moving()
    odometer.stood(1000)
    odometer.stood(900)  # an older strip takes nothing back
    assert odometer.reached(1040) == pytest.approx(14)


def test_a_jump_of_clock_or_encoder_spoils_the_pace_by_no_more_than_a_factor_of_two() -> None:
    odometer = moving()
    odometer.moved(strip(10), 10_000)  # it stood without a strip
    assert odometer.reached(20_000) == pytest.approx(14 + 10_000 * 0.05)
    odometer = moving()
    odometer.moved(strip(10), 100)  # the same moment says nothing of the pace
    assert odometer.reached(1100) == pytest.approx(14 + 100)
    odometer.moved(strip(1000), 101)
    assert odometer.reached(1101) == pytest.approx(1004 + 200)
