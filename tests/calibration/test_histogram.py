"""Histograms: nothing is lost when they widen, and any order of the windows gives the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from xedge_calibration.histogram import BINS, Histogram

from xedge.errors import CalibrationError

window = hnp.arrays(np.float32, st.integers(1, 40), elements=st.floats(-1e6, 1e6, width=32))


def counted(windows: list[np.ndarray]) -> Histogram:
    histogram = Histogram("t")
    for numbers in windows:
        histogram.add(numbers)
    return histogram


@given(st.lists(window, min_size=1, max_size=5), st.randoms())
def test_any_order_gives_the_same(windows: list[np.ndarray], random) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(windows)
    random.shuffle(shuffled)
    one, other = counted(windows), counted(shuffled)
    np.testing.assert_array_equal(one.counts, other.counts)
    assert (one.width, one.least, one.most, one.zeros) == (
        other.width, other.least, other.most, other.zeros
    )  # fmt: skip


@given(st.lists(window, min_size=1, max_size=5))
def test_every_number_is_in_its_bin(windows: list[np.ndarray]) -> None:
    histogram = counted(windows)
    every = np.abs(np.concatenate(windows))
    assert histogram.peak == every.max()
    assert histogram.zeros == (every == 0).sum()
    if histogram.width:
        bins = (every[every > 0].astype(np.float64) // histogram.width).astype(int)
        np.testing.assert_array_equal(histogram.counts, np.bincount(bins, minlength=BINS))
        if histogram.width > 2.0**-126:
            assert BINS / 2 <= histogram.peak / histogram.width < BINS


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused_by_name(bad: float) -> None:
    with pytest.raises(CalibrationError, match=r"tensor relu_7 has no range.*finite"):
        Histogram("relu_7").add(np.array([1, bad, 2], np.float32))


@pytest.mark.parametrize("same", [0.0, 3.5])
def test_a_constant_tensor_is_refused_by_name(same: float) -> None:
    histogram = Histogram("relu_7")
    histogram.add(np.full(9, same, np.float32))
    with pytest.raises(CalibrationError, match=rf"tensor relu_7 .*{same:g} everywhere"):
        histogram.check()
    with pytest.raises(CalibrationError, match="none at all"):
        Histogram("relu_7").check()
