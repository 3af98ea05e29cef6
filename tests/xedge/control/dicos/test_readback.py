"""Reports read back: xedge's own, other makers', and files that are none."""

import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from xedge.control.dicos.document import Bag, save
from xedge.control.dicos.machine import DicosMachine
from xedge.control.dicos.readback import read_report
from xedge.control.dicos.report import Screener, report_document
from xedge.errors import DicosError
from xedge.types import Decision, Verdict

pydicom = pytest.importorskip("pydicom", reason="pydicom (extra `dicos`) is not installed")


@pytest.fixture
def document(alarm: Decision, bag: Bag, machine: DicosMachine, screener: Screener):
    return report_document(
        alarm, bag, machine, screener, images=(bag.uids.low, bag.uids.high), shape=(50, 50)
    )


def test_a_report_says_all_that_the_decision_said(
    document, tmp_path: Path, alarm: Decision, bag: Bag
) -> None:
    report = read_report(save(document, tmp_path / "report.dcs"))
    assert (report.verdict, report.bag, report.late) == (Verdict.ALARM, 7, False)
    assert (report.encoder_head, report.encoder_tail) == (-5, 2**40)
    assert report.latency_ns == alarm.latency_ns
    assert report.decided == bag.scanned + datetime.timedelta(microseconds=123_456)
    assert (report.uid, report.scan_uid) == (bag.uids.report, bag.uids.scan)
    assert report.images == report.objects[0].images == (bag.uids.low, bag.uids.high)
    assert [one.description for one in report.objects] == ["щипцы", "knife"]
    record = report.to_dict()
    assert record["objects"][0]["box"] == [1, 2, 30.5, 40.25]
    assert record["algorithm"][0] == "xedge"


@pytest.mark.parametrize(
    ("word", "flag", "verdict"),
    [
        ("CLEAR", "SUCCESS", Verdict.CLEAR),
        ("CLEAR", "ABORT", Verdict.NOT_CLEARED),
        ("CLEAR", "ANYTHING", Verdict.NOT_CLEARED),
        ("ALARM", "ABORT", Verdict.ALARM),
        ("UNKNOWN", "SUCCESS", Verdict.NOT_CLEARED),
        ("NO_ALARM", "SUCCESS", Verdict.NOT_CLEARED),
        ("", "SUCCESS", Verdict.NOT_CLEARED),
    ],
)
def test_only_a_clear_that_was_not_aborted_is_clear(
    document, tmp_path: Path, word: str, flag: str, verdict: Verdict
) -> None:
    document.AlarmDecision, document.AbortFlag = word, flag
    report = read_report(save(document, tmp_path / "report.dcs"))
    assert (report.verdict, report.alarm) == (verdict, word)


def test_a_report_by_the_closed_toolkit_is_read(tmp_path: Path, sdicos: SimpleNamespace) -> None:
    path = tmp_path / "theirs.dcs"
    sdicos.write_report(path)
    report = read_report(path)
    assert (report.verdict, report.aborted) == (Verdict.ALARM, True)
    assert report.abort_reasons == ("OVERSIZE_BAG",)
    assert (report.bag, report.latency_ns, report.algorithm) == (None, None, ("maker", "v1"))
    (one,) = report.objects
    assert (one.description, one.category, one.assessment) == ("sheet", "EXPLOSIVE", "HIGH_THREAT")
    assert (one.box, one.probability, one.images) == ((1, 2, 4, 6), 0.5, ("1.2.3",))
    assert report.decided is not None
    assert report.decided.isoformat().startswith("2026-11-25T06:07:08.000009")


def test_a_report_that_contradicts_itself_is_refused(document, tmp_path: Path) -> None:
    document.NumberOfTotalObjects = 3
    with pytest.raises(DicosError, match="2 objects where 3 are counted"):
        read_report(save(document, tmp_path / "r.dcs"))


@pytest.mark.parametrize("name", ["AlarmDecision", "AbortFlag", "NumberOfTotalObjects",
                                  "TotalProcessingTime", "ThreatROIBase"])  # fmt: skip
def test_a_report_without_what_it_must_have_is_refused(document, tmp_path: Path, name: str) -> None:
    holder = document
    if name == "ThreatROIBase":
        holder = document.ThreatSequence[0].PTORepresentationSequence[0].ThreatROIVoxelSequence[0]
    del holder[name]
    with pytest.raises(DicosError, match=r"r\.dcs is no sound report"):
        read_report(save(document, tmp_path / "r.dcs"))
