"""A model's answer to one picture, held against the truth, with every map that the model has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from xedge import boxes as box_arithmetic
from xedge.metrics import Truth
from xedge.metrics.matching import match
from xedge.models.base import Classifier, Detector
from xedge.spec import ModelSpec
from xedge.train.batch import Item, collate
from xedge.train.evaluate import screen_windows
from xedge.train.explain.maps import (
    attention_maps,
    cam,
    doam_map,
    doam_share,
    grad_cam,
    label_aware_maps,
)
from xedge.train.explain.subjects import Subject
from xedge.types import F32, Detections

MATCH_IOU: Final = 0.5
MOST_REPORTS: Final = 3
"""Reports of one picture that get a Grad-CAM each: the best ones."""
MOST_MISSED: Final = 2
"""Missed objects of one picture that get one."""
MOST_CLASSES: Final = 4
"""Classes of one picture that get a map of a classifier."""

KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "HiResCAM": "What each place adds to the log-odds of one score: gradient times feature, "
        "place by place. Of a single box’s score trust this map, not Grad-CAM, whose mean says "
        "little of where.",
        "CAM": "What each place adds to the class’s logit, but for the mean over all places.",
        "Grad-CAM": "Features weighed by the mean of their gradient over all places.",
        "DOAM": "The attention M. A pixel is multiplied by γ M + 1 − γ in front of the backbone: "
        "where γ is near 0, the map does nothing.",
        "SXMNet": "The attention mask: the fine one is what the levels that predict are multiplied "
        "by; the coarse one tells it.",
        "LA, size": "By what share the label-aware step changes the features of a level: the mean "
        "of |w| over the channels.",
        "LA, sign": "The mean of w over the channels: above 0 features grow, below they shrink.",
    }
)
"""What the values of each kind of map are."""

_LA: Final = "LA: Zhao et al., TIFS 2022, equation 7"
SOURCES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "HiResCAM": "HiResCAM: Draelos and Carin, arXiv 2011.08891, of the log-odds of a score",
        "CAM": "CAM: Zhou et al., CVPR 2016",
        "Grad-CAM": "Grad-CAM: Selvaraju et al., ICCV 2017, of the log-odds of a score",
        "DOAM": "DOAM: Wei et al., equation 8",
        "SXMNet": "SXMNet: Hu et al., section 3.2",
        "LA, size": _LA,
        "LA, sign": _LA,
    }
)
"""Where each kind of map comes from."""

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Map:
    """One map of one picture.

    Attributes:
        name: A word for file names, such as ``grad-cam-1-gun``.
        title: What it is, for people.
        kind: Which of `KINDS` it is.
        values: float32 ``[h, w]``.
        signed: True when the values have a middle, 0.
        box: What it explains, x1 y1 x2 y2 in the picture's pixels; None for the whole picture.
        judged: What that box is: ``found``, ``false`` or ``missed``.
    """

    name: str
    title: str
    kind: str
    values: F32
    signed: bool = False
    box: F32 | None = None
    judged: str = "found"

    def peak(self, height: int, width: int) -> tuple[float, float]:
        """The x, y of its largest value in a picture of that size, pixels: the cell's middle."""
        h, w = self.values.shape
        row, column = np.unravel_index(int(self.values.argmax()), (h, w))
        return (float(column) + 0.5) * width / w, (float(row) + 0.5) * height / h


@dataclass(frozen=True, eq=False)
class Finding:
    """A picture with what the model says of it, and why.

    Attributes:
        subject: The picture.
        found: Detections from the model's score threshold on; None for a classifier.
        scores: Name of a class to its score; empty for a detector.
        reports: Which detections reach the alarm threshold, bool ``[n]``.
        right: Which of them find an object, bool ``[n]``; meaningless without truth.
        missed: Which objects no report finds, bool ``[m]``; all of them False without truth.
        maps: Every map that the model has.
    """

    subject: Subject
    found: Detections | None
    scores: Mapping[str, float] = field(default_factory=dict)
    reports: Flags = field(default_factory=lambda: np.zeros(0, bool))
    right: Flags = field(default_factory=lambda: np.zeros(0, bool))
    missed: Flags = field(default_factory=lambda: np.zeros(0, bool))
    maps: tuple[Map, ...] = ()


def explain(model: Detector | Classifier, spec: ModelSpec, subject: Subject) -> Finding:
    """What the model says of a picture, with its maps.

    Args:
        model: In evaluation mode.
        spec: Its description.
        subject: The picture, of the model's size.
    """
    planes = torch.from_numpy(subject.planes)
    general = (*_attention(model, subject), *_label_aware(model, subject))
    if isinstance(model, Classifier):
        with torch.no_grad():
            row = model.scores(model(planes[None]))[0].tolist()
        scores = dict(zip(spec.classes, row, strict=True))
        return Finding(subject, None, scores, maps=(*_of_classes(model, subject, scores), *general))
    found = detect(model, spec, subject)
    reports = found.scores >= np.float32(spec.alarm_threshold)
    right, missed = judge(found[reports], subject.truth)
    whole = np.zeros_like(reports)
    whole[reports] = right
    finding = Finding(subject, found, {}, reports, whole, missed)
    maps = (*_of_boxes(model, spec, finding), *general)
    return Finding(subject, found, {}, reports, whole, missed, maps)


def detect(model: Detector, spec: ModelSpec, subject: Subject) -> Detections:
    """What a detector finds in a picture, as it is evaluated and exported."""
    none = torch.zeros(0, dtype=torch.int64)
    planes = torch.from_numpy(subject.planes)
    item = Item(subject.name, planes, torch.zeros(0, 4), none, none, torch.zeros(len(spec.classes)))
    return screen_windows(model, spec, [collate([item])], label_aware=aware(model))[0][0]


def aware(model: Detector | Classifier) -> bool:
    """Whether the model has the label-aware step."""
    return bool(getattr(model.config, "label_aware", False))


def judge(reports: Detections, truth: Truth | None) -> tuple[Flags, Flags]:
    """Which reports find an object, and which objects no report of their class finds.

    A report that finds a difficult object finds one; a difficult object is never missed.

    Args:
        reports: Highest score first.
        truth: None where nobody knows.
    """
    right = np.zeros(len(reports), bool)
    if truth is None:
        return right, np.zeros(0, bool)
    for label in np.unique(reports.labels):
        found = match(reports, truth, int(label), None, (MATCH_IOU,))
        right[np.flatnonzero(reports.labels == label)] = found.hit[0] | found.ignored[0]
    overlap = box_arithmetic.iou(truth.boxes, reports.boxes)
    same = truth.labels[:, None] == reports.labels[None, :]
    hit = ((overlap >= np.float32(MATCH_IOU)) & same).any(axis=1)
    return right, truth.counted() & ~hit


def _attention(model: Detector | Classifier, subject: Subject) -> Iterator[Map]:
    values = doam_map(model, torch.from_numpy(subject.planes))
    if values is not None:
        title = f"DOAM’s attention, γ = {doam_share(model):.3g}"
        yield Map("doam", title, "DOAM", values)
    for name, mask in attention_maps(model, torch.from_numpy(subject.planes)).items():
        yield Map(f"attention-{name}", f"SXMNet’s attention, {name}", "SXMNet", mask)


def _label_aware(model: Detector | Classifier, subject: Subject) -> Iterator[Map]:
    updates = label_aware_maps(model, torch.from_numpy(subject.planes))
    for stride, maps in updates.items():
        title = f"LA at stride {stride}"
        yield Map(f"la-size-{stride}", f"{title}, size", "LA, size", maps.size)
        yield Map(f"la-sign-{stride}", f"{title}, sign", "LA, sign", maps.lean, signed=True)


def _of_classes(model: Classifier, subject: Subject, scores: Mapping[str, float]) -> Iterator[Map]:
    """CAM and Grad-CAM of the classes that are there, and of those that score best."""
    planes, names = torch.from_numpy(subject.planes), list(scores)
    marks = np.full(len(names), -1) if subject.presence is None else subject.presence
    there = [names[k] for k in np.flatnonzero(marks >= 0)]
    ranked = sorted(names, key=lambda name: -scores[name])
    likely = [name for k, name in enumerate(ranked) if k == 0 or scores[name] >= 0.5]
    for name in list(dict.fromkeys([*there, *likely]))[:MOST_CLASSES]:
        label, said = names.index(name), f"{name} {scores[name]:.2f}"
        values = cam(model, planes, label)
        yield Map(f"cam-{name}", f"CAM: {said}", "CAM", values)
        values = grad_cam(model, planes, label)
        yield Map(f"grad-cam-{name}", f"Grad-CAM: {said}", "Grad-CAM", values)


def _of_boxes(model: Detector, spec: ModelSpec, finding: Finding) -> Iterator[Map]:
    """What speaks for the best reports and for missed objects; else for the best guess."""
    subject, found = finding.subject, finding.found
    assert found is not None
    known = subject.truth is not None
    wanted: list[tuple[int, F32, str, str]] = []
    for k in np.flatnonzero(finding.reports)[:MOST_REPORTS]:
        judged = "false" if known and not finding.right[k] else "found"
        said = f"{spec.classes[int(found.labels[k])]} {float(found.scores[k]):.2f}"
        wanted.append((int(found.labels[k]), found.boxes[k], said, judged))
    if (truth := subject.truth) is not None:
        for k in np.flatnonzero(finding.missed)[:MOST_MISSED]:
            label = int(truth.labels[k])
            wanted.append((label, truth.boxes[k], f"missed {spec.classes[label]}", "missed"))
    planes = torch.from_numpy(subject.planes)
    if not wanted:
        wanted = [_best_guess(model, planes, spec)]
    for number, (label, box, said, judged) in enumerate(wanted, 1):
        word = f"{number}-{'missed-' if judged == 'missed' else ''}{spec.classes[label]}"
        for kind, by_place in (("HiResCAM", True), ("Grad-CAM", False)):
            values = grad_cam(model, planes, label, box, by_place=by_place)
            name = f"{kind.lower()}-{word}"
            yield Map(name, f"{kind}: {said}", kind, values, box=box, judged=judged)


@torch.no_grad()
def _best_guess(model: Detector, planes: Tensor, spec: ModelSpec) -> tuple[int, F32, str, str]:
    """The best score of any class at any place, however low."""
    boxes, scores = model.decode(model(planes[None]))
    place, label = divmod(int(scores[0].argmax()), scores.shape[2])
    box = box_arithmetic.clip(boxes[0, place : place + 1].numpy(), *planes.shape[1:])[0]
    said = f"best guess, {spec.classes[label]} {float(scores[0, place, label]):.2f}"
    return label, box, said, "found"
