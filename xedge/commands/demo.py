"""`xedge demo`: a simulated belt, screened by the shipped model, and a report to look at."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console

from xedge.bundle import open_bundle
from xedge.commands.belt_demo import DemoResult, DemoSettings, run_demo
from xedge.commands.bundle_options import bundle_options
from xedge.commands.judge import JudgedBag
from xedge.commands.live import DecisionTable, judged_objects, open_console, summary
from xedge.commands.report import report_writer
from xedge.engines import BACK_ENDS

_DEFAULT = DemoSettings()


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default="demo", show_default=True,
              help="Folder for report.html, demo.json and the bags' pictures.")  # fmt: skip
@click.option("--bags", type=click.IntRange(1, 999), default=_DEFAULT.bags, show_default=True,
              help="Bags on the belt.")  # fmt: skip
@click.option("--speed", type=click.FloatRange(0.01, 5), default=_DEFAULT.speed_m_s,
              show_default=True, help="Speed of the belt, m/s.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=_DEFAULT.seed, show_default=True,
              help="Of the bags.")  # fmt: skip
@bundle_options
@click.option("--engine", default="auto", show_default=True, help=f"auto, {', '.join(BACK_ENDS)}.")
@click.option("--threads", type=click.IntRange(1), help="Of the engine; else all cores but one.")
@click.option("--realtime", is_flag=True, help="On the clock, as a belt runs; else in a hurry.")
@click.option("--json", "as_json", is_flag=True, help="Print demo.json instead of the table.")
def demo(
    out: Path,
    bags: int,
    speed: float,
    seed: int,
    bundle: Path | None,
    public_key: bytes | None,
    engine: str,
    threads: int | None,
    realtime: bool,
    as_json: bool,
) -> None:
    """Screen simulated bags on a simulated belt, and write a report.

    Raw dual-energy lines come off the belt in strips; each bag leaves as one decision. Idle time
    of the belt is skipped unless --realtime is given; the work in between is real and measured.

    \b
    Examples:
      xedge demo
      xedge demo --bags 10 --speed 0.5 --out fast
      xedge demo --json --engine onnxruntime | python3 -m json.tool
    """  # noqa: D301  # click wants the character, not a backslash
    settings = DemoSettings(
        bags=bags, speed_m_s=speed, seed=seed, engine=engine, threads=threads, realtime=realtime
    )
    write_report = report_writer()  # without its extra, nothing should begin
    opened = open_bundle(bundle, public_key)
    console = open_console(quiet=as_json)
    if realtime:
        console.print("Simulating the belt first: in real time it would take the lane's cores.")
    with DecisionTable(console, bags, judged=True) as table:

        def show(bag: JudgedBag) -> None:
            table.add(bag.decision, judged_objects(bag), bag)

        result = run_demo(settings, opened, out, show)
    record = json.dumps(result.to_dict(), indent=1, allow_nan=False)
    (out / "demo.json").write_text(record + "\n", encoding="utf-8")
    report = write_report(result, out)
    if as_json:
        click.echo(record)
    else:
        _conclude(console, result, report)


def _conclude(console: Console, result: DemoResult, report: Path) -> None:
    score, table = result.score, summary(result.lane)
    table.add_row(
        "objects",
        f"{score.found} of {score.objects} found, {score.false} false; AP50 {score.ap50:.2f} on "
        "these simulated bags",
    )
    table.add_row(
        "model", f"{result.bundle.spec.name} on {result.engine.name} {result.engine.version}"
    )
    table.add_row("report", str(report))
    console.print()
    console.print(table)
    for error in result.lane.errors:
        console.print(f"! {error}", markup=False)
