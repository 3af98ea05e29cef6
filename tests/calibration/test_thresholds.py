"""Ends of ranges: each method against what it promises, computed without a histogram."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from xedge_calibration.arithmetic import Grid, quantised, restored
from xedge_calibration.histogram import Histogram
from xedge_calibration.thresholds import METHODS, threshold

from xedge.errors import ConfigError


def counted(numbers: np.ndarray) -> Histogram:
    histogram = Histogram("t")
    histogram.add(numbers.astype(np.float32))
    return histogram


@given(
    hnp.arrays(np.float32, st.integers(2, 60), elements=st.floats(-100, 100, width=32)),
    st.sampled_from(sorted(METHODS)),
    st.sampled_from([127, 255]),
)
@settings(deadline=None)
def test_an_end_lies_within_what_was_seen(numbers: np.ndarray, method: str, steps: int) -> None:
    numbers[0], numbers[1] = -1.0, 2.0
    histogram = counted(numbers)
    assert 0 < threshold(histogram, method, steps) <= histogram.peak


def tailed() -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.concatenate([rng.normal(size=200_000), [60.0, -55.0]]).astype(np.float32)


def test_min_max_takes_all() -> None:
    assert threshold(counted(tailed()), "minmax", 127) == 60.0


def test_a_percentile_is_that_of_the_numbers_to_a_bin() -> None:
    numbers = tailed()
    histogram = counted(numbers)
    exact = np.percentile(np.abs(numbers), 99.99)
    assert threshold(histogram, "percentile", 127) == pytest.approx(exact, abs=histogram.width)


def test_zeros_do_not_move_an_end() -> None:
    numbers = tailed()
    more = np.concatenate([numbers, np.zeros(500_000, np.float32)])
    for method in METHODS:
        assert threshold(counted(more), method, 127) == threshold(counted(numbers), method, 127)


def loss(numbers: np.ndarray, end: float) -> float:
    step, grid = np.float32(end / 127), Grid.SIGNED
    q = np.clip(quantised(numbers, step, grid), -127, 127)
    return float(((restored(q, step, grid) - numbers) ** 2).sum(dtype=np.float64))


def test_squared_error_is_the_least_of_all_ends() -> None:
    # Without the two far ones, whose cutting alone would cost more than all rounding.
    numbers = np.random.default_rng(2).standard_t(4, 100_000).astype(np.float32)
    histogram = counted(numbers)
    end = threshold(histogram, "mse", 127)
    best = min(loss(numbers, e) for e in np.linspace(0.05, 1, 96) * histogram.peak)
    # Bins are a sixteenth of a step wide or finer, and every number counts as its bin's centre.
    assert loss(numbers, end) <= best * 1.02
    assert end < histogram.peak


def test_entropy_cuts_a_tail_off_and_leaves_a_block_whole() -> None:
    assert 2.0 < threshold(counted(tailed()), "entropy", 127) < 20.0
    block = np.random.default_rng(3).uniform(-1, 1, 100_000)
    assert threshold(counted(block), "entropy", 127) > 0.9


def test_another_method_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"minmax.*guess"):
        threshold(counted(tailed()), "guess", 127)
