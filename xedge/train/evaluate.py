"""What a detector in PyTorch is worth on windows: AP, by class and level, and |w| of LA."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xedge.metrics import Truth, average_precision, best_threshold
from xedge.models.atss import ATSS, decode, top_candidates
from xedge.postprocess import detections
from xedge.spec import ModelSpec
from xedge.train.bags import Batch
from xedge.types import Detections


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
    model: ATSS,
    spec: ModelSpec,
    batches: Iterable[Batch],
    *,
    label_aware: bool,
    advance: Callable[[], None] = lambda: None,
) -> tuple[list[Detections], list[Truth], UpdateSize | None]:
    """Detections and truth of each window, and the size of LA's update when it was on."""
    found: list[Detections] = []
    truth: list[Truth] = []
    sums, counts, samples, largest = 0.0, 0, [], 0.0
    for planes, boxes, labels, occlusion in batches:
        outputs, updates = model(planes.to(model.mean.device), label_aware=label_aware)
        rows = top_candidates(*decode(outputs, model.config.pyramid.strides), spec.candidates)
        found += [to_detections(spec, *row) for row in zip(*rows, strict=True)]
        for b, c, o in zip(boxes, labels, occlusion, strict=True):
            truth.append(Truth(b.numpy(), c.numpy().astype(np.int32), o.numpy().astype(np.int32)))
        for update in updates:
            w = update.weight.abs()
            sums, counts = sums + float(w.sum()), counts + w.numel()
            largest = max(largest, float(w.max()))
            samples.append(w.flatten()[:: max(w.numel() // 20_000, 1)].cpu().numpy())
        advance()
    if not counts:
        return found, truth, None
    p99 = float(np.percentile(np.concatenate(samples), 99))
    return found, truth, UpdateSize(sums / counts, p99, largest)


def summarise(
    found: list[Detections], truth: list[Truth], classes: tuple[str, ...], prefix: str = ""
) -> dict[str, float]:
    """AP50, AP, AP50 by class and by occlusion level, and the score threshold with the best F2.

    What has no object is left out.
    """
    whole = average_precision(found, truth, len(classes))
    figures = {f"{prefix}ap50": whole.ap50, f"{prefix}ap": whole.ap}
    for name, value in zip(classes, whole.ap50_by_class, strict=True):
        figures[f"{prefix}ap50_{name}"] = value
    for level in (1, 2, 3):
        part = average_precision(found, truth, len(classes), level=level)
        figures[f"{prefix}ap50_OL{level}"] = part.ap50
    figures[f"{prefix}alarm_threshold"] = best_threshold(found, truth, len(classes))
    return {name: round(float(v), 4) for name, v in figures.items() if np.isfinite(v)}
