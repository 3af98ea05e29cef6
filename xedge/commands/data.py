"""`xedge data`: verify data sets, look at them, and say which formats there are."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path

import click
import cv2
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from xedge.data import FORMATS, ImageSet, Record, load_picture, open_set
from xedge.data.defects import Finding
from xedge.data.verify import Report
from xedge.data.verify import verify as verify_set
from xedge.drawing import draw_boxes
from xedge.errors import ConfigError
from xedge.types import U8

SHOWN = 12
"""Findings of a kind in the table; JSON has all."""

TILE = 360
"""Longer side of a picture on the page of `show`, pixels."""

COLUMNS = 4

_folder = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
_format = click.option(
    "--format", required=True, type=click.Choice(list(FORMATS)), help="How the folder is laid out."
)
_part = click.option("--part", default="", help="One part of the set, `train` for one.")


@click.group()
def data() -> None:
    """Verify data sets and look at them.

    The sets are academic: none comes with xedge, and their licences hold for what you train.

    \b
    Examples:
      xedge data formats
      xedge data verify SIXray --format sixray
    """  # noqa: D301  # click wants the character, not a backslash


@data.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def formats(as_json: bool) -> None:
    """Say which formats can be read, and which files each expects.

    \b
    Examples:
      xedge data formats
      xedge data formats --json
    """  # noqa: D301  # click wants the character, not a backslash
    if as_json:
        rows = [{"name": f.name, "what": f.what, "layout": f.layout.splitlines()}
                for f in FORMATS.values()]  # fmt: skip
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table("format", "what it is", "files in the folder", show_lines=True)
    for form in FORMATS.values():
        table.add_row(form.name, form.what, form.layout)
    _console().print(table)


@data.command()
@_folder
@_format
@_part
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.pass_context
def verify(ctx: click.Context, folder: Path, format: str, part: str, as_json: bool) -> None:
    """Find what is wrong with a data set: every list compared, every picture decoded.

    Missing, broken or doubled files, names that are empty or doubled, boxes that are inverted or
    out of bounds, lists that disagree, unknown classes, checksums (SHA256SUMS, MD5SUMS) that do
    not match. Exits with 1 when something was found.

    \b
    Examples:
      xedge data verify OPIXray --format opixray
      xedge data verify SIXray --format sixray --part 10/train --json > findings.json
    """  # noqa: D301  # click wants the character, not a backslash
    with Progress(console=Console(stderr=True), transient=True, disable=as_json) as progress:
        task = progress.add_task("Verifying", total=None)
        report = verify_set(
            format, folder, part, lambda n, of: progress.update(task, completed=n, total=of)
        )
    if as_json:
        click.echo(report.to_json())
    else:
        _print(report)
    ctx.exit(0 if report.sound else 1)


def _console() -> Console:
    console = Console(highlight=False, markup=False)
    # A file or a pipe has no width: 80 columns would break its lines in the middle of words.
    if not console.is_terminal:
        console.width = 200
    return console


def _print(report: Report) -> None:
    console = _console()
    counts = report.counts
    if report.findings:
        table = Table("defect", "file", "what")
        for kind, found in groupby(report.findings, key=lambda finding: finding.kind.value):
            _add(table, kind, list(found))
        console.print(table)
    summary = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "nothing wrong"
    console.print(f"{report.images} images, {report.objects} objects, {report.files} files read: "
                  f"{summary}")  # fmt: skip


def _add(table: Table, kind: str, found: list[Finding]) -> None:
    for finding in found[:SHOWN]:
        table.add_row(kind, finding.file, finding.what)
    if len(found) > SHOWN:
        table.add_row(kind, f"... and {len(found) - SHOWN} more", "--json lists them all")


@data.command()
@_folder
@_format
@_part
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path),
              help="The page to write, a JPEG or PNG.")  # fmt: skip
@click.option("--count", type=click.IntRange(1, 400), default=24, show_default=True,
              help="Images on it, taken evenly from the whole set.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the names of the images as JSON.")
def show(folder: Path, format: str, part: str, out: Path, count: int, as_json: bool) -> None:
    """Write a page of pictures with their boxes.

    \b
    Examples:
      xedge data show OPIXray --format opixray --part test-3 -o hidden.jpg
    """  # noqa: D301  # click wants the character, not a backslash
    images = open_set(format, folder, part)
    chosen = np.unique(np.linspace(0, len(images) - 1, count).round().astype(int))
    records = [images.records[int(k)] for k in chosen]
    with Progress(console=Console(stderr=True), transient=True, disable=as_json) as progress:
        tiles = [_tile(images, r) for r in progress.track(records, description="Drawing")]
    _write(out, _sheet(tiles))
    if as_json:
        click.echo(json.dumps([record.name for record in records]))
    else:
        click.echo(f"{len(records)} of {len(images)} images: {out}")


def _tile(images: ImageSet, record: Record) -> U8:
    """A record's picture at the page's size with boxes, classes and levels on it."""
    rgb = np.ascontiguousarray(load_picture(record).transpose(1, 2, 0))
    scale = TILE / max(rgb.shape[:2])
    size = max(round(rgb.shape[1] * scale), 1), max(round(rgb.shape[0] * scale), 1)
    small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    texts = []
    for k, label in enumerate(record.labels):
        level = int(record.levels[k]) if record.levels is not None else 0
        marks = f" OL{level}" if level else ""
        texts.append(images.classes[int(label)] + marks + ("?" if record.difficult[k] else ""))
    boxes = (record.boxes * np.float32(scale)).astype(np.float32)
    drawn = draw_boxes(small, boxes, record.labels, texts)
    tile = np.full((TILE, TILE, 3), 255, np.uint8)
    tile[: drawn.shape[0], : drawn.shape[1]] = drawn
    font, at = cv2.FONT_HERSHEY_SIMPLEX, (4, TILE - 6)
    # OpenCV's fonts have ASCII only.
    name = record.name.encode("ascii", "replace").decode()
    cv2.putText(tile, name, at, font, 0.4, (90, 90, 90), 1, cv2.LINE_AA)
    return tile


def _sheet(tiles: list[U8]) -> U8:
    columns = min(COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * TILE, columns * TILE, 3), 255, np.uint8)
    for k, tile in enumerate(tiles):
        y, x = k // columns * TILE, k % columns * TILE
        sheet[y : y + TILE, x : x + TILE] = tile
    return sheet


def _write(path: Path, rgb: U8) -> None:
    """Write the page.

    Raises:
        ConfigError: When the name is of no picture, or the file cannot be written.
    """
    kind = path.suffix.lower()
    if kind not in {".jpg", ".jpeg", ".png"}:
        raise ConfigError(f"{path} is no name of a page", expected="a .jpg or .png",
                          found=kind or "no suffix")  # fmt: skip
    good, encoded = cv2.imencode(kind, np.ascontiguousarray(rgb[..., ::-1]))
    assert good  # an 8-bit picture in memory can always be encoded
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded.tobytes())
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written",
            found=error.strerror or str(error),
            remedy="Name another file with --out",
        ) from error
