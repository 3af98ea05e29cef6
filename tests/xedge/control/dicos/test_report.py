"""Decisions as threat detection reports: the words, the objects, and what must never be CLEAR."""

import dataclasses
import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xedge.control.dicos.document import DX, Bag, save
from xedge.control.dicos.machine import DicosMachine
from xedge.control.dicos.readback import read_report
from xedge.control.dicos.report import Screener, report_document
from xedge.control.dicos.words import WORDS
from xedge.errors import DicosError
from xedge.types import Decision, Detections, Reason, Verdict

pydicom = pytest.importorskip("pydicom", reason="pydicom (extra `dicos`) is not installed")


@pytest.fixture
def report(bag: Bag, machine: DicosMachine, screener: Screener):
    def make(decision: Decision, **others: Any) -> Any:
        images = others.pop("images", (bag.uids.low, bag.uids.high))
        return report_document(decision, bag, machine, screener, images=images, **others)

    return make


def test_an_alarm_has_its_objects(report, alarm: Decision, bag: Bag) -> None:
    d = report(alarm)
    assert (d.AlarmDecision, d.AbortFlag, "AbortReason" in d) == ("ALARM", "SUCCESS", False)
    assert (d.NumberOfTotalObjects, d.NumberOfAlarmObjects) == (2, 1)
    assert list(d.ThreatDetectionAlgorithmAndVersion)[0::2] == ["xedge", "model=shipped"]
    assert (d[0x40101075].VR, d[0x40101075].value) == ("FD", 1.0)
    assert [r.ReferencedSOPInstanceUID for r in d.ReferencedStudySequence] == [
        bag.uids.low, bag.uids.high]  # fmt: skip
    strong, weak = d.ThreatSequence
    assert (strong.PotentialThreatObjectID, weak.PotentialThreatObjectID) == (1, 2)
    (assessment,) = strong.ATDAssessmentSequence
    assert (assessment.ThreatCategory, assessment.ThreatCategoryDescription) == ("PI", "щипцы")
    assert assessment.ATDAssessmentProbability == pytest.approx(0.9)
    assert assessment.ATDAssessmentFlag == "THREAT"
    assert weak.ATDAssessmentSequence[0].ATDAssessmentFlag == "NO_THREAT"
    (representation,) = strong.PTORepresentationSequence
    (region,) = representation.ThreatROIVoxelSequence
    assert list(region.ThreatROIBase) == [1, 2, 0]
    assert list(region.ThreatROIExtents) == [29.5, 38.25, 0]
    references = representation.ReferencedInstanceSequence
    assert {r.ReferencedSOPClassUID for r in references} == {DX}
    assert [r.ReferencedSOPInstanceUID for r in references] == [bag.uids.low, bag.uids.high]


def test_the_times_are_those_of_scan_and_decision(report, alarm: Decision, bag: Bag) -> None:
    d = report(alarm)
    assert d.ContentTime == "060708.901234"
    assert d.AlarmDecisionTime == "20261125060709.024690+0000"  # 123.456 ms behind
    assert d.TotalProcessingTime == pytest.approx(123.456)
    assert d.ThreatSequence[0][0x40101080].value == "20261125060708.901234+0000"
    assert d.ThreatSequence[0][0x40101081].value == d.AlarmDecisionTime
    east = datetime.timezone(datetime.timedelta(hours=9))
    moved = dataclasses.replace(bag, scanned=bag.scanned.astimezone(east))
    assert moved.scanned.hour == 15
    again = report_document(alarm, moved, DicosMachine(), Screener(("a", "b", "c"), 0.4), images=())
    assert again.ContentTime == "060708.901234"


@pytest.mark.parametrize("reason", list(Reason))
def test_a_bag_that_is_not_cleared_is_unknown_with_a_reason(
    report, reason: Reason, sdicos: SimpleNamespace, tmp_path: Path
) -> None:
    decision = Decision(3, reason=reason, reasons=frozenset({reason} - {Reason.NONE}))
    d = report(decision)
    assert (d.AlarmDecision, d.AbortFlag) == ("UNKNOWN", "ABORT")
    assert d.AbortReason == WORDS[reason].abort
    assert (d.NumberOfTotalObjects, d.NumberOfAlarmObjects) == (0, 0)
    assert "ThreatSequence" not in d
    read = sdicos.report(save(d, tmp_path / "report.dcs"))
    assert read == {"alarm": "enumUnknownAlarmDecision", "objects": 0, "alarms": 0}


def test_a_flawed_alarm_stays_an_alarm_and_says_that_there_may_be_more(
    report, alarm: Decision, sdicos: SimpleNamespace, tmp_path: Path
) -> None:
    reasons = frozenset({Reason.CLIPPED_BAG, Reason.BAD_LINES})
    d = report(dataclasses.replace(alarm, reasons=reasons))
    assert (d.AlarmDecision, d.AbortFlag) == ("ALARM", "ABORT")
    assert list(d.AbortReason) == ["INCOMPLETE_SCAN", "CLIPPED_BAG"]  # the gravest first
    assert d.AcquisitionStatus == "INCOMPLETE"
    # Nobody looked at all of the bag: the weak object is not cleared either.
    assert d.ThreatSequence[1].ATDAssessmentSequence[0].ATDAssessmentFlag == "UNKNOWN"
    read = sdicos.report(save(d, tmp_path / "report.dcs"))
    assert read["alarm"] == "enumAlarm"


@pytest.mark.parametrize(
    "flaw", [{"late": True}, {"reason": Reason.OVERLOAD}, {"reasons": frozenset(Reason)}]
)
def test_a_clear_with_anything_wrong_about_it_is_not_clear(report, flaw: dict[str, Any]) -> None:
    d = report(Decision(1, Verdict.CLEAR, **flaw))
    assert (d.AlarmDecision, d.AbortFlag) == ("UNKNOWN", "ABORT")
    sound = report(Decision(1, Verdict.CLEAR))
    assert (sound.AlarmDecision, sound.AbortFlag) == ("CLEAR", "SUCCESS")


def test_an_alarm_without_a_box_marks_the_whole_bag(
    report, sdicos: SimpleNamespace, tmp_path: Path
) -> None:
    bare = Decision(1, Verdict.ALARM)
    d = report(bare, shape=(1000, 640))
    (item,) = d.ThreatSequence
    (region,) = item.PTORepresentationSequence[0].ThreatROIVoxelSequence
    assert list(region.ThreatROIExtents) == [640, 1000, 0]
    (assessment,) = item.ATDAssessmentSequence
    assert (assessment.ATDAssessmentFlag, assessment.ThreatCategoryDescription) == (
        "THREAT", "not located")  # fmt: skip
    assert "ATDAssessmentProbability" not in assessment
    assert d.NumberOfAlarmObjects == 1
    blind = report(bare, images=())  # and without a scan
    assert sdicos.report(save(blind, tmp_path / "b.dcs"))["alarms"] == 1
    # What is to be proved: the closed reader refuses an alarm without objects.
    del d.ThreatSequence
    d.NumberOfTotalObjects = d.NumberOfAlarmObjects = 0
    assert sdicos.refuses(save(d, tmp_path / "none.dcs"))


def test_the_strongest_object_of_an_alarm_is_a_threat_whatever_the_threshold(
    bag: Bag, machine: DicosMachine, alarm: Decision
) -> None:
    strict = Screener(("a", "b", "c"), 0.99)
    d = report_document(alarm, bag, machine, strict, images=())
    flags = [item.ATDAssessmentSequence[0].ATDAssessmentFlag for item in d.ThreatSequence]
    assert flags == ["THREAT", "NO_THREAT"]


BOX = st.floats(0, 2000, width=32)
FOUND = st.lists(
    st.tuples(BOX, BOX, BOX, BOX, st.floats(0, 1, width=32), st.integers(0, 2)), max_size=4
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(verdict=st.sampled_from(Verdict), late=st.booleans(), reason=st.sampled_from(Reason),
       reasons=st.frozensets(st.sampled_from(Reason), max_size=3), found=FOUND,
       latency_ns=st.integers(0, 10**13))  # fmt: skip
def test_any_decision_is_a_report_that_both_readers_take(
    verdict: Verdict, late: bool, reason: Reason, reasons: frozenset[Reason], latency_ns: int,
    found: list[tuple[float, ...]], report, sdicos: SimpleNamespace,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    rows = np.array([row[:4] for row in found], np.float32).reshape(-1, 4)
    rows[:, 2:] = np.maximum(rows[:, :2], rows[:, 2:])
    detections = Detections(rows, np.array([row[4] for row in found], np.float32),
                            np.array([row[5] for row in found], np.int32))  # fmt: skip
    decision = Decision(9, verdict, reason, -1, 1, detections, latency_ns, late, reasons)
    path = save(report(decision, shape=(90, 60)), tmp_path_factory.mktemp("any") / "r.dcs")
    read, theirs = read_report(path), sdicos.report(path)
    wrong = late or bool((reasons | {reason}) - {Reason.NONE})
    expected = verdict
    if verdict is Verdict.CLEAR and wrong:
        expected = Verdict.NOT_CLEARED
    assert read.verdict is expected
    assert theirs["alarm"] == {
        Verdict.CLEAR: "enumClear", Verdict.ALARM: "enumAlarm",
        Verdict.NOT_CLEARED: "enumUnknownAlarmDecision"}[expected]  # fmt: skip
    assert read.aborted == (wrong or verdict is Verdict.NOT_CLEARED)
    assert bool(read.abort_reasons) == read.aborted
    threats = [o for o in read.objects if o.assessment == "THREAT"]
    assert theirs["objects"] == len(read.objects) >= len(found)
    assert theirs["alarms"] == len(threats)
    if verdict is Verdict.ALARM:
        assert threats
    for one, row in zip(read.objects, found, strict=False):
        assert one.probability == row[4]
    assert (read.latency_ns, read.late, read.encoder_head) == (latency_ns, late, -1)


def test_boxes_come_back_within_a_rounding(report, alarm: Decision, tmp_path: Path) -> None:
    corners = np.array([[0.1, 1e3 + 0.7, 17.3, 1999.9], [5, 5, 5, 5]], np.float32)
    found = Detections(corners, alarm.detections.scores.copy(), alarm.detections.labels.copy())
    path = save(report(dataclasses.replace(alarm, detections=found)), tmp_path / "r.dcs")
    near, point = (one.box for one in read_report(path).objects)
    # Base and extents are float32: one rounding of up to 2000 * 2^-24 each.
    np.testing.assert_allclose(near, corners[0], atol=2 * 2000 * 2**-24)
    # A point becomes a thousandth of a pixel: extents must be above 0.
    np.testing.assert_allclose(point, [5, 5, 5.001, 5.001], atol=1e-6)


def test_detections_that_cannot_be_reported_are_refused(
    report, alarm: Decision, bag: Bag, machine: DicosMachine
) -> None:
    with pytest.raises(DicosError, match="label without a class"):
        report_document(alarm, bag, machine, Screener(("gun",), 0.4), images=())
    for boxes, scores in (([[0, 0, np.nan, 1]], [0.5]), ([[0, 0, 1, 1]], [1.5]),
                          ([[0, 0, 1, 1]], [np.inf])):  # fmt: skip
        found = Detections(np.array(boxes, np.float32), np.array(scores, np.float32),
                           np.zeros(1, np.int32))  # fmt: skip
        with pytest.raises(DicosError, match="cannot be reported"):
            report(dataclasses.replace(alarm, detections=found))
