"""The numbers behind the page of `xedge explain`, as JSON."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from xedge.spec import ModelSpec
from xedge.train.explain.curves import ClassCurve
from xedge.train.explain.findings import Finding, Map
from xedge.types import F32

SCHEMA: Final = "xedge.explain/1"
POINTS: Final = 160
"""Most points of a curve that are drawn and written."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """All that a page shows.

    Attributes:
        checkpoint: The file, with the name of its folder.
        spec: The model's description.
        system: Which system it is.
        detector: Whether it answers boxes; else it answers classes.
        findings: The pictures.
        curves: Of each class; empty where no set was measured.
        measured: Pictures that the curves are of.
    """

    checkpoint: str
    spec: ModelSpec
    system: str
    detector: bool
    findings: tuple[Finding, ...]
    curves: tuple[ClassCurve, ...] = ()
    measured: int = 0


def value_range(values: F32, signed: bool) -> tuple[float, float]:
    """The ends of a map's colour bar: its least and largest value; signed, as far below 0."""
    if signed:
        most = float(np.abs(values).max())
        return -most, most
    return float(values.min()), float(values.max())


def points(curve: ClassCurve) -> list[tuple[float, float, float]]:
    """Recall, precision and score at the corners of a curve, `POINTS` at most."""
    one = curve.curve
    last = one.scores.size - 1
    if last < 0:
        return []
    # Between two hits precision only falls: the corners are the hits and what lies before them.
    hits = np.flatnonzero(np.diff(one.recall, prepend=0.0))
    corners = np.unique(np.concatenate([hits, hits - 1, [0, last]]).clip(0, last)).astype(int)
    if corners.size > POINTS:
        corners = corners[np.linspace(0, corners.size - 1, POINTS).round().astype(int)]
    columns = (one.recall, one.precision, one.scores)
    rows = zip(*(column[corners].tolist() for column in columns), strict=True)
    return [(round(r, 4), round(p, 4), round(s, 4)) for r, p, s in rows]


def map_file(number: int, one: Map) -> str:
    """Name of a map's PNG: number of the picture, name of the map."""
    return f"{number:03d}-{re.sub(r'[^A-Za-z0-9_.-]+', '-', one.name)}.png"


def to_record(explanation: Explanation) -> dict[str, Any]:
    """The explanation as what JSON can hold; a number that is not known is null."""
    spec = explanation.spec
    return {
        "schema": SCHEMA,
        "checkpoint": explanation.checkpoint,
        "parents": spec.parents,
        "name": spec.name,
        "system": explanation.system,
        "classes": list(spec.classes),
        "width": spec.width,
        "height": spec.height,
        "alarm_threshold": spec.alarm_threshold,
        "pictures": [
            _picture(finding, k, spec) for k, finding in enumerate(explanation.findings, 1)
        ],
        "measured_pictures": explanation.measured,
        "curves": [_curve(curve, spec.alarm_threshold) for curve in explanation.curves],
    }


def _picture(finding: Finding, number: int, spec: ModelSpec) -> dict[str, Any]:
    subject, found = finding.subject, finding.found
    record: dict[str, Any] = {
        "name": subject.name,
        "counts_guessed": subject.guessed,
        "truth": None,
    }
    if (truth := subject.truth) is not None:
        record["truth"] = [
            {"label": spec.classes[int(truth.labels[k])], "box": _rounded(truth.boxes[k])}
            | ({"missed": bool(finding.missed[k])} if found is not None else {})
            for k in range(len(truth.labels))
        ]
    if found is None:
        record["scores"] = {name: round(score, 6) for name, score in finding.scores.items()}
    else:
        record["detections"] = [
            {
                "label": spec.classes[int(found.labels[k])],
                "score": round(float(found.scores[k]), 6),
                "box": _rounded(found.boxes[k]),
                "reported": bool(finding.reports[k]),
            }
            for k in range(len(found))
        ]
    record["maps"] = [_map(one, number, spec) for one in finding.maps]
    return record


def _map(one: Map, number: int, spec: ModelSpec) -> dict[str, Any]:
    h, w = one.values.shape
    return {
        "name": one.name,
        "kind": one.kind,
        "title": one.title,
        "file": map_file(number, one),
        "height": h,
        "width": w,
        "low": float(one.values.min()),
        "high": float(one.values.max()),
        "mean": float(one.values.mean()),
        "peak": list(one.peak(spec.height, spec.width)),
        "box": None if one.box is None else _rounded(one.box),
    }


def _curve(curve: ClassCurve, threshold: float) -> dict[str, Any]:
    at = curve.at(threshold)
    return {
        "label": curve.label,
        "objects": curve.curve.objects,
        "average_precision": None if math.isnan(curve.area) else curve.area,
        "at_alarm_threshold": None if at is None else {"recall": at[0], "precision": at[1]},
        "points": [{"recall": r, "precision": p, "score": s} for r, p, s in points(curve)]
        if curve.curve.objects
        else [],
    }


def _rounded(box: F32) -> list[float]:
    return [round(float(v), 2) for v in box]
