"""`xedge bench buses`: how long a decision takes to a PLC, by bus."""

from __future__ import annotations

import logging
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from xedge.commands.lanefile import read_lane_file
from xedge_benchmarks.buses import bench_buses, own_bus_file
from xedge_benchmarks.command_record import keep_and_tell, record_options
from xedge_benchmarks.record import BenchRecord
from xedge_benchmarks.wording import percentile


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--rounds", type=click.IntRange(min=1), default=1000, show_default=True,
              help="Decisions a bus.")  # fmt: skip
@record_options
def buses(file: Path | None, rounds: int, out: Path | None, scratch: bool, as_json: bool) -> None:
    """Time decisions to a PLC and back, over every bus of a lane's file.

    The PLC is played by this process, at the other end of the real bus; a broker must run.
    Without a file there is one bus, Modbus, on this machine.

    \b
    Examples:
      xedge bench buses
      xedge bench buses lane.toml --rounds 1000
    """  # noqa: D301  # click wants the character, not a backslash
    logging.getLogger().addHandler(logging.NullHandler())  # a refused connection is no news here
    console = Console(stderr=True, quiet=as_json)
    with TemporaryDirectory() as folder, Progress(console=console) as progress:
        file = file or own_bus_file(Path(folder))
        count = len(read_lane_file(file).buses)
        bar = progress.add_task("decisions", total=rounds * count)
        record = bench_buses(file, rounds, lambda: progress.advance(bar))
    keep_and_tell(record, _print, out, scratch=scratch, as_json=as_json)


def _print(record: BenchRecord, console: Console) -> None:
    table = Table("bus", "decision to PLC, ms: p50", "p99", "max", "and back: p50", "p99", "max")
    for row in record.results["buses"]:
        times = [percentile(row[key][name]) for key in ("decision_to_plc_ms", "to_plc_and_back_ms")
                 for name in ("p50", "p99", "max")]  # fmt: skip
        table.add_row(row["bus"], *times)
    console.print(table)
