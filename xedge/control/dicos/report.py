"""A decision as a DICOS threat detection report (TDR).

CLEAR and ALARM are the standard's words; NOT_CLEARED is ``UNKNOWN``. Whatever is wrong with a scan
sets the abort flag and its reasons, beside an ALARM too: what was seen is no reason to believe
that everything was. A reader that knows no abort flag still sees no CLEAR.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

import xedge
from xedge.control.dicos import document as doc
from xedge.control.dicos.document import Bag, Instance
from xedge.control.dicos.machine import DicosMachine
from xedge.control.dicos.readback import ThreatObject
from xedge.control.dicos.words import abort_reasons
from xedge.errors import DicosError
from xedge.types import Decision, Detections, Reason, Verdict

ALARM: Final = {Verdict.CLEAR: "CLEAR", Verdict.ALARM: "ALARM", Verdict.NOT_CLEARED: "UNKNOWN"}
"""Alarm Decision (4010,1031) of each verdict."""

MOST_OBJECTS: Final = 65_535
"""Numbers of objects are 16-bit; the strongest are kept."""
NOT_LOCATED: Final = "not located"
"""Description of the object that stands for a whole bag, where an alarm came without a box."""
LEAST_EXTENT: Final = 1e-3
"""Pixels: the extents of an object must be above 0."""


@dataclass(frozen=True)
class Screener:
    """What screened: its classes give the objects their names.

    Attributes:
        classes: Names of the classes, in the order of the labels.
        alarm_threshold: From this score on an object is called a threat.
        model: Name of the model.
    """

    classes: tuple[str, ...]
    alarm_threshold: float
    model: str = ""


def report_document(
    decision: Decision,
    bag: Bag,
    machine: DicosMachine,
    screener: Screener,
    *,
    images: Sequence[str],
    shape: tuple[int, int] | None = None,
) -> Any:
    """The report of a decision, as a pydicom data set.

    A CLEAR with anything wrong about it is written as UNKNOWN. An ALARM always has at least one
    threat: the strongest detection or, without any, the whole bag.

    Args:
        decision: The decision.
        bag: What else is known of the bag.
        machine: The machine.
        screener: What screened.
        images: SOP Instance UIDs of the images that were kept; may be empty.
        shape: Lines and elements of the scan, for an alarm without a box.

    Raises:
        DicosError: When a label has no class, or a box or a score is not finite.
    """
    reasons = _all_reasons(decision)
    instance = Instance(doc.TDR, bag.uids.report, bag.uids.report_series, 1)
    d = doc.new_document(instance, decision.bag, reasons - {Reason.NONE}, bag, machine)
    d.ReferencedStudySequence = [_reference(uid) for uid in images]
    d.TDRType = "MACHINE"
    d.ThreatDetectionAlgorithmAndVersion = [
        "xedge", xedge.__version__, f"model={screener.model}"[:64].replace("\\", "/"),
        f"threshold={screener.alarm_threshold:g}",
    ]  # fmt: skip
    words = abort_reasons(reasons)
    flawed_clear = decision.verdict is Verdict.CLEAR and bool(words)
    d.AlarmDecision = ALARM[Verdict.NOT_CLEARED if flawed_clear else decision.verdict]
    d.AbortFlag = "ABORT" if words else "SUCCESS"
    if words:
        d.AbortReason = list(words)
    decided = bag.scanned + datetime.timedelta(microseconds=decision.latency_ns // 1000)
    d.AlarmDecisionTime = doc.date_and_time(decided)
    d.TotalProcessingTime = max(decision.latency_ns * 1e-6, 1e-3)  # must be above 0
    d.AdditionalScreeningPerformed = "NO"
    d.add_new(doc.IMAGE_SCALE, "FD", 1.0)
    threats = _objects(decision, screener, shape, complete=not words)
    d.NumberOfTotalObjects = len(threats)
    d.NumberOfAlarmObjects = sum(threat.assessment == "THREAT" for threat in threats)
    if threats:
        times = doc.date_and_time(bag.scanned), doc.date_and_time(decided)
        d.ThreatSequence = [
            _item(number, threat, times, decision.latency_ns * 1e-6, images)
            for number, threat in enumerate(threats, 1)
        ]
    _keep(d, decision)
    return d


def _all_reasons(decision: Decision) -> frozenset[Reason]:
    """What keeps a decision from being a sound one; NONE for one that was simply not made."""
    reasons = set(decision.reasons) | {decision.reason}
    if decision.late:
        reasons.add(Reason.TIMEOUT)
    if reasons != {Reason.NONE} or decision.verdict is not Verdict.NOT_CLEARED:
        reasons.discard(Reason.NONE)
    return frozenset(reasons)


def _objects(
    decision: Decision, screener: Screener, shape: tuple[int, int] | None, *, complete: bool
) -> list[ThreatObject]:
    found = decision.detections[:MOST_OBJECTS]
    _check(decision.bag, found, screener)
    alarm = decision.verdict is Verdict.ALARM
    if alarm and not len(found):
        lines, elements = shape or (1, 1)
        return [ThreatObject(NOT_LOCATED, "PI", "THREAT", None, (0, 0, elements, lines), ())]
    below = "NO_THREAT" if complete else "UNKNOWN"
    strongest = int(np.argmax(found.scores)) if alarm else -1
    return [
        ThreatObject(
            screener.classes[label],
            "PI",
            "THREAT" if score >= screener.alarm_threshold or k == strongest else below,
            float(score),
            (float(box[0]), float(box[1]), float(box[2]), float(box[3])),
            (),
        )
        for k, (box, score, label) in enumerate(
            zip(found.boxes, found.scores, found.labels, strict=True)
        )
    ]


def _check(bag: int, found: Detections, screener: Screener) -> None:
    numbers = np.concatenate([found.boxes.ravel(), found.scores])
    if not np.isfinite(numbers).all() or not np.all((found.scores >= 0) & (found.scores <= 1)):
        raise DicosError(f"a detection of bag {bag} cannot be reported",
                         expected="finite boxes, scores in 0..1",
                         found=f"{found.boxes.tolist()}, {found.scores.tolist()}")  # fmt: skip
    if len(found) and not 0 <= found.labels.min() <= found.labels.max() < len(screener.classes):
        raise DicosError(f"a detection of bag {bag} has a label without a class",
                         expected=f"0..{len(screener.classes) - 1}",
                         found=f"{found.labels.tolist()}",
                         remedy="Give the classes of the model that screened")  # fmt: skip


def _reference(uid: str) -> Any:
    item = doc.pydicom().Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = doc.DX, uid
    return item


def _item(
    number: int, threat: ThreatObject, times: tuple[str, str], ms: float, images: Sequence[str]
) -> Any:
    dataset = doc.pydicom().Dataset
    x1, y1, x2, y2 = threat.box
    region = dataset()
    region.ThreatROIBase = [x1, y1, 0.0]
    # In a flat image the depth is 0.
    region.ThreatROIExtents = [max(x2 - x1, LEAST_EXTENT), max(y2 - y1, LEAST_EXTENT), 0.0]
    region.ThreatROIBitmap = b""  # all of the box
    representation = dataset()
    representation.ReferencedInstanceSequence = [_reference(uid) for uid in images]
    representation.ThreatROIVoxelSequence = [region]
    assessment = dataset()
    assessment.ThreatCategory = threat.category
    assessment.ThreatCategoryDescription = threat.description
    assessment.ATDAbilityAssessment = "NO_INTERFERENCE"
    assessment.ATDAssessmentFlag = threat.assessment
    if threat.probability is not None:
        assessment.ATDAssessmentProbability = threat.probability
    item = dataset()
    item.PotentialThreatObjectID = number
    item.PTORepresentationSequence = [representation]
    item.ATDAssessmentSequence = [assessment]
    item.add_new(doc.OBJECT_START, "DT", times[0])
    item.add_new(doc.OBJECT_END, "DT", times[1])
    item.add_new(doc.OBJECT_MS, "FL", ms)
    return item


def _keep(d: Any, decision: Decision) -> None:
    block = d.private_block(doc.PRIVATE_GROUP, doc.PRIVATE_CREATOR)
    block.add_new(doc.P_HEAD, "LO", str(decision.encoder_head))
    block.add_new(doc.P_TAIL, "LO", str(decision.encoder_tail))
    block.add_new(doc.P_LATE, "CS", "YES" if decision.late else "NO")
    block.add_new(doc.P_LATENCY, "LO", str(decision.latency_ns))
