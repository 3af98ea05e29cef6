"""Threat detection reports read back, xedge's own and those of other makers."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xedge.control.dicos import document as doc
from xedge.errors import DicosError
from xedge.types import Reason, Verdict


@dataclass(frozen=True)
class ThreatObject:
    """One potential threat object (PTO) of a report.

    Attributes:
        description: Its class.
        category: ``PI``, prohibited item, in what xedge writes.
        assessment: ``THREAT``, ``NO_THREAT`` or ``UNKNOWN``.
        probability: 0..1, None when the file has none.
        box: x1 y1 x2 y2, columns and rows of the image.
        images: SOP Instance UIDs of the images that it is in.
    """

    description: str
    category: str
    assessment: str
    probability: float | None
    box: tuple[float, float, float, float]
    images: tuple[str, ...]


@dataclass(frozen=True)
class DicosReport:
    """A report that was read.

    Attributes:
        verdict: CLEAR only when the report says CLEAR and was not aborted; ALARM when it says
            ALARM; else NOT_CLEARED.
        alarm: Alarm Decision as it stands in the file.
        aborted: True when the screening was not completed.
        abort_reasons: Why it was not, in the standard's words.
        objects: The objects, in the file's order.
        decided: When it was decided; None when the file has it in no form that is known.
        processing_ms: Total Processing Time.
        algorithm: Maker, version and parameters of what decided.
        uid: SOP Instance UID.
        scan_uid: Scan (Study) Instance UID.
        images: SOP Instance UIDs of the images that were screened.
        bag: Number of the bag in its lane; None in a file by something else, as is all below.
        reasons: All that was wrong with the scan, in xedge's words.
        encoder_head: Encoder counts at the bag's first line.
        encoder_tail: Encoder counts at its last line.
        late: True when the deadline had passed.
        latency_ns: From the bag's last line to the decision.
    """

    verdict: Verdict
    alarm: str
    aborted: bool
    abort_reasons: tuple[str, ...]
    objects: tuple[ThreatObject, ...]
    decided: datetime.datetime | None
    processing_ms: float
    algorithm: tuple[str, ...]
    uid: str
    scan_uid: str
    images: tuple[str, ...]
    bag: int | None = None
    reasons: frozenset[Reason] = field(default_factory=frozenset)
    encoder_head: int | None = None
    encoder_tail: int | None = None
    late: bool | None = None
    latency_ns: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "kind": "report",
            "verdict": self.verdict.name,
            "alarm": self.alarm,
            "aborted": self.aborted,
            "abort_reasons": list(self.abort_reasons),
            "bag": self.bag,
            "reasons": doc.reason_names(self.reasons),
            "encoder_head": self.encoder_head,
            "encoder_tail": self.encoder_tail,
            "late": self.late,
            "latency_ms": None if self.latency_ns is None else self.latency_ns / 1e6,
            "processing_ms": self.processing_ms,
            "decided": self.decided.isoformat() if self.decided else None,
            "algorithm": list(self.algorithm),
            "uid": self.uid,
            "scan_uid": self.scan_uid,
            "images": list(self.images),
            "objects": [
                {"label": o.description, "category": o.category, "assessment": o.assessment,
                 "score": o.probability, "box": list(o.box)}
                for o in self.objects
            ],
        }  # fmt: skip


def read_report(path: Path) -> DicosReport:
    """The report in a file, by xedge or by something else.

    Raises:
        DicosError: When it cannot be read, is something else, or contradicts itself: its number
            of objects is not that of the objects in it, say.
    """
    d = doc.load(path, doc.TDR)
    try:
        objects = tuple(_object(item) for item in d.get("ThreatSequence") or ())
        if d.NumberOfTotalObjects != len(objects):
            raise ValueError(f"{len(objects)} objects where {d.NumberOfTotalObjects} are counted")
        alarm, flag = str(d.AlarmDecision), str(d.AbortFlag)
        aborted = flag != "SUCCESS"
        return DicosReport(
            verdict=_verdict(alarm, aborted),
            alarm=alarm,
            aborted=aborted,
            abort_reasons=_words(d.get("AbortReason")),
            objects=objects,
            decided=_moment(str(d.AlarmDecisionTime)),
            processing_ms=float(d.TotalProcessingTime),
            algorithm=_words(d.get("ThreatDetectionAlgorithmAndVersion")),
            uid=str(d.SOPInstanceUID),
            scan_uid=str(d.StudyInstanceUID),
            images=_uids(d.ReferencedStudySequence),
            **_own(d),
        )
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise DicosError(f"{path} is no sound report", found=str(error)) from error


def _verdict(alarm: str, aborted: bool) -> Verdict:
    if alarm == "ALARM":
        return Verdict.ALARM
    return Verdict.CLEAR if alarm == "CLEAR" and not aborted else Verdict.NOT_CLEARED


def _object(item: Any) -> ThreatObject:
    representation = item.PTORepresentationSequence[0]
    assessment = item.ATDAssessmentSequence[0]
    (region,) = representation.ThreatROIVoxelSequence
    x, y, _ = (float(value) for value in region.ThreatROIBase)
    width, height, _ = (float(value) for value in region.ThreatROIExtents)
    probability = assessment.get("ATDAssessmentProbability")
    return ThreatObject(
        description=str(assessment.get("ThreatCategoryDescription", "")),
        category=str(assessment.ThreatCategory),
        assessment=str(assessment.ATDAssessmentFlag),
        probability=None if probability is None else float(probability),
        box=(x, y, x + width, y + height),
        images=_uids(representation.ReferencedInstanceSequence),
    )


def _own(d: Any) -> dict[str, Any]:
    """What only xedge writes."""
    bag = doc.private(d, doc.P_BAG)
    if bag is None:
        return {}
    return {
        "bag": int(bag),
        "reasons": doc.reasons_of(d),
        "encoder_head": int(doc.private(d, doc.P_HEAD)),
        "encoder_tail": int(doc.private(d, doc.P_TAIL)),
        "late": doc.private(d, doc.P_LATE) == "YES",
        "latency_ns": int(doc.private(d, doc.P_LATENCY)),
    }


def _words(value: Any) -> tuple[str, ...]:
    if value is None or value == "":
        return ()
    return (value,) if isinstance(value, str) else tuple(str(word) for word in value)


def _uids(sequence: Any) -> tuple[str, ...]:
    return tuple(str(item.ReferencedSOPInstanceUID) for item in sequence)


def _moment(text: str) -> datetime.datetime | None:
    """A DT with its offset, or without one, which is taken for UTC."""
    for form in ("%Y%m%d%H%M%S.%f%z", "%Y%m%d%H%M%S%z", "%Y%m%d%H%M%S.%f", "%Y%m%d%H%M%S"):
        try:
            moment = datetime.datetime.strptime(text, form)
        except ValueError:
            continue
        return moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)
    return None
