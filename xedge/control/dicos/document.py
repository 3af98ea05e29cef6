"""DICOS files as pydicom sees them: what all have in common, and the way in and out.

pydicom (extra ``dicos``) does not know every element of DICOS; these are written by tag, as the
only reader at hand that checks (pydicos 1.3.0, the SDICOS toolkit) insists on them:
(0002,0004) version in the file meta, (0008,0118) image origin, (0008,2108) coordinate system,
(4300,0902) effective energy, (4010,1075) as FD, (4010,1080..1082) times of an object.
"""

from __future__ import annotations

import contextlib
import datetime
import enum
import importlib
import io
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import xedge
from xedge.control.dicos.words import acquisition_status
from xedge.errors import DicosError
from xedge.types import Reason

if TYPE_CHECKING:
    from xedge.control.dicos.machine import BagUids, DicosMachine

DX: Final = "1.2.840.10008.5.1.4.1.1.501.2.2"
"""DICOS Digital X-Ray Image Storage - For Processing."""
TDR: Final = "1.2.840.10008.5.1.4.1.1.501.3"
"""DICOS Threat Detection Report Storage."""
VERSION: Final = "V03"

META_VERSION: Final = 0x00020004
IMAGE_ORIGIN: Final = 0x00080118
COORDINATE_SYSTEM: Final = 0x00082108
EFFECTIVE_ENERGY: Final = 0x43000902
IMAGE_SCALE: Final = 0x40101075
OBJECT_START: Final = 0x40101080
OBJECT_END: Final = 0x40101081
OBJECT_MS: Final = 0x40101082

PRIVATE_GROUP: Final = 0x4011
PRIVATE_CREATOR: Final = "XEDGE"
"""Owner of the private elements, which keep what the standard has no element for."""
P_BAG, P_REASONS, P_HEAD, P_TAIL, P_LATE, P_LATENCY, P_LINE, P_CAPTURED, P_ENCODER = range(9)

_IMPLEMENTATION: Final = "2.25.262393414246573346434711917107917186453"
UNDEFINED_LENGTH: Final = 0xFFFFFFFF
LARGEST_FILE: Final = 1 << 29
"""Bytes of the largest file that is read: a scan is some megabytes."""


class Origin(str, enum.Enum):
    """Where an image comes from, Image Origin (0008,0118)."""

    MACHINE = "MACHINE"
    SYNTHETIC = "SYNTHETIC"
    """A simulator; the scan is then marked NON_OPERATIONAL as well."""
    AUGMENTED = "AUGMENTED"
    """A machine, with a threat projected into it (TIP)."""


@dataclass(frozen=True)
class Bag:
    """What images and report of one bag say beside its scan and its decision.

    Attributes:
        uids: Its identifiers.
        scanned: When its last line was read out, with a time zone.
        origin: Where its image comes from.
        label: The bag's name in the baggage system, a licence plate, say; never a passenger's.
            Empty takes the number.
    """

    uids: BagUids
    scanned: datetime.datetime
    origin: Origin = Origin.MACHINE
    label: str = ""

    def __post_init__(self) -> None:
        if self.scanned.tzinfo is None:
            raise DicosError("the time of a scan needs its zone", found=self.scanned.isoformat(),
                             remedy="Give datetime.now(timezone.utc), say")  # fmt: skip
        if len(self.label) > 64 or "\\" in self.label or not self.label.isprintable():
            raise DicosError("the label of a bag cannot stand in a DICOS file",
                             expected="up to 64 printable characters without a backslash",
                             found=repr(self.label))  # fmt: skip


def pydicom() -> Any:
    """The package pydicom, imported when it is needed.

    Raises:
        DicosError: When it is not installed.
    """
    try:
        importlib.import_module("pydicom.uid")
        return importlib.import_module("pydicom")
    except ModuleNotFoundError as error:
        raise DicosError(
            "DICOS files need the package pydicom, which is not installed",
            remedy="Install the extra: pip install 'xedge[dicos]'",
        ) from error


@dataclass(frozen=True)
class Instance:
    """Which file of a bag a document is.

    Attributes:
        sop_class: `DX` or `TDR`.
        uid: Its SOP Instance UID.
        series: Its Series Instance UID.
        number: Its number in the series.
    """

    sop_class: str
    uid: str
    series: str
    number: int


def new_document(
    instance: Instance, number: int, reasons: frozenset[Reason], bag: Bag, machine: DicosMachine
) -> Any:
    """A pydicom data set with the elements that images and reports share.

    Args:
        instance: Which file it is.
        number: Sequence number of the bag in its lane.
        reasons: What is wrong with its scan.
        bag: What else is known of it.
        machine: The machine.
    """
    dicom = pydicom()
    d = dicom.Dataset()
    d.SpecificCharacterSet = "ISO_IR 192"
    scanned = bag.scanned.astimezone(datetime.timezone.utc)
    date, time = _date_time(scanned)
    d.InstanceCreationDate, d.InstanceCreationTime = _date_time(
        datetime.datetime.now(datetime.timezone.utc)
    )
    d.SOPClassUID, d.SOPInstanceUID = instance.sop_class, instance.uid
    d.StudyDate = d.SeriesDate = d.ContentDate = date
    d.StudyTime = d.SeriesTime = d.ContentTime = time
    d.TimezoneOffsetFromUTC = "+0000"
    d.Modality = "TDR" if instance.sop_class == TDR else "XRAY"
    _describe_machine(d, machine)
    # DICOM's patient is DICOS' object of inspection: a bag, and nobody who owns it.
    d.PatientID = bag.label or str(number)
    d.IssuerOfPatientID = "XEDGE LANE" if not bag.label else "BAGGAGE SYSTEM"
    d.TypeOfPatientID = "TEXT"
    d.OOIType = "BAGGAGE"
    d.StudyInstanceUID, d.SeriesInstanceUID = bag.uids.scan, instance.series
    d.StudyID = str(number)[-16:]
    d.InstanceNumber = instance.number
    d.FrameOfReferenceUID = bag.uids.frame
    d.PositionReferenceIndicator = ""
    d.DICOSVersion = VERSION
    d.AcquisitionStatus = acquisition_status(reasons)
    d.ScanType = "NON_OPERATIONAL" if bag.origin is Origin.SYNTHETIC else "OPERATIONAL"
    meta = dicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = instance.sop_class
    meta.MediaStorageSOPInstanceUID = instance.uid
    meta.add_new(META_VERSION, "CS", VERSION)
    meta.TransferSyntaxUID = dicom.uid.ExplicitVRLittleEndian
    meta.ImplementationClassUID = _IMPLEMENTATION
    meta.ImplementationVersionName = f"XEDGE {xedge.__version__}"[:16]
    d.file_meta = meta
    block = d.private_block(PRIVATE_GROUP, PRIVATE_CREATOR, create=True)
    block.add_new(P_BAG, "LO", str(number))
    block.add_new(P_REASONS, "LO", reason_names(reasons))
    return d


def _describe_machine(d: Any, machine: DicosMachine) -> None:
    d.Manufacturer, d.ManufacturerModelName = machine.manufacturer, machine.model
    d.InstitutionName, d.InstitutionAddress = machine.institution, machine.institution_address
    d.StationName, d.DeviceSerialNumber = machine.station, machine.serial
    d.SoftwareVersions = f"xedge {xedge.__version__}"
    measured = machine.calibrated
    d.DateOfLastCalibration, d.TimeOfLastCalibration = (
        _date_time(measured.astimezone(datetime.timezone.utc)) if measured else ("", "")
    )


def reason_names(reasons: Iterable[Reason]) -> list[str]:
    """Names of reasons in the order of their numbers."""
    return [reason.name for reason in sorted(reasons)]


def _date_time(moment: datetime.datetime) -> tuple[str, str]:
    return moment.strftime("%Y%m%d"), moment.strftime("%H%M%S.%f")


def date_and_time(moment: datetime.datetime) -> str:
    """A moment as DICOM's DT, in UTC."""
    return moment.astimezone(datetime.timezone.utc).strftime("%Y%m%d%H%M%S.%f+0000")


def encode(document: Any) -> bytes:
    """A data set as the bytes of a file.

    Raises:
        DicosError: When one of its values cannot stand in a file.
    """
    out = io.BytesIO()
    try:
        document.save_as(out, enforce_file_format=True)
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise DicosError("a value cannot stand in a DICOS file", found=str(error)) from error
    return out.getvalue()


def save(document: Any, path: Path) -> Path:
    """The file that was written: it appears whole or not at all, and replaces none.

    Raises:
        DicosError: When a value cannot stand in it, it exists, or cannot be written.
    """
    content = encode(document)
    part = path.with_name(f"{path.name}.part")
    try:
        if path.exists():
            raise DicosError(f"{path} is there already", remedy="Name another folder")
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise DicosError(f"{path} cannot be written", found=error.strerror or str(error),
                         remedy="Name another folder, or make room")  from error  # fmt: skip
    return path


def load(path: Path, sop_class: str | None = None) -> Any:
    """The data set of a file.

    Args:
        path: A DICOM file.
        sop_class: What it must be; None takes an image or a report of DICOS.

    Raises:
        DicosError: When it cannot be read, or is something else.
    """
    names = {DX: "a DICOS X-ray image", TDR: "a DICOS threat detection report"}
    expected = names[sop_class] if sop_class else " or ".join(names.values())
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise DicosError(f"{path} is too large", expected=f"up to {LARGEST_FILE} bytes")
        content = path.read_bytes()
    except OSError as error:
        raise DicosError(f"{path} cannot be read", found=error.strerror or str(error)) from error
    dicom = pydicom()
    try:
        with warnings.catch_warnings():
            # Other makers' files have values that the standard forbids, identifiers above all.
            warnings.simplefilter("ignore")
            d = dicom.dcmread(io.BytesIO(content))
            _check_whole(d)
            d.decode()
            found = str(d.get("SOPClassUID", "none"))
    except Exception as error:  # on damaged files pydicom raises whatever its parts do
        raise DicosError(f"{path} is no sound DICOM file", expected=expected,
                         found=f"{type(error).__name__}: {error}")  from error  # fmt: skip
    if found not in ((sop_class,) if sop_class else names):
        raise DicosError(f"{path} is not what is read here", expected=expected,
                         found=names.get(found, f"SOP class {found}"))  # fmt: skip
    return d


def _check_whole(d: Any) -> None:
    """Raise EOFError where a file ends early: pydicom takes what is there for a whole value."""
    for tag in d.keys():  # noqa: SIM118  # to iterate over a data set would decode it
        raw = d.get_item(tag)
        length = getattr(raw, "length", 0)
        if length != UNDEFINED_LENGTH and len(getattr(raw, "value", None) or b"") < length:
            raise EOFError(f"the file ends inside the value of {tag}")
    own = str(d.file_meta.get("ImplementationClassUID")) == _IMPLEMENTATION
    last = "PixelData" in d or (private(d, P_LATENCY) is not None)
    if own and not last:
        raise EOFError("the file ends before its last value")


def private(document: Any, element: int) -> Any:
    """The value of a private element of xedge, None when the file has none."""
    try:
        return document.private_block(PRIVATE_GROUP, PRIVATE_CREATOR)[element].value
    except KeyError:
        return None


def reasons_of(document: Any) -> frozenset[Reason]:
    """The reasons that xedge left in a file; none in a file by something else.

    Raises:
        KeyError: When a name is none of `Reason`.
    """
    names = private(document, P_REASONS) or ()
    return frozenset(Reason[name] for name in ([names] if isinstance(names, str) else names))
