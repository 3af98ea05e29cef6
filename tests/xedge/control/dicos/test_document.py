"""The way in and out of files: whole or not at all, and nothing else passes."""

import contextlib
import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from xedge.control.dicos.document import Bag, encode, load, save
from xedge.control.dicos.image import image_documents, read_image
from xedge.control.dicos.machine import DicosMachine
from xedge.control.dicos.readback import read_report
from xedge.control.dicos.report import Screener, report_document
from xedge.errors import DicosError
from xedge.types import Decision, Scan

pydicom = pytest.importorskip("pydicom", reason="pydicom (extra `dicos`) is not installed")


@pytest.fixture
def report(alarm: Decision, bag: Bag, machine: DicosMachine, screener: Screener):
    return report_document(alarm, bag, machine, screener, images=(bag.uids.low,))


@pytest.fixture
def image(scan: Scan, bag: Bag, machine: DicosMachine):
    return image_documents(scan, bag, machine)[0]


def test_a_file_is_dicom_with_its_version_and_maker(report, tmp_path: Path) -> None:
    path = save(report, tmp_path / "report.dcs")
    assert path.read_bytes()[128:132] == b"DICM"
    meta = pydicom.dcmread(path).file_meta
    assert meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    assert meta.ImplementationVersionName.startswith("XEDGE")
    assert pydicom.uid.UID(meta.ImplementationClassUID).is_valid
    assert sorted(path.parent.iterdir()) == [path]


def test_every_identifier_in_a_file_is_valid(report, image) -> None:
    uids = [e.value for d in (report, image) for e in d.iterall() if e.VR == "UI"]
    assert len(uids) > 10
    assert all(uid.is_valid for uid in uids)


def test_no_file_is_replaced(report, tmp_path: Path) -> None:
    path = save(report, tmp_path / "report.dcs")
    before = path.read_bytes()
    with pytest.raises(DicosError, match="is there already"):
        save(report, path)
    assert path.read_bytes() == before


def test_a_folder_that_cannot_take_the_file_is_named(report, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(DicosError, match="cannot be written"):
            save(report, folder / "report.dcs")


def test_a_value_that_cannot_stand_in_a_file_is_an_error_of_ours(report) -> None:
    del report.file_meta.TransferSyntaxUID
    with pytest.raises(DicosError, match="cannot stand in a DICOS file"):
        encode(report)


def test_bags_without_a_zone_or_with_a_bad_label_are_refused(bag: Bag) -> None:
    with pytest.raises(DicosError, match="zone"):
        dataclasses.replace(bag, scanned=bag.scanned.replace(tzinfo=None))
    for label in ("x" * 65, "a\\b", "a\tb"):
        with pytest.raises(DicosError, match="label"):
            dataclasses.replace(bag, label=label)


def test_what_is_no_dicos_file_is_refused(tmp_path: Path, report, image) -> None:
    path = tmp_path / "file.dcs"
    for content in (b"", b"PK\3\4", bytes(200), bytes(128) + b"DICM"):
        path.write_bytes(content)
        with pytest.raises(DicosError, match=r"file\.dcs is"):
            load(path)
    report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"  # a CT image of medicine
    path.write_bytes(encode(report))
    with pytest.raises(DicosError, match=r"SOP class 1\.2\.840\.10008\.5\.1\.4\.1\.1\.2"):
        load(path)
    with pytest.raises(DicosError, match="cannot be read"):
        load(tmp_path / "nowhere")
    path.write_bytes(encode(image))
    with pytest.raises(DicosError, match="found a DICOS X-ray image"):
        read_report(path)


def test_a_file_that_ends_early_is_refused(report, image, tmp_path: Path) -> None:
    path = tmp_path / "cut.dcs"
    for document, read in ((report, read_report), (image, read_image)):
        content = encode(document)
        path.write_bytes(content)
        read(path)
        # Every place near the end, where most has been said already; and some before.
        for cut in {*range(1, 60), *range(1, len(content), 97)}:
            path.write_bytes(content[:-cut])
            with pytest.raises(DicosError, match=r"cut\.dcs is"):
                read(path)


def test_a_file_of_another_maker_that_ends_inside_a_value_is_refused(
    report, tmp_path: Path
) -> None:
    """pydicom would read the rest of the value as the whole of it."""
    report.file_meta.ImplementationClassUID = "1.2.3"
    path = tmp_path / "cut.dcs"
    content = encode(report)
    end = content.rindex(b"123456000")
    for length in range(end, end + 10):
        path.write_bytes(content[:length])
        with pytest.raises(DicosError, match=r"cut\.dcs is"):
            read_report(path)


def test_damage_is_an_error_of_ours_or_none(report, image, tmp_path: Path) -> None:
    generator = np.random.default_rng(11)
    path = tmp_path / "damaged.dcs"
    for document, read in ((report, read_report), (image, read_image)):
        content = encode(document)
        for _ in range(60):
            damaged = bytearray(content)
            for place in generator.integers(132, min(len(content), 3000), 3):
                damaged[place] = generator.integers(256)
            path.write_bytes(damaged)
            with contextlib.suppress(DicosError):
                read(path)


def test_without_pydicom_the_remedy_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    (tmp_path / "file.dcs").touch()
    with pytest.raises(DicosError, match=r"pip install 'xedge\[dicos\]'"):
        load(tmp_path / "file.dcs")
