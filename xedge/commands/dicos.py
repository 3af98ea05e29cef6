"""`xedge dicos`: the bags of a strip file as DICOS files, and DICOS files shown."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from xedge.bundle import open_bundle
from xedge.commands.bundle_options import bundle_options
from xedge.commands.lane import FLAWED
from xedge.commands.strips import screen_file
from xedge.control.dicos.bag import BagFiles, DicosFolder
from xedge.control.dicos.document import DX, Origin, load
from xedge.control.dicos.image import DicosImage, read_image
from xedge.control.dicos.machine import DicosMachine
from xedge.control.dicos.readback import DicosReport, read_report
from xedge.control.dicos.report import Screener
from xedge.engines import BACK_ENDS
from xedge.errors import StripFileError, XedgeError
from xedge.scanner.stripfile import StripReader
from xedge.types import Decision, Scan


@click.group()
def dicos() -> None:
    """Write bags as DICOS files for security systems, and show such files.

    A bag is two X-ray images, one for each energy, and a threat detection report. docs/dicos.md
    says what stands in them. Needs the extra `dicos`.

    \b
    Examples:
      xedge dicos write --source belt.xstrip --out dicos/
      xedge dicos show dicos/bag-000001-report.dcs
    """  # noqa: D301  # click wants the character, not a backslash


@dicos.command()
@click.option("--source", type=click.Path(path_type=Path), required=True,
              help="A strip file.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True,
              help="The folder that the files go to.")  # fmt: skip
@click.option("--machine", type=click.Path(path_type=Path, dir_okay=False),
              help="TOML: manufacturer, serial, uid_root, ... (docs/dicos.md).")  # fmt: skip
@bundle_options
@click.option("--engine", default="auto", show_default=True, help=f"auto, {', '.join(BACK_ENDS)}.")
@click.option("--threads", type=click.IntRange(1), help="Of the engine; else all cores but one.")
@click.option("--truncated-ok", is_flag=True, help="Take a file without its end, as a .part is.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a bag.")
@click.pass_context
def write(
    ctx: click.Context,
    source: Path,
    out: Path,
    machine: Path | None,
    bundle: Path | None,
    public_key: bytes | None,
    engine: str,
    threads: int | None,
    truncated_ok: bool,
    as_json: bool,
) -> None:
    """Screen a strip file and write each bag as DICOS files.

    For bag 1 these are bag-000001-low.dcs, bag-000001-high.dcs and bag-000001-report.dcs; no
    file is replaced. A strip file has no time of day: the files say when it was screened. Bags
    of the simulator are marked SYNTHETIC and NON_OPERATIONAL. Exit codes are those of `xedge run`.

    \b
    Examples:
      xedge dicos write --source belt.xstrip --out dicos/
      xedge dicos write --source belt.xstrip --out dicos/ --machine scanner.toml --json
    """  # noqa: D301  # click wants the character, not a backslash
    opened = open_bundle(bundle, public_key)
    folder = _folder(source, out, machine, Screener(
        opened.spec.classes, opened.spec.alarm_threshold, opened.spec.name))  # fmt: skip
    failed: list[XedgeError] = []

    def put(decision: Decision, scan: Scan | None) -> None:
        if failed:  # a full disk, say: one message is enough
            return
        try:
            files = folder.write(
                decision, scan, scanned=datetime.datetime.now(datetime.timezone.utc)
            )
        except XedgeError as error:
            failed.append(error)
        else:
            _say(decision, files, as_json)

    # In a hurry the lane's clock is virtual: writing in its callback makes no bag late.
    done = screen_file(source, opened, engine=engine, threads=threads,
                       truncated_ok=truncated_ok, on_bag=put)  # fmt: skip
    if failed:
        raise failed[0]
    if done.source_error:
        raise StripFileError(f"{done.source_error}. {len(done.lane.decisions)} bags were decided")
    if done.flaws:
        click.echo(f"Flawed: {', '.join(done.flaws)}", err=True)
        ctx.exit(FLAWED)


def _folder(source: Path, out: Path, machine: Path | None, screener: Screener) -> DicosFolder:
    """The folder to write to, with what the strip file knows of the machine."""
    with StripReader(source) as reader:
        header = reader.header
    described = DicosMachine(
        pitch_mm=header.pitch_mm,
        counts_per_mm=header.counts_per_mm,
        speed_mm_s=header.speed_m_s * 1000,
    )
    if machine is not None:
        described = described.with_toml(machine)
    origin = Origin.SYNTHETIC if header.simulated else Origin.MACHINE
    return DicosFolder(out, described, screener, origin)


def _say(decision: Decision, files: BagFiles, as_json: bool) -> None:
    paths = [str(path) for path in (files.report, files.low, files.high) if path is not None]
    if as_json:
        click.echo(json.dumps({"bag": decision.bag, "verdict": decision.verdict.name,
                               "reason": decision.reason.name, "files": paths}))  # fmt: skip
    else:
        click.echo(f"bag {decision.bag}: {decision.verdict.name}, {', '.join(paths)}")


@dicos.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def show(file: Path, as_json: bool) -> None:
    """Show a DICOS X-ray image or threat detection report, by xedge or by other makers.

    \b
    Examples:
      xedge dicos show bag-000001-report.dcs
      xedge dicos show bag-000001-low.dcs --json
    """  # noqa: D301  # click wants the character, not a backslash
    is_image = load(file).SOPClassUID == DX
    shown: DicosImage | DicosReport = read_image(file) if is_image else read_report(file)
    record = shown.to_dict()
    if as_json:
        click.echo(json.dumps(record))
        return
    console = Console(highlight=False, markup=False)
    objects = record.pop("objects", [])
    table = Table(show_header=False, box=None)
    for name, value in record.items():
        words = ", ".join(map(str, value)) if isinstance(value, list) else value
        table.add_row(name.replace("_", " "), "-" if words in (None, "") else str(words))
    console.print(table)
    if objects:
        found = Table("object", "score", "assessment", "category", "box")
        for one in objects:
            score = "-" if one["score"] is None else f"{one['score']:.2f}"
            box = " ".join(f"{x:.0f}" for x in one["box"])
            found.add_row(one["label"], score, one["assessment"], one["category"], box)
        console.print(found)
