"""Precision and recall of each class over a set whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch

from xedge.metrics import (
    Curve,
    Truth,
    average_precision,
    multilabel_average_precision,
    precision_recall,
)
from xedge.models.base import Classifier, Detector
from xedge.spec import ModelSpec
from xedge.train.batch import Batch
from xedge.train.evaluate import screen_windows
from xedge.train.explain.findings import aware
from xedge.types import Detections


@dataclass(frozen=True, eq=False)
class ClassCurve:
    """One class over a set.

    Attributes:
        label: Name of the class.
        curve: Its points, `xedge.metrics.Curve`.
        area: Average precision: of boxes at IoU 0.5, or of pictures (SIXray's protocol); NaN
            where nothing is to be found.
    """

    label: str
    curve: Curve
    area: float

    def at(self, threshold: float) -> tuple[float, float] | None:
        """Recall and precision when scores from a threshold on are reports; None without one."""
        kept = int(np.count_nonzero(self.curve.scores >= np.float32(threshold)))
        if not kept or not self.curve.objects:
            return None
        return float(self.curve.recall[kept - 1]), float(self.curve.precision[kept - 1])


def class_curves(
    model: Detector | Classifier,
    spec: ModelSpec,
    batches: Iterable[Batch],
    advance: Callable[[], None] = lambda: None,
) -> list[ClassCurve]:
    """The curve of each class: of boxes for a detector, of whole pictures for a classifier.

    Args:
        model: In evaluation mode.
        spec: Its description.
        batches: With truth.
        advance: Called once a batch.
    """
    classes = spec.classes
    if isinstance(model, Classifier):
        found, truth, areas = _pictures(model, len(classes), batches, advance)
    else:
        found, truth, _ = screen_windows(
            model, spec, batches, label_aware=aware(model), advance=advance
        )
        areas = average_precision(found, truth, len(classes)).ap50_by_class
    return [
        ClassCurve(name, precision_recall(found, truth, label), areas[label])
        for label, name in enumerate(classes)
    ]


@torch.no_grad()
def _pictures(
    model: Classifier, classes: int, batches: Iterable[Batch], advance: Callable[[], None]
) -> tuple[list[Detections], list[Truth], tuple[float, ...]]:
    """Each picture as one box that each of its classes lies in, and the classes' areas."""
    scores, presence = [], []
    for batch in batches:
        scores.append(model.scores(model(batch.planes)).float().numpy())
        presence.append(batch.presence.numpy())
        advance()
    every, marks = np.concatenate(scores), np.concatenate(presence)
    labels = np.arange(classes, dtype=np.int32)
    unit = np.array([[0, 0, 1, 1]], np.float32)
    found, truth = [], []
    for row, mark in zip(every, marks, strict=True):
        order = np.argsort(-row, kind="stable")
        found.append(Detections(np.repeat(unit, classes, 0), row[order], labels[order]))
        there = labels[mark >= 0]
        boxes = np.repeat(unit, len(there), 0)
        truth.append(Truth(boxes, there, difficult=mark[there] == 0))
    return found, truth, multilabel_average_precision(every, marks).by_class
