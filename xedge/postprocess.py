"""From an engine's candidates to detections: checked, thresholded, cut off, suppressed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from xedge import boxes as box_arithmetic
from xedge.errors import EngineRunError
from xedge.spec import ModelSpec
from xedge.types import Detections

MOST_DETECTIONS = 100
"""At most so many detections come out of one window."""

INSIDE = 0.5
"""Share of a box that must lie on real pixels; the rest may lie on padding."""


def candidates(outputs: Mapping[str, npt.NDArray[Any]], spec: ModelSpec) -> Detections:
    """All K candidates of one window as the engine gave them, checked.

    Raises:
        EngineRunError: When a number is not finite, a score lies outside 0..1 or a label is no
            class of the model. Such an answer is thrown away whole: what else it says cannot be
            trusted, and dropping rows would make a broken model look like a clean bag.
    """
    boxes, scores, labels = outputs["boxes"][0], outputs["scores"][0], outputs["labels"][0]
    broken = int((~np.isfinite(boxes)).any(axis=1).sum() + (~np.isfinite(scores)).sum())
    if broken:
        raise EngineRunError(
            "the model answered with values that are not finite",
            expected="finite boxes and scores",
            found=f"{broken} of {2 * scores.size} boxes and scores that are not",
            remedy="Check the bundle with its golden inputs, or use another engine",
        )
    if scores.size and not 0.0 <= scores.min() <= scores.max() <= 1.0:
        raise EngineRunError(
            "the model answered with scores out of range",
            expected="0..1",
            found=f"{scores.min()}..{scores.max()}",
        )
    if labels.size and not 0 <= labels.min() <= labels.max() < len(spec.classes):
        raise EngineRunError(
            "the model answered with a label that is no class",
            expected=f"0..{len(spec.classes) - 1}",
            found=f"{labels.min()}..{labels.max()}",
        )
    return Detections(boxes, scores, labels)


def detections(
    outputs: Mapping[str, npt.NDArray[Any]],
    spec: ModelSpec,
    height: int,
    width: int,
    score_threshold: float,
) -> Detections:
    """What the outputs of one run say, in pixels of the window, highest score first.

    Args:
        outputs: ``boxes [1, k, 4]``, ``scores [1, k]`` and ``labels [1, k]`` of an engine.
        spec: The model's description.
        height: Rows of the window that hold real pixels; the others are padding.
        width: Columns of the window that hold real pixels.
        score_threshold: Candidates with a lower score are dropped.

    Raises:
        EngineRunError: As `candidates` says.
    """
    found = candidates(outputs, spec)
    found = found[found.scores >= np.float32(score_threshold)]
    boxes = box_arithmetic.clip(found.boxes, spec.height, spec.width)
    real = box_arithmetic.clip(boxes, height, width)
    area = box_arithmetic.area(real)
    solid = (area > 0) & (area >= np.float32(INSIDE) * box_arithmetic.area(boxes))
    boxes, scores, labels = real[solid], found.scores[solid], found.labels[solid]
    kept = box_arithmetic.nms(boxes, scores, labels, spec.nms_iou, MOST_DETECTIONS)
    return Detections(boxes[kept], scores[kept], labels[kept])
