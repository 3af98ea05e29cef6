"""COCO's average precision, by the library faster-coco-eval (extra `train`): for comparison.

The COCO detection challenge's protocol (Lin et al., "Microsoft COCO: Common Objects in Context",
ECCV 2014, and the evaluation page of cocodataset.org), in which detection papers report, CLCXray's
among them: precision sampled at the recalls 0, 0.01, ... 1, at most 100 detections an image and
class, objects small up to 32 x 32 pixels, large from 96 x 96 on. `xedge.metrics.detection` needs
no library, counts the same matches and differs by the sampling alone: by at most 0.01.

The library does the counting; nothing of the protocol is written here a second time.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from xedge.errors import ConfigError
from xedge.metrics.matching import Truth, pair_images
from xedge.types import F32, I32, Detections

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class CocoPrecision:
    """COCO's average precision of a set of images; NaN where there is no object to find.

    Attributes:
        ap: The mean over the classes that have objects and over IoU 0.50 to 0.95.
        ap50: At IoU 0.5.
        ap75: At IoU 0.75.
        ap_small: `ap` of the objects of up to 32 x 32 pixels.
        ap_medium: Of those from there up to 96 x 96 pixels.
        ap_large: Of those from there on.
        ap_by_class: `ap` of each class.
        ap50_by_class: `ap50` of each class.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ap_by_class: tuple[float, ...]
    ap50_by_class: tuple[float, ...]


def _rows(image: int, boxes: F32, labels: I32) -> list[dict[str, Any]]:
    """The boxes of one image as COCO has them: x y width height, numbers from 1."""
    corner, sides = boxes[:, :2].astype(float), boxes[:, 2:].astype(float) - boxes[:, :2]
    return [
        {"image_id": image + 1, "category_id": label + 1, "bbox": box, "area": area}
        for label, box, area in zip(
            labels.tolist(),
            np.concatenate([corner, sides], axis=1).tolist(),
            sides.prod(axis=1).tolist(),
            strict=True,
        )
    ]


def _known_mean(precision: npt.NDArray[np.float64]) -> float:
    """The mean of the library's precisions, in which -1 stands for "no object"."""
    known = precision[precision > -1]
    return float(known.mean()) if known.size else math.nan


def coco_average_precision(
    detections: Sequence[Detections], truths: Sequence[Truth], classes: int
) -> CocoPrecision:
    """COCO's average precision of the detections in a set of images.

    Difficult objects become COCO's crowds: not to be found, and a detection that lies in one is
    ignored. Levels have no part in it: `xedge.metrics.average_precision` counts by level.

    Args:
        detections: One value an image.
        truths: The truth of the same images, in the same order; an object's size is its box's.
        classes: Number of classes; labels run from 0.

    Raises:
        ConfigError: When the library is not installed.
        InputError: When the two lists differ in length, or a label is no class.
    """
    images = pair_images(detections, truths, classes)
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ModuleNotFoundError as error:
        raise ConfigError(
            "COCO's average precision needs the package faster-coco-eval, which is not installed",
            remedy="Run: pip install 'xedge[train]'",
        ) from error
    objects, found = [], []
    for index, (detected, truth) in enumerate(images):
        rows = _rows(index, truth.boxes, truth.labels)
        crowds = np.zeros(len(rows), bool) if truth.difficult is None else truth.difficult
        objects += [{**r, "iscrowd": int(c)} for r, c in zip(rows, crowds, strict=True)]
        rows = _rows(index, detected.boxes, detected.labels)
        found += [{**r, "score": s} for r, s in zip(rows, detected.scores.tolist(), strict=True)]
    known = COCO(
        {
            "images": [{"id": index + 1} for index in range(len(images))],
            "categories": [{"id": label + 1, "name": str(label)} for label in range(classes)],
            "annotations": [{**row, "id": number} for number, row in enumerate(objects, 1)],
        }
    )
    evaluation = COCOeval_faster(
        known, known.loadRes(found), iouType="bbox", print_function=_LOGGER.debug
    )
    evaluation.run()
    overall = [math.nan if value < 0 else float(value) for value in evaluation.stats[:6]]
    # [IoU, recall, class, size, number of detections]: of all sizes, at most 100 detections
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    return CocoPrecision(
        ap=overall[0],
        ap50=overall[1],
        ap75=overall[2],
        ap_small=overall[3],
        ap_medium=overall[4],
        ap_large=overall[5],
        ap_by_class=tuple(_known_mean(precision[:, :, c]) for c in range(classes)),
        ap50_by_class=tuple(_known_mean(precision[0, :, c]) for c in range(classes)),
    )
