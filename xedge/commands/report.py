"""The demo's report: one HTML file that needs nothing beside it, for people."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import xedge
from xedge.commands.belt_demo import DemoResult
from xedge.commands.gallery import BagPicture
from xedge.commands.judge import JudgedBag
from xedge.page import Box, Mark, labelled_mark, page_environment, round_step, sides, ticks
from xedge.types import Reason, Verdict

VERDICTS: Final = (Verdict.ALARM, Verdict.CLEAR, Verdict.NOT_CLEARED)
MOST_BINS: Final = 30

REASONS: Final[Mapping[Reason, str]] = {
    Reason.TIMEOUT: "decided after its deadline",
    Reason.INCOMPLETE_SCAN: "lines are missing",
    Reason.CLIPPED_BAG: "reaches beyond the detector",
    Reason.OVERSIZE_BAG: "longer than a scan may be",
    Reason.ENGINE_FAILED: "the engine failed",
    Reason.BAD_LINES: "lines were damaged",
    Reason.DETECTOR_FAULT: "neighbouring detector elements fail",
    Reason.OVERLOAD: "the lane was too full",
    Reason.USER_INTERRUPT: "interrupted",
}


@dataclass(frozen=True)
class Card:
    """One bag of the report."""

    bag: JudgedBag
    picture: BagPicture | None
    marks: tuple[Mark, ...]
    font: float

    @property
    def tags(self) -> str:
        """Classes that the report's filters choose by."""
        chosen = [self.bag.decision.verdict.name.lower()]
        chosen += ["has-missed"] if self.bag.missed else []
        chosen += ["has-false"] if self.bag.false else []
        return " ".join(chosen)


@dataclass(frozen=True)
class Bin:
    """A bar of the histogram: from and to milliseconds, and how many bags."""

    start: float
    end: float
    bags: int


@dataclass(frozen=True)
class Figure:
    """An average precision that was measured at the desk, with LA and, where known, without."""

    name: str
    value: float
    without: float | None


def report_writer() -> Callable[[DemoResult, Path], Path]:
    """What writes the report into a folder and returns its path.

    Raises:
        ModuleNotFoundError: Without jinja2 (extra ``report``).
    """
    environment = page_environment(Path(__file__).parent)

    def write(result: DemoResult, folder: Path) -> Path:
        path = folder / "report.html"
        text = environment.get_template("report.html").render(report_values(result))
        path.write_text(text, encoding="utf-8")
        return path

    return write


def report_values(result: DemoResult) -> dict[str, Any]:
    """What the template is filled with."""
    latencies = [bag.decision.latency_ns / 1e6 for bag in result.bags]
    bins = histogram(latencies)
    config = result.config
    line_ms = config.pitch_mm / result.settings.speed_m_s
    return {
        "r": result,
        "version": xedge.__version__,
        "made": datetime.datetime.now().astimezone().strftime("%d %B %Y, %H:%M %Z"),
        "verdicts": VERDICTS,
        "reasons": REASONS,
        "cards": [make_card(bag, result.pictures.get(bag.decision.bag)) for bag in result.bags],
        "bins": bins,
        "ticks": ticks(bins[-1].end, 8) if bins else [],
        "percentiles": [(name, result.lane.latency_ms(p)) for name, p in
                        (("p50", 50.0), ("p99", 99.0), ("max", 100.0))] if latencies else [],
        "deadline_s": config.deadline_counts / config.counts_per_mm
        / (1000 * result.settings.speed_m_s),
        "deadline_mm": config.deadline_counts / config.counts_per_mm,
        "wait_ms": config.cutter.min_gap_lines * line_ms,
        "strip_ms": result.strip_lines * line_ms,
        "line_parts": _line_parts(result),
        "figures": measured_figures(result.bundle.measured)[0],
        "measured": measured_figures(result.bundle.measured)[1],
        "number": _number,
    }  # fmt: skip


def make_card(bag: JudgedBag, picture: BagPicture | None) -> Card:
    """A bag with its boxes, their labels placed so that they do not hide each other."""
    if picture is None:
        return Card(bag, None, (), 0.0)
    font = picture.width / 27
    frame = (float(picture.left), 0.0, float(picture.width), float(picture.lines))
    taken: list[Box] = []
    marks = []
    for thing in bag.things:
        if thing.found:
            tip = f"Really there: {thing.label}, occlusion level {thing.occlusion}"
            marks.append(Mark("truth", sides(thing.box), "", (0, 0, 0, 0), tip))
    for report in bag.reports:
        kind, word = ("found", "") if report.right else ("false", "FALSE ")
        text = f"{word}{report.label} {report.score:.2f}"
        tip = ("Found" if report.right else "Reported, and not there") + f": {report.label}"
        marks.append(labelled_mark(kind, report.box, text, tip, font, frame, taken))
    for thing in bag.missed:
        tip = f"Really there and not reported: {thing.label}, occlusion level {thing.occlusion}"
        marks.append(
            labelled_mark("missed", thing.box, f"MISSED {thing.label}", tip, font, frame, taken)
        )
    return Card(bag, picture, tuple(marks), font)


def histogram(values: list[float]) -> list[Bin]:
    """The values in bins from zero on, of a width that is 1, 2 or 5 times a power of ten.

    >>> [(b.start, b.end, b.bags) for b in histogram([0.5, 1.5, 1.7])[:2]]
    [(0.0, 0.1, 0), (0.1, 0.2, 0)]
    """
    if not values:
        return []
    width = round_step(max(max(values), 1e-3), MOST_BINS)
    places = [math.floor(value / width) for value in values]
    return [
        Bin(round(k * width, 6), round((k + 1) * width, 6), places.count(k))
        for k in range(max(places) + 1)
    ]


def _line_parts(result: DemoResult) -> list[tuple[str, int]]:
    """Where the lines went: name and lines, without what is zero."""
    ledger = result.lane.ledger
    parts = [("in bags", ledger.bag_lines), ("air between bags", ledger.gap_lines)]
    parts += [(f"refused: {cause.value}", n) for cause, n in sorted(ledger.refused_lines.items())]
    parts.append(("held at the end", ledger.held_lines))
    return [part for part in parts if part[1]]


def measured_figures(measured: Mapping[str, Any]) -> tuple[list[Figure], dict[str, str]]:
    """What a bundle says was measured of its model: average precisions, and all the rest."""
    figures, rest = [], {}
    for key, value in measured.items():
        if key == "ap" or key.startswith("ap50"):
            figures.append(Figure(_title(key), float(value), measured.get(f"la_off_{key}")))
        elif not key.startswith("la_off_"):
            rest[key] = f"{value:.3g}" if isinstance(value, float) else str(value)
    return figures, rest


def _title(key: str) -> str:
    """Name of an average precision for people: `ap50_gun` is that of the class gun."""
    if key == "ap":
        return "AP, IoU 0.50 to 0.95"
    part = key.removeprefix("ap50").removeprefix("_")
    level = re.fullmatch(r"OL(\d)", part)
    return f"AP50, occlusion level {level[1]}" if level else f"AP50 {part}".strip()


def _number(value: float, digits: int = 2) -> str:
    return "none" if math.isnan(value) else f"{value:.{digits}f}"
