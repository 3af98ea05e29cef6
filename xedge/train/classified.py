"""What a classifier in PyTorch is worth: SIXray's protocol, average precision and pointing."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from xedge.metrics import (
    Truth,
    best_image_threshold,
    multilabel_average_precision,
    pointing_accuracy,
)
from xedge.models.base import Classifier
from xedge.models.chr import mean_score
from xedge.models.levels import LevelsOutput
from xedge.train.batch import Batch, truth_of


def strongest_points(maps: Tensor) -> Tensor:
    """Centre of the pixel where each map is largest, ``[N, C, 2]`` as x, y, of ``[N, C, H, W]``."""
    best = maps.flatten(2).argmax(dim=2)
    width = maps.shape[3]
    return torch.stack([best % width, best.div(width, rounding_mode="floor")], dim=2) + 0.5


def scores_by_way(model: Classifier, outputs: object) -> dict[str, Tensor]:
    """Scores ``[N, C]``: the model's own under "", and those of other ways to read its outputs.

    Of a model with several levels, ``coarsest`` is what CHR's released evaluation takes and
    ``fused`` the mean that its paper takes.
    """
    ways = {"": model.scores(outputs)}
    if isinstance(outputs, LevelsOutput) and len(outputs.logits) > 1:
        ways |= {"coarsest": outputs.logits[0].sigmoid(), "fused": mean_score(outputs)}
    return ways


@torch.no_grad()
def measure_classifier(
    model: Classifier, batches: Iterable[Batch], advance: Callable[[], None] = lambda: None
) -> dict[str, float]:
    """Figures of a classifier on the held-out items; what no image holds is left out.

    ``map`` and ``ap_CLASS`` are of the model's own scores, as is ``alarm_threshold``, the one with
    the best F2; ``map_coarsest`` and ``map_fused`` see `scores_by_way`. ``pointing`` takes the
    largest value of each class's map at the size of the image.
    """
    scores: dict[str, list[Tensor]] = {}
    points: list[Tensor] = []
    presence: list[Tensor] = []
    truths: list[Truth] = []
    device = next(model.parameters()).device
    for batch in batches:
        planes = batch.to(device).planes
        outputs = model(planes)
        for way, values in scores_by_way(model, outputs).items():
            scores.setdefault(way, []).append(values.float().cpu())
        maps = model.locate(outputs, (planes.shape[2], planes.shape[3]))
        points.append(strongest_points(maps).cpu())
        presence.append(batch.presence)
        truths += truth_of(batch)
        advance()
    held = torch.cat(presence).numpy()
    own = torch.cat(scores.pop("")).numpy()
    whole = multilabel_average_precision(own, held)
    pointing = pointing_accuracy(torch.cat(points).numpy(), truths)
    figures = {"map": whole.mean, "pointing": pointing.mean}
    for way, parts in scores.items():
        figures[f"map_{way}"] = multilabel_average_precision(torch.cat(parts).numpy(), held).mean
    for k, name in enumerate(model.config.classes):
        figures[f"ap_{name}"] = whole.by_class[k]
        figures[f"pointing_{name}"] = pointing.by_class[k]
    figures["alarm_threshold"] = best_image_threshold(own, held)
    return {name: round(float(v), 4) for name, v in figures.items() if np.isfinite(v)}
