"""How good a model is, counted as the papers count it and as a lane does. Plain NumPy.

matching     which detection hits which object; `Truth`
detection    average precision of boxes (all points), per class and occlusion level; its curve
"""

from __future__ import annotations

from xedge.metrics.detection import (
    AveragePrecision,
    Curve,
    area_under_curve,
    average_precision,
    best_threshold,
    precision_recall,
)
from xedge.metrics.matching import COCO_THRESHOLDS, Truth

__all__ = [
    "COCO_THRESHOLDS",
    "AveragePrecision",
    "Curve",
    "Truth",
    "area_under_curve",
    "average_precision",
    "best_threshold",
    "precision_recall",
]
