"""Contenders compared by time on the clock and by processor time, and which of the two leads.

Time on the clock is what counts on a quiet machine, processor time what is left to say on a busy
one: where other processes kept more than `BUSY` cores busy during a run, processor time leads in
every table that is made of it, and in comparisons.
"""

from __future__ import annotations

import ctypes
import dataclasses
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from xedge.types import I64
from xedge_benchmarks.interleave import BUSY, Contender, interleave, summarize

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES: Final = 1 << 30
CPU: Final = "cpu_"
"""What the keys of processor time begin with."""
_NOTED = re.compile(r"other processes kept ([\d.]+) cores busy")


def cpu_leads(record: Mapping[str, Any]) -> bool:
    """Whether processor time leads in a record, or in a part of one that has ``foreign_cores``.

    Records of schema 1 say in a note how busy others were. Where nobody knows, the clock leads.
    """
    told = record.get("foreign_cores")
    if told is None:
        told = (record.get("conditions") or {}).get("foreign_cores")
    if told is None:
        noted = (_NOTED.search(note) for note in record.get("notes", ()))
        told = next((float(found[1]) for found in noted if found), 0.0)
    return bool(told > BUSY)


def ratios_text(row: Mapping[str, Any], *, cpu_first: bool) -> str:
    """Both ratios of a row of `rows_of_both`, the one that leads in front.

    >>> ratios_text({"ratio": 0.5, "cpu_ratio": 0.4}, cpu_first=True)
    '× 0.40 (processor time; × 0.50 on the clock)'
    >>> ratios_text({"ratio": 0.5, "cpu_ratio": 0.4}, cpu_first=False)
    '× 0.50 (on the clock; × 0.40 in processor time)'
    >>> ratios_text({"ratio": 0.5}, cpu_first=True)
    '× 0.50 (on the clock)'
    """
    wall, cpu = row["ratio"], row.get("cpu_ratio")
    if cpu is None:
        return f"× {wall:.2f} (on the clock)"
    if cpu_first:
        return f"× {cpu:.2f} (processor time; × {wall:.2f} on the clock)"
    return f"× {wall:.2f} (on the clock; × {cpu:.2f} in processor time)"


def leading(row: Mapping[str, Any], key: str, *, cpu_first: bool) -> Any:
    """A value of a row by the clock that leads; by the other one where it has no such value."""
    return row[f"{CPU}{key}"] if cpu_first and f"{CPU}{key}" in row else row.get(key)


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
        wall, cpu = (dataclasses.asdict(summarize([names[first], name], times[:, pair])[1])
                     for times in (samples, spent))  # fmt: skip
        keys = ("median_ms", "ratio")
        rows.append(
            wall
            | {"against": names[first]}
            | {
                f"{CPU}{key}{end}": cpu[f"{key}{end}"]
                for key in keys
                for end in ("", "_low", "_high")
            }
        )
    return rows


def timed_by_both(
    contenders: Sequence[Contender],
    against: Sequence[str],
    *,
    rounds: int,
    warmup: int,
    enough: Callable[[], bool] = lambda: False,
) -> list[dict[str, Any]]:
    """The rows of contenders that take turns in this process; see `rows_of_both`, `interleave`."""
    calls = [WithProcessorTime(contender.run) for contender in contenders]
    timed = [Contender(c.name, call) for c, call in zip(contenders, calls, strict=True)]
    samples = interleave(timed, rounds=rounds, warmup=warmup, enough=enough)
    spent = np.array([call.spent_ns[warmup:] for call in calls], np.int64).T
    return rows_of_both([c.name for c in contenders], against, samples, spent)


def keep_memory() -> None:
    """Nothing; let malloc keep what is freed: giving pages back slows large maps in PyTorch."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # not glibc
        return
    for threshold in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
        mallopt(threshold, KEPT_BYTES)
