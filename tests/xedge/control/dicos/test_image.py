"""Scans as DICOS images: pixel-exact by both readers, and nothing else passes for one."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xedge.control.dicos.document import Bag, Origin
from xedge.control.dicos.image import Energy, image_documents, read_image, read_scan, write_scan
from xedge.control.dicos.machine import BagUids, DicosMachine
from xedge.errors import DicosError
from xedge.types import Reason, Scan

pydicom = pytest.importorskip("pydicom", reason="pydicom (extra `dicos`) is not installed")


@pytest.fixture
def files(scan: Scan, bag: Bag, machine: DicosMachine, tmp_path: Path) -> tuple[Path, Path]:
    low, high = tmp_path / "low.dcs", tmp_path / "high.dcs"
    write_scan(scan, bag, machine, low, high)
    return low, high


def test_a_scan_comes_back_equal_in_every_field(files: tuple[Path, Path], scan: Scan) -> None:
    back = read_scan(*files)
    for field in dataclasses.fields(Scan):
        a, b = getattr(scan, field.name), getattr(back, field.name)
        if isinstance(a, np.ndarray):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            assert a.tobytes() == b.tobytes()
        else:
            assert a == b


def test_the_closed_reader_sees_the_same_pixels(
    files: tuple[Path, Path], scan: Scan, sdicos: SimpleNamespace
) -> None:
    np.testing.assert_array_equal(sdicos.pixels(files[0]), scan.low)
    np.testing.assert_array_equal(sdicos.pixels(files[1]), scan.high)


def test_the_closed_reader_takes_a_machine_that_nobody_described(
    scan: Scan, tmp_path: Path, sdicos: SimpleNamespace, bag: Bag
) -> None:
    sound = dataclasses.replace(scan, reasons=frozenset())
    write_scan(sound, bag, DicosMachine(), tmp_path / "l", tmp_path / "h")
    np.testing.assert_array_equal(sdicos.pixels(tmp_path / "h"), scan.high)


def test_the_two_energies_are_two_images_of_one_series(
    files: tuple[Path, Path], bag: Bag, scan: Scan
) -> None:
    low, high = (pydicom.dcmread(path) for path in files)
    assert [list(d.ImageType) for d in (low, high)] == [
        ["ORIGINAL", "LOW ENERGY"], ["ORIGINAL", "HIGH ENERGY"]]  # fmt: skip
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        assert low[name].value == high[name].value
    assert (low.SOPInstanceUID, high.SOPInstanceUID) == (bag.uids.low, bag.uids.high)
    assert (low.InstanceNumber, high.InstanceNumber) == (1, 2)
    assert (low.Rows, low.Columns) == scan.low.shape
    assert low[0x43000902].value == pytest.approx(64)
    # 2 counts a line, 3.2 counts a millimetre: rows lie 0.625 mm apart.
    assert list(low.ImagerPixelSpacing) == [0.625, 0.62]
    assert low.AcquisitionStatus == "INCOMPLETE"


def test_elements_beyond_the_dictionary_of_pydicom_are_there(files: tuple[Path, Path]) -> None:
    d = pydicom.dcmread(files[0])
    assert (d.file_meta[0x00020004].VR, d.file_meta[0x00020004].value) == ("CS", "V03")
    for tag, vr, value in ((0x00080118, "CS", "MACHINE"), (0x00082108, "CS", "LHS"),
                           (0x4010103A, "CS", "V03")):  # fmt: skip
        assert (d[tag].VR, d[tag].value) == (vr, value)
    assert d[0x43000902].VR == "FL"


def test_nothing_says_who_owns_the_bag(files: tuple[Path, Path]) -> None:
    d = pydicom.dcmread(files[0])
    people = [e.name for e in d.iterall() if e.VR == "PN" or e.tag.group == 0x0010]
    assert people == ["Patient ID", "Issuer of Patient ID", "Type of Patient ID"]
    assert d.PatientID == "7"


def test_a_simulated_scan_says_so(
    scan: Scan, bag: Bag, machine: DicosMachine, tmp_path: Path
) -> None:
    low, _ = image_documents(scan, dataclasses.replace(bag, origin=Origin.SYNTHETIC), machine)
    assert (low[0x00080118].value, low.ScanType) == ("SYNTHETIC", "NON_OPERATIONAL")
    labelled = dataclasses.replace(bag, label="0074123456", origin=Origin.AUGMENTED)
    low, _ = image_documents(scan, labelled, machine)
    assert (low[0x00080118].value, low.ScanType) == ("AUGMENTED", "OPERATIONAL")
    assert low.PatientID == "0074123456"


def test_an_image_can_be_read_alone(files: tuple[Path, Path], scan: Scan, bag: Bag) -> None:
    image = read_image(files[1])
    np.testing.assert_array_equal(image.counts, scan.high)
    assert (image.energy, image.bag, image.origin) == (Energy.HIGH, 7, "MACHINE")
    assert image.reasons == {Reason.CLIPPED_BAG}
    record = image.to_dict()
    assert (record["rows"], record["columns"], record["uid"]) == (31, 17, bag.uids.high)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.integers(1, 9), elements=st.integers(1, 9), seed=st.integers(0, 99),
       encoder=st.integers(-(2**63), 2**63 - 1),
       reasons=st.sets(st.sampled_from(Reason)))  # fmt: skip
def test_any_scan_survives(
    lines: int, elements: int, seed: int, encoder: int, reasons: set[Reason], machine: DicosMachine,
    tmp_path_factory: pytest.TempPathFactory, bag: Bag,
) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("scan")
    low, high = np.random.default_rng(seed).integers(0, 65536, (2, lines, elements))
    scan = Scan(seed, low.astype(np.uint16), high.astype(np.uint16),
                np.full(lines, encoder, np.int64), -1, 0, frozenset(reasons))  # fmt: skip
    write_scan(scan, bag, machine, folder / "low", folder / "high")
    back = read_scan(folder / "low", folder / "high")
    np.testing.assert_array_equal(back.low, scan.low)
    np.testing.assert_array_equal(back.high, scan.high)
    np.testing.assert_array_equal(back.encoder, scan.encoder)
    assert back.reasons == scan.reasons


def test_scans_that_do_not_fit_in_an_image_are_refused(
    bag: Bag, machine: DicosMachine, scan: Scan
) -> None:
    def shaped(lines: int, elements: int, dtype: type = np.uint16) -> Scan:
        counts = np.zeros((lines, elements), dtype)
        return Scan(1, counts, counts, np.zeros(lines, np.int64), 0, 0)

    for lines, elements in ((0, 4), (4, 0), (65_536, 1), (1, 65_536)):
        with pytest.raises(DicosError, match="does not fit in an image"):
            image_documents(shaped(lines, elements), bag, machine)
    with pytest.raises(DicosError, match="uint16"):
        image_documents(shaped(2, 2, np.float32), bag, machine)


def test_images_of_two_scans_make_no_scan(
    files: tuple[Path, Path], scan: Scan, machine: DicosMachine, tmp_path: Path, bag: Bag
) -> None:
    other = dataclasses.replace(bag, uids=BagUids.new(machine))
    write_scan(scan, other, machine, tmp_path / "low2", tmp_path / "high2")
    with pytest.raises(DicosError, match="not of one scan"):
        read_scan(files[0], tmp_path / "high2")
    with pytest.raises(DicosError, match="wrong image"):
        read_scan(files[1], files[0])


def test_images_by_the_closed_toolkit_are_read(tmp_path: Path, sdicos: SimpleNamespace) -> None:
    path = tmp_path / "theirs.dcs"
    sdicos.write_image(path)
    counts = np.arange(20, dtype=np.uint16).reshape(4, 5) * 3000
    read = read_image(path)
    np.testing.assert_array_equal(read.counts, counts)
    assert (read.energy, read.bag, read.reasons) == (None, None, frozenset())
    with pytest.raises(DicosError, match="wrong image"):
        read_scan(path, path)
    sdicos.write_compressed(path)
    with pytest.raises(DicosError, match="compressed"):
        read_image(path)
