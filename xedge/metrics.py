"""How good detections are against the truth: average precision, overall, per class, per level.

Average precision is the area under the whole precision-recall curve after precision has been
made non-increasing from the right ("all points", as PASCAL VOC from 2010 on), without COCO's
sampling at 101 recalls. A detection matches the best-overlapping unmatched object of its class
and image with IoU at least the threshold; each object is matched once; detections are taken in
order of falling score over all images, ties in the order of images and rows.

With levels (OPIXray's occlusion levels, say), AP of one level counts only that level's objects:
an object of another level is ignored, and so is a detection that matches it, as COCO does with
its area ranges. A detection that matches nothing counts against every level.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xedge import boxes as box_arithmetic
from xedge.errors import InputError
from xedge.types import F32, I32, Detections

COCO_THRESHOLDS: tuple[float, ...] = tuple(round(0.5 + 0.05 * k, 2) for k in range(10))
"""IoU 0.50, 0.55, ... 0.95."""


@dataclass(frozen=True, eq=False)
class Truth:
    """The objects that are really in one image.

    Attributes:
        boxes: float32 ``[n, 4]``, x1 y1 x2 y2, in the pixels of the detections.
        labels: int32 ``[n]``, index into the class names.
        levels: int32 ``[n]``, the level of each object, or None where there are none.

    Raises:
        InputError: On shapes that do not fit together.
    """

    boxes: F32
    labels: I32
    levels: I32 | None = None

    def __post_init__(self) -> None:
        n = self.labels.shape[0] if self.labels.ndim == 1 else -1
        levels = self.labels.shape if self.levels is None else self.levels.shape
        if self.boxes.shape != (n, 4) or levels != (n,):
            raise InputError(
                "the objects of an image do not fit together",
                expected="boxes [n, 4], labels [n], levels [n] or None",
                found=f"{self.boxes.shape}, {self.labels.shape}, {levels}",
            )


@dataclass(frozen=True)
class AveragePrecision:
    """Average precision of a set of images; NaN where there is no object to find.

    Attributes:
        classes: Number of classes.
        ap50: AP at IoU 0.5, the mean over the classes that have objects.
        ap: The mean of that over IoU 0.50 to 0.95 in steps of 0.05 (COCO's thresholds).
        ap50_by_class: AP at IoU 0.5 for each class.
        ap_by_class: The mean over COCO's thresholds for each class.
        recall50_by_class: Share of the objects found at IoU 0.5 at any score, for each class.
        objects_by_class: Number of objects that were counted, for each class.
    """

    classes: int
    ap50: float
    ap: float
    ap50_by_class: tuple[float, ...]
    ap_by_class: tuple[float, ...]
    recall50_by_class: tuple[float, ...]
    objects_by_class: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _Matches:
    """What the detections of one class in one image hit, by COCO's thresholds ``[10, n]``."""

    scores: F32
    hit: npt.NDArray[np.bool_]
    ignored: npt.NDArray[np.bool_]
    objects: int


def _match(detections: Detections, truth: Truth, label: int, level: int | None) -> _Matches:
    """The greedy matches of one class in one image. Objects that count go before ignored ones."""
    rows = np.flatnonzero(detections.labels == label)
    rows = rows[np.argsort(-detections.scores[rows], kind="stable")]
    objects = np.flatnonzero(truth.labels == label)
    counted = np.ones(objects.size, bool)
    if level is not None and truth.levels is not None:
        counted = truth.levels[objects] == level
    overlap = box_arithmetic.iou(detections.boxes[rows], truth.boxes[objects])
    thresholds = np.array(COCO_THRESHOLDS, np.float32)
    hit = np.zeros((thresholds.size, rows.size), bool)
    ignored = hit.copy()
    free = np.ones((thresholds.size, objects.size), bool)
    # Most detections reach no object at all: only the others need the greedy loop.
    for row in np.flatnonzero((overlap >= thresholds[0]).any(axis=1)):
        open_yet = np.ones(thresholds.size, bool)
        for wanted, mark in ((counted, hit), (~counted, ignored)):
            reach = np.where(free & wanted, overlap[row], np.float32(-1))
            best = reach.argmax(axis=1)
            taken = open_yet & (reach[np.arange(thresholds.size), best] >= thresholds)
            free[taken, best[taken]] = False
            mark[taken, row] = True
            open_yet &= ~taken
    return _Matches(detections.scores[rows], hit, ignored, int(counted.sum()))


def area_under_curve(hit: npt.NDArray[np.bool_], objects: int) -> float:
    """Area under the precision-recall curve of detections sorted by falling score.

    Args:
        hit: bool ``[n]``, whether each detection is a true positive.
        objects: Number of objects to find; with none the area is NaN.

    >>> area_under_curve(np.array([True, False, True]), 2)  # 1/2 * 1 + 1/2 * 2/3
    0.8333333333333333
    """
    if objects == 0:
        return math.nan
    found = np.cumsum(hit)
    precision = found / np.arange(1, hit.size + 1)
    ceiling = np.maximum.accumulate(precision[::-1])[::-1]
    return float(ceiling[hit].sum() / objects)


def _class_curve(
    images: Sequence[tuple[Detections, Truth]], label: int, level: int | None
) -> tuple[list[float], float, int]:
    """AP of one class at each of COCO's thresholds, its recall at IoU 0.5, its objects."""
    parts = [_match(detections, truth, label, level) for detections, truth in images]
    total = sum(part.objects for part in parts)
    if not total:
        return [math.nan] * len(COCO_THRESHOLDS), math.nan, 0
    order = np.argsort(-np.concatenate([part.scores for part in parts]), kind="stable")
    hit = np.concatenate([part.hit for part in parts], axis=1)[:, order]
    ignored = np.concatenate([part.ignored for part in parts], axis=1)[:, order]
    areas = [area_under_curve(h[~skip], total) for h, skip in zip(hit, ignored, strict=True)]
    return areas, float(hit[0].sum() / total), total


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def average_precision(
    detections: Sequence[Detections],
    truths: Sequence[Truth],
    classes: int,
    level: int | None = None,
) -> AveragePrecision:
    """Average precision of the detections in a set of images.

    Args:
        detections: One value an image.
        truths: The truth of the same images, in the same order.
        classes: Number of classes; labels run from 0.
        level: Count only the objects of this level (see the module's docstring); None counts all.

    Raises:
        InputError: When the two lists differ in length, a label is no class, or levels are asked
            for and an image has none.
    """
    _check(detections, truths, classes, level)
    images = list(zip(detections, truths, strict=True))
    curves = [_class_curve(images, label, level) for label in range(classes)]
    at_50 = tuple(areas[0] for areas, _, _ in curves)
    over_all = tuple(_mean(areas) for areas, _, _ in curves)
    return AveragePrecision(
        classes=classes,
        ap50=_mean(at_50),
        ap=_mean(over_all),
        ap50_by_class=at_50,
        ap_by_class=over_all,
        recall50_by_class=tuple(recall for _, recall, _ in curves),
        objects_by_class=tuple(total for _, _, total in curves),
    )


def best_threshold(
    detections: Sequence[Detections], truths: Sequence[Truth], classes: int, beta: float = 2.0
) -> float:
    """The score threshold at which F-beta over all objects is highest, at IoU 0.5.

    Args:
        detections: One value an image.
        truths: The truth of the same images, in the same order.
        classes: Number of classes; labels run from 0.
        beta: How much recall weighs against precision; 2 for screening, where a missed object
            costs more than a second look.

    Returns:
        Halfway between the last score that is kept and the next, so that neither side hangs on
        the last digit; NaN without objects or detections.

    Raises:
        InputError: As `average_precision` says.
    """
    _check(detections, truths, classes, None)
    images = list(zip(detections, truths, strict=True))
    parts = [_match(d, t, label, None) for label in range(classes) for d, t in images]
    scores = np.concatenate([part.scores for part in parts])
    objects = sum(part.objects for part in parts)
    if not objects or not scores.size:
        return math.nan
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    hits = np.cumsum(np.concatenate([part.hit[0] for part in parts])[order])
    kept = np.arange(1, scores.size + 1)
    f_beta = (1 + beta**2) * hits / (kept + beta**2 * objects)
    last = int(f_beta.argmax())
    below = float(scores[last + 1]) if last + 1 < scores.size else 0.0
    return (float(scores[last]) + below) / 2


def _check(
    detections: Sequence[Detections], truths: Sequence[Truth], classes: int, level: int | None
) -> None:
    if len(detections) != len(truths):
        raise InputError(
            "detections and truth are not of the same images",
            expected=f"{len(truths)} images",
            found=f"{len(detections)}",
        )
    for index, (found, truth) in enumerate(zip(detections, truths, strict=True)):
        labels = np.concatenate([found.labels, truth.labels])
        if labels.size and not 0 <= labels.min() <= labels.max() < classes:
            raise InputError(
                f"image {index} has a label that is no class",
                expected=f"0..{classes - 1}",
                found=f"{labels.min()}..{labels.max()}",
            )
        if level is not None and truth.levels is None:
            raise InputError(
                f"image {index} has no levels",
                expected=f"a level for each object, to count those of level {level}",
                found="none",
            )
