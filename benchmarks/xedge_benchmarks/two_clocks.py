"""Contenders compared by time on the clock and by processor time.

Time on the clock is what counts on a quiet machine, processor time what is left to say on a busy
one.
"""

from __future__ import annotations

import ctypes
import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from xedge.types import I64
from xedge_benchmarks.interleave import summarize

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES: Final = 1 << 30


@dataclass
class WithProcessorTime:
    """A contender's call that notes the processor time of this process for each."""

    run: Callable[[], object]
    spent_ns: list[int] = field(default_factory=list)

    def __call__(self) -> None:
        """Do the work once."""
        before = time.process_time_ns()
        self.run()
        self.spent_ns.append(time.process_time_ns() - before)


def rows_of_both(
    names: Sequence[str], against: Sequence[str], samples: I64, spent: I64
) -> list[dict[str, Any]]:
    """One row a contender: the fields of `Summary`, and ``cpu_`` ones of its processor time.

    Args:
        names: Of the contenders.
        against: Whom each is compared with; a name that is none of them stands for the first.
        samples: Nanoseconds on the clock, int64 ``[rounds, contenders]``.
        spent: Nanoseconds of processor time, alike.
    """
    rows = []
    for index, name in enumerate(names):
        first = names.index(against[index]) if against[index] in names else 0
        pair = [first, index]
        wall, cpu = (summarize([names[first], name], times[:, pair])[1]
                     for times in (samples, spent))  # fmt: skip
        rows.append(
            dataclasses.asdict(wall)
            | {
                "against": names[first],
                "cpu_median_ms": cpu.median_ms,
                "cpu_ratio": cpu.ratio,
                "cpu_ratio_low": cpu.ratio_low,
                "cpu_ratio_high": cpu.ratio_high,
            }
        )
    return rows


def keep_memory() -> None:
    """Nothing; let malloc keep what is freed: giving pages back slows large maps in PyTorch."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # not glibc
        return
    for threshold in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
        mallopt(threshold, KEPT_BYTES)
