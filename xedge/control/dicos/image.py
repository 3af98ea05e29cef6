"""A scan as two DICOS X-ray images (DX, for processing): one for each energy.

DICOS gives an image of one energy the second word ``LOW ENERGY`` or ``HIGH ENERGY`` of its Image
Type (0008,0008), one sample a pixel; two energies are two instances of one series. ``MULTI
ENERGY`` is for an image that mixes them. Rows are lines, columns detector elements.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from xedge.control.dicos import document as doc
from xedge.control.dicos.document import Bag, Instance
from xedge.control.dicos.machine import DicosMachine
from xedge.errors import DicosError, LineError
from xedge.types import AIR_COUNTS, U16, Reason, Scan

MOST_ROWS: Final = 65_535
"""Rows and Columns are 16-bit numbers."""


class Energy(str, enum.Enum):
    """The energies of a scan, in the words of Image Type."""

    LOW = "LOW ENERGY"
    HIGH = "HIGH ENERGY"


@dataclass(frozen=True, eq=False)
class DicosImage:
    """An image that was read.

    Attributes:
        counts: uint16 ``[rows, columns]``.
        energy: None when the file says neither low nor high.
        uid: SOP Instance UID.
        scan_uid: Scan (Study) Instance UID.
        acquisition: Acquisition Status, ``SUCCESSFUL`` for a sound scan.
        origin: Image Origin, ``MACHINE`` for a real scanner; empty when the file does not say.
        bag: Number of the bag in its lane; None in a file by something else.
        reasons: What is wrong with the scan, in xedge's words.
    """

    counts: U16
    energy: Energy | None
    uid: str
    scan_uid: str
    acquisition: str
    origin: str
    bag: int | None
    reasons: frozenset[Reason]

    def to_dict(self) -> dict[str, Any]:
        """All but the counts, as JSON values."""
        return {
            "kind": "image",
            "energy": self.energy.value if self.energy else None,
            "rows": int(self.counts.shape[0]),
            "columns": int(self.counts.shape[1]),
            "least_counts": int(self.counts.min()),
            "most_counts": int(self.counts.max()),
            "uid": self.uid,
            "scan_uid": self.scan_uid,
            "acquisition": self.acquisition,
            "origin": self.origin,
            "bag": self.bag,
            "reasons": doc.reason_names(self.reasons),
        }


def image_documents(scan: Scan, bag: Bag, machine: DicosMachine) -> tuple[Any, Any]:
    """The low and the high image of a scan, as pydicom data sets.

    Raises:
        DicosError: When the scan has no line, or too many for the format.
    """
    lines, elements = scan.low.shape if scan.low.ndim == 2 else (0, 0)
    if not (1 <= lines <= MOST_ROWS and 1 <= elements <= MOST_ROWS):
        raise DicosError(f"the scan of bag {scan.bag} does not fit in an image",
                         expected=f"1..{MOST_ROWS} lines and elements",
                         found=f"{list(scan.low.shape)}")  # fmt: skip
    if scan.low.dtype != np.uint16 or scan.high.dtype != np.uint16:
        raise DicosError(f"the scan of bag {scan.bag} has other counts", expected="uint16",
                         found=f"{scan.low.dtype}, {scan.high.dtype}")  # fmt: skip
    return (
        _image(scan, scan.low, Energy.LOW, machine.low_kev, bag, machine),
        _image(scan, scan.high, Energy.HIGH, machine.high_kev, bag, machine),
    )


def _image(
    scan: Scan, counts: U16, energy: Energy, kev: float, bag: Bag, machine: DicosMachine
) -> Any:
    uid, number = (bag.uids.low, 1) if energy is Energy.LOW else (bag.uids.high, 2)
    instance = Instance(doc.DX, uid, bag.uids.images, number)
    d = doc.new_document(instance, scan.bag, scan.reasons, bag, machine)
    d.ImageType = ["ORIGINAL", energy.value]
    d.PresentationIntentType = "FOR PROCESSING"
    d.add_new(doc.IMAGE_ORIGIN, "CS", bag.origin.value)
    d.add_new(doc.COORDINATE_SYSTEM, "CS", "LHS")
    d.add_new(doc.EFFECTIVE_ENERGY, "FL", kev)
    d.KVP, d.XRayTubeCurrentInuA = _decimal(machine.tube_kv), _decimal(machine.tube_ua)
    d.TableSpeed, d.BeltHeight = machine.speed_mm_s, machine.belt_height_mm
    d.DetectorType = "SCINTILLATOR"
    d.AcquisitionDeviceProcessingDescription = (
        f"offset, gain and dead elements corrected, air = {AIR_COUNTS}"
    )
    steps = np.abs(np.diff(scan.encoder))
    line_counts = float(np.median(steps)) if len(steps) else 0.0
    if line_counts and machine.counts_per_mm and machine.pitch_mm:
        line_mm = line_counts / machine.counts_per_mm
        d.ImagerPixelSpacing = [_decimal(line_mm), _decimal(machine.pitch_mm)]
    d.ImagePositionPatient, d.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
    d.Rows, d.Columns = (int(n) for n in counts.shape)
    d.BitsAllocated = d.BitsStored = 16
    d.HighBit, d.PixelRepresentation = 15, 0
    d.BurnedInAnnotation, d.LossyImageCompression = "NO", "00"
    d.PixelIntensityRelationship, d.PixelIntensityRelationshipSign = "LIN", 1
    d.RescaleIntercept, d.RescaleSlope, d.RescaleType = 0, 1, "US"
    d.PresentationLUTShape = "IDENTITY"
    d.AcquisitionContextSequence = []
    block = d.private_block(doc.PRIVATE_GROUP, doc.PRIVATE_CREATOR)
    block.add_new(doc.P_LINE, "LO", str(scan.first_line))
    block.add_new(doc.P_CAPTURED, "LO", str(scan.captured_ns))
    block.add_new(doc.P_ENCODER, "OB", np.ascontiguousarray(scan.encoder, "<i8").tobytes())
    d.PixelData = np.ascontiguousarray(counts, "<u2").tobytes()
    d["PixelData"].VR = "OW"
    return d


def _decimal(number: float) -> str:
    """A number as DICOM's DS, at most 16 characters."""
    return f"{number:.9g}"


def write_scan(scan: Scan, bag: Bag, machine: DicosMachine, low: Path, high: Path) -> None:
    """Write the two images of a scan.

    Raises:
        DicosError: When the scan does not fit in images, or a file exists or cannot be written.
    """
    images = image_documents(scan, bag, machine)
    for image, path in zip(images, (low, high), strict=True):
        doc.save(image, path)


def read_image(path: Path) -> DicosImage:
    """The image in a DICOS file of one 16-bit sample a pixel, by xedge or by something else.

    Raises:
        DicosError: When it cannot be read, is something else, or is compressed.
    """
    return _read(path, doc.load(path, doc.DX))


def read_scan(low: Path, high: Path) -> Scan:
    """The scan that `write_scan` wrote, equal in every field.

    Raises:
        DicosError: When a file cannot be read, is not by xedge, or the two are not of one scan.
    """
    documents = [doc.load(path, doc.DX) for path in (low, high)]
    images = [_read(path, d) for path, d in zip((low, high), documents, strict=True)]
    for path, image, energy in zip((low, high), images, (Energy.LOW, Energy.HIGH), strict=True):
        if image.energy is not energy:
            raise DicosError(f"{path} is the wrong image", expected=energy.value,
                             found=image.energy.value if image.energy else "neither")  # fmt: skip
    if images[0].scan_uid != images[1].scan_uid:
        raise DicosError(f"{low} and {high} are not of one scan", expected=images[0].scan_uid,
                         found=images[1].scan_uid)  # fmt: skip
    d = documents[0]
    try:
        return Scan(
            int(doc.private(d, doc.P_BAG)),
            images[0].counts,
            images[1].counts,
            np.frombuffer(doc.private(d, doc.P_ENCODER), "<i8").astype(np.int64),
            int(doc.private(d, doc.P_LINE)),
            int(doc.private(d, doc.P_CAPTURED)),
            images[0].reasons,
        )
    except (TypeError, ValueError, LineError) as error:
        raise DicosError(
            f"{low} does not say where its lines lie on the belt",
            expected="an image that xedge wrote",
            found=str(error),
            remedy="Read its counts alone, with read_image",
        ) from error


def _read(path: Path, d: Any) -> DicosImage:
    try:
        if d.file_meta.TransferSyntaxUID.is_compressed:
            raise DicosError(f"{path} is compressed", expected="16-bit samples as they are",
                             found=d.file_meta.TransferSyntaxUID.name,
                             remedy="Decompress it with its maker's tools")  # fmt: skip
        words = [str(word) for word in d.ImageType]
        if (d.BitsAllocated, d.SamplesPerPixel, d.PixelRepresentation) != (16, 1, 0):
            raise ValueError("samples other than one unsigned 16-bit number a pixel")
        order = "<" if d.file_meta.TransferSyntaxUID.is_little_endian else ">"
        counts = np.frombuffer(d.PixelData, f"{order}u2").reshape(d.Rows, d.Columns)
        if not counts.size:
            raise ValueError("no pixels")
        bag = doc.private(d, doc.P_BAG)
        return DicosImage(
            counts=counts.astype(np.uint16),
            energy=next((energy for energy in Energy if energy.value in words), None),
            uid=str(d.SOPInstanceUID),
            scan_uid=str(d.StudyInstanceUID),
            acquisition=str(d.AcquisitionStatus),
            origin=str(d[doc.IMAGE_ORIGIN].value) if doc.IMAGE_ORIGIN in d else "",
            bag=None if bag is None else int(bag),
            reasons=doc.reasons_of(d),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DicosError(f"{path} is no sound image", found=str(error)) from error
