"""What each convolution costs on integers, so that those that cost most can stay in float.

Every convolution is put on integers alone, all others left in float, and the model is run on some
windows. What counts is how far it moves the numbers that alarms are made of: the best score of each
class in a window. That needs no truth and some ten windows, where AP would need thousands; the
accuracy gate has the last word on what is chosen by it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from xedge.engines import load
from xedge.errors import CalibrationError
from xedge.postprocess import class_scores
from xedge.spec import Kind, ModelSpec
from xedge.types import F32, U8
from xedge_calibration.histogram import Histogram
from xedge_calibration.placement import Form, place
from xedge_calibration.qdq import to_int8


@dataclass(frozen=True)
class Cost:
    """What one convolution on integers moves.

    Attributes:
        convolution: Its node.
        mean: Over the windows, of the largest change of any class's best score.
        most: The largest change of all.
    """

    convolution: str
    mean: float
    most: float


def costs(
    model: ir.Model,
    spec: ModelSpec,
    histograms: Mapping[str, Histogram],
    form: Form,
    engine: str,
    windows: Sequence[U8],
    *,
    method: str = "mse",
    keep: Collection[str] = (),
    threads: int | None = None,
    advance: Callable[[], None] = lambda: None,
) -> list[Cost]:
    """What each convolution of a form costs, dearest first.

    Args:
        model: A finished float32 graph; it is left as it is.
        spec: Its description.
        histograms: Of the tensors that `place` names for this form.
        form: Which way it is put on integers.
        engine: Name of an engine that computes it so.
        windows: Planes as they come in use, uint8 ``[3, H, W]`` each.
        method: How ranges are found.
        keep: Convolutions that stay in float whatever they cost; they are not tried.
        threads: Threads of one run; None for every physical core.
        advance: Called after each convolution.

    Raises:
        CalibrationError: Without a window.
        EngineError: When the engine is not installed, or fails.
    """
    if not windows:
        raise CalibrationError("there is no window to compare convolutions on",
                               remedy="Give at least one")  # fmt: skip
    tried = place(model.graph, form, keep).convolutions

    def answers(graph: ir.Model) -> npt.NDArray[np.float32]:
        data = ir.serde.serialize_model(graph).SerializeToString()
        with closing(load(data, engine, threads=threads)) as loaded:
            return np.stack([best_scores(loaded.run({"planes": w[None]}), spec) for w in windows])

    plain, found = answers(model), []
    for name in tried:
        others = [*keep, *(n for n in tried if n != name)]
        alone = to_int8(model, histograms, form, method, keep=others)
        moved = np.abs(answers(alone) - plain).max(1)
        found.append(Cost(name, float(moved.mean()), float(moved.max())))
        advance()
    return sorted(found, key=lambda cost: (-cost.mean, cost.convolution))


def best_scores(outputs: Mapping[str, npt.NDArray[np.generic]], spec: ModelSpec) -> F32:
    """The best score of each class in one window, float32 ``[C]``; 0 of one that is not there."""
    if spec.kind is Kind.CLASSIFIER:
        return class_scores(outputs, spec)
    best = np.zeros(len(spec.classes), np.float32)
    np.maximum.at(best, outputs["labels"][0].astype(np.int64), outputs["scores"][0])
    return best


def shares(found: Sequence[Cost]) -> Iterator[tuple[str, ...]]:
    """The dearest convolutions, ever more of them: an eighth, a quarter, half, three quarters.

    At least one more each time, and never all.
    """
    taken = 0
    for share in (1 / 8, 1 / 4, 1 / 2, 3 / 4):
        count = max(taken + 1, round(share * len(found)))
        if count < len(found):
            taken = count
            yield tuple(cost.convolution for cost in found[:count])
