"""Real input through the chain: a laboratory's dual-energy scans, and SIXray's pictures.

    XEDGE_DATA=FOLDER python docs/real_input.py [--out demo/real-input] [--bundle B] [--engine E]

The folder has ``dual-energy-lab/*.mat`` and ``sixray-real/``; docs/real-input.md says what they
are and what to expect. Needs scipy beside xedge. What it writes stays here: SIXray's licence is
for academic use.
"""

from __future__ import annotations

import html
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from scipy.io import loadmat

import xedge
from xedge import boxes
from xedge.drawing import draw_detections
from xedge.lane import LaneConfig, LaneReport, run_lane
from xedge.preprocess import pseudo_colour
from xedge.scanner.cutter import CutterConfig
from xedge.scanner.flatfield import FlatField
from xedge.scanner.source import ArraySource
from xedge.types import U16, Decision, Scan

LABELS = {"Gun": "gun", "Knife": "knife", "Wrench": "wrench", "Pliers": "pliers",
          "Scissors": "scissors"}  # fmt: skip
MATCH_IOU = 0.5

LAB_CUTTER = CutterConfig(min_elements=32)
"""The sample's stand shows as a faint rim of up to two dozen elements: no matter of a bag."""

Box = tuple[float, float, float, float]


# (a) Laboratory scans, column by column through a lane


def lab_scans(folder: Path) -> dict[str, tuple[U16, U16]]:
    """Name to raw counts, low and high, uint16 ``[lines, elements]``: columns become lines.

    The files hold logarithms of the transmission, so counts = 65535 * exp(value).
    """
    scans = {}
    for path in sorted((folder / "dual-energy-lab").glob("basis_*.mat")):
        record = loadmat(path)
        low, high = (
            np.round(65_535 * np.exp(record[key])).clip(0, 65_535).astype(np.uint16).T.copy()
            for key in ("data_low", "data_high")
        )
        scans[path.stem.removeprefix("basis_")] = (low, high)
    return scans


def screen_lab_scan(
    detector: xedge.Detector, low: U16, high: U16
) -> tuple[LaneReport, list[tuple[Decision, Scan | None]]]:
    """What a lane says of a scan without dark and air runs, and the scans it cut."""
    seen: list[tuple[Decision, Scan | None]] = []
    report = run_lane(
        ArraySource(low, high),
        detector.detect_window,
        FlatField.from_saturated_air(low, high),
        replace(LaneConfig.for_model(detector.spec), cutter=LAB_CUTTER),
        on_decision=lambda decision, scan: seen.append((decision, scan)),
    )
    return report, seen


def run_lab(data: Path, out: Path, detector: xedge.Detector) -> None:
    """Screen the laboratory's scans, print what was found, and draw what was cut."""
    for name, (low, high) in lab_scans(data).items():
        report, seen = screen_lab_scan(detector, low, high)
        ledger = report.ledger
        click.echo(f"\n{name}: {low.shape[0]} lines of {low.shape[1]} elements")
        for sentence in report.health.sentences():
            click.echo(f"  detector: {sentence}")
        click.echo(
            f"  ledger: {ledger.lines_in} lines in = {ledger.bag_lines} of bags + "
            f"{ledger.gap_lines} of air; {'balanced' if ledger.balanced else 'NOT BALANCED'}"
        )
        for decision, scan in seen:
            reasons = ", ".join(sorted(r.name for r in decision.reasons)) or "nothing wrong"
            found = ", ".join(
                f"{detector.spec.classes[int(label)]} {score:.2f}"
                for label, score in zip(
                    decision.detections.labels, decision.detections.scores, strict=True
                )
            )
            click.echo(f"  bag {decision.bag}: {decision.verdict.name} ({reasons}); {found or '-'}")
            if scan is not None:
                picture = pseudo_colour(scan.low, scan.high)
                drawn = draw_detections(picture, decision.detections, detector.spec.classes)
                cv2.imwrite(str(out / f"lab-{name}-{decision.bag}.png"), drawn[..., ::-1])


# (b) SIXray's pictures through `xedge detect`


@dataclass(frozen=True)
class Truth:
    """A labelled object of a picture."""

    label: str
    box: Box


def voc_objects(path: Path) -> list[Truth]:
    """The objects of a VOC file; its coordinates may be fractions. None without a file."""
    if not path.exists():
        return []
    found = []
    for thing in ElementTree.parse(path).getroot().iter("object"):
        corners = [float(thing.findtext(f"bndbox/{k}", "nan")) for k in
                   ("xmin", "ymin", "xmax", "ymax")]  # fmt: skip
        x1, y1, x2, y2 = corners
        found.append(Truth(LABELS[str(thing.findtext("name"))], (x1, y1, x2, y2)))
    return found


def evenly(paths: list[Path], count: int) -> list[Path]:
    """``count`` of the paths, evenly spaced."""
    return [paths[len(paths) * k // count] for k in range(min(count, len(paths)))]


@dataclass(frozen=True)
class Judged:
    """A picture, what was reported in it, and which of that is so."""

    record: dict[str, Any]
    truth: list[Truth]
    reports: list[dict[str, Any]]
    hits: set[int]
    found: set[int]


def judge(record: dict[str, Any], truth: list[Truth]) -> Judged:
    """What is reported in a picture, against the labels that there are."""
    reports = record["detections"]
    overlap = boxes.iou(
        np.array([found["box"] for found in reports], np.float32).reshape(-1, 4),
        np.array([thing.box for thing in truth], np.float32).reshape(-1, 4),
    )
    hits, found = set(), set()
    for row, report in enumerate(reports):
        for k, thing in enumerate(truth):
            same = thing.label == report["label"] and overlap[row, k] >= MATCH_IOU
            if same and k not in found:
                hits.add(row)
                found.add(k)
                break
    return Judged(record, truth, reports, hits, found)


def detect_all(
    images: list[Path], out: Path, bundle: Path | None, engine: str, threshold: float
) -> list[dict[str, Any]]:
    """What `xedge detect --draw --json` reports in the pictures from a score on."""
    command = [sys.executable, "-c", "from xedge.cli import main; main()", "detect", "--json",
               "--draw", str(out), "--engine", engine, "--threshold", str(threshold)]  # fmt: skip
    if bundle is not None:
        command += ["--bundle", str(bundle)]
    done = subprocess.run(
        [*command, *map(str, images)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise click.ClickException(done.stderr.strip().removeprefix("Error: "))
    records: list[dict[str, Any]] = json.loads(done.stdout)
    return records


def run_sixray(
    data: Path, out: Path, spec: xedge.ModelSpec, bundle: Path | None, engine: str,
    positives: int, negatives: int,
) -> None:  # fmt: skip
    """Screen pictures of SIXray and write a page that shows what came of it."""
    root = data / "sixray-real"
    every = sorted((root / "JPEGImage").glob("*.jpg"))
    images = evenly([p for p in every if p.name.startswith("P")], positives)
    images += evenly([p for p in every if p.name.startswith("N")], negatives)
    records = detect_all(images, out, bundle, engine, spec.alarm_threshold)
    judged = [
        judge(record, voc_objects(root / "Annotation" / f"{image.stem}.xml"))
        for record, image in zip(records, images, strict=True)
    ]
    lines = figures(judged)
    page = out / "sixray.html"
    page.write_text(sixray_page(judged, lines, spec, engine), encoding="utf-8")
    click.echo("\nSIXray, pseudo-colour pictures through a guess at their counts:")
    for line in lines:
        click.echo(f"  {line}")
    click.echo(f"  {page}")


def figures(judged: list[Judged]) -> list[str]:
    """Hits, misses and false reports in words; nothing is left out."""
    labelled = set(LABELS.values())
    loaded = [j for j in judged if j.truth]
    clean = [j for j in judged if not j.truth]
    objects = sum(len(j.truth) for j in loaded)
    hits = sum(len(j.found) for j in loaded)
    wrong = [[r for k, r in enumerate(j.reports) if k not in j.hits] for j in judged]
    false = sum(r["label"] in labelled for row in wrong for r in row)
    others = sum(r["label"] not in labelled for row in wrong for r in row)
    alarmed = sum(bool(j.reports) for j in clean)
    said = [f"{hits} of {objects} labelled objects found, {objects - hits} missed"]
    for name in ("gun", "knife", "wrench"):
        mine = [(j, k) for j in loaded for k, t in enumerate(j.truth) if t.label == name]
        said.append(f"{name}: {sum(k in j.found for j, k in mine)} of {len(mine)} found")
    said.append(f"{alarmed} of {len(clean)} pictures without a labelled object raise an alarm")
    said.append(f"{false} false reports of classes that SIXray labels")
    said.append(f"{others} reports of other classes, which nobody has labelled: not judged")
    return said


def sixray_page(judged: list[Judged], lines: list[str], spec: xedge.ModelSpec, engine: str) -> str:
    """The page: every picture as `xedge detect` drew it, with the true boxes on top."""
    cards = "\n".join(_card(k, one) for k, one in enumerate(judged, 1))
    counts = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>SIXray through a model of simulated bags</title><style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 86rem; margin: 2rem auto;
  padding: 0 1rem }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1rem }}
figure {{ margin: 0; border: 1px solid #8886; border-radius: 8px; overflow: hidden }}
figure div {{ position: relative; background: #fff }} img {{ display: block; width: 100% }}
svg {{ position: absolute; inset: 0; width: 100%; height: 100% }}
svg rect {{ fill: none; stroke: #000; stroke-width: 3; stroke-dasharray: 9 6;
  vector-effect: non-scaling-stroke }}
figcaption {{ padding: .5rem .8rem; font-size: .9rem }} .miss {{ font-weight: 700 }}
.note {{ border-left: 4px solid #b07000; padding: .2rem 1rem; max-width: 60rem }}
</style>
<h1>Real pictures, a model that has never seen one</h1>
<div class="note"><p>{html.escape(spec.name)} on {html.escape(engine)}, trained on simulated
dual-energy counts alone. SIXray has no counts: colours were turned back into a guess at them, and
the longer side of every picture was taken to be 500 mm. This page shows what happens, not how good
the model is; it is no measurement of anything but this gap. Solid boxes: what is reported,
with scores. Dashed black: what SIXray's labels say is there. An alarm takes a score of
{spec.alarm_threshold}. SIXray is for academic use: keep this page to yourself.</p></div>
<ul>{counts}</ul>
<main>
{cards}
</main></html>
"""


def _card(number: int, judged: Judged) -> str:
    record = judged.record
    name = Path(record["image"]).stem
    rects = "".join(
        f'<rect x="{t.box[0]}" y="{t.box[1]}" width="{t.box[2] - t.box[0]}" '
        f'height="{t.box[3] - t.box[1]}"><title>{t.label}</title></rect>'
        for t in judged.truth
    )
    words = [
        f"{'found' if k in judged.found else '<span class=miss>MISSED</span>'} {t.label}"
        for k, t in enumerate(judged.truth)
    ]
    words += [
        f"reported {r['label']} {r['score']:.2f}"
        for k, r in enumerate(judged.reports) if k not in judged.hits
    ]  # fmt: skip
    return (
        f'<figure><div><img src="{number:04d}-{name}.png" alt="{name}" loading="lazy">'
        f'<svg viewBox="0 0 {record["width"]} {record["height"]}" aria-hidden="true">{rects}</svg>'
        f"</div><figcaption><b>{name}</b> {'; '.join(words) or 'nothing, rightly'}"
        "</figcaption></figure>"
    )


@click.command(help=__doc__.split("\n\n")[0])
@click.option("--out", type=click.Path(path_type=Path), default="demo/real-input")
@click.option("--bundle", type=click.Path(path_type=Path), default=None)
@click.option("--engine", default="auto")
@click.option("--positives", default=40, show_default=True, help="SIXray pictures with an object.")
@click.option("--negatives", default=10, show_default=True, help="SIXray pictures without one.")
def main(out: Path, bundle: Path | None, engine: str, positives: int, negatives: int) -> None:
    """Run both parts."""
    data = Path(os.environ.get("XEDGE_DATA", ""))
    if not (data / "dual-energy-lab").is_dir():
        raise click.ClickException("XEDGE_DATA names no folder with dual-energy-lab/ in it")
    out.mkdir(parents=True, exist_ok=True)
    try:
        opened = xedge.open_bundle(bundle)
        with xedge.open_detector(opened, engine) as detector:
            run_lab(data, out, detector)
        run_sixray(data, out, opened.spec, bundle, engine, positives, negatives)
    except xedge.XedgeError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
