"""`xedge bench compare`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from xedge_benchmarks.compare import SAME, Comparison
from xedge_benchmarks.compare import compare as compared
from xedge_benchmarks.stored import Figure


@click.command()
@click.argument("a", type=click.Path(path_type=Path, exists=True))
@click.argument("b", type=click.Path(path_type=Path, exists=True))
@click.option("--all", "everything", is_flag=True, help="Show figures that are the same as well.")
@click.option("--json", "as_json", is_flag=True, help="Print every figure as JSON.")
@click.pass_context
def compare(ctx: click.Context, a: Path, b: Path, everything: bool, as_json: bool) -> None:
    """Say what is slower or faster in record B than in record A; either may be a folder.

    A figure differs when its interval lies outside the other one, and by more than two runs
    of one commit on one side disagree; otherwise it is too noisy to tell. Exits with 1 when
    any differs, in either direction.

    \b
    Examples:
      xedge bench compare benchmarks/results/reference benchmarks/results
      xedge bench compare before.json after.json --all
    """  # noqa: D301  # click wants the character, not a backslash
    found = compared(a, b)
    if as_json:
        rows = [dataclasses.asdict(v) | {"change": v.change} for v in found.verdicts]
        click.echo(json.dumps({"differs": found.differs, "notes": found.notes, "figures": rows}))
    else:
        _print(found, everything=everything)
    ctx.exit(1 if found.differs else 0)


def _print(found: Comparison, *, everything: bool) -> None:
    console = Console(highlight=False, markup=False)
    shown = [v for v in found.verdicts if everything or v.verdict != SAME]
    if shown:
        table = Table("", "figure", "A", "B", "change", "own noise", "verdict")
        for v in shown:
            noise = "one run" if v.noise is None else f"{v.noise:.1%}"
            change = f"{v.change:+.1%}"
            table.add_row(
                v.question, v.figure, _cell(v.before), _cell(v.after), change, noise, v.verdict
            )
        console.print(table)
    same = sum(v.verdict == SAME for v in found.verdicts)
    console.print(f"{same} of {len(found.verdicts)} figures are the same within their intervals")
    for note in found.notes:
        console.print(f"note: {note}")


def _cell(figure: Figure) -> str:
    return f"{figure.value:.4g} ({figure.low:.4g} to {figure.high:.4g})"
