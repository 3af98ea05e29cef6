"""Two contenders on the same images: differences with intervals from resampling the images.

Images are drawn with replacement, the same ones for both, and everything is counted anew on what
was drawn: threshold, recall, average precision. The interval of a difference is that of its
percentiles (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3). Which
detection hits which object does not depend on the draw, so it is found once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xedge.errors import InputError
from xedge.metrics.detection import mean_of_known
from xedge.metrics.matching import Truth, match, pair_images
from xedge.metrics.screening import Share, binomial_interval
from xedge.types import F32, Detections

F64 = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Difference:
    """How much more the second contender has of something; NaN where neither can be measured.

    Attributes:
        value: On all images.
        low: Lower end of the interval.
        high: Upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedComparison:
    """The second contender against the first, on the same images.

    Attributes:
        ap50: Difference of AP at IoU 0.5, the mean over the classes that occur.
        ap50_by_class: Of each class.
        recall: Difference of the share of objects found at the false-alarm rate; None without
            a clean image.
        recall_by_class: Of each class; empty without a clean image.
        flips: Of all images, those that only one of the two alarms on.
        lost: Of the images with an object, those that only the first alarms on.
        gained: Of the clean images, those that only the second alarms on.
    """

    ap50: Difference
    ap50_by_class: tuple[Difference, ...]
    recall: Difference | None
    recall_by_class: tuple[Difference, ...]
    flips: Share
    lost: Share
    gained: Share


@dataclass(frozen=True, eq=False)
class _Ranked:
    """Detections of one class, best first, with what each is worth and where it is.

    ``objects`` is int64 ``[images]``; the other arrays have one value a detection.
    """

    scores: F32
    hit: npt.NDArray[np.bool_]
    image: npt.NDArray[np.intp]
    objects: Counts

    def average_precision(self, drawn: Counts) -> float:
        """Area under the curve where image i is there ``drawn[i]`` times; NaN without objects.

        Equal to `detection.area_under_curve` on the images repeated: of a run of equal hits the
        last point is the highest.
        """
        objects = int(drawn @ self.objects)
        if not objects:
            return float("nan")
        times = drawn[self.image]
        found = np.cumsum(times * self.hit)
        precision = found / np.maximum(np.cumsum(times), 1)
        ceiling = np.maximum.accumulate(precision[::-1])[::-1]
        return float((times * self.hit * ceiling).sum() / objects)

    def found(self, drawn: Counts, barred: float) -> int:
        """Number of objects found by scores above ``barred``."""
        above = self.hit & (self.scores > barred)
        return int(drawn[self.image[above]].sum())


class _Contender:
    """What one contender found, ready to be counted on any draw of the images."""

    def __init__(
        self, detections: Sequence[Detections], truths: Sequence[Truth], classes: int
    ) -> None:
        images = pair_images(detections, truths, classes)
        self.ranked = [_rank(images, label) for label in range(classes)]
        self.best = np.array([d.scores.max(initial=-np.inf) for d in detections], np.float32)
        clean = np.array([t.labels.size == 0 for t in truths], bool)
        self.clean = np.flatnonzero(clean)[np.argsort(-self.best[clean], kind="stable")]

    def average_precisions(self, drawn: Counts) -> F64:
        return np.array([ranked.average_precision(drawn) for ranked in self.ranked])

    def recalls(self, drawn: Counts, rate: float) -> F64:
        """Share of objects found at the rate, of each class, and at last of all classes."""
        times = np.cumsum(drawn[self.clean])
        if not times.size or not times[-1]:
            return np.full(len(self.ranked) + 1, np.nan)
        # As `screening` has it: the largest count whose share is within the rate.
        within = np.flatnonzero(np.arange(times[-1] + 1) / times[-1] <= rate)[-1]
        over = np.flatnonzero(times > within)
        barred = float(self.best[self.clean[over[0]]]) if over.size else -np.inf
        found = np.array([r.found(drawn, barred) for r in self.ranked], float)
        objects = np.array([drawn @ r.objects for r in self.ranked], float)
        found, objects = np.append(found, found.sum()), np.append(objects, objects.sum())
        shares: F64 = np.full(found.size, np.nan)
        np.divide(found, objects, out=shares, where=objects > 0)
        return shares


def _rank(images: Sequence[tuple[Detections, Truth]], label: int) -> _Ranked:
    parts = [match(found, truth, label, None, (0.5,)) for found, truth in images]
    scores = np.concatenate([part.scores for part in parts])
    hit = np.concatenate([part.hit[0] for part in parts])
    kept = ~np.concatenate([part.ignored[0] for part in parts])
    image = np.repeat(np.arange(len(parts)), [part.scores.size for part in parts])
    order = np.argsort(-scores, kind="stable")
    order = order[kept[order]]
    objects = np.array([part.objects for part in parts], np.int64)
    return _Ranked(scores[order], hit[order], image[order], objects)


def compare_paired(
    first: Sequence[Detections],
    second: Sequence[Detections],
    truths: Sequence[Truth],
    classes: int,
    *,
    alarm_threshold: float,
    rate: float = 0.05,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    advance: Callable[[], None] = lambda: None,
) -> PairedComparison:
    """The second contender against the first, with intervals.

    Args:
        first: What the first found, one value an image.
        second: What the second found in the same images.
        truths: Of the same images, in the same order.
        classes: Number of classes; labels run from 0.
        alarm_threshold: An image alarms when a detection has this score or a better one.
        rate: Share of clean images that may alarm where recall is counted.
        resamples: Draws of the images.
        seed: Of the draws.
        confidence: Of the intervals, above 0 and below 1.
        advance: Called after each draw.

    Raises:
        InputError: When the lists differ in length, there is no image, or an argument lies
            outside its range.
    """
    if not truths or resamples < 1 or not 0 <= rate <= 1 or not 0 < confidence < 1:
        raise InputError(
            "two contenders cannot be compared",
            expected="an image or more, a draw or more, a rate in 0..1, a confidence within 0..1",
            found=f"{len(truths)} images, {resamples} draws, rate {rate}, confidence {confidence}",
        )
    sides = [_Contender(found, truths, classes) for found in (first, second)]
    size = len(truths)
    rng = np.random.default_rng(seed)
    whole = _differences(sides, np.ones(size, np.int64), rate)
    draws = np.empty((resamples, whole.size))
    for k in range(resamples):
        drawn = np.bincount(rng.integers(size, size=size), minlength=size)
        draws[k] = _differences(sides, drawn, rate)
        advance()
    ends = [100 * (1 - confidence) / 2, 100 * (1 + confidence) / 2]
    rows = [_difference(value, column, ends) for value, column in zip(whole, draws.T, strict=True)]
    before, after = (side.best >= np.float32(alarm_threshold) for side in sides)
    clean = np.array([t.labels.size == 0 for t in truths], bool)
    loaded = np.array([t.counted().any() for t in truths], bool)
    recalls = tuple(rows[classes + 1 :]) if clean.any() else ()

    def share(of: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]) -> Share:
        count, total = int((of & among).sum()), int(among.sum())
        return Share(count, total, *binomial_interval(count, total, confidence))

    return PairedComparison(
        ap50=rows[classes],
        ap50_by_class=tuple(rows[:classes]),
        recall=recalls[-1] if recalls else None,
        recall_by_class=recalls[:-1],
        flips=share(before != after, np.ones(size, bool)),
        lost=share(before & ~after, loaded),
        gained=share(~before & after, clean),
    )


def _differences(sides: Sequence[_Contender], drawn: Counts, rate: float) -> F64:
    """AP50 of each class and their mean, then recall of each class and of all: second - first."""
    values = []
    for side in sides:
        precisions = side.average_precisions(drawn)
        values.append([*precisions, mean_of_known(precisions), *side.recalls(drawn, rate)])
    first, second = np.array(values)
    difference: F64 = second - first
    return difference


def _difference(value: float, draws: F64, ends: Sequence[float]) -> Difference:
    known = draws[~np.isnan(draws)]
    if not known.size:
        return Difference(float(value), float("nan"), float("nan"))
    low, high = np.percentile(known, ends)
    return Difference(float(value), float(low), float(high))
