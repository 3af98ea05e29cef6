"""Elements that read more than air: what is a fault of the detector, and for how long."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xedge.scanner.bright import FOUND_BLOCKS, BrightWatch
from xedge.scanner.flatfield import MAX_ADJACENT_DEAD

ELEMENTS = 640
LIMIT = 0.03


def mean(first=0, wide=0, share=1.0, energy=0):
    seen = np.zeros((2, ELEMENTS))
    seen[energy, first : first + wide] = share - 1
    return seen


def judged(watch, seen, blocks=1, dead=()) -> bool:
    gaps = np.zeros((2, ELEMENTS), np.bool_)
    gaps[:, list(dead)] = True
    for _ in range(blocks):
        watch.judge(seen, ~gaps, gaps)
    return watch.fault


@pytest.mark.parametrize("energy", [0, 1])
@pytest.mark.parametrize("share", [1.031, 2.0, 5.0])
@pytest.mark.parametrize("wide", [MAX_ADJACENT_DEAD + 1, 16, 32, ELEMENTS])
def test_neighbours_that_read_too_much_are_a_fault_until_they_do_not(wide, share, energy) -> None:
    watch, bright = BrightWatch(LIMIT), mean(0, wide, share, energy)
    assert not judged(watch, bright, FOUND_BLOCKS - 1)
    assert judged(watch, bright)
    assert f"{wide} elements, 0 to {wide - 1}, read up to {100 * share:.1f} %" in watch.why
    assert judged(watch, mean(), FOUND_BLOCKS - 1)
    assert judged(watch, bright), "they came back: what was sound by then counts no more"
    assert judged(watch, mean(), FOUND_BLOCKS - 1)
    assert not judged(watch, mean())
    assert watch.why == ""


@given(
    first=st.integers(0, ELEMENTS - 1),
    wide=st.integers(0, ELEMENTS),
    share=st.floats(0.0, 1 + LIMIT, exclude_max=True),  # 1.03 - 1 is more than 0.03
)
def test_whatever_matter_lies_there_is_no_fault(first, wide, share) -> None:
    assert not judged(BrightWatch(LIMIT), mean(first, wide, share), FOUND_BLOCKS + 1)


def test_fewer_than_that_are_used_as_they_read() -> None:
    watch = BrightWatch(LIMIT)
    assert not judged(watch, mean(100, MAX_ADJACENT_DEAD, 2.0), 2 * FOUND_BLOCKS)
    assert not judged(watch, mean(ELEMENTS - 1, 1, 2.0), 2 * FOUND_BLOCKS)
    # Those of one energy do not lie beside those of the other.
    both = mean(100, 4, 2.0) + mean(104, 4, 2.0, energy=1)
    assert not judged(watch, both, 2 * FOUND_BLOCKS)


def test_dead_elements_between_them_are_made_of_them() -> None:
    assert judged(BrightWatch(LIMIT), mean(100, 5, 2.0), FOUND_BLOCKS, dead=(101, 102, 103))
    assert not judged(BrightWatch(LIMIT), mean(100, 5, 2.0), FOUND_BLOCKS, dead=range(100, 105))
