"""What the commands of `xedge bench` share: the options of a record, and what becomes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table

from xedge.provenance import code_version
from xedge_benchmarks.limits import peaks_in, reached
from xedge_benchmarks.record import BenchRecord, keep_record, require_traceable

Command = TypeVar("Command", bound=Callable[..., Any])
Option = Callable[[Any], Any]


def record_options(command: Command) -> Command:
    """The command with ``out``, ``scratch`` and ``as_json``."""
    return _with(
        command,
        click.option(
            "--out",
            type=click.Path(path_type=Path, file_okay=False),
            help="Folder of the records; without it, benchmarks/results of the checkout.",
        ),
        click.option(
            "--scratch",
            is_flag=True,
            callback=_refuse_untraceable,
            help="Keep a record of code that no commit names.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print the record as JSON."),
    )


def bundle_options(command: Command) -> Command:
    """The command with ``bundle_path``, ``threads`` and the options of its record."""
    return _with(
        record_options(command),
        click.option(
            "--bundle",
            "bundle_path",
            type=click.Path(path_type=Path),
            help="The model to measure; without it, the bundle that xedge ships.",
        ),
        click.option("--threads", type=click.IntRange(min=1), help="Threads of an engine's run."),
    )


def graphs_option(command: Command) -> Command:
    """The command with ``graphs``, the folder of `xedge_benchmarks.shelf.Shelf`."""
    option = click.option(
        "--graphs",
        type=click.Path(path_type=Path, file_okay=False),
        help="Keep exported graphs here, and take those of this commit.",
    )
    return _with(command, option)


def within_option(command: Command) -> Command:
    """The command with ``within_s``, seconds of `xedge_benchmarks.budget.Budget`."""
    option = click.option(
        "--within",
        "within_s",
        type=click.FloatRange(min=0, min_open=True),
        help="Seconds after which no more is begun; the record says how far it came.",
    )
    return _with(command, option)


def _refuse_untraceable(context: click.Context, _: click.Parameter, scratch: bool) -> bool:
    """The flag, before anything is measured that could not be kept."""
    if not context.resilient_parsing:
        require_traceable(code_version(), scratch=scratch)
    return scratch


def _with(command: Command, *options: Option) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def _show_shares(record: BenchRecord, folder: Path, console: Console) -> None:
    """Print what share of the peak each row reached, where the machine's peak was measured."""
    peaks = peaks_in(folder)
    rows = reached(dataclasses.asdict(record), peaks) if peaks else []
    if rows:
        table = Table("of the measured peak", "Gop", "arithmetic / bandwidth")
        for row in rows:
            operations = sum(row.work.operations.values())
            table.add_row(row.label, f"{operations / 1e9:.2f}", row.text)
        console.print(table)


def keep_and_tell(
    record: BenchRecord,
    show: Callable[[BenchRecord, Console], None],
    out: Path | None,
    *,
    scratch: bool,
    as_json: bool,
) -> None:
    """Keep a record, and print it: as JSON, or what ``show`` prints, its notes and its path.

    Rows whose work was counted are also held against the machine's peak.

    Raises:
        ConfigError: See `xedge_benchmarks.record.keep_record`.
    """
    path = keep_record(record, out, scratch=scratch)
    if as_json:
        click.echo(record.to_json(), nl=False)
        return
    console = Console(highlight=False, markup=False)
    show(record, console)
    _show_shares(record, path.parent.parent / record.machine.slug, console)
    for note in record.notes:
        console.print(f"note: {note}")
    console.print(f"record: {path}", soft_wrap=True)
