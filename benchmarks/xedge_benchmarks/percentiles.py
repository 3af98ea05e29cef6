"""Percentiles that are samples, each with an interval, and none that too few samples would say.

A percentile's interval lies between two of the sorted samples. How many of n samples fall below the
true percentile is binomial, whatever their distribution, so two ranks can be named between which
it lies in 95 of 100 runs (David and Nagaraja, "Order Statistics", 2003, section 7.1). Near the end
there may be no such rank: a p99 needs 368 samples before the greatest one bounds it, and a median
six, since all of five samples fall on one side of it in one run of 16. Resampling would give an
interval from any number; of 7 samples it holds their median in 88 of 100 runs, not in 95.

That holds for samples that do not depend on each other. A machine whose speed wanders breaks it:
`steady` says when the two halves of a run contradict each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from xedge.types import I64

PERCENTILES: Final = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9}
TAIL: Final = 0.025
"""Probability that the true percentile lies beyond either end of its interval, at most."""

Interval = tuple[float, float]


def percentiles(samples_ns: Sequence[int] | I64) -> dict[str, Any]:
    """``n``, percentiles in ms, ``max``, and ``interval_95``: name to the two ends in ms.

    Each is a sample, the nearest at or above the rank; None where there are too few samples for
    an interval.
    """
    ordered = np.sort(np.asarray(samples_ns, np.int64)) / 1e6
    intervals = {name: interval(ordered, share) for name, share in PERCENTILES.items()}
    said = {
        name: None if ends is None
        else float(np.percentile(ordered, PERCENTILES[name], method="higher"))
        for name, ends in intervals.items()
    }  # fmt: skip
    most = float(ordered[-1]) if len(ordered) else None
    return {"n": len(ordered), **said, "max": most, "interval_95": intervals}


def interval(samples: npt.ArrayLike, percentile: float) -> Interval | None:
    """The two samples between which a percentile lies in 95 of 100 runs; None with too few."""
    ordered = np.sort(np.asarray(samples, np.float64))
    ends = ranks(len(ordered), percentile)
    return None if ends is None else (float(ordered[ends[0] - 1]), float(ordered[ends[1] - 1]))


def ranks(n: int, percentile: float) -> tuple[int, int] | None:
    """Ranks of the two sorted samples, from 1, that hold a percentile; None with too few.

    The true percentile lies below the first, or above the second, with probability `TAIL` at most
    each.

    >>> ranks(100, 50.0)
    (40, 61)
    >>> ranks(367, 99.0) is None, ranks(368, 99.0)
    (True, (360, 368))
    """
    below = _at_most(n, percentile / 100)  # of k: that k samples or fewer lie below it
    low = int(np.searchsorted(below, TAIL, side="right"))
    high = int(np.searchsorted(below, 1 - TAIL, side="left")) + 1
    return (low, high) if low >= 1 and high <= n else None


def needed(name: str) -> int:
    """Fewest samples that have an interval for one of `PERCENTILES`.

    >>> [needed(name) for name in PERCENTILES]
    [6, 36, 368, 3688]
    """
    share = PERCENTILES[name] / 100
    # All samples fall on one side of it: the greatest, or for the median the least, bounds nothing.
    return math.ceil(math.log(TAIL) / math.log(max(share, 1 - share)))


def agree(one: Interval, other: Interval) -> bool:
    """Whether two intervals share a value: the difference of two runs was not shown then.

    >>> agree((1.0, 2.0), (2.0, 3.0)), agree((1.0, 2.0), (2.5, 3.0))
    (True, False)
    """
    return one[0] <= other[1] and other[0] <= one[1]


def steady(samples_ns: Sequence[int]) -> bool | None:
    """Whether both halves of a run, in the order of time, agree on the median.

    None where they are too short. False says that the machine was too noisy for the intervals of
    this run: another run may well lie outside them.
    """
    half = len(samples_ns) // 2
    first, second = (
        percentiles(part)["interval_95"]["p50"] for part in (samples_ns[:half], samples_ns[half:])
    )
    return None if first is None or second is None else agree(first, second)


def _at_most(n: int, share: float) -> Any:
    """Of each k in 0..n - 1, the probability that k or fewer of n samples fall below a share."""
    k = np.arange(n)
    chances = np.array(
        [math.lgamma(n + 1) - math.lgamma(j + 1) - math.lgamma(n - j + 1) for j in k]
    )
    chances += k * math.log(share) + (n - k) * math.log1p(-share)
    return np.cumsum(np.exp(chances))
