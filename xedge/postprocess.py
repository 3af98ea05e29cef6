"""From an engine's answer to detections or scores: checked, thresholded, cut off, suppressed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from xedge import boxes as box_arithmetic
from xedge.errors import EngineLoadError, EngineRunError
from xedge.spec import Kind, ModelSpec, fits
from xedge.types import F32, Detections

if TYPE_CHECKING:
    from xedge.engines.base import Engine

MOST_DETECTIONS = 100
"""At most so many detections come out of one window."""

INSIDE = 0.5
"""Share of a box that must lie on real pixels; the rest may lie on padding."""

_NOT_FINITE = "Check the bundle with `xedge verify`, or use another engine"


def check_contract(engine: Engine, spec: ModelSpec) -> None:
    """Nothing, when an engine takes and gives what a model of that description does.

    Raises:
        EngineLoadError: When it does not; the message names the tensors.
    """
    wanted = {"planes": ("uint8", (1, 3, spec.height, spec.width)), **spec.outputs}
    found = {t.name: (str(t.dtype), t.shape) for t in (*engine.inputs, *engine.outputs)}
    wrong = {
        name
        for name in wanted.keys() | found.keys()
        if name not in wanted
        or name not in found
        or wanted[name][0] != found[name][0]
        or not fits(found[name][1], wanted[name][1])
    }
    if wrong:
        raise EngineLoadError(
            "the model is not the one that its description is of",
            expected=_listed(wrong, wanted) or "nothing more",
            found=_listed(wrong, found) or "none of that name",
            remedy="Export the model again",
        )


def _listed(names: set[str], tensors: Mapping[str, tuple[str, tuple[int | None, ...]]]) -> str:
    rows = ((name, *tensors[name]) for name in sorted(names & tensors.keys()))
    return "; ".join(
        f"{name} {dtype} [{', '.join('any' if side is None else str(side) for side in shape)}]"
        for name, dtype, shape in rows
    )


def class_scores(outputs: Mapping[str, npt.NDArray[Any]], spec: ModelSpec) -> F32:
    """Scores of a classifier for one window, float32 ``[C]``, checked, as its maps are.

    Args:
        outputs: ``scores [1, C]`` and ``maps [1, C, h, w]`` of an engine.
        spec: The model's description.

    Raises:
        EngineRunError: When a number is not finite or a score lies outside 0..1.
    """
    scores: F32 = outputs["scores"][0]
    if not (np.isfinite(scores).all() and np.isfinite(outputs["maps"]).all()):
        raise EngineRunError(
            "the model answered with values that are not finite",
            expected=f"finite scores and maps of {len(spec.classes)} classes",
            found=f"{int((~np.isfinite(scores)).sum())} scores that are not"
            f" and {int((~np.isfinite(outputs['maps'])).sum())} values of maps",
            remedy=_NOT_FINITE,
        )
    _check_scores(scores)
    return scores


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
            remedy=_NOT_FINITE,
        )
    _check_scores(scores)
    if labels.size and not 0 <= labels.min() <= labels.max() < len(spec.classes):
        raise EngineRunError(
            "the model answered with a label that is no class",
            expected=f"0..{len(spec.classes) - 1}",
            found=f"{labels.min()}..{labels.max()}",
        )
    return Detections(boxes, scores, labels)


def check_answer(outputs: Mapping[str, npt.NDArray[Any]], spec: ModelSpec) -> None:
    """Nothing, when an engine's answer can be used; `candidates` and `class_scores` say when not.

    Raises:
        EngineRunError: When it cannot be.
    """
    if spec.kind is Kind.CLASSIFIER:
        class_scores(outputs, spec)
    else:
        candidates(outputs, spec)


def _check_scores(scores: F32) -> None:
    if scores.size and not 0.0 <= scores.min() <= scores.max() <= 1.0:
        raise EngineRunError(
            "the model answered with scores out of range",
            expected="0..1",
            found=f"{scores.min()}..{scores.max()}",
        )


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
