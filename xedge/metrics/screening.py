"""What a detector finds when its false alarms are capped: how an operator of belts counts.

An operator fixes the share of harmless bags that may be stopped; the score threshold follows from
it, and recall at that threshold is what the detector is worth. Average precision says neither:
it has no threshold, and it counts false detections, not the bags that they stop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xedge.errors import InputError
from xedge.metrics.matching import Truth, match_all, pair_images, threshold_between
from xedge.types import F32, Detections


@dataclass(frozen=True)
class Share:
    """A count of a total, with what it says of the share behind it.

    Attributes:
        count: How many.
        total: Of how many.
        low: Lower end of the interval, see `binomial_interval`.
        high: Upper end.
    """

    count: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share; NaN of nothing."""
        return self.count / self.total if self.total else math.nan


@dataclass(frozen=True)
class ScreeningRecall:
    """What is found at a threshold that keeps to a false-alarm rate.

    Attributes:
        threshold: A bag with a detection of this score or a better one raises an alarm. It is a
            float32 number; above every score when the rate allows no detection at all.
        false_alarms: Of the bags without any object, those that raise an alarm.
        objects: Of the objects, those found: by a detection of their class, in their place.
        bags: Of the bags with an object, those that raise an alarm, rightly or by luck.
        objects_by_class: `objects` for each class.
        bags_by_class: `bags` for each class, of the bags that hold it.
    """

    threshold: float
    false_alarms: Share
    objects: Share
    bags: Share
    objects_by_class: tuple[Share, ...]
    bags_by_class: tuple[Share, ...]


def _smallest_likely(count: int, total: int, doubt: float) -> float:
    """The share at which ``count`` or more of ``total`` come up with probability ``doubt``."""
    if count == 0:
        return 0.0
    # log of C(total, k) for k = 0..total, then of the terms of the tail
    k = np.arange(1, total + 1)
    log_choices = np.concatenate([[0.0], np.cumsum(np.log((total - k + 1) / k))])[count:]
    hits = np.arange(count, total + 1)
    low, high = 0.0, 1.0
    # The tail grows with the share; halving ends when no double is left between.
    while low < (middle := (low + high) / 2) < high:
        logs = log_choices + hits * math.log(middle) + (total - hits) * math.log1p(-middle)
        if float(np.exp(logs).sum()) < doubt:
            low = middle
        else:
            high = middle
    return high


def binomial_interval(count: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """The Clopper-Pearson interval of a share: it holds the true one at least ``confidence`` often.

    Its ends are the shares at which the count, or one more extreme, comes up with probability
    (1 - confidence) / 2: Clopper and Pearson, "The use of confidence or fiducial limits
    illustrated in the case of the binomial", Biometrika 26 (1934). It takes the trials as
    independent; objects of one bag, or bags of one passenger, are less so, and the true interval
    is then wider.

    Args:
        count: How many, 0 to ``total``.
        total: Of how many; of 0 the interval is 0 to 1.
        confidence: Above 0, below 1.

    Raises:
        InputError: When an argument lies outside its range.

    >>> low, high = binomial_interval(0, 10)
    >>> low, round(high, 12) == round(1 - 0.025 ** (1 / 10), 12)
    (0.0, True)
    """
    if not 0 <= count <= total:
        raise InputError("a count cannot be used", expected=f"0..{total}", found=str(count))
    if not 0 < confidence < 1:
        raise InputError(
            "a confidence cannot be used", expected="above 0 and below 1", found=str(confidence)
        )
    doubt = (1 - confidence) / 2
    return (
        _smallest_likely(count, total, doubt),
        1.0 - _smallest_likely(total - count, total, doubt),
    )


def _share(count: int, total: int, confidence: float) -> Share:
    return Share(count, total, *binomial_interval(count, total, confidence))


def _lowest_threshold(best: F32, clean: npt.NDArray[np.bool_], rate: float, scores: F32) -> float:
    """The lowest threshold at which at most the share ``rate`` of the clean bags raises an alarm.

    Args:
        best: Best score of each bag, -inf without a detection.
        clean: Which bags hold nothing.
        rate: Share of them that may raise an alarm.
        scores: Of all detections of all bags.
    """
    falling = np.sort(best[clean])[::-1]
    # The largest count whose share is within the rate, whatever the last digit of a product says.
    allowed = int(np.searchsorted(np.arange(falling.size + 1) / falling.size, rate, "right")) - 1
    barred = falling[allowed] if allowed < falling.size else -np.inf
    if not np.isfinite(barred):
        return 0.0
    above = scores[scores > barred]
    # Where nothing scores higher the next float32 keeps everything out.
    kept = above.min() if above.size else np.nextafter(barred, np.float32(np.inf))
    return threshold_between(float(kept), float(barred))


def recall_at_false_alarm_rate(
    detections: Sequence[Detections],
    truths: Sequence[Truth],
    classes: int,
    rate: float,
    iou: float = 0.5,
    confidence: float = 0.95,
) -> ScreeningRecall:
    """What is found at the lowest threshold that keeps to a false-alarm rate.

    Of the bags without any object at most the share ``rate`` raises an alarm: bags that tie at
    the threshold are all let through, so that the rate is never exceeded. That holds for these
    bags; what they say of others is the interval of `ScreeningRecall.false_alarms`. Difficult
    objects are neither found nor missed, and a bag that holds only such is neither clean nor one
    with an object.

    Args:
        detections: One value a bag.
        truths: The truth of the same bags, in the same order.
        classes: Number of classes; labels run from 0.
        rate: Share of clean bags that may raise an alarm, 0 to 1.
        iou: From which IoU on a detection finds an object, above 0 and at most 1.
        confidence: Of the intervals, above 0 and below 1.

    Raises:
        InputError: When there is no bag without an object: nothing would say where the rate is
            kept, and any threshold would be a guess. Also when an argument lies outside its range,
            the two lists differ in length, or a label is no class.
    """
    images = pair_images(detections, truths, classes)
    if not 0 <= rate <= 1:
        raise InputError("a false-alarm rate cannot be used", expected="0..1", found=str(rate))
    clean = np.array([truth.labels.size == 0 for truth in truths], bool)
    if not clean.any():
        raise InputError(
            "a false-alarm rate has nothing to be measured on",
            expected="at least one bag without any object",
            found=f"{len(truths)} bags, none without",
            remedy="Add bags that hold no labelled object",
        )
    best = np.array([d.scores.max(initial=-np.inf) for d in detections], np.float32)
    scores = np.concatenate([d.scores for d in detections])
    threshold = _lowest_threshold(best, clean, rate, scores)
    alarm = best >= threshold
    found, objects = [], []
    for label in range(classes):
        matches = match_all(images, label, thresholds=(iou,))
        found.append(int((matches.hit[0] & (matches.scores >= threshold)).sum()))
        objects.append(matches.objects)
    held = [np.array([t.counted(label).any() for t in truths]) for label in range(classes)]

    def alarms(of: npt.NDArray[np.bool_]) -> Share:
        return _share(int((alarm & of).sum()), int(of.sum()), confidence)

    return ScreeningRecall(
        threshold=threshold,
        false_alarms=alarms(clean),
        objects=_share(sum(found), sum(objects), confidence),
        bags=alarms(np.array([t.counted().any() for t in truths])),
        objects_by_class=tuple(
            _share(f, n, confidence) for f, n in zip(found, objects, strict=True)
        ),
        bags_by_class=tuple(alarms(of) for of in held),
    )
