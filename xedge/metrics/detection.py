"""How good detections are against the truth: average precision, overall, per class, per level.

Average precision is the area under the whole precision-recall curve after precision has been
made non-increasing from the right ("all points", as PASCAL VOC from 2010 on: Everingham and Winn,
"The PASCAL Visual Object Classes Challenge 2010 Development Kit", section 3.4.1), without COCO's
sampling at 101 recalls, which differs from it by at most 0.01. `xedge.metrics.matching` says
which detection hits which object. Detections are ranked over all images by falling score, ties in
the order of images and rows.

With levels (OPIXray's occlusion levels, say), AP of one level counts only that level's objects:
an object of another level is ignored, and so is a detection that matches it, as COCO does with
its area ranges. A detection that matches nothing counts against every level. Difficult objects
are ignored at every level.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xedge.metrics.matching import Truth, match_all, pair_images, threshold_between
from xedge.types import F32, Detections


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
class Curve:
    """The precision-recall curve of one class: a point for each detection that is not ignored.

    Point ``k`` says what the ``k + 1`` best detections are worth. Of points with one score only
    the last can be reached by a threshold.

    Attributes:
        scores: float32 ``[n]``, falling.
        precision: float64 ``[n]``, share of the detections so far that are right; not yet made
            non-increasing.
        recall: float64 ``[n]``, share of the objects found so far; NaN without objects.
        objects: Number of objects to find.
    """

    scores: F32
    precision: npt.NDArray[np.float64]
    recall: npt.NDArray[np.float64]
    objects: int


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


def mean_of_known(values: Iterable[float]) -> float:
    """The mean of the values that are not NaN; NaN where all are.

    >>> mean_of_known([0.5, math.nan, 1.0])
    0.75
    """
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def _class_areas(
    images: Sequence[tuple[Detections, Truth]], label: int, level: int | None
) -> tuple[list[float], float, int]:
    """AP of one class at each of COCO's thresholds, its recall at IoU 0.5, its objects."""
    found = match_all(images, label, level)
    areas = [
        area_under_curve(hit[~skip], found.objects)
        for hit, skip in zip(found.hit, found.ignored, strict=True)
    ]
    recall = float(found.hit[0].sum() / found.objects) if found.objects else math.nan
    return areas, recall, found.objects


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
    images = pair_images(detections, truths, classes, level)
    curves = [_class_areas(images, label, level) for label in range(classes)]
    at_50 = tuple(areas[0] for areas, _, _ in curves)
    over_all = tuple(mean_of_known(areas) for areas, _, _ in curves)
    return AveragePrecision(
        classes=classes,
        ap50=mean_of_known(at_50),
        ap=mean_of_known(over_all),
        ap50_by_class=at_50,
        ap_by_class=over_all,
        recall50_by_class=tuple(recall for _, recall, _ in curves),
        objects_by_class=tuple(total for _, _, total in curves),
    )


def precision_recall(
    detections: Sequence[Detections],
    truths: Sequence[Truth],
    label: int,
    iou: float = 0.5,
    level: int | None = None,
) -> Curve:
    """The precision-recall curve of one class, whose area `average_precision` reports.

    Args:
        detections: One value an image.
        truths: The truth of the same images, in the same order.
        label: The class.
        iou: From which IoU on a detection finds an object, above 0 and at most 1.
        level: Count only the objects of this level (see the module's docstring); None counts all.

    Raises:
        InputError: When the two lists differ in length, the IoU lies outside its range, or levels
            are asked for and an image has none.
    """
    found = match_all(pair_images(detections, truths, level=level), label, level, (iou,))
    kept = ~found.ignored[0]
    hits = np.cumsum(found.hit[0][kept])
    return Curve(
        scores=found.scores[kept],
        precision=hits / np.arange(1, hits.size + 1),
        recall=hits / (found.objects or math.nan),
        objects=found.objects,
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
    images = pair_images(detections, truths, classes)
    parts = [match_all(images, label, thresholds=(0.5,)) for label in range(classes)]
    objects = sum(part.objects for part in parts)
    scores = np.concatenate([part.scores[~part.ignored[0]] for part in parts])
    hits = np.concatenate([part.hit[0][~part.ignored[0]] for part in parts])
    return threshold_of_best_f(scores, hits, objects, beta)


def threshold_of_best_f(
    scores: F32, hits: npt.NDArray[np.bool_], positives: int, beta: float
) -> float:
    """The threshold with the best F-beta, as `best_threshold` says, of answers already judged.

    Args:
        scores: float32 ``[n]``, of each answer.
        hits: bool ``[n]``, which of them are right.
        positives: How many right ones there could be.
        beta: How much recall weighs against precision.
    """
    if not positives or not scores.size:
        return math.nan
    order = np.argsort(-scores, kind="stable")
    scores, found = scores[order], np.cumsum(hits[order])
    kept = np.arange(1, scores.size + 1)
    f_beta = (1 + beta**2) * found / (kept + beta**2 * positives)
    # A threshold keeps all detections of one score or none of them.
    f_beta[:-1][scores[1:] == scores[:-1]] = -1
    last = int(f_beta.argmax())
    below = float(scores[last + 1]) if last + 1 < scores.size else 0.0
    return threshold_between(float(scores[last]), below)
