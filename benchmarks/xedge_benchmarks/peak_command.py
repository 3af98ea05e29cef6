"""`xedge bench peak`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from xedge_benchmarks.command_record import keep_and_tell, record_options, within_option
from xedge_benchmarks.limits import MEMORY, best_rows
from xedge_benchmarks.record import BenchRecord


@click.command()
@click.option("--threads", type=click.IntRange(min=1), multiple=True,
              help="Threads on the processor; may be repeated.  "
              "[default: 1, and every physical core]")  # fmt: skip
@click.option("--rounds", type=click.IntRange(min=2), default=20, show_default=True)
@within_option
@record_options
def peak(
    threads: tuple[int, ...],
    rounds: int,
    within_s: float | None,
    out: Path | None,
    scratch: bool,
    as_json: bool,
) -> None:
    """Measure the highest rates of this machine: arithmetic by type, and memory.

    Convolutions through the engines, matrix products through PyTorch, and a large copy; on a
    GPU as well where PyTorch has one. Reports state what share of these a model reached.

    \b
    Examples:
      xedge bench peak
      xedge bench peak --threads 1 --rounds 50
    """  # noqa: D301  # click wants the character, not a backslash
    from xedge_benchmarks.peak import PeakSettings, bench_peak

    settings = PeakSettings(
        threads=threads or PeakSettings.threads, rounds=rounds, within_s=within_s
    )
    console = Console(stderr=True, quiet=as_json)
    with console.status("") as status:
        record = bench_peak(settings, status.update)
    keep_and_tell(record, _print, out, scratch=scratch, as_json=as_json)


def _print(record: BenchRecord, console: Console) -> None:
    table = Table("device", "threads", "arithmetic", "best", "median", "by")
    for (device, threads, kind), row in best_rows(record.results["rows"]).items():
        key, unit = ("gb_s", "GB/s") if kind == MEMORY else ("gop_s", "Gop/s")
        table.add_row(device, str(threads or ""), kind, f"{row['best']:.0f} {unit}",
                      f"{row[key]:.0f}", row["name"])  # fmt: skip
    console.print(table)
