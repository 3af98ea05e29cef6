"""`xedge bench`: measure engines and the lane on this machine, and keep the record."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from xedge.bundle import open_bundle
from xedge_benchmarks.accept_command import accept
from xedge_benchmarks.bus_command import buses
from xedge_benchmarks.command_record import (
    bundle_options,
    keep_and_tell,
    record_options,
    within_option,
)
from xedge_benchmarks.compare_command import compare
from xedge_benchmarks.every_command import every
from xedge_benchmarks.growth_command import growth
from xedge_benchmarks.lane_command import lane
from xedge_benchmarks.native_command import native
from xedge_benchmarks.peak_command import peak
from xedge_benchmarks.record import BenchRecord
from xedge_benchmarks.report_command import report
from xedge_benchmarks.ring_command import ring
from xedge_benchmarks.scenario_command import loadgen, scenarios
from xedge_benchmarks.side_command import contenders
from xedge_benchmarks.speed_command import speed
from xedge_benchmarks.study_command import studies
from xedge_benchmarks.two_clocks import cpu_leads
from xedge_benchmarks.wording import bounded, milliseconds, rows_table


@click.group()
def bench() -> None:
    """Measure engines and the lane on this machine.

    \b
    Examples:
      xedge bench all --quick --scratch
      xedge bench engines
      xedge bench belt --speed 0.5
    """  # noqa: D301  # click wants the character, not a backslash


@bench.command()
@click.option(
    "--engine",
    "names",
    multiple=True,
    help="An engine to measure, the first is what others are compared with; without it, all.",
)
@click.option("--rounds", type=click.IntRange(min=2), default=100, show_default=True)
@click.option("--warmup", type=click.IntRange(min=0), default=10, show_default=True)
@click.option("--bags", type=click.IntRange(min=1), default=8, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@within_option
@bundle_options
def engines(
    names: tuple[str, ...],
    rounds: int,
    warmup: int,
    bags: int,
    seed: int,
    within_s: float | None,
    bundle_path: Path | None,
    threads: int | None,
    out: Path | None,
    scratch: bool,
    as_json: bool,
) -> None:
    """Time one window of the model on every engine of this machine, in turn.

    \b
    Examples:
      xedge bench engines
      xedge bench engines --engine onnxruntime --engine openvino --threads 1 --rounds 500
    """  # noqa: D301  # click wants the character, not a backslash
    from xedge_benchmarks.engines import EngineSettings, bench_engines

    settings = EngineSettings(
        rounds=rounds, warmup=warmup, bags=bags, seed=seed, threads=threads, within_s=within_s
    )
    record = bench_engines(open_bundle(bundle_path), names, settings)
    keep_and_tell(record, _print_engines, out, scratch=scratch, as_json=as_json)


@bench.command()
@click.option("--engine", default="auto", show_default=True, help="The engine to run.")
@click.option(
    "--speed",
    "speed_m_s",
    type=click.FloatRange(0.05, 2.0),
    default=0.5,
    show_default=True,
    help="Speed of the belt, m/s.",
)
@click.option("--bags", type=click.IntRange(min=1), default=40, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--realtime", is_flag=True, help="Run on the clock instead of skipping idle time.")
@bundle_options
def belt(
    engine: str,
    speed_m_s: float,
    bags: int,
    seed: int,
    realtime: bool,
    bundle_path: Path | None,
    threads: int | None,
    out: Path | None,
    scratch: bool,
    as_json: bool,
) -> None:
    """Screen a simulated belt: factor to real time, latency, late decisions, ledger.

    \b
    Examples:
      xedge bench belt
      xedge bench belt --speed 0.2 --bags 100 --realtime
    """  # noqa: D301  # click wants the character, not a backslash
    from xedge_benchmarks.belt import BeltSettings, bench_belt

    settings = BeltSettings(
        engine=engine, speed_m_s=speed_m_s, bags=bags, seed=seed, threads=threads, realtime=realtime
    )
    record = bench_belt(open_bundle(bundle_path), settings)
    keep_and_tell(record, _print_belt, out, scratch=scratch, as_json=as_json)


@bench.command()
@click.option("--engine", default="auto", show_default=True, help="The engine to run.")
@click.option("--bags", type=click.IntRange(min=1), default=500, show_default=True)
@click.option(
    "--seed", type=click.IntRange(min=0), default=3_000_000, show_default=True,
    help="Seed of the first bag; recipes train on seeds from 1,000,000 and 2,000,000.",
)  # fmt: skip
@click.option(
    "--against",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A second bundle to measure on the same bags, such as the first pass alone.",
)
@within_option
@bundle_options
def accuracy(
    engine: str,
    bags: int,
    seed: int,
    against: Path | None,
    within_s: float | None,
    bundle_path: Path | None,
    threads: int | None,
    out: Path | None,
    scratch: bool,
    as_json: bool,
) -> None:
    """Average precision and alarms on fresh simulated bags, through the whole chain.

    \b
    Examples:
      xedge bench accuracy
      xedge bench accuracy --bags 100 --against first-pass.xedge
    """  # noqa: D301  # click wants the character, not a backslash
    from rich.progress import Progress

    from xedge_benchmarks.accuracy import AccuracySettings, bench_accuracy

    settings = AccuracySettings(
        engine=engine, bags=bags, seed=seed, threads=threads, within_s=within_s
    )
    bundles = [open_bundle(bundle_path), *([open_bundle(against)] if against else [])]
    with Progress(console=Console(stderr=True, quiet=as_json)) as progress:
        bar = progress.add_task("screening bags", total=bags)
        record = bench_accuracy(bundles, settings, lambda: progress.advance(bar))
    keep_and_tell(record, _print_accuracy, out, scratch=scratch, as_json=as_json)


@bench.command()
@click.argument("recipe")
@click.option("--plain", help="Recipe of the backbone alone, to compare with.")
@click.option("--engine", default="auto", show_default=True, help="The engine to run.")
@click.option("--rounds", type=click.IntRange(min=2), default=30, show_default=True)
@click.option("--warmup", type=click.IntRange(min=0), default=3, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="Threads of an engine's run.")
@within_option
@record_options
def algebra(
    recipe: str,
    plain: str | None,
    engine: str,
    rounds: int,
    warmup: int,
    threads: int | None,
    within_s: float | None,
    out: Path | None,
    scratch: bool,
    as_json: bool,
) -> None:
    """Time the graph of RECIPE before and after each pass of the export, in turn.

    Weights are drawn: a graph takes as long with them as with trained ones.

    \b
    Examples:
      xedge bench algebra chr-resnet50 --plain backbone-resnet50
      xedge bench algebra chr-tiny --engine onnxruntime --threads 1
    """  # noqa: D301  # click wants the character, not a backslash
    from xedge_benchmarks.algebra import AlgebraSettings, bench_algebra

    settings = AlgebraSettings(
        engine=engine, rounds=rounds, warmup=warmup, threads=threads, within_s=within_s
    )
    record = bench_algebra(recipe, plain, settings)
    keep_and_tell(record, _print_algebra, out, scratch=scratch, as_json=as_json)


def _print_engines(record: BenchRecord, console: Console) -> None:
    cpu = cpu_leads(dataclasses.asdict(record))
    console.print(rows_table("engine", record.results["engines"], cpu_first=cpu))
    for name, reason in record.results["not_measured"].items():
        console.print(f"not measured: {name}: {reason}")


def _print_algebra(record: BenchRecord, console: Console) -> None:
    cpu = cpu_leads(dataclasses.asdict(record))
    console.print(rows_table("graph", record.results["graphs"], cpu_first=cpu))


def _print_belt(record: BenchRecord, console: Console) -> None:
    found, settings = record.results, record.settings
    latency = found["latency_ms"]
    rows = {
        "belt": f"{settings['bags']} bags at {settings['speed_m_s']:g} m/s, "
        f"{found['belt_s']:.1f} s of belt time",
        "factor to real time": f"{found['realtime_factor']:.2f}, on one thread",
        "last line to decision": f"{bounded(latency, 'p50', found['decisions'])} ms, "
        f"{bounded(latency, 'p99', found['decisions'])}, "
        f"max {milliseconds(latency['max'])} of {found['decisions']} decisions",
        "late": str(found["late"]),
        "ledger": "balanced" if found["ledger_balanced"] else "NOT BALANCED",
        "verdicts": f"{found['alarm']} alarm, {found['clear']} clear, "
        f"{found['not_cleared']} not cleared",
    }
    table = Table(show_header=False)
    for name, text in rows.items():
        table.add_row(name, text)
    console.print(table)


def _print_accuracy(record: BenchRecord, console: Console) -> None:
    rows = record.results["models"]
    table = Table("measure", *(f"{row['model']} ({row['stage']})" for row in rows))

    def line(name: str, values: list[float | None]) -> None:
        table.add_row(name, *("-" if v is None else f"{v:.4f}" for v in values))

    line("AP50", [row["ap50"] for row in rows])
    line("AP50:95", [row["ap"] for row in rows])
    for group, title in (("ap50_by_occlusion", "occlusion"), ("ap50_by_class", "class")):
        for name in rows[0][group]:
            line(f"AP50, {title} {name}", [row[group].get(name) for row in rows])
    for part, whole in (("of_those", "bags_with_objects"), ("of_clean", "clean_bags")):
        texts = (f"{row[f'alarmed_{part}']} of {row[whole]}" for row in rows)
        table.add_row(f"alarms, {whole.replace('_', ' ')}", *texts)
    console.print(table)


bench.add_command(studies)
bench.add_command(speed)
bench.add_command(buses)
bench.add_command(lane)
bench.add_command(compare)
bench.add_command(accept)
bench.add_command(contenders)
bench.add_command(scenarios)
bench.add_command(loadgen)
bench.add_command(native)
bench.add_command(ring)
bench.add_command(peak)
bench.add_command(report)
bench.add_command(growth)
bench.add_command(every)
