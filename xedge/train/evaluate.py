"""What a model in PyTorch is worth; of a detector, AP by class and level, and |w| of LA."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from torch import Tensor

from xedge.metrics import (
    FALSE_ALARMS,
    Truth,
    average_precision,
    best_threshold,
    coco_average_precision,
    recall_at_false_alarm_rate,
)
from xedge.models.base import Classifier, Detector, top_candidates
from xedge.models.dense import DenseDetector
from xedge.models.label_aware import Update
from xedge.postprocess import detections
from xedge.spec import ModelSpec
from xedge.train.batch import Batch, truth_of
from xedge.train.classified import measure_classifier
from xedge.types import Detections

LEAST_SCORE: Final = 0.001
CANDIDATES: Final = 1000
"""What average precision is measured with: its curve must not end where a device would cut it off.

The same for every host; suppression is the host's own. A device takes what the exported spec says.
"""


@dataclass(frozen=True)
class UpdateSize:
    """Size of LA's update |w| over all locations and channels of the windows seen.

    Attributes:
        mean: Mean of |w|.
        p99: 99th percentile of |w| (of a fixed sample a level and window).
        largest: Largest |w|.
    """

    mean: float
    p99: float
    largest: float


class _UpdateMeter:
    """Adds up LA's updates as they pass."""

    def __init__(self) -> None:
        self.total, self.count, self.largest = 0.0, 0, 0.0
        self.samples: list[np.ndarray[tuple[int], np.dtype[np.float32]]] = []

    def add(self, update: Update) -> None:
        w = update.weight.abs()
        self.total, self.count = self.total + float(w.sum()), self.count + w.numel()
        self.largest = max(self.largest, float(w.max()))
        self.samples.append(w.flatten()[:: max(w.numel() // 20_000, 1)].cpu().numpy())

    def size(self) -> UpdateSize | None:
        if not self.count:
            return None
        p99 = float(np.percentile(np.concatenate(self.samples), 99))
        return UpdateSize(self.total / self.count, p99, self.largest)


def to_detections(spec: ModelSpec, boxes: Tensor, scores: Tensor, labels: Tensor) -> Detections:
    """Detections of one window by the code that engines' answers go through.

    Args:
        spec: The model's description.
        boxes: ``[K, 4]``.
        scores: ``[K]``.
        labels: int32 ``[K]``.
    """
    rows = {"boxes": boxes, "scores": scores, "labels": labels}
    outputs = {name: value[None].cpu().numpy() for name, value in rows.items()}
    return detections(outputs, spec, spec.height, spec.width, spec.score_threshold)


@torch.no_grad()
def screen_windows(
    model: Detector,
    spec: ModelSpec,
    batches: Iterable[Batch],
    *,
    label_aware: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> tuple[list[Detections], list[Truth], UpdateSize | None]:
    """Detections and truth of each window, and the size of LA's update when it was on."""
    found: list[Detections] = []
    truth: list[Truth] = []
    meter = _UpdateMeter()
    device = next(model.parameters()).device
    for batch in batches:
        planes = batch.to(device).planes
        if isinstance(model, DenseDetector):
            outputs = model(planes, label_aware=label_aware)
            for update in outputs.updates:
                meter.add(update)
        else:
            outputs = model(planes)
        boxes, scores = model.decode(outputs)
        k = min(spec.candidates, scores.shape[1] * scores.shape[2])
        rows = top_candidates(boxes, scores, k)
        found += [to_detections(spec, *row) for row in zip(*rows, strict=True)]
        truth += truth_of(batch)
        advance()
    return found, truth, meter.size()


def summarise(
    found: list[Detections], truth: list[Truth], classes: tuple[str, ...], prefix: str = ""
) -> dict[str, float]:
    """AP50, AP, AP50 by class and by occlusion level, COCO's AP by size, what a lane would find.

    ``ap50_OL`` counts the objects of a level wherever they lie (simulated bags mix levels);
    ``ap50_OL..._images`` is of the images that hold one of that level, as OPIXray's three lists
    are. ``coco_*`` is COCO's own average precision (101 points), its sizes those of the planes'
    pixels, not of the files'. ``recall_fa05`` is the share of the
    objects, ``bags_fa05`` that of the bags with one, that are found when at most 5 % of the clean
    bags alarm. ``alarm_threshold`` has the best F2. What has no object is left out.
    """
    whole = average_precision(found, truth, len(classes))
    figures = {f"{prefix}ap50": whole.ap50, f"{prefix}ap": whole.ap}
    for name, value in zip(classes, whole.ap50_by_class, strict=True):
        figures[f"{prefix}ap50_{name}"] = value
    for level in (1, 2, 3):
        part = average_precision(found, truth, len(classes), level=level)
        figures[f"{prefix}ap50_OL{level}"] = part.ap50
        listed = [k for k, t in enumerate(truth) if t.levels is not None and level in t.levels]
        images = average_precision([found[k] for k in listed], [truth[k] for k in listed],
                                   len(classes))  # fmt: skip
        figures[f"{prefix}ap50_OL{level}_images"] = images.ap50
    coco = coco_average_precision(found, truth, len(classes))
    figures[f"{prefix}coco_ap"] = coco.ap
    for size in ("small", "medium", "large"):
        figures[f"{prefix}coco_ap_{size}"] = getattr(coco, f"ap_{size}")
    if any(not len(t.labels) for t in truth):
        recall = recall_at_false_alarm_rate(found, truth, len(classes), FALSE_ALARMS)
        figures[f"{prefix}recall_fa05"] = recall.objects.value
        figures[f"{prefix}bags_fa05"] = recall.bags.value
    figures[f"{prefix}alarm_threshold"] = best_threshold(found, truth, len(classes))
    return {name: round(float(v), 4) for name, v in figures.items() if np.isfinite(v)}


def measure(
    model: Detector | Classifier,
    spec: ModelSpec,
    batches: Iterable[Batch],
    advance: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Figures of a model on the held-out items; one with LA is measured with it and without."""
    if isinstance(model, Classifier):
        return measure_classifier(model, batches, advance)
    spec = replace(spec, score_threshold=LEAST_SCORE, candidates=CANDIDATES)
    figures: dict[str, float] = {}
    size: UpdateSize | None = None
    aware = isinstance(model, DenseDetector) and model.config.label_aware
    for on in (True, False) if aware else (False,):
        found, truth, seen = screen_windows(model, spec, batches, label_aware=on, advance=advance)
        figures |= summarise(found, truth, spec.classes, "la_off_" if aware and not on else "")
        size = seen or size
    if size:
        figures |= {"la_w_mean": size.mean, "la_w_p99": size.p99, "la_w_max": size.largest}
    return figures
