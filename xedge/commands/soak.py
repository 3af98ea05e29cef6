"""`xedge soak`: a day of belt with faults in it, and a lane that must not break one promise."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from xedge.commands.live import open_console, summary
from xedge.commands.soak_ground import SoakSettings, fault_names
from xedge.commands.soak_run import SoakResult, run_soak

UNSOUND = 1
"""Exit code of a soak in which a promise was broken, or memory grew."""


@click.command()
@click.option("--hours", type=click.FloatRange(0, min_open=True), default=24.0, show_default=True,
              help="Hours of belt.")  # fmt: skip
@click.option("--faults", default="all", show_default=True,
              help="all, none, or names with commas; docs/soak.md lists them.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True,
              help="Of the bags, of their order and of the faults.")  # fmt: skip
@click.option("--lane", type=click.Path(path_type=Path, dir_okay=False),
              help="A lane's file: its model, limits, source; else the default lane.")  # fmt: skip
@click.option("--speed", type=click.FloatRange(0.01, 5), default=0.5, show_default=True,
              help="Speed of the default lane's belt, m/s.")  # fmt: skip
@click.option("--engine", type=click.Choice(["fake", "real"]), default="fake", show_default=True,
              help="fake answers at once, from what is dense; real runs the model.")  # fmt: skip
@click.option("--realtime", is_flag=True, help="On the machine's clock; else in virtual time.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.pass_context
def soak(
    ctx: click.Context,
    hours: float,
    faults: str,
    seed: int,
    lane: Path | None,
    speed: float,
    engine: str,
    realtime: bool,
    as_json: bool,
) -> None:
    """Run a lane for a day under faults, in minutes, and hold every decision against the belt.

    A bank of bags goes by in random order, on a virtual clock. Faults of lines, encoder, tube,
    clock and engine happen at moments that the seed decides; what each must lead to is checked.

    \b
    Exit codes:
      0  every promise was kept: one decision a bag, in order, none CLEAR that may not be, every
         line in the ledger under the right cause, every fault noticed, memory flat
      1  one was not, or something could not be used
      2  wrong usage

    \b
    Examples:
      xedge soak --hours 1
      xedge soak --hours 24 --faults all --json > soak.json
      xedge soak --hours 2 --faults dropped,engine-nan --lane lane.toml
      xedge soak --hours 0.17 --engine real --realtime
    """  # noqa: D301  # click wants the character, not a backslash
    settings = SoakSettings(
        hours=hours, faults=fault_names(faults), seed=seed, speed_m_s=speed, engine=engine,
        realtime=realtime, lane=lane,
    )  # fmt: skip
    told = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=told,
        transient=True, disable=as_json and not told.is_terminal,
    ) as progress:  # fmt: skip
        task = progress.add_task("Making the bank", total=hours)

        def show(done: float, bags: int) -> None:
            progress.update(task, completed=done, description=f"{done:.1f} h, {bags:,} bags")

        result = run_soak(settings, show)
    if as_json:
        click.echo(json.dumps(result.to_dict()))
    else:
        _conclude(open_console(quiet=False), result)
    if not result.sound:
        ctx.exit(UNSOUND)


def _conclude(console: Console, result: SoakResult) -> None:
    record = result.to_dict()
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("fault", "times", "seen", "excused", "missed", "what the lane must do"):
        table.add_column(heading, justify="right" if heading in ("times", "seen", "excused",
                         "missed") else "left")  # fmt: skip
    for name, count in record["faults"].items():
        table.add_row(name, *(str(count[key]) for key in ("injected", "seen", "excused", "missed")),
                      count["then"])  # fmt: skip
    console.print(table)
    console.print()
    lines = summary(result.lane)
    rss = record["rss_mb"]
    lines.add_row("memory", f"{rss['start']:.0f} MiB after a tenth, {rss['end']:.0f} at the end"
                            f"{'; IT GREW' if record['memory_grew'] else ''}")  # fmt: skip
    lines.add_row("time", f"{result.belt_s / 3600:.2f} h of belt in {result.wall_s:.0f} s")
    console.print(lines)
    for sentence in record["broken"]:
        console.print(f"! {sentence}", markup=False)
    broken = sum(record["invariants_broken"].values())
    console.print("Sound: no promise was broken" if result.sound else
                  f"NOT SOUND: {broken} promises broken")  # fmt: skip
