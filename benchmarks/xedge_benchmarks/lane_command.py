"""`xedge bench lane`: what the command reads and prints."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from xedge.bundle import open_bundle
from xedge_benchmarks.lane import LOADS, LaneSettings, bench_lane
from xedge_benchmarks.record import keep_record

PARTS = ("acquisition", "core", "timer", "decision", "added", "latency", "engine")


@click.command()
@click.option("--engine", default="auto", show_default=True, help="The engine to run.")
@click.option("--speed", "speeds", multiple=True, type=click.FloatRange(0.05, 2.5),
              default=(0.2, 0.5, 1.0, 2.5),
              show_default=True, help="Of the belt, m/s.")  # fmt: skip
@click.option("--lanes", "lanes", multiple=True, type=click.IntRange(1, 8), default=(1,),
              show_default=True, help="Lanes on one engine.")  # fmt: skip
@click.option("--bags", type=click.IntRange(min=1), default=12, show_default=True,
              help="Bags on each belt.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--quick", is_flag=True, help="One bag at the highest speed: whether it runs.")
@click.option("--jitter", is_flag=True, help="Beside busy neighbours as well.")
@click.option("--bundle", "bundle_path", type=click.Path(path_type=Path),
              help="The model; without it, the bundle that xedge ships.")  # fmt: skip
@click.option("--threads", type=click.IntRange(min=1), help="Threads of an engine's run.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False),
              help="Folder of the records.")  # fmt: skip
@click.option("--scratch", is_flag=True, help="Keep a record of code that no commit names.")
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON.")
def lane(
    engine: str, speeds: tuple[float, ...], lanes: tuple[int, ...], bags: int, seed: int,
    quick: bool, jitter: bool, bundle_path: Path | None, threads: int | None, out: Path | None,
    scratch: bool, as_json: bool,
) -> None:  # fmt: skip
    """Feed lanes on schedule: what they add around the engine, what is late, what is lost.

    \b
    Examples:
      xedge bench lane --speed 0.5 --lanes 1 --lanes 4
      xedge bench lane --jitter --speed 0.5
    """  # noqa: D301  # click wants the character, not a backslash
    settings = LaneSettings(
        engine=engine, speeds=(max(speeds),) if quick else speeds, lanes=lanes,
        bags=1 if quick else bags, seed=seed, threads=threads, loads=LOADS if jitter else LOADS[:1],
    )  # fmt: skip
    record = bench_lane(open_bundle(bundle_path), settings)
    path = keep_record(record, out, scratch=scratch)
    if as_json:
        click.echo(record.to_json(), nl=False)
        return
    table = Table("beside", "m/s", "lanes", "ms", "N", "p50", "p99", "p99.9", "max")
    console = Console(highlight=False, markup=False)
    for row in record.results["runs"]:
        for part in PARTS:
            times = row[f"{part}_ms"]
            cells = ("-" if times[k] is None else f"{times[k]:.2f}"
                     for k in ("p50", "p99", "p99.9", "max"))  # fmt: skip
            table.add_row(row["load"], f"{row['speed_m_s']:g}", str(row["lanes"]), part,
                          str(times["n"]), *cells)  # fmt: skip
    console.print(table)
    for row in record.results["runs"]:
        console.print(
            f"{row['load']}, {row['speed_m_s']:g} m/s, {row['lanes']} lanes: "
            f"{row['late']} late of {row['decisions']}, CPU {row['cpu_share']:.2f} cores, "
            f"ledger {'balanced' if row['ledger_balanced'] else 'NOT BALANCED'}"
        )
    ingest = record.results["ingest"]["core_share_at_4000_lines_s_4_views"]
    console.print(f"4,000 lines/s of 4 views: {ingest:.1%} of a core")
    for note in record.notes:
        console.print(f"note: {note}")
    console.print(f"record: {path}", soft_wrap=True)
