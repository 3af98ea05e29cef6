"""How good a classifier of whole images is: SIXray's protocol, for classes and for pointing.

Miao et al., "SIXray: A Large-scale Security Inspection X-ray Benchmark for Prohibited Item
Discovery in Overlapping Images" (CVPR 2019), section 5.1: images are ranked by the confidence of
each class by itself, and the mean over classes is reported; of localisation, the share of images
where the strongest response of a class lies in one of its boxes. How the area is summed, and that
an entry of 0 is left out, is what the paper's released evaluation does and its text does not say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xedge.errors import InputError
from xedge.metrics.detection import mean_of_known, threshold_of_best_f
from xedge.metrics.matching import Truth, check_labels
from xedge.types import F32

Scores = F32 | npt.NDArray[np.float64]


@dataclass(frozen=True)
class MultilabelPrecision:
    """Average precision of a classifier of images; NaN where no image holds the class.

    Attributes:
        mean: The mean over the classes that some image holds.
        by_class: For each class.
        positives_by_class: Number of images that hold the class.
        judged_by_class: Number of images that were ranked: all but those marked 0.
    """

    mean: float
    by_class: tuple[float, ...]
    positives_by_class: tuple[int, ...]
    judged_by_class: tuple[int, ...]


@dataclass(frozen=True)
class PointingAccuracy:
    """How often a localisation map is strongest inside an object; NaN where none is to be found.

    Attributes:
        mean: The mean over the classes that some image holds.
        by_class: Hits per image that holds the class.
        hits_by_class: Number of hits.
        images_by_class: Number of hits and misses.
    """

    mean: float
    by_class: tuple[float, ...]
    hits_by_class: tuple[int, ...]
    images_by_class: tuple[int, ...]


def _check(scores: Scores, presence: npt.NDArray[np.int8]) -> None:
    if scores.ndim != 2 or scores.shape != presence.shape:
        raise InputError(
            "scores and presence do not fit together",
            expected="[images, classes] of both",
            found=f"{scores.shape} and {presence.shape}",
        )
    if not np.isfinite(scores).all():
        raise InputError("a score cannot be ranked", expected="finite scores", found="NaN or inf")
    known = presence.dtype.kind == "i" and np.isin(presence, (-1, 0, 1)).all()
    # Marks of 0 and 1 would make every image without the class a difficult one, and each AP 1.
    if not known or ((presence == 0).any() and not (presence == -1).any()):
        raise InputError(
            "the presence of classes cannot be read",
            expected="integers 1 (holds it), -1 (does not) and 0 (difficult)",
            found=f"{presence.dtype} {np.unique(presence)[:5].tolist()}",
            remedy="Mark absence by -1",
        )


def _precision_at_positives(scores: Scores, positive: npt.NDArray[np.bool_]) -> float:
    """Mean of the precision at each positive, among all images with its score or a better one."""
    order = np.argsort(-scores, kind="stable")
    falling, hits = -scores[order], np.cumsum(positive[order])
    if not positive.any():
        return math.nan
    ranked = np.searchsorted(falling, falling, side="right")
    precision = hits[ranked - 1] / ranked
    return float(precision[positive[order]].mean())


def multilabel_average_precision(
    scores: Scores, presence: npt.NDArray[np.int8]
) -> MultilabelPrecision:
    """Average precision of each class, the mean of the precision at each image that holds it.

    Nothing is interpolated. Images with one score are ranked together, so that their order says
    nothing; where all scores differ this is the sum that the released evaluation takes.

    Args:
        scores: float32 or float64 ``[n, C]``, the confidence that image holds class; only their
            order matters.
        presence: int8 ``[n, C]``: 1 holds it, -1 does not, 0 is difficult and left out.

    Raises:
        InputError: When the shapes differ, a score is not finite, or presence is something else:
            marks of 0 and 1, say, without a single -1.
    """
    _check(scores, presence)
    judged = presence != 0
    positive = presence == 1
    by_class = tuple(
        _precision_at_positives(scores[judged[:, c], c], positive[judged[:, c], c])
        for c in range(scores.shape[1])
    )
    return MultilabelPrecision(
        mean=mean_of_known(by_class),
        by_class=by_class,
        positives_by_class=tuple(int(count) for count in positive.sum(axis=0)),
        judged_by_class=tuple(int(count) for count in judged.sum(axis=0)),
    )


def best_image_threshold(
    scores: Scores, presence: npt.NDArray[np.int8], beta: float = 2.0
) -> float:
    """The score threshold at which F-beta over all images and classes is highest.

    Each pair of image and class is one answer; difficult ones are left out.

    Args:
        scores: As for `multilabel_average_precision`, 0..1.
        presence: Likewise.
        beta: How much recall weighs against precision, as in `best_threshold`.

    Returns:
        Halfway between the last score that is kept and the next; NaN where no image holds a class.

    Raises:
        InputError: As `multilabel_average_precision` says.
    """
    _check(scores, presence)
    judged = presence != 0
    positive = presence[judged] == 1
    return threshold_of_best_f(
        scores[judged].astype(np.float32), positive, int(positive.sum()), beta
    )


def pointing_accuracy(points: Scores, truths: Sequence[Truth]) -> PointingAccuracy:
    """How often the strongest point of a class's map lies in one of the image's boxes of the class.

    An image counts for the classes it holds an object of; a point on a box's border lies inside,
    and one that is NaN (a map without a maximum) is a miss. Difficult objects are neither hit nor
    miss: an image is left out for a class where only such an object holds the point, or there is
    no other.

    Args:
        points: float32 or float64 ``[n, C, 2]``, x y of the maximum of each class's map, over all
            of its scales, in pixels of the truth.
        truths: Of the same images, in the same order.

    Raises:
        InputError: When points are not of these images, or an object's label is no class of theirs.
    """
    if points.ndim != 3 or points.shape[0] != len(truths) or points.shape[2] != 2:
        raise InputError(
            "points and truth are not of the same images",
            expected=f"points [{len(truths)}, classes, 2]",
            found=str(points.shape),
        )
    classes = points.shape[1]
    hits, images = np.zeros(classes, int), np.zeros(classes, int)
    for index, (image, truth) in enumerate(zip(points, truths, strict=True)):
        check_labels(index, truth.labels, classes)
        at = image[truth.labels]
        inside = ((truth.boxes[:, :2] <= at) & (at <= truth.boxes[:, 2:])).all(axis=1)
        counted = truth.counted()
        for label in np.unique(truth.labels[counted]):
            own = truth.labels == label
            hit = bool((inside & own & counted).any())
            hits[label] += hit
            images[label] += hit or not bool((inside & own).any())
    by_class = tuple(int(h) / int(n) if n else math.nan for h, n in zip(hits, images, strict=True))
    return PointingAccuracy(
        mean=mean_of_known(by_class),
        by_class=by_class,
        hits_by_class=tuple(int(h) for h in hits),
        images_by_class=tuple(int(n) for n in images),
    )
