"""Contenders run in turn, so that what slows the machine slows them all.

One process measures every contender. Each round runs each of them once, and each round starts
with the next one, so that none always follows the same neighbour's warm caches. Samples are never
trimmed. Contenders are compared by the ratio of their medians, with an interval from resampling
whole rounds: samples of one round share the machine's mood.
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

RESAMPLES: Final = 2000
"""Bootstrap resamples: 50 of them lie beyond each end of a 95 % interval."""

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Contender:
    """Something to be timed: a name, and a call that does the work once and waits for it."""

    name: str
    run: Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What one contender's samples say; p90 and p99 are samples, not points between them.

    Attributes:
        name: The contender's.
        rounds: Number of samples.
        median_ms: The middle sample, or the mean of the two in the middle.
        p90_ms: Nine in ten are not above it.
        p99_ms: Ninety-nine in a hundred are not above it.
        min_ms: The least.
        max_ms: The greatest.
        median_ms_low: Lower end of the median's 95 % interval.
        median_ms_high: Upper end of it.
        ratio: Median over the first contender's median; below 1 is faster than the first.
        ratio_low: Lower end of the ratio's 95 % interval.
        ratio_high: Upper end of it.
    """

    name: str
    rounds: int
    median_ms: float
    p90_ms: float
    p99_ms: float
    min_ms: float
    max_ms: float
    median_ms_low: float
    median_ms_high: float
    ratio: float
    ratio_low: float
    ratio_high: float


def interleave(
    contenders: Sequence[Contender],
    *,
    rounds: int,
    warmup: int,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> I64:
    """Nanoseconds that each contender took in each round, int64 ``[rounds, contenders]``.

    Args:
        contenders: At least one, with different names.
        rounds: How often each is timed, at least 2.
        warmup: How many rounds run untimed beforehand.
        clock: Monotonic time in nanoseconds.

    Raises:
        ConfigError: When names repeat or the numbers are too small.
    """
    names = [contender.name for contender in contenders]
    if not names or len(set(names)) != len(names):
        raise ConfigError(
            "contenders must differ by name", found=", ".join(names) or "none of them"
        )
    if rounds < 2 or warmup < 0:
        raise ConfigError(
            "rounds cannot be used",
            expected="2 rounds or more and no negative warm-up",
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
    return samples


def summarize(names: Sequence[str], samples: I64) -> tuple[Summary, ...]:
    """One summary a contender, in their order, each against the first one.

    Args:
        names: Of the contenders.
        samples: What `interleave` returned.
    """
    # A fixed seed: the same samples always give the same interval.
    picks = np.random.default_rng(0).integers(0, len(samples), (RESAMPLES, len(samples)))
    # One contender at a time: all at once would take contenders times the memory.
    resampled = np.stack([np.median(column[picks], axis=1) for column in samples.T])
    medians = np.median(samples, axis=0)
    return tuple(
        _summary(name, column, float(median / medians[0]), resample / resampled[0], resample)
        for name, column, median, resample in zip(names, samples.T, medians, resampled, strict=True)
    )


def _summary(name: str, nanoseconds: I64, ratio: float, ratios: F64, resampled: F64) -> Summary:
    """The numbers of one contender.

    The percentiles are the nearest sample at or above the rank ("higher"): with few rounds p99
    is the maximum, and says so, where interpolation would invent a number between two samples.
    """
    ms = nanoseconds / 1e6
    p90, p99 = np.percentile(ms, [90, 99], method="higher")
    low, high = np.percentile(ratios, [2.5, 97.5])
    least, most = np.percentile(resampled, [2.5, 97.5]) / 1e6
    return Summary(
        name=name,
        rounds=len(ms),
        median_ms=float(np.median(ms)),
        p90_ms=float(p90),
        p99_ms=float(p99),
        min_ms=float(ms.min()),
        max_ms=float(ms.max()),
        median_ms_low=float(least),
        median_ms_high=float(most),
        ratio=ratio,
        ratio_low=float(low),
        ratio_high=float(high),
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
    """A sentence for the record when others used more than a twentieth of a core, else none."""
    if np.isnan(foreign_cores):
        return ("the system does not tell how busy other processes were",)
    if foreign_cores <= 0.05:
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
