"""`xedge bench ring`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from xedge_benchmarks.command_record import keep_and_tell, record_options
from xedge_benchmarks.record import BenchRecord
from xedge_benchmarks.wording import percentile


@click.command()
@click.option("--rate", type=click.IntRange(min=100), default=10_000, show_default=True,
              help="Lines a second.")  # fmt: skip
@click.option("--seconds", type=click.FloatRange(min=1), default=30.0, show_default=True,
              help="Of the undisturbed run.")  # fmt: skip
@click.option("--kill-s", type=click.FloatRange(min=0.1), default=2.0, show_default=True,
              help="Before a side is killed, and after its return.")  # fmt: skip
@record_options
def ring(
    rate: int, seconds: float, kill_s: float, out: Path | None, scratch: bool, as_json: bool
) -> None:
    """Time lines through the shared-memory ring, and count what a killed side costs.

    A writer in C, built here, sends each line when it is due; the lane's reader, in Python, takes
    them in a process of its own. In further runs the reader is killed and comes back, once before
    its lines are overwritten and once after, and then the writer. Needs cc, and a
    checkout that xedge runs from (pip install -e .).

    \b
    Examples:
      xedge bench ring
      xedge bench ring --rate 20000 --seconds 60
    """  # noqa: D301  # click wants the character, not a backslash
    from xedge_benchmarks.ring import RingSettings, bench_ring

    settings = RingSettings(rate=rate, seconds=seconds, kill_s=kill_s)
    # Drawn between runs alone: a thread that draws would take time from those that are timed.
    console = Console(stderr=True, quiet=as_json)
    with Progress(console=console, auto_refresh=False) as progress:
        bar = progress.add_task("building the writer", total=4)

        def step(name: str) -> None:
            if not progress.tasks[0].description.startswith("building"):
                progress.advance(bar)
            progress.update(bar, description=name)
            progress.refresh()

        record = bench_ring(settings, step)
        progress.update(bar, completed=4)
    keep_and_tell(record, _print, out, scratch=scratch, as_json=as_json)


def _print(record: BenchRecord, console: Console) -> None:
    found = record.results
    run = found["undisturbed"]
    table = Table("from due to read, ms", "p50", "p99", "p99.9", "max")
    for title, key in (("every line", "line_ms"), ("last line of a strip", "last_line_ms")):
        table.add_row(
            title, *(percentile(run[key][name]) for name in ("p50", "p99", "p99.9", "max"))
        )
    console.print(table)
    console.print(f"of one core: reader {run['reader_core']:.0%}, writer {run['writer_core']:.0%}")
    table = Table("run", "away, s", "written", "read", "overwritten", "died with it", "gaps",
                  "no line for, s")  # fmt: skip
    for row in ({"name": "undisturbed", "away_s": 0.0, **run}, *found["kills"]):
        table.add_row(row["name"], f"{row['away_s']:.1f}",
                      *(f"{row[key]:,}" for key in ("written", "read", "lost", "gone_with_reader",
                                                    "gaps")),
                      f"{row['longest_silence_s']:.3f}")  # fmt: skip
    console.print(table)
    goal = found["goal"]
    console.print(
        f"goal, no gap and p99 of every line below {goal['p99_ms']:g} ms: "
        f"{'met' if goal['met'] else 'MISSED'}"
    )
