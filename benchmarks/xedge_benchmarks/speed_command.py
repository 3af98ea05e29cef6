"""`xedge bench speed`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from xedge_benchmarks.command_record import (
    graphs_option,
    keep_and_tell,
    record_options,
    within_option,
)
from xedge_benchmarks.record import BenchRecord
from xedge_benchmarks.two_clocks import cpu_leads
from xedge_benchmarks.wording import rows_table


@click.command(
    epilog="\b\nExamples:\n  xedge bench speed atss\n"
    "  xedge bench speed label-aware --engine openvino --threads 1\n"
    "  xedge bench speed mechanisms --engine tensorrt-rtx-graph\n"
    "  xedge bench speed start"
)
@click.argument(
    "table", type=click.Choice(["atss", "label-aware", "quiet", "doam", "mechanisms", "start"])
)
@click.option("--engine", "only", default="", help="Rows of this engine alone.")
@click.option("--rounds", type=click.IntRange(min=2), default=15, show_default=True)
@click.option("--warmup", type=click.IntRange(min=0), default=2, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="Threads of an engine's run.")
@click.option("--stopped", type=click.FloatRange(0, 1),
              help="quiet: share of windows that stop; else the shipped bundle's.")  # fmt: skip
@graphs_option
@within_option
@record_options
def speed(
    table: str,
    only: str,
    rounds: int,
    warmup: int,
    threads: int | None,
    stopped: float | None,
    graphs: Path | None,
    within_s: float | None,
    out: Path | None,
    scratch: bool,
    as_json: bool,
) -> None:
    """Time what precisions and mechanisms cost, in turn, in wall and processor time.

    atss: ResNet-50 at 640 x 640 in PyTorch and on each engine, fp32 and INT8. label-aware: LA on
    it with two backward passes, and with one. quiet: the latter stopping at quiet windows. doam:
    before SSD300. mechanisms: LA, DOAM and CHR over their hosts, on every engine that can be used
    here. start: importing xedge and starting a detector, and what an installation weighs. Weights
    are drawn, not trained.
    """
    if table == "start":
        from xedge_benchmarks.start import bench_start

        record = bench_start(rounds)
    else:
        from xedge_benchmarks.speed import SpeedSettings, bench_speed

        settings = SpeedSettings(
            rounds=rounds, warmup=warmup, threads=threads, within_s=within_s, stopped=stopped
        )
        record = bench_speed(table, settings, graphs, only)
    keep_and_tell(record, _print, out, scratch=scratch, as_json=as_json)


def _print(record: BenchRecord, console: Console) -> None:
    rows: list[dict[str, Any]] = record.results["rows"]
    if "cpu_ratio" in rows[0]:
        table = rows_table("", rows, cpu_first=cpu_leads(dataclasses.asdict(record)))
    else:
        table = Table("", "median", "least", "unit")
        for row in rows:
            table.add_row(row["name"], f"{row['median']:.3f}", f"{row['least']:.3f}", row["unit"])
    console.print(table)
