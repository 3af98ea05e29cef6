"""Scenarios on a virtual clock: what is counted, to the nanosecond."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xedge_benchmarks.load import (
    MULTI_STREAM,
    OFFLINE,
    QUOTED,
    SERVER,
    SINGLE_STREAM,
    Answers,
    Plan,
    plan,
    serve,
    throughput_interval,
)

from xedge.errors import ConfigError
from xedge.lane.clock import VirtualClock

MS = 1_000_000


def served(queries: Plan, works_ms: list[int]) -> Answers:
    """The answers of a system that works as long as the sample's entry says."""
    clock = VirtualClock(7)
    return serve(lambda sample: clock.sleep_ns(works_ms[sample] * MS), queries, clock)


def in_ms(latencies_ns: tuple[int, ...]) -> list[float]:
    return [ns / MS for ns in latencies_ns]


def test_single_stream_counts_the_work() -> None:
    found = served(Plan(queries=((0,), (1,), (0,))), [3, 5])
    assert in_ms(found.latencies_ns) == [3, 5, 3]
    assert found.samples_per_s == pytest.approx(3 / 0.011)


def test_multi_stream_waits_for_the_last_of_a_query() -> None:
    found = served(Plan(queries=((0, 1), (1, 1))), [3, 5])
    assert in_ms(found.latencies_ns) == [8, 10]
    assert in_ms(found.samples_ns) == [3, 5, 5, 5]


def test_server_counts_from_when_a_query_was_due() -> None:
    queries = Plan(queries=((0,), (1,), (1,), (1,)), due_ns=(0, 1 * MS, 2 * MS, 50 * MS))
    found = served(queries, [20, 3])
    # The first stalls for 20 ms: those that were due meanwhile waited, and it shows.
    assert in_ms(found.latencies_ns) == [20, 22, 24, 3]
    assert in_ms(found.samples_ns) == [20, 3, 3, 3]
    assert found.span_ns == 53 * MS


def test_offline_is_one_query() -> None:
    found = served(plan(OFFLINE, 10, 2), [4, 4])
    assert in_ms(found.latencies_ns) == [40]
    assert found.samples_per_s == pytest.approx(250)


def test_enough_ends_between_queries_and_within_a_single_one() -> None:
    clock = VirtualClock(7)
    late = lambda: clock.now_ns() >= 20 * MS  # noqa: E731

    def run(sample: int) -> None:
        clock.sleep_ns(6 * MS)

    pairs = serve(run, Plan(queries=((0, 0),) * 9), clock, late)
    assert in_ms(pairs.latencies_ns) == [12, 12]  # the second query is answered whole
    clock = VirtualClock(7)
    alone = serve(run, plan(OFFLINE, 9, 1), clock, late)
    assert in_ms(alone.samples_ns) == [6, 6, 6, 6]
    assert alone.samples_per_s == pytest.approx(4 / 0.024)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50)), min_size=1, max_size=30))
def test_a_server_is_a_queue(steps: list[tuple[int, int]]) -> None:
    gaps, works = zip(*steps, strict=True)
    due = np.cumsum(gaps)
    queries = Plan(
        queries=tuple((k,) for k in range(len(works))), due_ns=tuple(int(d) * MS for d in due)
    )
    free, expected = 0, []
    for at, work in zip(due, works, strict=True):  # Lindley's recursion
        free = max(free, int(at)) + work
        expected.append(free - int(at))
    assert in_ms(served(queries, list(works)).latencies_ns) == expected


@pytest.mark.parametrize(
    ("scenario", "sizes"), [(SINGLE_STREAM, [1] * 6), (MULTI_STREAM, [3] * 6), (OFFLINE, [6]),
                            (SERVER, [1] * 6)],
)  # fmt: skip
def test_plans(scenario: str, sizes: list[int]) -> None:
    made = plan(scenario, 6, 4, streams=3, seed=5)
    assert [len(query) for query in made.queries] == sizes
    assert (made.due_ns is not None) == (scenario == SERVER)
    assert made == plan(scenario, 6, 4, streams=3, seed=5)
    assert made != plan(scenario, 6, 4, streams=3, seed=6)
    assert {sample for query in made.queries for sample in query} <= set(range(4))


def test_arrivals_are_a_poisson_process() -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy knows the distribution")
    due_ns = plan(SERVER, 2000, 4, rate=25.0, seed=1).due_ns
    assert due_ns is not None
    gaps = np.diff(due_ns) / 1e9
    # A fixed seed: a right draw fails such a test once in a hundred seeds.
    assert stats.kstest(gaps, stats.expon(scale=1 / 25.0).cdf).pvalue > 0.01
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 3 / np.sqrt(len(gaps))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"scenario": "servr"}, "no such scenario"),
        ({"queries": 0}, "numbers above 0"),
        ({"rate": 0.0}, "numbers above 0"),
        ({"rate": float("nan")}, "numbers above 0"),
        ({"streams": 0}, "numbers above 0"),
    ],
)
def test_what_cannot_be_asked(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        plan(**{"scenario": SERVER, "queries": 5, "samples": 4, **wrong})  # type: ignore[arg-type]


def test_throughput_has_an_interval() -> None:
    assert set(QUOTED) == {SINGLE_STREAM, MULTI_STREAM, SERVER, OFFLINE}
    assert throughput_interval([4 * MS] * 100) == (250.0, 250.0)
    low, high = throughput_interval([(3 + k % 3) * MS for k in range(400)]) or (0.0, 0.0)
    assert low < 250 < high
    assert throughput_interval([4 * MS] * 19) is None
