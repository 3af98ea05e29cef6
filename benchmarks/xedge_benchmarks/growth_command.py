"""`xedge bench growth`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from xedge_benchmarks.command_record import (
    bundle_options,
    graphs_option,
    keep_and_tell,
    within_option,
)
from xedge_benchmarks.growth import AXES, QUICKLY, GrowthSettings, bench_growth
from xedge_benchmarks.record import BenchRecord
from xedge_benchmarks.wording import interval, number


@click.command()
@click.argument("axes", nargs=-1, type=click.Choice(list(AXES)))
@click.option("--engine", default="auto", show_default=True, help="The engine to run.")
@click.option("--quick", is_flag=True, help="Two points of each, few rounds, short runs.")
@click.option("--rounds", type=click.IntRange(min=6), help="Of each graph.  [default: 50]")
@click.option("--seconds", type=click.FloatRange(min=1),
              help="Of each run of lanes.  [default: 60]")  # fmt: skip
@graphs_option
@within_option
@bundle_options
def growth(
    axes: tuple[str, ...],
    engine: str,
    quick: bool,
    rounds: int | None,
    seconds: float | None,
    graphs: Path | None,
    within_s: float | None,
    bundle_path: Path | None,
    threads: int | None,
    out: Path | None,
    scratch: bool,
    as_json: bool,
) -> None:
    """Measure latency and memory as AXES grow, one at a time; without one, all.

    image-side, batch, candidates: the shipped model's graph with drawn weights on one engine,
    which needs the extra `export`. lanes, belt-speed: the bundle in lanes on the machine's clock.

    \b
    Examples:
      xedge bench growth --quick
      xedge bench growth lanes belt-speed --seconds 120
    """  # noqa: D301  # click wants the character, not a backslash
    usual = QUICKLY if quick else GrowthSettings()
    settings = dataclasses.replace(
        usual, axes=axes or usual.axes, engine=engine, threads=threads,
        rounds=rounds or usual.rounds, seconds=seconds or usual.seconds,
        within_s=within_s,
    )  # fmt: skip
    with Console(stderr=True, quiet=as_json).status("") as status:
        record = bench_growth(bundle_path, settings, graphs, status.update)
    keep_and_tell(record, _print, out, scratch=scratch, as_json=as_json)


def _print(record: BenchRecord, console: Console) -> None:
    table = Table("", "x", "p50 ms", "95 % interval", "max", "peak MiB",
                  title=record.results["engine"])  # fmt: skip
    for row in record.results["rows"]:
        if row["not_measured"]:
            table.add_row(row["x_name"], f"{row['x']:g}", "not measured", row["not_measured"])
            continue
        latency = row["latency_ms"]
        table.add_row(
            row["x_name"], f"{row['x']:g}", number(latency["p50"]),
            interval(latency["interval_95"]["p50"]), number(latency["max"]),
            number(row["peak_mib"]),
        )  # fmt: skip
    console.print(table)
