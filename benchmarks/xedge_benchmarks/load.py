"""How work comes to a system: MLPerf's four scenarios, and what is counted in each.

    single-stream   one sample a query, the next query when the last is answered    p90 of latency
    multi-stream    several samples a query, otherwise the same                     p99 of latency
    server          one sample a query, at moments of a Poisson process             p99 of latency
    offline         all samples in one query                                        samples a second

In `server` latency counts from the moment when a query was due, whatever the system did then: a
system that stalls cannot hide the queries that waited for it. Meanings are those of MLPerf
Inference's load generator; results are not MLPerf results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from xedge.errors import ConfigError
from xedge.lane.clock import Clock

SINGLE_STREAM: Final = "single-stream"
MULTI_STREAM: Final = "multi-stream"
SERVER: Final = "server"
OFFLINE: Final = "offline"
QUOTED: Final = MappingProxyType(
    {SINGLE_STREAM: "p90", MULTI_STREAM: "p99", SERVER: "p99", OFFLINE: "throughput"}
)
"""Scenario to the figure that stands for it."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The queries of one run.

    Attributes:
        queries: Numbers of the samples of each query.
        due_ns: When each query is due, from the start; None asks when the last one is answered.
    """

    queries: tuple[tuple[int, ...], ...]
    due_ns: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Answers:
    """When the queries of a run were answered, nanoseconds.

    Attributes:
        latencies_ns: Of each query: from its due time, or from when it was asked, to its answer.
        samples_ns: Of each sample, in the order of time: the work on it alone.
        span_ns: From the start of the run to its last answer.
    """

    latencies_ns: tuple[int, ...]
    samples_ns: tuple[int, ...]
    span_ns: int

    @property
    def samples_per_s(self) -> float:
        """Samples that were answered, by the time of the run."""
        return len(self.samples_ns) / self.span_ns * 1e9


def plan(
    scenario: str,
    queries: int,
    samples: int,
    *,
    streams: int = 8,
    rate: float = 1.0,
    seed: int = 0,
) -> Plan:
    """The queries of a scenario, the same for the same seed.

    Args:
        scenario: A key of `QUOTED`.
        queries: How many; `OFFLINE` puts as many samples into one.
        samples: Samples to draw from, with replacement.
        streams: Samples of a query of `MULTI_STREAM`.
        rate: Queries a second of `SERVER`, in the mean.
        seed: Of the draw.

    Raises:
        ConfigError: When there is no such scenario, or nothing to ask.
    """
    if scenario not in QUOTED:
        raise ConfigError("there is no such scenario", expected=", ".join(QUOTED),
                          found=repr(scenario))  # fmt: skip
    if min(queries, samples, streams) < 1 or not rate > 0:
        raise ConfigError(
            "a scenario needs queries, samples and a rate", expected="numbers above 0",
            found=f"{queries} queries of {streams} of {samples} samples, {rate} a second",
        )  # fmt: skip
    random = np.random.default_rng(seed)
    each = streams if scenario == MULTI_STREAM else 1
    drawn = random.integers(0, samples, (queries, each)).tolist()
    if scenario == OFFLINE:
        return Plan(queries=(tuple(one for (one,) in drawn),))
    groups = tuple(tuple(group) for group in drawn)
    if scenario != SERVER:
        return Plan(queries=groups)
    due = np.cumsum(random.exponential(1e9 / rate, queries)).astype(np.int64)
    return Plan(queries=groups, due_ns=tuple(due.tolist()))


def serve(
    run: Callable[[int], object],
    queries: Plan,
    clock: Clock,
    enough: Callable[[], bool] = lambda: False,
) -> Answers:
    """The answers of a system that takes one sample at a time, in the order of the queries.

    Args:
        run: Works on the sample of that number, and returns when it is done.
        queries: What to ask, and when.
        clock: What times are read from, and slept on.
        enough: Asked after each query, of a single query after each sample; nothing more is asked
            for once it says so.
    """
    alone = len(queries.queries) == 1
    start = now = clock.now_ns()
    latencies, works = [], []
    for number, samples in enumerate(queries.queries):
        asked = now
        if queries.due_ns is not None:
            asked = start + queries.due_ns[number]
            clock.sleep_ns(asked - now)
            now = clock.now_ns()
        for sample in samples:
            began = now
            run(sample)
            now = clock.now_ns()
            works.append(now - began)
            if alone and enough():
                break
        latencies.append(now - asked)
        if enough():
            break
    return Answers(latencies_ns=tuple(latencies), samples_ns=tuple(works), span_ns=now - start)


def throughput_interval(samples_ns: Sequence[int], blocks: int = 20) -> tuple[float, float] | None:
    """The 95 % interval of samples a second, from resampling blocks of the run; None with too few.

    Samples that follow each other share the machine's mood, so whole blocks of them are drawn.
    """
    size = len(samples_ns) // blocks
    if size == 0:
        return None
    means = np.asarray(samples_ns[: size * blocks], np.float64).reshape(blocks, size).mean(axis=1)
    picks = np.random.default_rng(0).integers(0, blocks, (2000, blocks))
    low, high = np.percentile(1e9 / means[picks].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)
