"""How good a model is, counted as the papers count it and as a lane does. NumPy, but for `coco`.

matching     which detection hits which object; `Truth`
detection    average precision of boxes (all points), per class and occlusion level; its curve
multilabel   SIXray's protocol: average precision of whole images, accuracy of pointing
coco         COCO's average precision, by the library that comes with the extra `train`
screening    recall where the share of clean bags that raise an alarm is fixed
summary      all of these of one set of images in one value
paired       two contenders on the same images: differences with intervals
"""

from __future__ import annotations

from xedge.metrics.coco import CocoPrecision, coco_average_precision
from xedge.metrics.detection import (
    AveragePrecision,
    Curve,
    area_under_curve,
    average_precision,
    best_threshold,
    precision_recall,
)
from xedge.metrics.matching import COCO_THRESHOLDS, Truth
from xedge.metrics.multilabel import (
    MultilabelPrecision,
    PointingAccuracy,
    best_image_threshold,
    multilabel_average_precision,
    pointing_accuracy,
)
from xedge.metrics.paired import Difference, PairedComparison, compare_paired
from xedge.metrics.screening import (
    ScreeningRecall,
    Share,
    binomial_interval,
    recall_at_false_alarm_rate,
)
from xedge.metrics.summary import FALSE_ALARMS, Summary, summarise

__all__ = [
    "COCO_THRESHOLDS",
    "FALSE_ALARMS",
    "AveragePrecision",
    "CocoPrecision",
    "Curve",
    "Difference",
    "MultilabelPrecision",
    "PairedComparison",
    "PointingAccuracy",
    "ScreeningRecall",
    "Share",
    "Summary",
    "Truth",
    "area_under_curve",
    "average_precision",
    "best_image_threshold",
    "best_threshold",
    "binomial_interval",
    "coco_average_precision",
    "compare_paired",
    "multilabel_average_precision",
    "pointing_accuracy",
    "precision_recall",
    "recall_at_false_alarm_rate",
    "summarise",
]
