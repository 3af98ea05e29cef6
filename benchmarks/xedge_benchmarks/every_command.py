"""`xedge bench all`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from xedge_benchmarks.command_record import bundle_options
from xedge_benchmarks.every import (
    FAILED,
    FULL_S,
    QUICK_S,
    STEPS,
    Outcome,
    command,
    lacking,
    run_all,
)

REPORT = "report"


@click.command(name="all")
@click.option("--quick", is_flag=True, help="Less of everything: under 10 minutes on 2 cores.")
@click.option("--only", type=click.Choice([step.name for step in STEPS]), multiple=True,
              help="One of them; may be repeated.")  # fmt: skip
@bundle_options
@click.pass_context
def every(
    context: click.Context,
    quick: bool,
    only: tuple[str, ...],
    bundle_path: Path | None,
    threads: int | None,
    out: Path | None,
    scratch: bool,
    as_json: bool,
) -> None:
    """Run every benchmark, one after the other, then make the report of their records.

    One that fails is said so, and the next one runs; the exit status is 1 then. What this
    machine lacks (a GPU, a library) is "not measured", which is no failure. A full run takes
    hours.

    \b
    Examples:
      xedge bench all --quick --scratch
      xedge bench all --only engines --only lane
    """  # noqa: D301  # click wants the character, not a backslash
    group = context.parent.command if context.parent else None
    assert isinstance(group, click.Group), "a command of `xedge bench`"
    said = (
        ("bundle_path", "--bundle", bundle_path),
        ("threads", "--threads", threads),
        ("out", "--out", out),
        ("scratch", "--scratch", scratch),
        ("as_json", "--json", as_json),
    )
    console = Console(stderr=True, highlight=False, markup=False)

    def options(name: str) -> Iterator[str]:
        """What was said here, for a command that takes it."""
        takes = {parameter.name for parameter in group.commands[name].params}
        for key, flag, value in said:
            if key in takes and value:
                yield from (flag,) if value is True else (flag, str(value))

    chosen = []
    for step in STEPS:
        args = step.args(quick=quick)
        if args is not None and step.name in (only or {s.name for s in STEPS}):
            chosen.append((step.name, (*args, *options(args[0])), lacking(step)))
    if out is None and not scratch:  # other records are not the ones that it shows
        chosen.append((REPORT, (REPORT,), ""))
    limit = QUICK_S if quick else FULL_S
    outcomes = []
    for outcome in run_all(chosen, lambda args: command(args, limit), console.print):
        outcomes.append(outcome)
        if outcome.why:
            console.print(f"{outcome.step}: {outcome.result}: {outcome.why}")
    _print(outcomes, console)
    if any(outcome.result == FAILED for outcome in outcomes):
        raise SystemExit(1)


def _print(outcomes: Sequence[Outcome], console: Console) -> None:
    table = Table("", "", "seconds", "")
    for outcome in outcomes:
        table.add_row(outcome.step, outcome.result, f"{outcome.seconds:.0f}", outcome.why)
    console.print(table)
    console.print(f"{sum(outcome.seconds for outcome in outcomes):.0f} s in all")
