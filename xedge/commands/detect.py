"""`xedge detect`: screen picture files."""

from __future__ import annotations

import html
import json
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from xedge import __version__
from xedge.bundle import Bundle, open_bundle
from xedge.commands.bundle_options import bundle_options, refine_all
from xedge.detector import ASSUMED_PICTURE_MM, open_detector
from xedge.drawing import draw_detections
from xedge.engines import BACK_ENDS
from xedge.errors import ConfigError, InputError
from xedge.page import encoded
from xedge.pictures import ColourPicture, pair_key, read_picture
from xedge.types import AIR_COUNTS, Detections


@click.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@bundle_options
@click.option("--engine", default="auto", show_default=True, help=f"auto, {', '.join(BACK_ENDS)}.")
@click.option("--threads", type=click.IntRange(1), help="Threads of the engine; else all cores.")
@refine_all
@click.option("--threshold", type=click.FloatRange(0, 1), help="Least score; else the model's.")
@click.option(
    "--pixel-mm",
    type=click.FloatRange(0.01, 10),
    help="Size of a colour picture's pixel at the belt, mm; else its longer side is taken to be "
    f"{ASSUMED_PICTURE_MM:.0f} mm.",
)
@click.option(
    "--air",
    type=click.IntRange(256, 65535),
    default=AIR_COUNTS,
    show_default=True,
    help="What unattenuated air reads in 16-bit files.",
)
@click.option("--draw", type=click.Path(path_type=Path), help="Folder for pictures and a page.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.pass_context
def detect(
    ctx: click.Context,
    images: tuple[Path, ...],
    bundle: Path | None,
    public_key: bytes | None,
    engine: str,
    threads: int | None,
    threshold: float | None,
    refine_all: bool,
    pixel_mm: float | None,
    air: int,
    draw: Path | None,
    as_json: bool,
) -> None:
    """Find objects in picture files.

    IMAGES are pseudo-colour pictures (8-bit PNG, JPEG, BMP), or corrected dual-energy counts
    in 16 bits: a TIFF of two pages (low, high), NAME_low.png with NAME_high.png, or an .npz with
    arrays low and high. Boxes are x1 y1 x2 y2 in the picture's pixels.

    A model of dual-energy counts sees a pseudo-colour picture through a guess at what the scanner
    measured: expect less of it there.

    A file that cannot be screened is reported (in JSON as an object of image and error), the
    others are screened, and the exit code is 1.

    \b
    Examples:
      xedge detect bag.png
      xedge detect --json scans/*.npz > found.json
      xedge detect --draw page --pixel-mm 0.8 pictures/*.jpg
    """  # noqa: D301  # click wants the character, not a backslash
    opened = open_bundle(bundle, public_key)
    results: list[Finding | Refusal] = []
    findings: list[Finding] = []
    with (
        open_detector(
            opened, engine, threads, score_threshold=threshold, refine_all=refine_all
        ) as detector,
        Progress(console=Console(stderr=True), transient=True, disable=as_json) as progress,
    ):
        # Both halves of a pair may be named, by `*.png` for one.
        paths = list({pair_key(path): path for path in images}.values())
        for path in progress.track(paths, description="Screening"):
            try:
                picture = read_picture(path, air)
                found = detector.detect_image(picture, pixel_mm=pixel_mm)
            except (InputError, ConfigError) as error:
                if ctx.find_root().params.get("debug"):
                    raise
                results.append(Refusal(path, " ".join(str(error).split())))
                continue
            kind = "pseudo-colour" if isinstance(picture, ColourPicture) else "dual-energy"
            finding = Finding(path, kind, picture.shape, found)
            findings.append(finding)
            results.append(finding)
            if draw is not None:
                drawn = draw_detections(picture.rgb, found, opened.spec.classes)
                _write(draw / finding.drawing(len(findings)), encoded(drawn, ".png"))
    if draw is not None and findings:
        _write(draw / "index.html", _page(findings, opened, engine, pixel_mm).encode())
    _report(results, opened.spec.classes, draw, as_json=as_json)
    if len(findings) < len(results):
        ctx.exit(1)


def _report(
    results: list[Finding | Refusal], classes: tuple[str, ...], draw: Path | None, *, as_json: bool
) -> None:
    """Print what came of every file."""
    findings = [result for result in results if isinstance(result, Finding)]
    refused = [result for result in results if isinstance(result, Refusal)]
    if as_json:
        # One file a line: a list that people can read and `grep` can cut.
        rows = ",\n".join(json.dumps(result.record(classes)) for result in results)
        click.echo(f"[\n{rows}\n]")
    else:
        if findings:
            Console().print(_table(findings, classes))
        if draw is not None and findings:
            click.echo(f"Drawn: {draw / 'index.html'}")
        for refusal in refused:
            click.echo(f"Error: {refusal.line()}", err=True)


@dataclass(frozen=True)
class Refusal:
    """Why one file was not screened.

    Attributes:
        path: The file, as it was named.
        error: The error, one line.
    """

    path: Path
    error: str

    def record(self, _: tuple[str, ...]) -> dict[str, Any]:
        """The refusal as JSON."""
        return {"image": str(self.path), "error": self.error}

    def line(self) -> str:
        """The refusal for a person; the file is named once."""
        named = str(self.path) in self.error
        return self.error if named else f"{self.path}: {self.error}"


@dataclass(frozen=True, eq=False)
class Finding:
    """What was found in one file.

    Attributes:
        path: The file, as it was named.
        kind: ``pseudo-colour`` or ``dual-energy``.
        shape: Height and width, pixels.
        found: Objects, in the file's pixels.
    """

    path: Path
    kind: str
    shape: tuple[int, int]
    found: Detections

    def record(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """The finding as JSON."""
        return {
            "image": str(self.path),
            "kind": self.kind,
            "width": self.shape[1],
            "height": self.shape[0],
            "detections": [
                {
                    "label": classes[int(self.found.labels[k])],
                    "score": round(float(self.found.scores[k]), 6),
                    "box": [round(float(v), 3) for v in self.found.boxes[k]],
                }
                for k in range(len(self.found))
            ],
        }

    def drawing(self, number: int) -> str:
        """Name of its picture in the folder of ``--draw``; numbered, since stems may repeat."""
        return f"{number:04d}-{self.path.stem}.png"


def _table(findings: list[Finding], classes: tuple[str, ...]) -> Table:
    table = Table("image", "label", "score", "box (x1 y1 x2 y2)")
    for finding in findings:
        rows = finding.record(classes)["detections"]
        for row in rows:
            box = " ".join(f"{v:.0f}" for v in row["box"])
            table.add_row(finding.path.name, row["label"], f"{row['score']:.2f}", box)
        if not rows:
            table.add_row(finding.path.name, "nothing", "", "")
    return table


def _write(path: Path, data: bytes) -> None:
    """Write a file of the page; its folder is made when it is not there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written",
            found=error.strerror or str(error),
            remedy="Name another folder with --draw",
        ) from error


_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(22rem, 1fr)); gap: 1.2rem }
figure { margin: 0; border: 1px solid #8886; border-radius: 6px; overflow: hidden }
figure img { width: 100%; display: block; background: #fff }
figcaption { padding: .5rem .7rem; font-size: .9em } .none { opacity: .6 }
.note { border-left: 4px solid #c80; padding: .3rem .8rem }
"""


def _page(findings: list[Finding], bundle: Bundle, engine: str, pixel_mm: float | None) -> str:
    """The page of ``--draw``: all pictures, what made them, and what they are not."""
    spec = bundle.spec
    objects = sum(len(finding.found) for finding in findings)
    notes = []
    if any(finding.kind == "pseudo-colour" for finding in findings):
        scale = (
            f"the longer side of each was taken to be {ASSUMED_PICTURE_MM:.0f} mm"
            if pixel_mm is None
            else f"a pixel was taken to be {pixel_mm} mm"
        )
        notes.append(
            "<p class='note'>The model takes dual-energy counts. What it saw of a pseudo-colour "
            "picture is a guess at them from its colours, and "
            f"{scale}: this page shows what the model does there, not how good it is.</p>"
        )
    figures = "\n".join(
        _figure(finding, number, spec.classes) for number, finding in enumerate(findings, 1)
    )
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>xedge detect</title><style>{_STYLE}</style>
<h1>Objects found: {objects}; pictures: {len(findings)}</h1>
<p>Model {html.escape(spec.name)} (bundle {bundle.sha256[:12]}), engine {html.escape(engine)},
xedge {__version__}. A lane alarms at a score of {spec.alarm_threshold}.</p>
{"".join(notes)}
<main>
{figures}
</main></html>
"""


def _figure(finding: Finding, number: int, classes: tuple[str, ...]) -> str:
    rows = finding.record(classes)["detections"]
    found = ", ".join(f"{html.escape(row['label'])} {row['score']:.2f}" for row in rows)
    caption = found or "<span class='none'>nothing found</span>"
    source = html.escape(urllib.parse.quote(finding.drawing(number)))
    name = html.escape(str(finding.path.name))
    return (
        f'<figure><a href="{source}"><img src="{source}" alt="{name}" loading="lazy"></a>'
        f"<figcaption><b>{name}</b><br>{caption}</figcaption></figure>"
    )
