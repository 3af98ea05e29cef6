"""All files of a bag, and the archive that writes them beside a lane."""

import dataclasses
import datetime
import threading
from pathlib import Path

import pytest

from xedge.control.dicos import bag as module
from xedge.control.dicos.bag import MOST_WAITING, DicosArchive, DicosFolder
from xedge.control.dicos.image import read_scan
from xedge.control.dicos.machine import DicosMachine
from xedge.control.dicos.readback import read_report
from xedge.control.dicos.report import Screener
from xedge.errors import DicosError
from xedge.types import Decision, Reason, Scan, Verdict

pytest.importorskip("pydicom", reason="pydicom (extra `dicos`) is not installed")

NOW = datetime.datetime(2026, 11, 25, 6, tzinfo=datetime.timezone.utc)


@pytest.fixture
def folder(tmp_path: Path, machine: DicosMachine, screener: Screener) -> DicosFolder:
    return DicosFolder(tmp_path / "out" / "dicos", machine, screener)


def test_a_bag_is_two_images_and_the_report_that_names_them(
    folder: DicosFolder, alarm: Decision, scan: Scan
) -> None:
    files = folder.write(alarm, scan, scanned=NOW, label="0074123456")
    assert files.low is not None
    assert files.high is not None
    assert {path.name for path in folder.path.iterdir()} == {
        "bag-000007-low.dcs", "bag-000007-high.dcs", "bag-000007-report.dcs"}  # fmt: skip
    assert read_scan(files.low, files.high).bag == 7
    report = read_report(files.report)
    assert len(report.images) == 2
    assert report.verdict is Verdict.ALARM


def test_a_bag_without_a_scan_is_a_report_alone(folder: DicosFolder) -> None:
    files = folder.write(Decision(8, reason=Reason.OVERLOAD), None, scanned=NOW)
    assert (files.low, files.high) == (None, None)
    assert read_report(files.report).images == ()


def test_a_folder_that_cannot_be_made_is_named(folder: DicosFolder, alarm: Decision) -> None:
    folder.path.parent.parent.mkdir(exist_ok=True)
    folder.path.parent.touch()
    with pytest.raises(DicosError, match="cannot be made"):
        folder.write(alarm, None, scanned=NOW)


def test_an_archive_writes_what_it_took_before_it_ends(
    folder: DicosFolder, alarm: Decision, scan: Scan
) -> None:
    with DicosArchive(folder, lambda: NOW) as archive:
        for number in range(1, 4):
            archive.put(dataclasses.replace(alarm, bag=number), scan)
    assert (archive.written, archive.dropped, archive.failed) == (3, 0, 0)
    assert len(list(folder.path.iterdir())) == 9
    report = read_report(folder.path / "bag-000002-report.dcs")
    assert report.decided == NOW  # the decision is now; its bag was scanned before
    archive.close()
    archive.put(alarm, scan)
    assert archive.dropped == 1


def test_a_bag_that_fails_costs_no_other(folder: DicosFolder, alarm: Decision) -> None:
    with DicosArchive(folder) as archive:
        for number in (1, 1, 2):
            archive.put(dataclasses.replace(alarm, bag=number), None)
    assert (archive.written, archive.failed) == (2, 1)
    (said,) = archive.errors
    assert said.startswith("bag 1: ")
    assert "is there already" in said


def test_a_full_archive_does_not_wait(
    folder: DicosFolder, alarm: Decision, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    save = module.doc.save

    def stuck(document: object, path: Path) -> Path:
        begun.set()
        assert go_on.wait(60)
        return save(document, path)

    monkeypatch.setattr(module.doc, "save", stuck)  # a disk that does not answer
    with DicosArchive(folder) as archive:
        archive.put(dataclasses.replace(alarm, bag=1), None)
        assert begun.wait(60)
        for number in range(2, MOST_WAITING + 5):
            archive.put(dataclasses.replace(alarm, bag=number), None)
        assert archive.dropped == 3
        go_on.set()
    assert archive.written == MOST_WAITING + 1
