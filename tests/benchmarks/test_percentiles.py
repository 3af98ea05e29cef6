"""A percentile is a sample with an interval, or nothing; the interval is what binomials say."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
import xedge_benchmarks.percentiles
from hypothesis import given
from hypothesis import strategies as st
from xedge_benchmarks.percentiles import PERCENTILES, TAIL, needed, percentiles, ranks, steady

MS = 1_000_000


def test_examples() -> None:
    assert doctest.testmod(xedge_benchmarks.percentiles).failed == 0


@pytest.mark.parametrize(
    ("n", "said"),
    [
        (0, {"p50": None, "p90": None, "p99": None, "p99.9": None, "max": None}),
        (5, {"p50": None, "p90": None, "p99": None, "p99.9": None, "max": 5.0}),
        (99, {"p50": 50.0, "p90": 90.0, "p99": None, "p99.9": None, "max": 99.0}),
        (4000, {"p50": 2001.0, "p90": 3601.0, "p99": 3961.0, "p99.9": 3997.0, "max": 4000.0}),
    ],
)
def test_percentiles_are_samples_and_need_enough_of_them(
    n: int, said: dict[str, float | None]
) -> None:
    found = percentiles([k * MS for k in range(n, 0, -1)])
    intervals = found.pop("interval_95")
    assert found == {"n": n, **said}
    for name in PERCENTILES:
        assert (intervals[name] is None) == (said[name] is None)
        if intervals[name] is not None:
            low, high = intervals[name]
            assert low <= said[name] <= high


@given(st.integers(0, 5000), st.sampled_from([*PERCENTILES.values()]))
def test_ranks_are_the_narrowest_that_the_binomial_allows(n: int, percentile: float) -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy checks the sums")
    below = stats.binom(n, percentile / 100)
    if (found := ranks(n, percentile)) is None:
        # Even the least and the greatest sample leave too much outside.
        assert below.cdf(0) > TAIL or below.sf(n - 1) > TAIL
        return
    low, high = found
    # Sums of up to 5000 terms of 1e-16 each: no rank of a real tail is that near.
    assert below.cdf(low - 1) <= TAIL + 1e-9
    assert below.sf(high - 1) <= TAIL + 1e-9
    assert below.cdf(low) > TAIL - 1e-9
    assert high == 1 or below.sf(high - 2) > TAIL - 1e-9


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    held = 0
    for _ in range(400):
        low, high = percentiles((random.exponential(50 * MS, 400)).astype(int))["interval_95"][
            "p99"
        ]
        held += low <= 50 * math.log(100) <= high  # the p99 of that distribution
    # At least 95 %: of 400 binomial trials fewer than 365 held has a probability of 2e-4.
    assert held >= 365


@pytest.mark.parametrize("name", PERCENTILES)
def test_as_many_samples_as_needed_and_no_fewer(name: str) -> None:
    assert ranks(needed(name), PERCENTILES[name]) is not None
    assert ranks(needed(name) - 1, PERCENTILES[name]) is None


def test_a_machine_that_slows_down_half_way_is_not_steady() -> None:
    even = [50 * MS + k % 7 for k in range(40)]
    assert steady(even) is True
    assert steady(even[:20] + [time + MS for time in even[20:]]) is False
    assert steady(even[:11]) is None
