"""`xedge record` and `xedge run`: a belt into a strip file, and a strip file through a lane."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import click
from rich.console import Console
from rich.progress import Progress

from xedge.bundle import open_bundle
from xedge.commands.bundle_options import bundle_options, refine_all
from xedge.commands.ladder import LadderTable
from xedge.commands.live import DecisionTable, objects_found, open_console, summary
from xedge.commands.strips import Screening, named_record, record_belt, screen_file
from xedge.engines import BACK_ENDS
from xedge.errors import StripFileError
from xedge.types import Decision

FLAWED = 3
"""Exit code of a screening that came to the file's end, with something wrong on the way."""


@click.command()
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True,
              help="The strip file, NAME.xstrip; NAME.truth.json goes beside it.")  # fmt: skip
@click.option("--bags", type=click.IntRange(1, 9999), default=40, show_default=True,
              help="Bags on the belt.")  # fmt: skip
@click.option("--speed", type=click.FloatRange(0.01, 5), default=0.2, show_default=True,
              help="Speed of the belt, m/s.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the bags.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a sentence.")
def record(out: Path, bags: int, speed: float, seed: int, as_json: bool) -> None:
    """Record a simulated belt into a strip file, with its dark and air runs and its truth.

    The file has everything that screening takes; a bag is about 4 MB. docs/strip-file.md
    describes the format byte by byte.

    \b
    Examples:
      xedge record --out belt.xstrip --bags 10
      xedge record --out fast.xstrip --speed 0.5 --seed 7 --json
    """  # noqa: D301  # click wants the character, not a backslash
    told = Console(stderr=True)
    with Progress(
        console=told, transient=True, disable=as_json or not told.is_terminal
    ) as progress:
        task = progress.add_task("Simulating", total=None)
        done = record_belt(
            out,
            bags=bags,
            speed_m_s=speed,
            seed=seed,
            on_lines=lambda lines: progress.update(task, description=f"Simulating, line {lines:,}"),
        )
    if as_json:
        click.echo(json.dumps(done.to_dict()))
    else:
        click.echo(
            f"{done.path}: {done.bags} bags, {done.lines:,} lines, {done.bytes / 1e6:.1f} MB; "
            f"truth in {done.truth}"
        )


@click.command()
@click.option("--source", type=click.Path(path_type=Path), required=True,
              help="A strip file.")  # fmt: skip
@bundle_options
@click.option("--engine", default="auto", show_default=True, help=f"auto, {', '.join(BACK_ENDS)}.")
@click.option("--threads", type=click.IntRange(1), help="Of the engine; else all cores but one.")
@click.option("--journal", type=click.Path(path_type=Path, file_okay=False),
              help="A folder that everything is recorded in, for xedge replay.")  # fmt: skip
@click.option("--truncated-ok", is_flag=True, help="Take a file without its end, as a .part is.")
@click.option("--realtime", is_flag=True, help="On the clock, as recorded; else in a hurry.")
@click.option("--first-pass", type=click.Path(path_type=Path),
              help="A bundle without the label-aware step, for when time runs short.")  # fmt: skip
@click.option("--smaller", type=click.Path(path_type=Path),
              help="A bundle of a quicker model, for when that is too slow as well.")  # fmt: skip
@click.option("--clear-by", type=click.Choice(["full", "first-pass", "smaller"]), default="full",
              show_default=True, help="The lowest of them that may clear a bag.")  # fmt: skip
@refine_all
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a decision.")
@click.pass_context
def run(
    ctx: click.Context,
    source: Path,
    bundle: Path | None,
    public_key: bytes | None,
    engine: str,
    threads: int | None,
    journal: Path | None,
    truncated_ok: bool,
    realtime: bool,
    first_pass: Path | None,
    smaller: Path | None,
    clear_by: Literal["full", "first-pass", "smaller"],
    refine_all: bool,
    as_json: bool,
) -> None:
    """Screen a strip file: one decision a bag, in the order of the belt.

    With --json, standard output has one JSON object a line and decision, as soon as it is made,
    and nothing else: bag, verdict, reason, reasons, encoder_head, encoder_tail, detections (label,
    score, box: x1 y1 x2 y2 in detector elements and lines of the scan), latency_ms, late, ladder.

    \b
    Exit codes:
      0  every line was used and every bag is CLEAR or ALARM, in time
      1  the file, the bundle or the engine cannot be used, or the file broke off; what came
         before was screened, and its decisions are printed
      2  wrong usage
      3  the file was screened to its end, but lines were lost or bags NOT_CLEARED
    The last line on standard error says which.

    \b
    Examples:
      xedge run --source belt.xstrip
      xedge run --source belt.xstrip --json --journal journal > decisions.jsonl
    """  # noqa: D301  # click wants the character, not a backslash
    ladder = LadderTable(first_pass=first_pass, smaller=smaller, clear_by=clear_by)
    opened = open_bundle(bundle, public_key)
    spec = opened.spec
    console = open_console(quiet=as_json)
    with DecisionTable(console, None, judged=False) as table:

        def publish(decision: Decision) -> None:
            if as_json:
                click.echo(json.dumps(named_record(decision, spec.classes)))
            words = objects_found(decision.detections, spec.classes, spec.alarm_threshold)
            table.add(decision, words)

        done = screen_file(
            source,
            opened,
            engine=engine,
            threads=threads,
            journal=journal,
            truncated_ok=truncated_ok,
            realtime=realtime,
            ladder=ladder,
            refine_all=refine_all,
            public_key=public_key,
            on_decision=publish,
        )
    if not as_json:
        _conclude(console, done)
    if done.source_error:
        raise StripFileError(f"{done.source_error}. {len(done.lane.decisions)} bags were decided")
    if done.flaws:
        click.echo(f"Flawed: {', '.join(done.flaws)}", err=True)
        ctx.exit(FLAWED)


def _conclude(console: Console, done: Screening) -> None:
    table = summary(done.lane)
    table.add_row("engine", f"{done.engine.name} {done.engine.version}")
    console.print()
    console.print(table)
    for error in done.lane.errors:
        if not done.source_error or done.source_error not in error:
            console.print(f"! {error}", markup=False)
