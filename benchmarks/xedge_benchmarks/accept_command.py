"""`xedge bench accept`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from xedge_benchmarks.record import results_folder


@click.command()
@click.argument("places", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--why", required=True, help="A sentence: what makes these the values to hold.")
@click.option("--who", default="", help="Who accepts them; without it, git's user.name.")
@click.option("--commit", default="", help="Of folders, records of this commit alone.")
@click.option("--results", type=click.Path(path_type=Path, file_okay=False, exists=True),
              help="Folder of the records; without it, benchmarks/results of the checkout."
              )  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
def accept(
    places: tuple[Path, ...],
    why: str,
    who: str,
    commit: str,
    results: Path | None,
    as_json: bool,
) -> None:
    """Accept records, or the newest quiet one of each thing in folders, to hold others against.

    They are copied to results/reference, and a line of reference/accepted.jsonl says who did it,
    when and why. Nothing there is ever replaced: a later record of the same thing counts instead.

    \b
    Examples:
      xedge bench accept benchmarks/results/MACHINE --commit 7ce64e7 --why "two runs agree"
      xedge bench compare benchmarks/results/reference benchmarks/results
    """  # noqa: D301  # click wants the character, not a backslash
    from xedge_benchmarks.accept import accept as accepted
    from xedge_benchmarks.accept import git_user

    lines = accepted(places, results_folder(results), who or git_user(), why, commit)
    if as_json:
        click.echo(json.dumps([asdict(line) for line in lines]))
        return
    for line in lines:
        click.echo(f"{line.record}: {line.second_run or 'no second run'}")
