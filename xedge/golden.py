"""A bundle's golden counts through an engine, held against the recorded answer.

The golden input is raw counts, so that what makes planes of them is compared as well. Candidates
are compared before non-maximum suppression, which would magnify a difference in the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from xedge import boxes as box_arithmetic
from xedge.bundle import Bundle, Tolerance
from xedge.encode import AIR, bin_counts, dual_energy_planes
from xedge.errors import EngineRunError
from xedge.postprocess import candidates, class_scores, detections
from xedge.preprocess import pad_planes, pseudo_colour
from xedge.spec import Channels, Kind, ModelSpec
from xedge.types import U8, U16, Detections

if TYPE_CHECKING:  # engines stand above: what builds one may hold it against its golden answer
    from xedge.engines.base import Engine

TOLERANCES: Final[Mapping[str, Tolerance]] = MappingProxyType(
    {
        "float32": Tolerance(),
        "float16": Tolerance(score=0.01, iou=0.98),
        "bfloat16": Tolerance(score=0.05, iou=0.9),
        "int8": Tolerance(score=0.05, iou=0.9),
    }
)
"""How far two engines may be apart that compute in a type.

Through thirty layers roundings of 2^-11 (float16) add up to a few hundredths of a logit, those of
2^-8 (bfloat16) to some tenths; a score moves by at most a quarter of that. Two INT8 engines share
their scales but round halves and accumulate differently, by a step in places.
"""

SAME_PLACE: Final = 0.5
"""IoU from which on two reports of one class are one."""

Outputs = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class GoldenResult:
    """How an engine's answer to a bundle's golden input compares with the recorded one.

    Attributes:
        objects: Recorded candidates that had to be found again; of a classifier its classes.
        score_error: Largest difference of a score, all candidates in order.
        missing: Candidates sure to be there that have no partner on the other side.
        box_error: Largest difference of a coordinate of partners, pixels of the window; None
            without partners.
        flips: Of what alarms on either side, the share that has no partner of its class in its
            place that alarms on the other; None where nothing alarms. Of a classifier the share
            of the classes that alarm on one side only.
        map_error: Of a classifier, the largest difference of a localisation map, as a share of
            the recorded one's largest value; 0 of a detector.
    """

    objects: int
    score_error: float
    missing: int
    box_error: float | None = None
    flips: float | None = None
    map_error: float = 0.0

    def within(self, limit: Tolerance) -> bool:
        """Whether the two answers are the same, as far as the tolerance goes."""
        return not self.missing and max(self.score_error, self.map_error) <= limit.score


def golden_planes(low: U16, high: U16, spec: ModelSpec) -> U8:
    """What a model sees of the counts of one window, uint8 ``[1, 3, height, width]``.

    Args:
        low: Corrected low-energy counts, uint16 ``[lines, elements]``, at most one window.
        high: Corrected high-energy counts, the same shape.
        spec: The model's description; one of pictures sees the counts in pseudo-colour.
    """
    if spec.channels is Channels.DUAL_ENERGY:
        planes = dual_energy_planes(low, high, spec.binning)
    else:
        picture = pseudo_colour(bin_counts(low, spec.binning), bin_counts(high, spec.binning))
        planes = np.ascontiguousarray(picture.transpose(2, 0, 1))
    return pad_planes(planes, spec.height, spec.width, AIR[spec.channels])[None]


def compare_golden(
    bundle: Bundle, engine: Engine, variant: str = "fp32", tolerance: Tolerance | None = None
) -> GoldenResult:
    """The comparison of an engine's answer to the golden counts with the recorded answer.

    Args:
        bundle: The bundle that the engine's model is from.
        engine: The loaded model.
        variant: The variant that was loaded.
        tolerance: What makes partners of candidates; None takes the one recorded for the variant.

    Raises:
        EngineRunError: When the engine fails or answers with values that are not finite.
    """
    spec, expected = bundle.spec, bundle.variant(variant)
    planes = golden_planes(bundle.golden_low, bundle.golden_high, spec)
    found = engine.run({"planes": planes})
    if spec.kind is Kind.CLASSIFIER:
        return _compare_classes(expected.golden, found, spec)
    return _compare_objects(expected.golden, found, spec, tolerance or expected.tolerance)


def verify_golden(
    bundle: Bundle, engine: Engine, variant: str = "fp32", tolerance: Tolerance | None = None
) -> GoldenResult:
    """The comparison of an engine's answer with the recorded one, when the two are the same.

    Every candidate that is above the score threshold by more than the tolerance must have a
    partner of its class with nearly the same score and box on the other side; every score and
    map of a classifier must be nearly the same.

    Args:
        bundle: The bundle that the engine's model is from.
        engine: The loaded model.
        variant: The variant that was loaded.
        tolerance: None takes the one recorded for the variant, which holds for engines that
            compute in the variant's own type.

    Raises:
        EngineRunError: When the answer is further away than the tolerance allows.
    """
    limit = tolerance or bundle.variant(variant).tolerance
    result = compare_golden(bundle, engine, variant, limit)
    if not result.within(limit):
        raise EngineRunError(
            "the engine does not reproduce the bundle's golden answer",
            expected=f"scores within {limit.score} and boxes with an IoU of {limit.iou}",
            found=f"scores off by {result.score_error:.2g}, {result.missing} candidates without "
            "partner" + (f", maps off by {result.map_error:.2g}" if result.map_error else ""),
            remedy="Use another engine, and report this with the output of `xedge doctor`",
        )
    return result


def _compare_objects(
    golden: Outputs, found: Outputs, spec: ModelSpec, limit: Tolerance
) -> GoldenResult:
    ours, theirs = candidates(golden, spec), candidates(found, spec)
    sure = spec.score_threshold + limit.score
    missing = _without_partner(ours, theirs, limit, sure) + _without_partner(
        theirs, ours, limit, sure
    )
    size = spec.height, spec.width, spec.alarm_threshold
    alarms = detections(golden, spec, *size), detections(found, spec, *size)
    reports = len(alarms[0]) + len(alarms[1])
    alone = _alone(*alarms) + _alone(*reversed(alarms))
    return GoldenResult(
        objects=int((ours.scores > sure).sum()),
        score_error=float(np.abs(np.sort(ours.scores) - np.sort(theirs.scores)).max(initial=0.0)),
        missing=missing,
        box_error=_box_error(ours[ours.scores > sure], theirs),
        flips=alone / reports if reports else None,
    )


def _compare_classes(golden: Outputs, found: Outputs, spec: ModelSpec) -> GoldenResult:
    ours, theirs = class_scores(golden, spec), class_scores(found, spec)
    apart = (ours >= spec.alarm_threshold) != (theirs >= spec.alarm_threshold)
    if golden["maps"].shape != found["maps"].shape:
        raise EngineRunError(
            "the engine's localisation maps are of another size than the recorded ones",
            expected=str(list(golden["maps"].shape)), found=str(list(found["maps"].shape)),
            remedy="Export and pack the model again",
        )  # fmt: skip
    off, peak = (
        np.abs(m).max(initial=0.0) for m in (golden["maps"] - found["maps"], golden["maps"])
    )
    return GoldenResult(
        objects=len(spec.classes),
        score_error=float(np.abs(ours - theirs).max()),
        missing=0,
        flips=float(apart.mean()),
        map_error=float(off / peak) if peak else float(off),
    )


def _without_partner(these: Detections, others: Detections, limit: Tolerance, sure: float) -> int:
    """Number of candidates with a score above ``sure`` that are not among the others."""
    these = these[these.scores > sure]
    overlap = box_arithmetic.iou(these.boxes, others.boxes)
    near = np.abs(these.scores[:, None] - others.scores[None, :]) <= limit.score
    same = (overlap >= limit.iou) & near & (these.labels[:, None] == others.labels[None, :])
    return int((~same.any(axis=1)).sum())


def _in_place(these: Detections, others: Detections) -> npt.NDArray[np.float32]:
    """IoU of each pair of one class in one place, -1 of any other pair."""
    overlap = box_arithmetic.iou(these.boxes, others.boxes)
    same = (overlap >= SAME_PLACE) & (these.labels[:, None] == others.labels[None, :])
    return np.where(same, overlap, np.float32(-1))


def _alone(these: Detections, others: Detections) -> int:
    return int((_in_place(these, others) < 0).all(axis=1).sum())


def _box_error(these: Detections, others: Detections) -> float | None:
    """Largest difference of a coordinate, each candidate against the nearest like it."""
    if not len(these) or not len(others):
        return None
    gap = np.abs(these.scores[:, None] - others.scores[None, :])
    likeness = np.where(_in_place(these, others) < 0, -np.inf, _in_place(these, others) - gap)
    partner = likeness.argmax(axis=1)
    paired = np.isfinite(likeness.max(axis=1))
    if not paired.any():
        return None
    return float(np.abs(these.boxes[paired] - others.boxes[partner[paired]]).max())
