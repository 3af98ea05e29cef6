"""`xedge bench lane`: lanes in real time, and what they add around their engine."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from xedge.bundle import open_bundle
from xedge_benchmarks.command_record import bundle_options, keep_and_tell
from xedge_benchmarks.ingest import ROUNDS
from xedge_benchmarks.lane import BESIDE, LaneSettings, bench_lane
from xedge_benchmarks.percentiles import needed
from xedge_benchmarks.pretended import PAUSE
from xedge_benchmarks.record import BenchRecord
from xedge_benchmarks.wording import energy_a_bag, percentile

QUICK_S = 5.0
TAIL_WINDOWS = round(1.05 * needed("p99.9"))
GOAL_MS = 10.0
"""What a lane may add to a window at p99.9."""


@click.command()
@click.option("--engine", help="A back end, auto, or null: an engine that answers at once; pause "
              "or spin: one that only takes time, in a process of its own.  [default: auto]"
              )  # fmt: skip
@click.option("--speed", "speeds", type=click.FloatRange(0.01, 5), multiple=True,
              help="m/s; may be repeated.  [default: 0.2, 0.5, 1, 2.5]")  # fmt: skip
@click.option("--lanes", type=click.IntRange(1, 8), multiple=True,
              help="Lanes on the engine; may be repeated.  [default: 1, 2]")  # fmt: skip
@click.option("--beside", type=click.Choice(BESIDE), multiple=True,
              help="What keeps a core busy meanwhile; may be repeated.  [default: nothing]"
              )  # fmt: skip
@click.option(
    "--jitter",
    is_flag=True,
    help="At 0.5 m/s, one lane, beside nothing, a process, and a Python thread.",
)
@click.option("--tail", is_flag=True,
              help=f"{TAIL_WINDOWS} windows, enough to say a p99.9 of what is added: "
              "by default engine pause, 2 lanes at 2.5 m/s, 6 minutes.")  # fmt: skip
@click.option("--windows", type=click.IntRange(1),
              help="Of each run, about; instead of --seconds.")  # fmt: skip
@click.option("--work-ms", type=click.FloatRange(0.1, 10_000), default=64.0, show_default=True,
              help="What pause and spin take for a window.")  # fmt: skip
@click.option("--views", type=click.IntRange(1, 4), default=1, show_default=True,
              help="Views of each belt.")  # fmt: skip
@click.option("--ingest", type=click.IntRange(0),
              help=f"Rounds in which lines without an engine are measured.  [default: {ROUNDS}; "
              "with --quick 1, with --tail 0]")  # fmt: skip
@click.option("--seconds", type=click.FloatRange(1), default=60.0, show_default=True,
              help="Of each run.")  # fmt: skip
@click.option("--quick", is_flag=True, help=f"{QUICK_S:g} s a run.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@bundle_options
def lane(
    engine: str | None,
    threads: int | None,
    speeds: tuple[float, ...],
    lanes: tuple[int, ...],
    beside: tuple[str, ...],
    jitter: bool,
    tail: bool,
    windows: int | None,
    work_ms: float,
    views: int,
    ingest: int | None,
    seconds: float,
    quick: bool,
    seed: int,
    bundle_path: Path | None,
    out: Path | None,
    scratch: bool,
    as_json: bool,
) -> None:
    """Run lanes on the machine's clock: how late decisions are, and what the lane adds.

    Open loop: a belt of pre-rendered bags sends its lines when they are due, whether the lane is
    ready or not. "added" is what each window waited around the engine: from its last line, or
    from the engine's end with another window, to the engine's start, and from the answer to the
    core. Percentiles need enough samples and are missing below that.

    \b
    Examples:
      xedge bench lane --quick --scratch
      xedge bench lane --speed 0.5 --lanes 1 --lanes 8
      xedge bench lane --jitter --seconds 120
      xedge bench lane --tail --engine spin
      xedge bench lane --engine null --views 4 --speed 2.5 --lanes 1
    """  # noqa: D301  # click wants the character, not a backslash
    settings = LaneSettings(
        engine=engine or (PAUSE if tail else "auto"), threads=threads, seed=seed, views=views,
        seconds=QUICK_S if quick else seconds, work_ms=work_ms,
        windows=windows or (TAIL_WINDOWS if tail else None),
        ingest=(0 if tail else 1 if quick else ROUNDS) if ingest is None else ingest,
    )  # fmt: skip
    if jitter:
        settings = replace(settings, speeds_m_s=(0.5,), lanes=(1,), beside=BESIDE)
    if tail:
        settings = replace(settings, speeds_m_s=(2.5,), lanes=(2,))
    settings = replace(
        settings, speeds_m_s=speeds or settings.speeds_m_s, lanes=lanes or settings.lanes,
        beside=beside or settings.beside,
    )  # fmt: skip
    console = Console(stderr=True, quiet=as_json)
    with console.status("") as status:
        record = bench_lane(open_bundle(bundle_path), settings, status.update)
    keep_and_tell(record, _print, out, scratch=scratch, as_json=as_json)


def _print(record: BenchRecord, console: Console) -> None:
    table = Table("m/s", "lanes", "beside", "bags", "late", "decision, ms", "engine, ms",
                  "added, ms", "CPU", caption="p50 / p99 / p99.9 / max")  # fmt: skip
    found = record.results
    for run in found["runs"]:
        table.add_row(
            f"{run['speed_m_s']:g}", str(run["lanes"]), run["beside"], str(run["bags"]),
            str(run["late"]), _cell(run["latency_ms"]), _cell(run["engine_ms"]),
            _cell(run["added_ms"]), f"{run['cpu_share']:.2f}",
        )  # fmt: skip
    console.print(table)
    for run in found["runs"]:
        console.print(f"{run['speed_m_s']:g} m/s, lanes {run['lanes']}, beside {run['beside']}: "
                      f"{_tail(run)}")  # fmt: skip
    bags = sum(run["bags"] for run in found["runs"])
    for rail, text in energy_a_bag(dataclasses.asdict(record)["conditions"], bags).items():
        console.print(f"energy a bag{rail and f', {rail}'}: {text}")
    ingest = found["ingest"] or {"ways": ()}
    for way in ingest["ways"]:
        console.print(
            f"{ingest['views']} views of {ingest['lines_s']} lines/s, {ingest['elements']} "
            f"elements, {way['way']}, {way['strip_lines']} lines a strip, without an engine: "
            f"{way['core_share']:.1%} of one core"
        )


def _tail(run: dict[str, Any]) -> str:
    """What is added at p99.9, with its interval, or that it was not measured."""
    added = run["added_ms"]
    if added["p99.9"] is None:
        least = needed("p99.9")
        return f"added at p99.9: too few windows, {added['n']} of {least}"
    low, high = added["interval_95"]["p99.9"]
    shaky = "" if run["added_steady"] else "; the halves of the run do not agree"
    return (f"added at p99.9: {added['p99.9']:.3g} ms, 95 %: {low:.3g} to {high:.3g}, "
            f"{added['n']} windows; goal {GOAL_MS:g}{shaky}")  # fmt: skip


def _cell(figures: dict[str, Any]) -> str:
    return " / ".join(percentile(figures[k]) for k in ("p50", "p99", "p99.9", "max"))
