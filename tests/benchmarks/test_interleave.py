"""Turns, summaries and foreign load: order and arithmetic, never a limit on time."""

from __future__ import annotations

import platform
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from xedge_benchmarks.interleave import (
    Contender,
    CpuTimes,
    foreign_load_note,
    interleave,
    summarize,
)

from xedge.errors import ConfigError


class VirtualClock:
    """A clock that moves only when somebody works."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now

    def work(self, nanoseconds: int) -> None:
        self.now += nanoseconds


def test_each_round_begins_with_the_next_one() -> None:
    order: list[str] = []
    contenders = [Contender(n, lambda n=n: order.append(n)) for n in "abc"]
    interleave(contenders, rounds=4, warmup=1)
    assert "".join(order) == "abc" + "abc" + "bca" + "cab" + "abc"


def test_samples_are_what_the_clock_says_warm_up_left_out() -> None:
    clock = VirtualClock()
    calls = iter(range(100))
    contenders = [
        Contender("constant", lambda: clock.work(500)),
        Contender("growing", lambda: clock.work(100 * next(calls))),
    ]
    samples = interleave(contenders, rounds=3, warmup=2, clock=clock)
    assert samples.dtype == np.int64
    assert samples[:, 0].tolist() == [500, 500, 500]
    assert samples[:, 1].tolist() == [200, 300, 400]


def test_a_failing_contender_is_not_hidden() -> None:
    def fail() -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        interleave([Contender("a", fail)], rounds=2, warmup=0)


@pytest.mark.parametrize(
    ("names", "rounds", "warmup"), [([], 2, 0), (["a", "a"], 2, 0), (["a"], 1, 0), (["a"], 2, -1)]
)
def test_refused(names: list[str], rounds: int, warmup: int) -> None:
    with pytest.raises(ConfigError):
        interleave([Contender(n, int) for n in names], rounds=rounds, warmup=warmup)


def test_summary_of_known_samples() -> None:
    first = np.arange(1, 101) * 1_000_000  # 1 ms to 100 ms
    summaries = summarize(["first", "half"], np.stack([first, first // 2], axis=1))
    assert (summaries[0].min_ms, summaries[0].max_ms) == (1.0, 100.0)
    assert summaries[0].median_ms_low < 50.5 < summaries[0].median_ms_high
    assert summaries[0].median_ms == 50.5
    # The nearest sample at or above rank 0.9 * 99 = 89.1, counted from 0, is the 91st.
    assert summaries[0].p90_ms == 91.0
    assert summaries[0].p99_ms is None  # 100 rounds do not bound it
    assert (summaries[0].ratio, summaries[0].ratio_low, summaries[0].ratio_high) == (1, 1, 1)
    # Proportional in every round, so the rounds' ratios are one.
    assert summaries[1].ratio == summaries[1].ratio_low == summaries[1].ratio_high == 0.5


def test_interval_covers_the_ratio_of_noisy_contenders() -> None:
    rng = np.random.default_rng(3)
    samples = rng.normal([10e6, 8e6], 1e6, (200, 2)).astype(np.int64)
    summary = summarize(["a", "b"], samples)[1]
    assert summary.ratio_low < summary.ratio < summary.ratio_high < 1
    assert summary.ratio_low < 0.8 < summary.ratio_high


@given(
    hnp.arrays(
        np.int64,
        st.tuples(st.integers(2, 30), st.integers(1, 4)),
        elements=st.integers(1, 10**10),
    )
)
def test_order_statistics_hold_for_any_samples(samples: np.ndarray) -> None:
    names = [f"c{i}" for i in range(samples.shape[1])]
    for summary, column in zip(summarize(names, samples), samples.T, strict=True):
        assert summary.min_ms <= summary.median_ms <= summary.max_ms
        assert summary.p99_ms is None  # of 30 samples at most, neither is p90
        assert summary.p90_ms is None
        if len(samples) < 6:  # no two of five samples hold their median in 95 of 100 runs
            assert summary.median_ms_low is summary.ratio_low is summary.ratio_high is None
            continue
        assert summary.median_ms_low in (column / 1e6)
        assert summary.ratio_low in column / samples[:, 0]
        assert summary.ratio_low <= summary.ratio <= summary.ratio_high
        assert summary.min_ms <= summary.median_ms_low <= summary.median_ms
        assert summary.median_ms <= summary.median_ms_high <= summary.max_ms


def test_a_ratio_is_of_rounds_and_not_of_medians() -> None:
    """What slows a round slows both, so the ratio knows nothing of it."""
    moods = np.array([1, 10, 1, 10, 1, 10, 1, 10]) * 1_000_000
    slow_half = np.stack([moods, moods * 2], axis=1)
    found = summarize(["a", "b"], slow_half)[1]
    assert (found.ratio, found.ratio_low, found.ratio_high) == (2.0, 2.0, 2.0)
    assert found.median_ms_low != found.median_ms_high


def test_the_interval_of_a_ratio_holds_it_in_95_of_100_runs() -> None:
    rng = np.random.default_rng(5)
    runs, held = 400, 0
    for _ in range(runs):
        found = summarize(["a", "b"], rng.lognormal(0, 0.3, (9, 2)) * [1e6, 2e6])[1]
        held += found.ratio_low <= 2.0 <= found.ratio_high
    # At least 0.95 in the mean; four deviations of a binomial of 400 are 0.044.
    assert held / runs >= 0.95 - 0.044


def test_enough_ends_after_a_whole_round() -> None:
    runs: list[str] = []
    contenders = [Contender(n, lambda n=n: runs.append(n)) for n in "ab"]
    asked = iter([True, False, True])  # the first is not asked for: two rounds are the least
    samples = interleave(contenders, rounds=9, warmup=0, enough=lambda: next(asked))
    assert samples.shape == (2, 2)
    asked = iter([False, True])
    assert interleave(contenders, rounds=9, warmup=0, enough=lambda: next(asked)).shape == (3, 2)


@pytest.mark.skipif(platform.system() != "Linux", reason="reads Linux' /proc")
def test_own_work_is_not_foreign() -> None:
    before = CpuTimes.now()
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    after = CpuTimes.now()
    # os.times counts user and system time in ticks of 10 ms: each may be one short.
    assert after.own_s - before.own_s >= 0.3 - 2 * 0.01 - 1e-9
    assert after.busy_s >= before.busy_s


def test_foreign_cores_by_hand() -> None:
    before, after = CpuTimes(0.0, 10.0, 1.0), CpuTimes(2.0, 13.0, 2.0)
    assert before.foreign_cores(after) == 1.0
    assert before.foreign_cores(CpuTimes(2.0, 10.5, 2.0)) == 0.0


@pytest.mark.parametrize(
    ("cores", "note"),
    [
        (0.0, ()),
        (0.05, ()),
        (1.25, ("other processes kept 1.25 cores busy during the run",)),
        (float("nan"), ("the system does not tell how busy other processes were",)),
    ],
)
def test_foreign_load_note(cores: float, note: tuple[str, ...]) -> None:
    assert foreign_load_note(cores) == note
