"""`xedge flatfield`: a detector's correction file, made from its dark and air runs, and shown."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import numpy as np

from xedge.errors import CorrectionError
from xedge.scanner import ring
from xedge.scanner.correctionfile import Correction, load_correction, save_correction
from xedge.scanner.flatfield import FlatField
from xedge.scanner.registration import measured_lag
from xedge.scanner.ringsource import RingSource
from xedge.scanner.source import StripFileSource
from xedge.scanner.stripfile import StripFileHeader
from xedge.types import U16

_file = click.Path(path_type=Path, dir_okay=False)


@click.group()
def flatfield() -> None:
    """Make and show a detector's correction file: offset, gain, dead elements, and lag."""


@flatfield.command()
@click.option("--out", type=_file, required=True, help="The correction file, NAME.xflat.")
@click.option("--runs", type=_file, help="A strip file that begins with its dark and air runs.")
@click.option("--dark", type=_file, help="A strip file or a ring: tube off.")
@click.option("--air", type=_file, help="A strip file or a ring: tube on, belt empty.")
@click.option("--scan", type=_file, help="A strip file of a bag, to measure the lag by.")
@click.option("--lag", type=int, help="Lines by which high lags behind low, belt forward.")
@click.option("--serial", help="Serial number of the detector; else what the recording says.")
@click.option("--lines", type=click.IntRange(16, 65536), default=256, show_default=True,
              help="Lines taken of --dark and --air.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def make(
    out: Path,
    runs: Path | None,
    dark: Path | None,
    air: Path | None,
    scan: Path | None,
    lag: int | None,
    serial: str | None,
    lines: int,
    as_json: bool,
) -> None:
    """Make a correction file from a dark and an air run.

    \b
    Examples:
      xedge flatfield make --out d7.xflat --runs belt.xstrip
      xedge flatfield make --out d7.xflat --dark dark.xstrip --air air.xstrip --serial D-7
      xedge flatfield make --out d7.xflat --dark off.xstrip --air /dev/shm/lane1 --scan bag.xstrip
    """  # noqa: D301  # click wants the character, not a backslash
    if runs is not None and dark is None and air is None:
        with StripFileSource(runs) as source:
            header, flat = source.reader.header, source.reader.flat_field()
    elif runs is None and dark is not None and air is not None:
        _, dark_run = _taken(dark, lines)
        header, air_run = _taken(air, lines)
        flat = FlatField.from_runs(*dark_run, *air_run)
    else:
        raise click.UsageError("give --runs, or --dark and --air")
    if scan is not None:
        if lag is not None:
            raise click.UsageError("give --lag or --scan, not both")
        lag = measured_lag(*flat.apply(*_taken(scan, 65_536)[1]))
    number = serial if serial is not None else str(header.metadata.get("serial", ""))
    made = save_correction(out, Correction(flat, number, lag or 0))
    _say(out, made, as_json)


@flatfield.command()
@click.argument("file", type=_file)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(file: Path, as_json: bool) -> None:
    """Show what stands in a correction file.

    \b
    Examples:
      xedge flatfield show d7.xflat
    """  # noqa: D301
    _say(file, load_correction(file), as_json)


def _taken(path: Path, lines: int) -> tuple[StripFileHeader, tuple[U16, U16]]:
    """The first intact lines of a strip file or a ring, both energies."""
    low: list[U16] = []
    high: list[U16] = []
    with ExitStack() as stack:
        source, header = _opened(path)
        stack.enter_context(source)
        for strip in source:
            if strip.intact and strip.elements == header.elements:
                low.append(strip.low)
                high.append(strip.high)
            if sum(map(len, low)) >= lines:
                break
    if not low:
        raise CorrectionError(f"{path} holds no intact line", remedy="Record it again")
    return header, (np.concatenate(low)[:lines], np.concatenate(high)[:lines])


def _opened(path: Path) -> tuple[RingSource | StripFileSource, StripFileHeader]:
    try:
        with path.open("rb") as file:
            is_ring = file.read(len(ring.MAGIC)) == ring.MAGIC
    except OSError:
        is_ring = False  # the strip file's own error says what is wrong
    if is_ring:
        live = RingSource(path)
        return live, live.header.detector
    recorded = StripFileSource(path)
    return recorded, recorded.reader.header


def _say(path: Path, made: Correction, as_json: bool) -> None:
    flat = made.flat_field
    dead = [np.flatnonzero(mask).tolist() for mask in flat.dead]
    about: dict[str, Any] = {
        "file": str(path), "serial": made.serial, "made_utc": made.made_utc,
        "elements": flat.elements, "lag_lines": made.lag_lines,
        "offset": [round(float(np.median(row)), 1) for row in flat.offset],
        "gain": [round(float(np.median(row)), 4) for row in flat.gain],
        "dead": dead, "saturated_share": list(flat.saturated_share),
    }  # fmt: skip
    if as_json:
        click.echo(json.dumps(about))
        return
    click.echo(f"{path}: {flat.elements} elements of detector {made.serial or 'without a number'}, "
               f"made {made.made_utc}, lag {made.lag_lines} lines")  # fmt: skip
    for name, row, offset, gain in zip(("low", "high"), dead, about["offset"], about["gain"],
                                       strict=True):  # fmt: skip
        listed = f" ({', '.join(map(str, row))})" if row else ""
        click.echo(f"  {name}: median offset {offset}, gain {gain}, {len(row)} dead{listed}")
