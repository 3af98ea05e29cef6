"""An exported model against its oracle: the same windows through PyTorch's autograd and an engine.

LA picks two classes at every location by argmax. Where two classes tie to within rounding, the
oracle and an engine may pick differently: a flip. Its gradient then differs, everywhere on that
level, since GroupNorm couples the locations. Parity is therefore counted on detections, and
flips are counted beside them, so that a difference can be told from a tie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import numpy as np
import onnx
import onnx_ir as ir
import torch

from xedge.boxes import iou
from xedge.engines.base import Engine
from xedge.errors import ExportError
from xedge.models.atss import ATSS, decode, top_candidates
from xedge.models.label_aware import misleading_label, one_hot_argmax
from xedge.postprocess import detections
from xedge.spec import ModelSpec
from xedge.train.evaluate import to_detections
from xedge.types import I32, U8, Detections
from xedge_export.deployed import INPUT_NAME

IOU_TOLERANCE = 0.99
SCORE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class ParityReport:
    """How an engine's detections differ from the oracle's.

    Attributes:
        windows: Windows compared.
        detections: The oracle's detections, those within the tolerance of the score threshold
            left out (they may fall on either side of it).
        identical: Those that the engine has too: same class, IoU above 0.99, score within 1e-3.
        differing_with_flips: Others, in windows where an argmax flipped.
        differing: Others, in windows where none did: real differences.
        extra: Detections that only the engine has, by the same rules.
        locations: Locations (of all levels and windows) at which LA chose its two classes.
        flips: Locations at which the engine chose otherwise.
        worst_score: Largest score difference among the identical detections.
        worst_iou: Smallest IoU among them.
    """

    windows: int = 0
    detections: int = 0
    identical: int = 0
    differing_with_flips: int = 0
    differing: int = 0
    extra: int = 0
    locations: int = 0
    flips: int = 0
    worst_score: float = 0.0
    worst_iou: float = 1.0

    @property
    def holds(self) -> bool:
        """True when every detection is identical but for windows with argmax flips."""
        return self.differing == 0 and self.extra == 0 and self.detections > 0

    def merge(self, other: ParityReport) -> ParityReport:
        """Both reports as one."""
        sums = {k: v + getattr(other, k) for k, v in asdict(self).items()}
        sums["worst_score"] = max(self.worst_score, other.worst_score)
        sums["worst_iou"] = min(self.worst_iou, other.worst_iou)
        return ParityReport(**sums)


def with_labels_exposed(data: bytes) -> tuple[bytes, list[str]]:
    """A copy of an exported model that also gives LA's chosen classes.

    Returns:
        The model, and the names of the added outputs: int32 ``[N, 1, H, W]``, two a level (label
        and misleading label), finest level first; none for a model without LA.
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


@torch.no_grad()
def oracle(model: ATSS, spec: ModelSpec, planes: U8) -> tuple[Detections, list[I32]]:
    """PyTorch's detections with LA by autograd, and LA's chosen classes, two a level."""
    outputs, updates = model(torch.from_numpy(planes[None]))
    rows = top_candidates(*decode(outputs, model.config.pyramid.strides), spec.candidates)
    chosen: list[I32] = []
    for update in updates:
        first = one_hot_argmax(update.scores)
        for one_hot in (first, misleading_label(update.scores, first)):
            chosen.append(one_hot.argmax(1, keepdim=True).numpy().astype(np.int32))
    return to_detections(spec, *(r[0] for r in rows)), chosen


def compare(
    expected: Detections, found: Detections, threshold: float, flips: int, locations: int
) -> ParityReport:
    """The report of one window."""
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
    return ParityReport(
        windows=1,
        detections=counted,
        identical=counted - missing,
        differing_with_flips=missing if flips else 0,
        differing=0 if flips else missing,
        extra=0 if flips else extra,
        locations=locations,
        flips=flips,
        worst_score=worst_score,
        worst_iou=worst_iou,
    )


def check_parity(
    model: ATSS,
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
        pairs = [(answer[name], mine) for name, mine in zip(exposed, chosen, strict=False)]
        flips = sum(int((theirs != mine).sum()) for theirs, mine in pairs)
        locations = sum(mine.size for _, mine in pairs)
        threshold = spec.score_threshold
        report = report.merge(compare(expected, found, threshold, flips, locations))
        advance()
    if not report.windows:
        raise ExportError("there is nothing to compare", remedy="Give at least one window")
    return report
