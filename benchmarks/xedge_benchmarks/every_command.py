"""`xedge bench all`."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from xedge_benchmarks.budget import Budget
from xedge_benchmarks.command_record import bundle_options
from xedge_benchmarks.every import (
    FAILED,
    FULL_S,
    STEPS,
    Outcome,
    Turn,
    command,
    lacking,
    measured_before,
    run_all,
)
from xedge_benchmarks.record import results_folder

REPORT = "report"
REPORT_S = 15.0
QUICK_MINUTES = 10.0


@click.command(name="all")
@click.option("--quick", is_flag=True, help="Less of everything: under 10 minutes.")
@click.option(
    "--only",
    type=click.Choice([*{s.command: None for s in STEPS} | {s.name: None for s in STEPS}]),
    multiple=True,
    help="A command, or one of its steps; may be repeated.",
)
@click.option("--runs", type=click.IntRange(min=1),
              help="Until this commit has so many records of each: others are spared.")  # fmt: skip
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True),
              help="No step begins that would not end within.  [default: quick 10]")  # fmt: skip
@click.option("--list", "listed", is_flag=True, help="Say what would run, and what it takes.")
@bundle_options
@click.pass_context
def every(
    context: click.Context,
    quick: bool,
    only: tuple[str, ...],
    runs: int | None,
    minutes: float | None,
    listed: bool,
    bundle_path: Path | None,
    threads: int | None,
    out: Path | None,
    scratch: bool,
    as_json: bool,
) -> None:
    """Run every benchmark, one after the other, then make the report of their records.

    One that fails is said so, and the next one runs; the exit status is 1 then. What this
    machine lacks (a GPU, a library) is "not measured", which is no failure. A full run takes
    hours, what is worth most at first; with --runs 1 it goes on where it was stopped. After
    --runs 2 the report says whether two runs agree, or that the machine is too noisy.

    \b
    Examples:
      xedge bench all --quick --scratch
      xedge bench all --runs 1 --minutes 25
      xedge bench all --runs 2 --only engines --only "contenders bundle"
    """  # noqa: D301  # click wants the character, not a backslash
    if runs and scratch:
        raise click.UsageError("--runs counts the records of a commit: leave --scratch away")
    group = context.parent.command if context.parent else None
    assert isinstance(group, click.Group), "a command of `xedge bench`"
    said = {
        "bundle_path": ("--bundle", bundle_path),
        "threads": ("--threads", threads),
        "out": ("--out", out),
        "scratch": ("--scratch", scratch),
        "as_json": ("--json", as_json),
    }
    console = Console(stderr=True, highlight=False, markup=False)

    turns = list(_turns(group, said, only, out, runs=runs, quick=quick))
    if listed:
        _list(turns, quick=quick)
        return
    minutes = minutes or (QUICK_MINUTES if quick else None)
    budget = Budget(minutes and minutes * 60 - REPORT_S)
    outcomes = []
    for outcome in run_all(turns, command, budget, console.print):
        outcomes.append(outcome)
        if outcome.why:
            console.print(f"{outcome.step}: {outcome.result}: {outcome.why}")
    if out is None and not scratch:  # other records are not the ones that it shows
        outcomes += run_all([Turn(name=REPORT, args=(REPORT,))], command, Budget(), console.print)
    _print(outcomes, console)
    if any(outcome.result == FAILED for outcome in outcomes):
        raise SystemExit(1)


def _turns(
    group: click.Group, said: Mapping[str, tuple[str, object]], only: Sequence[str],
    out: Path | None, *, runs: int | None, quick: bool,
) -> Iterator[Turn]:  # fmt: skip
    """Each step as often as it is to run, with the options said here that its command takes."""
    for wanted in range(1, (runs or 1) + 1):
        for step in STEPS:
            args = step.args(quick=quick)
            if args is None or (only and not {step.name, step.command} & set(only)):
                continue
            takes = {parameter.name for parameter in group.commands[step.command].params}
            for flag, value in (said[key] for key in said if key in takes):
                if value:
                    args += (flag,) if value is True else (flag, str(value))
            yield Turn(
                name=step.name,
                args=args,
                lack=lacking(step),
                spare=functools.partial(_has, out, args, wanted) if runs else lambda: False,
                takes_s=step.quick_s / 2 if quick else step.full_s,
                limit_s=step.quick_s * 2 if quick else FULL_S,
                may_outlast=not quick,
            )


def _has(out: Path | None, args: Sequence[str], wanted: int) -> bool:
    """Whether there are so many records of a command already."""
    return measured_before(results_folder(out), args) >= wanted


def _list(turns: Sequence[Turn], *, quick: bool) -> None:
    total = 0.0
    for turn in turns:
        if turn.lack or turn.spare():
            what = f"not measured: {turn.lack}" if turn.lack else "measured before"
        else:
            seconds = turn.takes_s * 2 if quick else turn.takes_s
            total += seconds
            what = f"{'at most' if quick else 'about'} {seconds:.0f} s, {total / 60:.0f} min so far"
        click.echo(f"xedge bench {' '.join(turn.args)}: {what}")


def _print(outcomes: Sequence[Outcome], console: Console) -> None:
    table = Table("", "", "seconds", "")
    for outcome in outcomes:
        table.add_row(outcome.step, outcome.result, f"{outcome.seconds:.0f}", outcome.why)
    console.print(table)
    console.print(f"{sum(outcome.seconds for outcome in outcomes):.0f} s in all")
