"""Numbers, intervals and rows as tables and reports say them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from rich import box
from rich.table import Column, Table

from xedge_benchmarks.percentiles import needed
from xedge_benchmarks.record import Json
from xedge_benchmarks.two_clocks import leading

TOO_FEW: Final = "too few"
MISSING: Final = "not measured"


def number(value: float | None) -> str:
    """Three digits or more; a dash for what was not measured.

    >>> number(1234.5), number(12.345), number(0.0), number(None)
    ('1234', '12.3', '0', '-')
    """
    return "-" if value is None else f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def milliseconds(value: float | None) -> str:
    """A time with three digits or more.

    >>> milliseconds(1234.5), milliseconds(0.01234), milliseconds(None)
    ('1234 ms', '0.0123 ms', 'too few samples')
    """
    return f"{TOO_FEW} samples" if value is None else f"{number(value)} ms"


def bounded(row: Mapping[str, Any], name: str, samples: int) -> str:
    """A percentile of so many samples in ms, or that these are too few to quote it.

    Older records have the greatest sample in its place.

    >>> bounded({"p99": 4.0}, "p99", 368), bounded({"p99": 4.0}, "p99", 40)
    ('p99 4', 'p99 too few samples')
    """
    value = row.get(name)
    enough = value is not None and samples >= needed(name)
    return f"{name} {number(value) if enough else f'{TOO_FEW} samples'}"


def percentile(value: float | None) -> str:
    """A percentile in a cell of a table, or that too few samples bound it."""
    return TOO_FEW if value is None else number(value)


def between(ends: Sequence[float | None] | None) -> str:
    """Both ends of an interval; empty where there are none."""
    if not ends or ends[0] is None or ends[1] is None:
        return ""
    return f"{number(ends[0])} to {number(ends[1])}"


def interval(ends: Sequence[float | None] | None) -> str:
    """Both ends of an interval, or why there are none."""
    return between(ends) or TOO_FEW


def energy_a_bag(conditions: Mapping[str, Any] | None, bags: int) -> dict[str, str]:
    """Rail, GPU or energy counter to joules a bag, idle power and all; one that is "" without any.

    Args:
        conditions: Of a record, as JSON; None where nobody looked.
        bags: That came through meanwhile.

    >>> energy_a_bag({"seconds": 20.0, "watts": {"VDD_IN": {"mean": 6.0}}}, 4)
    {'VDD_IN': '30 J, 6 W'}
    >>> energy_a_bag({"seconds": 20.0, "watts": {}}, 4)
    {'': 'not measured: nothing here tells its power'}
    """
    watts = (conditions or {}).get("watts") or {}
    if not watts or not bags:
        why = "no bag came" if watts else "nothing here tells its power"
        return {"": f"{MISSING}: {why}"}
    seconds = (conditions or {})["seconds"]
    return {
        rail: f"{number(span['mean'] * seconds / bags)} J, {number(span['mean'])} W"
        for rail, span in watts.items()
    }


def agreement_with_loadgen(row: Json) -> str:
    """Whether a scenario counts what MLPerf's load generator does, as far as intervals tell."""
    apart = [name for name, same in row["agree"].items() if not same]
    if not row["agree"]:
        return f"{TOO_FEW} samples to compare with MLPerf's load generator"
    if apart:
        return f"DOES NOT AGREE with MLPerf's load generator in {', '.join(apart)}"
    return f"agrees with MLPerf's load generator within the intervals, {', '.join(row['agree'])}"


def tail(row: Json) -> str:
    """The highest percentile that so many rounds bound, or else the greatest sample, in ms."""
    for name in ("p99", "p90"):
        if row["rounds"] >= needed(name):
            return f"{name} {number(row[f'{name}_ms'])}"
    return f"max {number(row['max_ms'])}"


def rows_table(
    what: str,
    rows: Sequence[Json],
    *,
    cpu_first: bool,
    key: str = "name",
    more: Mapping[str, Callable[[Json], str]] = MappingProxyType({}),
) -> Table:
    """A table of rows of `xedge_benchmarks.two_clocks.rows_of_both`, the clock that leads in front.

    Args:
        what: The rows are.
        rows: At least one.
        cpu_first: As `xedge_benchmarks.two_clocks.cpu_leads` says.
        key: Of a row's name.
        more: Further columns: title to what a row has there.
    """
    clocks = ["clock", "processor"]
    if cpu_first:
        clocks.reverse()
    others = list(dict.fromkeys(row["against"] for row in rows))
    heads = ["ms", "tail", "rounds", f"× {clocks[0]}", "95 %", f"× {clocks[1]}"]
    of = others[0] if len(others) == 1 else "the nearest row above that has none"
    table = Table(
        Column(what, overflow="fold", min_width=18), *heads, *more,
        box=box.SIMPLE, padding=(0, 1, 0, 0),
        caption=f"ms: the median; × is time over that of {of}: below 1 is faster"
        + ("; others kept the machine busy: processor time leads" if cpu_first else ""),
    )  # fmt: skip
    for row in rows:
        ratios = ["", "", ""]
        if row["against"] != row[key]:
            ends = [leading(row, f"ratio_{end}", cpu_first=cpu_first) for end in ("low", "high")]
            ratios = [
                f"{leading(row, 'ratio', cpu_first=cpu_first):.3f}",
                TOO_FEW if ends[0] is None else f"{ends[0]:.3f} to {ends[1]:.3f}",
                f"{row['ratio' if cpu_first else 'cpu_ratio']:.3f}",
            ]
        table.add_row(
            row[key], number(row["median_ms"]), tail(row), str(row["rounds"]), *ratios,
            *(cell(row) for cell in more.values()),
        )  # fmt: skip
    return table
