"""What a detector is worth on a set of images, in one value: precision, recall, alarms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xedge.metrics.detection import AveragePrecision, average_precision
from xedge.metrics.matching import Truth
from xedge.metrics.screening import ScreeningRecall, recall_at_false_alarm_rate
from xedge.types import Detections

FALSE_ALARMS = 0.05
"""Share of the clean images that may alarm where recall is stated, unless somebody asks."""

LEVELS = (1, 2, 3)
"""Levels of occlusion, OPIXray's and the simulator's."""


@dataclass(frozen=True)
class Summary:
    """What a detector is worth on a set of images.

    Attributes:
        images: Number of images.
        whole: Average precision of all objects.
        levels: Average precision by level of occlusion, of those that occur.
        screening: Recall where the false-alarm rate is capped; None without a clean image.
        loaded: Images with an object.
        loaded_alarmed: Those of them with a detection at the alarm threshold.
        clean: Images without any.
        clean_alarmed: Those of them that alarm.
    """

    images: int
    whole: AveragePrecision
    levels: Mapping[int, AveragePrecision]
    screening: ScreeningRecall | None
    loaded: int
    loaded_alarmed: int
    clean: int
    clean_alarmed: int


def summarise(
    detections: Sequence[Detections],
    truths: Sequence[Truth],
    classes: int,
    alarm_threshold: float,
    rate: float = FALSE_ALARMS,
) -> Summary:
    """What was found in a set of images, summed up.

    Args:
        detections: One value an image.
        truths: The truth of the same images, in the same order.
        classes: Number of classes; labels run from 0.
        alarm_threshold: An image alarms when a detection has this score or a better one.
        rate: Share of clean images that may alarm where recall is counted.

    Raises:
        InputError: As `average_precision` and `recall_at_false_alarm_rate` say.
    """
    alarmed = np.array([bool((d.scores >= alarm_threshold).any()) for d in detections], bool)
    loaded = np.array([t.labels.size > 0 for t in truths], bool)
    told = [t.levels for t in truths]
    there = [lv for lv in LEVELS if all(t is not None for t in told)
             and any(t is not None and lv in t for t in told)]  # fmt: skip
    return Summary(
        images=len(truths),
        whole=average_precision(detections, truths, classes),
        levels={lv: average_precision(detections, truths, classes, level=lv) for lv in there},
        screening=None
        if loaded.all()
        else recall_at_false_alarm_rate(detections, truths, classes, rate),
        loaded=int(loaded.sum()),
        loaded_alarmed=int((alarmed & loaded).sum()),
        clean=int((~loaded).sum()),
        clean_alarmed=int((alarmed & ~loaded).sum()),
    )
