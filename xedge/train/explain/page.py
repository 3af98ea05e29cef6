"""The page of `xedge explain`: every picture with its maps over it, curves below; and as JSON."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

import xedge
from xedge.metrics.detection import mean_of_known
from xedge.page import Box, Mark, data_uri, encoded, labelled_mark, page_environment, sides
from xedge.provenance import code_version
from xedge.spec import ModelSpec
from xedge.train.explain.findings import KINDS, SOURCES, Finding, Map
from xedge.train.explain.folder import PAGE, RECORD, make_room
from xedge.train.explain.record import Explanation, map_file, points, to_record, value_range
from xedge.types import F32, U8

MAP_SHARE: Final = 0.62
"""How much of a map over a picture is map: enough to read its colours, and the bag below."""

SIGNED: Final = ((38.0, 5.0, -52.0), (97.0, 0.0, 0.0), (38.0, 52.0, 44.0))
"""CIELAB of the ends and the middle of a map with a sign."""

NOWHERE: Final = (0.0, 0.0, 0.0, 0.0)
"""The plate of a label that is not there."""

PALE: Final = 0.25
"""How far the grey picture below a map is drawn towards white, so that the map's colours win."""


@dataclass(frozen=True)
class Drawn:
    """A map as the page shows it.

    Attributes:
        map: The map.
        file: Name of the PNG in the page's folder: the map over the picture.
        image: The map alone, at the picture's size, a data URI.
        low: Value at the left end of the colour bar.
        high: Value at its right end.
        mark: The box that it explains, or None.
    """

    map: Map
    file: str
    image: str
    low: float
    high: float
    mark: Mark | None


@dataclass(frozen=True)
class Panel:
    """One picture of the page: it, its grey copy under the maps, its boxes and its maps."""

    finding: Finding
    number: int
    image: str
    grey: str
    marks: tuple[Mark, ...]
    font: float
    drawn: tuple[Drawn, ...]

    @property
    def reported(self) -> int:
        """Number of reports."""
        return int(self.finding.reports.sum())

    @property
    def missed(self) -> int:
        """Number of objects that no report finds."""
        return int(self.finding.missed.sum())

    @property
    def false(self) -> int:
        """Number of reports that find no object."""
        return int((self.finding.reports & ~self.finding.right).sum())

    @property
    def scores(self) -> list[tuple[str, float, bool]]:
        """Each class with its score, best first, and whether it is known to be there."""
        presence = self.finding.subject.presence
        there = [False] * len(self.finding.scores) if presence is None else (presence >= 0).tolist()
        rows = zip(*zip(*self.finding.scores.items(), strict=True), there, strict=True)
        return sorted(rows, key=lambda row: -row[1])


@cache
def colour_table(signed: bool) -> U8:
    """The 256 colours of a map, from its low to its high end, RGB uint8 ``[256, 3]``, read-only.

    Unsigned: OpenCV's viridis. Signed: blue over white to red, straight lines in CIELAB. Both
    change evenly to the eye.
    """
    if not signed:
        ramp = np.arange(256, dtype=np.uint8)[:, None]
        bgr = cv2.applyColorMap(ramp, cv2.COLORMAP_VIRIDIS)
        table = np.asarray(bgr[:, 0, ::-1], np.uint8).copy()
    else:
        where = np.linspace(0, 2, 256)
        lab = [np.interp(where, range(3), channel) for channel in zip(*SIGNED, strict=True)]
        rgb = cv2.cvtColor(np.stack(lab, axis=1).astype(np.float32)[None], cv2.COLOR_Lab2RGB)
        table = np.rint(rgb[0] * 255).clip(0, 255).astype(np.uint8)
    table.flags.writeable = False
    return table


def paint(values: F32, height: int, width: int, *, signed: bool) -> U8:
    """A map at a picture's size in colours, uint8 ``[height, width, 3]``; flat ones lie low.

    Args:
        values: ``[h, w]``; between the middles of cells the values change linearly.
        height: Of the picture, pixels.
        width: Of the picture, pixels.
        signed: Whether 0 is the middle of the colours.
    """
    low, high = value_range(values, signed)
    large = cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
    share = (large - low) / (high - low) if high > low else np.full_like(large, 0.5 * signed)
    place = np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
    return np.asarray(colour_table(signed)[place], np.uint8)


def pale(rgb: U8) -> U8:
    """The picture in pale greys, uint8 ``[h, w, 3]``: what maps are laid over."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[..., None].repeat(3, axis=2)
    lighter = 255 - (255 - grey.astype(np.float32)) * (1 - PALE)
    return np.asarray(np.rint(lighter), np.uint8)


def write_explanation(explanation: Explanation, folder: Path) -> Path:
    """The page that was written into the folder, beside ``explain.json`` and a PNG a map.

    It takes the place of an earlier page there.

    Raises:
        ConfigError: When a file of another's is in its place (`make_room`).
        ModuleNotFoundError: Without jinja2 (extra ``report``).
    """
    environment = page_environment(Path(__file__).parent)
    numbered = list(enumerate(explanation.findings, 1))
    figures = [map_file(number, one) for number, finding in numbered for one in finding.maps]
    make_room(folder, [*figures, PAGE, RECORD])
    # The record first: were the rest cut short, the next page would know what to replace.
    record = json.dumps(to_record(explanation), indent=1)
    (folder / RECORD).write_text(record + "\n", encoding="utf-8")
    panels = [_panel(finding, number, explanation.spec, folder) for number, finding in numbered]
    text = environment.get_template("explain.html").render(_values(explanation, panels))
    path = folder / PAGE
    path.write_text(text, encoding="utf-8")
    return path


def _values(explanation: Explanation, panels: list[Panel]) -> dict[str, Any]:
    """What the template is filled with."""
    detector = explanation.detector
    judged = [f for f in explanation.findings if f.found is not None and f.subject.truth]
    shown = {one.kind for finding in explanation.findings for one in finding.maps}
    return {
        "e": explanation,
        "panels": panels,
        "version": xedge.__version__,
        "code": code_version(),
        "made": datetime.datetime.now().astimezone().strftime("%d %B %Y, %H:%M %Z"),
        "judged": bool(judged),
        "objects": sum(f.missed.size for f in judged),
        "missed": sum(int(f.missed.sum()) for f in judged),
        "false_reports": sum(int((f.reports & ~f.right).sum()) for f in judged),
        "curves": [
            (c, points(c), c.at(explanation.spec.alarm_threshold))
            for c in explanation.curves
            if c.curve.objects
        ],
        "absent": [c.label for c in explanation.curves if not c.curve.objects],
        "mean_area": mean_of_known(c.area for c in explanation.curves),
        "detector": detector,
        "area_name": "AP50" if detector else "AP",
        "object_name": ("object", "objects") if detector else ("picture", "pictures"),
        "share": MAP_SHARE,
        "kinds": {k: v for k, v in KINDS.items() if k in shown},
        "sources": list(dict.fromkeys(v for k, v in SOURCES.items() if k in shown)),
        "signed": any(one.signed for f in explanation.findings for one in f.maps),
        "guessed": any(f.subject.guessed for f in explanation.findings),
        "known": any(f.subject.truth is not None for f in explanation.findings),
        "bars": {signed: _bar(signed) for signed in (False, True)},
    }


def _panel(finding: Finding, number: int, spec: ModelSpec, folder: Path) -> Panel:
    subject = finding.subject
    grey = pale(subject.rgb)
    font = max(subject.rgb.shape[:2]) / 27
    drawn = []
    for one in finding.maps:
        painted = paint(one.values, *grey.shape[:2], signed=one.signed)
        over = cv2.addWeighted(painted, MAP_SHARE, grey, 1 - MAP_SHARE, 0)
        file = map_file(number, one)
        (folder / file).write_bytes(encoded(np.asarray(over, np.uint8), ".png"))
        low, high = value_range(one.values, one.signed)
        mark = None
        if one.box is not None:
            mark = Mark(one.judged, sides(_box(one.box)), "", NOWHERE, "What this map explains")
        drawn.append(Drawn(one, file, data_uri(painted), low, high, mark))
    marks = tuple(_marks(finding, spec, font))
    return Panel(finding, number, data_uri(subject.rgb), data_uri(grey), marks, font, tuple(drawn))


def _marks(finding: Finding, spec: ModelSpec, font: float) -> list[Mark]:
    """The boxes of a picture: truth, reports, and what was missed, labels apart."""
    truth, found = finding.subject.truth, finding.found
    height, width = finding.subject.rgb.shape[:2]
    frame = (0.0, 0.0, float(width), float(height))
    taken: list[Box] = []
    marks = []
    for row in range(0 if truth is None else len(truth.labels)):
        assert truth is not None
        name, box = spec.classes[int(truth.labels[row])], _box(truth.boxes[row])
        level = 0 if truth.levels is None else int(truth.levels[row])
        there = f"Really there: {name}" + (f", occlusion level {level}" if level else "")
        if found is not None and finding.missed[row]:
            tip = f"{there}; not reported"
            marks.append(labelled_mark("missed", box, f"MISSED {name}", tip, font, frame, taken))
        elif found is not None:  # the report's label says it
            marks.append(Mark("truth", sides(box), "", NOWHERE, there))
        else:
            marks.append(labelled_mark("truth", box, name, there, font, frame, taken))
    for row in np.flatnonzero(finding.reports).tolist():
        assert found is not None
        right = truth is None or bool(finding.right[row])
        name = spec.classes[int(found.labels[row])]
        text = f"{'' if right else 'FALSE '}{name} {float(found.scores[row]):.2f}"
        tip = ("Reported" if right else "Reported, and not there") + f": {name}"
        kind = "found" if right else "false"
        marks.append(labelled_mark(kind, _box(found.boxes[row]), text, tip, font, frame, taken))
    return marks


def _box(values: F32) -> Box:
    x1, y1, x2, y2 = (float(v) for v in values)
    return x1, y1, x2, y2


@cache
def _bar(signed: bool) -> str:
    """A colour bar, a data URI."""
    return data_uri(np.repeat(colour_table(signed)[None], 8, axis=0))
