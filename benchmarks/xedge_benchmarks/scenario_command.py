"""`xedge bench scenarios` and `xedge bench loadgen`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table

from xedge.bundle import open_bundle
from xedge_benchmarks.command_record import bundle_options, keep_and_tell, within_option
from xedge_benchmarks.load import OFFLINE, QUOTED
from xedge_benchmarks.percentiles import PERCENTILES, needed
from xedge_benchmarks.record import BenchRecord, Json
from xedge_benchmarks.wording import agreement_with_loadgen, interval, number, percentile

Command = TypeVar("Command", bound=Callable[..., Any])
SCENARIO = click.Choice(list(QUOTED))


def _size_options(command: Command) -> Command:
    """The command with the options that both share."""
    for option in (
        click.option("--bags", type=click.IntRange(min=1), default=8, show_default=True,
                     help="Simulated bags whose first windows are asked for."),
        click.option("--load", type=click.FloatRange(0, 1, min_open=True, max_open=True),
                     default=0.5, show_default=True,
                     help="Share of the time that a server is to be busy."),
        click.option("--rate", type=click.FloatRange(0, min_open=True),
                     help="Queries a second of a server, instead of a load."),
        click.option("--streams", type=click.IntRange(min=1), default=8, show_default=True,
                     help="Windows of a query of multi-stream."),
        click.option("--queries", type=click.IntRange(min=1), default=400, show_default=True,
                     help="Of each scenario; a p99 needs 368, a p99.9 3688."),
        click.option("--scenario", "scenarios", type=SCENARIO, multiple=True,
                     help="May be repeated; without it, all."),
    ):  # fmt: skip
        command = option(command)
    return within_option(command)


@click.command()
@click.option("--engine", "engines", multiple=True, default=("auto",), show_default=True,
              help="An engine to measure; may be repeated.")  # fmt: skip
@click.option("--variant", default="fp32", show_default=True, help="Which graph of the bundle.")
@click.option("--accuracy-bags", type=click.IntRange(min=0), default=40, show_default=True,
              help="Fresh bags that the same engine's accuracy is measured on.")  # fmt: skip
@_size_options
@bundle_options
def scenarios(
    bundle_path: Path | None,
    out: Path | None,
    scratch: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Time windows from counts to detections, as MLPerf's four scenarios ask for them.

    single-stream: the next window when the last is answered. multi-stream: several windows a
    query. server: at random moments, latency from when a window was due. offline: all at once.
    A percentile is said, with its 95 % interval, where there are samples enough for one.

    \b
    Examples:
      xedge bench scenarios
      xedge bench scenarios --engine onnxruntime --engine openvino --scenario server --rate 10
      xedge bench scenarios --scenario single-stream --queries 4000
    """  # noqa: D301  # click wants the character, not a backslash
    from xedge_benchmarks.scenarios import ScenarioSettings, bench_scenarios

    options["scenarios"] = options["scenarios"] or tuple(QUOTED)
    settings = ScenarioSettings(**options)
    with Console(stderr=True, quiet=as_json).status("") as status:
        record = bench_scenarios(open_bundle(bundle_path), settings, status.update)
    keep_and_tell(record, _print_scenarios, out, scratch=scratch, as_json=as_json)


@click.command()
@click.option("--engine", default="auto", show_default=True, help="The engine to run.")
@click.option("--rounds", type=click.IntRange(min=1), default=4, show_default=True,
              help="How often the two take turns.")  # fmt: skip
@_size_options
@bundle_options
def loadgen(
    engine: str,
    rounds: int,
    bundle_path: Path | None,
    out: Path | None,
    scratch: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Hold the scenarios against MLPerf's own load generator, in turn.

    \b
    Examples:
      xedge bench loadgen
      xedge bench loadgen --scenario server --queries 800 --rounds 8
    """  # noqa: D301  # click wants the character, not a backslash
    from xedge_benchmarks.loadgen import bench_loadgen
    from xedge_benchmarks.scenarios import ScenarioSettings

    options["scenarios"] = options["scenarios"] or tuple(QUOTED)
    settings = ScenarioSettings(engines=(engine,), accuracy_bags=0, **options)
    with Console(stderr=True, quiet=as_json).status("") as status:
        record = bench_loadgen(open_bundle(bundle_path), settings, rounds, status.update)
    keep_and_tell(record, _print_loadgen, out, scratch=scratch, as_json=as_json)


def _print_scenarios(record: BenchRecord, console: Console) -> None:
    rows: list[Json] = record.results["rows"]
    for engine in record.results["engines"]:
        name = engine["engine"]
        mine = [row for row in rows if row["engine"] == name]
        table = Table("scenario", *PERCENTILES, "max", "quoted, 95 % interval", "windows/s",
                      title=f"{name} {engine['version']}: latency, ms")  # fmt: skip
        for row in mine:
            cell = number if row["scenario"] == OFFLINE else percentile  # one query has none
            times = [cell(row["latency_ms"][name]) for name in (*PERCENTILES, "max")]
            table.add_row(row["scenario"], *times, _quoted(row), number(row["samples_per_s"]))
        console.print(table)
        for row in mine:
            stages = (f"{stage} {number(part['p50'])}" for stage, part in row["stages_ms"].items())
            console.print(f"{row['scenario']}, a window's p50 in ms: {', '.join(stages)}")
        console.print(
            f"ready after {engine['load_ms']:.0f} ms, first window {engine['first_ms']:.0f} ms; "
            + _accuracy(engine["accuracy"])
        )
    for name in PERCENTILES:
        least = needed(name)
        counts = {r["queries"] for r in rows if r["scenario"] != OFFLINE and r["queries"] < least}
        if counts:
            console.print(f"{name}: too few, {max(counts)} of {least} queries")


def _quoted(row: Json) -> str:
    if row["scenario"] == OFFLINE:
        return "throughput " + interval(row["samples_per_s_95"])
    name = row["quoted"]
    return f"{name} " + interval(row["latency_ms"]["interval_95"][name])


def _accuracy(found: Json | None) -> str:
    if found is None:
        return "accuracy not measured"
    return (
        f"AP50 {number(found['ap50'])} on {found['bags']} fresh bags, alarms on "
        f"{found['alarmed_of_those']} of {found['bags_with_objects']} with objects and "
        f"{found['alarmed_of_clean']} of {found['clean_bags']} without"
    )


def _print_loadgen(record: BenchRecord, console: Console) -> None:
    table = Table(
        "scenario", "figure", "here", "95 % interval", "loadgen", "95 % interval", "agree"
    )
    for row in record.results["rows"]:
        for name, same in row["agree"].items():
            cells = []
            for side in ("here", "loadgen"):
                figures = row[side]
                cells += [number(figures[name]), interval(figures["interval_95"][name])]
            table.add_row(row["scenario"], name, *cells, "yes" if same else "NO")
    console.print(table)
    for row in record.results["rows"]:
        console.print(f"{row['scenario']}: {agreement_with_loadgen(row)}")
