"""An exported detector against its oracle: the same windows through PyTorch and an engine.

LA picks classes (or bins) at every location by argmax. Where two tie to within rounding, the
oracle and an engine may pick differently. Its gradient then differs, everywhere on that level,
since GroupNorm couples the locations. Parity is therefore counted on detections, and such flips
are counted beside them. Only a tie excuses a difference: a flip between classes that the oracle
tells apart clearly is an error of the graph, and so are flips in number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import onnx
import onnx_ir as ir
import torch

from xedge.boxes import iou
from xedge.engines.base import Engine
from xedge.errors import ExportError
from xedge.models.base import Detector, top_candidates
from xedge.models.dense import DenseDetector
from xedge.models.label_aware import Update, misleading_label, one_hot_argmax
from xedge.postprocess import detections
from xedge.spec import ModelSpec
from xedge.train.evaluate import to_detections
from xedge.types import F32, I32, U8, Detections
from xedge_export.contract import INPUT_NAME, Stage

IOU_TOLERANCE = 0.99
SCORE_TOLERANCE = 1e-3
TIE = 1e-4
"""Two scores tie when they differ by less than this share of the larger one: logits closer than
1e-4, which is what float32 rounding through some thirty layers leaves of logits around ten."""
RARE = 1e-3
"""Ties may be this share of all locations; a graph that is wrong at its root flips far more."""
MOST = 0.99
"""Share of the detections that must be identical whatever ties there are."""


@dataclass(frozen=True)
class ParityReport:
    """How an engine's detections differ from the oracle's.

    Attributes:
        windows: Windows compared.
        detections: The oracle's detections, those within the tolerance of the score threshold
            left out (they may fall on either side of it).
        identical: Those that the engine has too: same class, IoU above 0.99, score within 1e-3.
        differing: Others, in windows where every class was chosen alike: real differences.
        extra: Detections that only the engine has, in such windows.
        differing_with_ties: Others, in windows where a tie fell the other way.
        extra_with_ties: Detections that only the engine has, in such windows.
        locations: Choices that LA made: two classes, or four bins, at each location of all levels
            and windows; 0 without LA.
        ties: Choices where the engine chose otherwise and the oracle's scores of the two
            agree to `TIE`.
        wrong_choices: Those where it chose otherwise without such a tie.
        worst_score: Largest score difference among the identical detections.
        worst_iou: Smallest IoU among them.
    """

    windows: int = 0
    detections: int = 0
    identical: int = 0
    differing: int = 0
    extra: int = 0
    differing_with_ties: int = 0
    extra_with_ties: int = 0
    locations: int = 0
    ties: int = 0
    wrong_choices: int = 0
    worst_score: float = 0.0
    worst_iou: float = 1.0

    @property
    def compared(self) -> int:
        """How many answers were compared: the oracle's detections."""
        return self.detections

    @property
    def holds(self) -> bool:
        """True when all is identical but for what rare ties explain, and there was something."""
        return (
            self.detections > 0
            and self.differing + self.extra + self.wrong_choices == 0
            and self.identical >= MOST * self.detections
            and self.extra_with_ties <= (1 - MOST) * self.detections
            and self.ties <= RARE * self.locations
        )

    def merge(self, other: ParityReport) -> ParityReport:
        """Both reports as one."""
        sums = {k: v + getattr(other, k) for k, v in asdict(self).items()}
        sums["worst_score"] = max(self.worst_score, other.worst_score)
        sums["worst_iou"] = min(self.worst_iou, other.worst_iou)
        return ParityReport(**sums)


def with_labels_exposed(data: bytes) -> tuple[bytes, list[str]]:
    """A copy of an exported model that also gives LA's chosen classes or bins.

    Returns:
        The model, and the names of the added outputs: int32 ``[N, 1, H, W]`` of classes or
        ``[N, 4, 1, H, W]`` of bins; label and, where it has an effect, misleading label of a level,
        finest level first; none for a model without LA.
    """
    model = ir.serde.deserialize_model(onnx.load_model_from_string(data))
    names = []
    for node in list(model.graph):
        if node.op_type == "ArgMax" and "/label_aware/" in (node.name or ""):
            names.append(f"{node.name}/chosen")
            cast = ir.node("Cast", [node.outputs[0]], {"to": ir.DataType.INT32.value})
            cast.name = f"{node.name}/Cast"
            chosen = cast.outputs[0]
            chosen.name, chosen.dtype = names[-1], ir.DataType.INT32
            chosen.shape = node.outputs[0].shape
            model.graph.append(cast)
            model.graph.outputs.append(chosen)
    return ir.serde.serialize_model(model).SerializeToString(), names


@dataclass(frozen=True, eq=False)
class Choice:
    """What the oracle chose at each location of a level, and what it chose among.

    Attributes:
        label: Class, or bin of each side: int32 ``[1, P, 1, H, W]``, P of 1 or 4.
        scores: First-pass scores of all classes or bins, float32 ``[1, P, K, H, W]``.
    """

    label: I32
    scores: F32

    def compare(self, other: I32) -> tuple[int, int]:
        """Choices where ``other`` differs by a tie, and where it differs without one.

        Args:
            other: As many numbers as there are in `label`, in the same order.
        """
        other = other.reshape(self.label.shape)
        apart = self.label != other
        mine = np.take_along_axis(self.scores, self.label.astype(np.int64), 2)[apart]
        theirs = np.take_along_axis(self.scores, other.astype(np.int64), 2)[apart]
        tied = np.abs(mine - theirs) <= TIE * np.maximum(mine, theirs)
        return int(tied.sum()), int((~tied).sum())


@torch.no_grad()
def oracle(model: Detector, spec: ModelSpec, planes: U8) -> tuple[Detections, list[Choice]]:
    """PyTorch's detections, with LA by autograd where the stage has it, and LA's choices."""
    pixels, chosen = torch.from_numpy(planes[None]), []
    if isinstance(model, DenseDetector):
        outputs = model(pixels, label_aware=spec.stage == Stage.REFINED.value)
        chosen = [choice for update in outputs.updates for choice in choices(model, update)]
    else:
        outputs = model(pixels)
    rows = top_candidates(*model.decode(outputs), spec.candidates)
    return to_detections(spec, *(r[0] for r in rows)), chosen


def choices(model: DenseDetector, update: Update) -> list[Choice]:
    """What LA chose at one level: the label and, where it has an effect, the misleading one."""
    parts, config = model.config.label_parts, model.config
    labels = [one_hot_argmax(update.scores, parts)]
    if config.label_aware_by != "early" and config.coefficients.c:
        labels.append(misleading_label(update.scores, labels[0]))
    n, k, h, w = update.scores.shape
    shape = (n, parts, k // parts, h, w)
    best = [hot.reshape(shape).argmax(2, keepdim=True) for hot in labels]
    scores = update.scores.reshape(shape).numpy()
    return [Choice(label.numpy().astype(np.int32), scores) for label in best]


def compare(
    expected: Detections, found: Detections, threshold: float, made: ParityReport
) -> ParityReport:
    """The report of one window, added to what is known of its choices."""
    worst_score, worst_iou = 0.0, 1.0
    free = np.ones(len(found), bool)
    counted = missing = 0
    for box, score, label in zip(expected.boxes, expected.scores, expected.labels, strict=True):
        overlap = iou(box[None], found.boxes)[0] if len(found) else np.zeros(0, np.float32)
        gap = np.abs(found.scores - score)
        same = free & (found.labels == label) & (overlap > IOU_TOLERANCE) & (gap < SCORE_TOLERANCE)
        borderline = score < threshold + SCORE_TOLERANCE
        counted += not borderline
        if same.any():
            best = int(np.flatnonzero(same)[overlap[same].argmax()])
            free[best] = False
            worst_score = max(worst_score, float(gap[best]))
            worst_iou = min(worst_iou, float(overlap[best]))
        elif not borderline:
            missing += 1
    extra = int((free & (found.scores >= threshold + SCORE_TOLERANCE)).sum())
    window = ParityReport(
        windows=1,
        detections=counted,
        identical=counted - missing,
        differing=0 if made.ties else missing,
        extra=0 if made.ties else extra,
        differing_with_ties=missing if made.ties else 0,
        extra_with_ties=extra if made.ties else 0,
        worst_score=worst_score,
        worst_iou=worst_iou,
    )
    return window.merge(made)


def compare_choices(answers: Sequence[I32], chosen: Sequence[Choice]) -> ParityReport:
    """How an engine's choices of one window differ from the oracle's, level by level."""
    pairs = [mine.compare(theirs) for theirs, mine in zip(answers, chosen, strict=True)]
    return ParityReport(
        locations=sum(c.label.size for c in chosen),
        ties=sum(tied for tied, _ in pairs),
        wrong_choices=sum(wrong for _, wrong in pairs),
    )


def check_parity(
    model: Detector,
    spec: ModelSpec,
    engine: Engine,
    exposed: list[str],
    windows: Iterable[U8],
    advance: Callable[[], None] = lambda: None,
) -> ParityReport:
    """Parity of an engine with its oracle over windows of planes, uint8 ``[3, H, W]`` each.

    Args:
        model: The detector in PyTorch.
        spec: Its description.
        engine: The engine on the model that `with_labels_exposed` gave.
        exposed: The names of LA's classes among the engine's outputs; empty without LA.
        windows: The windows.
        advance: Called after each.

    Raises:
        ExportError: When there is no window, or the levels do not line up.
    """
    report = ParityReport()
    for planes in windows:
        expected, chosen = oracle(model, spec, planes)
        answer = engine.run({INPUT_NAME: planes[None]})
        found = detections(answer, spec, spec.height, spec.width, spec.score_threshold)
        if len(exposed) not in (0, len(chosen)):
            raise ExportError("the graph's levels do not line up with the model's")
        made = compare_choices([answer[name] for name in exposed], chosen if exposed else [])
        report = report.merge(compare(expected, found, spec.score_threshold, made))
        advance()
    if not report.windows:
        raise ExportError("there is nothing to compare", remedy="Give at least one window")
    return report
