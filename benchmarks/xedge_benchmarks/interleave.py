"""Contenders run in turn, so that what slows the machine slows them all.

One process measures every contender. Each round runs each of them once, and each round starts
with the next one, so that none always follows the same neighbour's warm caches. Samples are never
trimmed. Contenders are compared round by round, since samples of one round share the machine's
mood: the ratio of two is the median of the rounds' ratios, and its interval lies between two of
them (`xedge_benchmarks.percentiles`), which takes six rounds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from xedge.errors import ConfigError
from xedge.types import I64
from xedge_benchmarks.percentiles import interval, percentiles

BUSY: Final = 0.05
"""Cores that other processes keep busy, above which the machine counts as busy with them."""
LEAST_ROUNDS: Final = 2


@dataclass(frozen=True)
class Contender:
    """Something to be timed: a name, and a call that does the work once and waits for it."""

    name: str
    run: Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What one contender's samples say; see `xedge_benchmarks.percentiles`.

    Attributes:
        name: The contender's.
        rounds: Number of samples.
        median_ms: The middle sample, or the mean of the two in the middle.
        p90_ms: Nine in ten are not above it; None where too few samples bound it, as of the others.
        p99_ms: Ninety-nine in a hundred are not above it.
        min_ms: The least.
        max_ms: The greatest.
        median_ms_low: Lower end of the median's 95 % interval.
        median_ms_high: Upper end of it.
        ratio: Median of the rounds' ratios to the first contender; below 1 is faster than that.
        ratio_low: Lower end of the ratio's 95 % interval.
        ratio_high: Upper end of it.
    """

    name: str
    rounds: int
    median_ms: float
    p90_ms: float | None
    p99_ms: float | None
    min_ms: float
    max_ms: float
    median_ms_low: float | None
    median_ms_high: float | None
    ratio: float
    ratio_low: float | None
    ratio_high: float | None


def interleave(
    contenders: Sequence[Contender],
    *,
    rounds: int,
    warmup: int,
    clock: Callable[[], int] = time.perf_counter_ns,
    enough: Callable[[], bool] = lambda: False,
) -> I64:
    """Nanoseconds that each contender took in each round, int64 ``[rounds, contenders]``.

    Args:
        contenders: At least one, with different names.
        rounds: How often each is timed, at least 2.
        warmup: How many rounds run untimed beforehand.
        clock: Monotonic time in nanoseconds.
        enough: Asked after each round; no more follow once it says so, but `LEAST_ROUNDS`.

    Raises:
        ConfigError: When names repeat or the numbers are too small.
    """
    names = [contender.name for contender in contenders]
    if not names or len(set(names)) != len(names):
        raise ConfigError(
            "contenders must differ by name", found=", ".join(names) or "none of them"
        )
    if rounds < LEAST_ROUNDS or warmup < 0:
        raise ConfigError(
            "rounds cannot be used",
            expected=f"{LEAST_ROUNDS} rounds or more and no negative warm-up",
            found=f"{rounds} rounds, {warmup} of warm-up",
        )
    for _ in range(warmup):
        for contender in contenders:
            contender.run()
    samples = np.zeros((rounds, len(contenders)), np.int64)
    for turn in range(rounds):
        for step in range(len(contenders)):
            index = (turn + step) % len(contenders)
            begin = clock()
            contenders[index].run()
            samples[turn, index] = clock() - begin
        if turn + 1 >= LEAST_ROUNDS and enough():
            return samples[: turn + 1]
    return samples


def summarize(names: Sequence[str], samples: I64) -> tuple[Summary, ...]:
    """One summary a contender, in their order, each against the first one.

    Args:
        names: Of the contenders.
        samples: What `interleave` returned; none of the first contender's may be zero.
    """
    first = samples[:, 0]
    return tuple(
        _summary(name, column, column / first)
        for name, column in zip(names, samples.T, strict=True)
    )


def _summary(name: str, nanoseconds: I64, ratios: npt.NDArray[np.float64]) -> Summary:
    told = percentiles(nanoseconds)
    least, most = told["interval_95"]["p50"] or (None, None)
    low, high = interval(ratios, 50.0) or (None, None)
    return Summary(
        name=name,
        rounds=told["n"],
        median_ms=float(np.median(nanoseconds)) / 1e6,
        p90_ms=told["p90"],
        p99_ms=told["p99"],
        min_ms=float(nanoseconds.min()) / 1e6,
        max_ms=told["max"],
        median_ms_low=least,
        median_ms_high=most,
        ratio=float(np.median(ratios)),
        ratio_low=low,
        ratio_high=high,
    )


@dataclass(frozen=True)
class CpuTimes:
    """Processor time until now, in seconds: of the whole machine, and of this process.

    Attributes:
        wall_s: Monotonic time.
        busy_s: Sum over all cores of time not idle; NaN where the system does not say.
        own_s: User and system time of this process, its threads and its ended children.
    """

    wall_s: float
    busy_s: float
    own_s: float

    @staticmethod
    def now() -> CpuTimes:
        """The times at this moment."""
        own = os.times()
        return CpuTimes(
            time.monotonic(),
            _busy_seconds(Path("/proc/stat")),
            own.user + own.system + own.children_user + own.children_system,
        )

    def foreign_cores(self, later: CpuTimes) -> float:
        """Cores that other processes kept busy on average until ``later``, never below zero."""
        foreign = (later.busy_s - self.busy_s) - (later.own_s - self.own_s)
        return max(0.0, foreign / (later.wall_s - self.wall_s))


def foreign_load_note(foreign_cores: float) -> tuple[str, ...]:
    """A sentence for the record when others used more than `BUSY`, else none."""
    if np.isnan(foreign_cores):
        return ("the system does not tell how busy other processes were",)
    if foreign_cores <= BUSY:
        return ()
    return (f"other processes kept {foreign_cores:.2f} cores busy during the run",)


def _busy_seconds(stat: Path) -> float:
    """Time that all cores were not idle; the first line of Linux' /proc/stat, in clock ticks."""
    try:
        user, nice, system, _idle, _iowait, irq, softirq = (
            int(word) for word in stat.read_text(encoding="ascii").split("\n")[0].split()[1:8]
        )
    except (OSError, ValueError):
        return float("nan")
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
