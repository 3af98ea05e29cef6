"""The closed DICOS toolkit in a process of its own: it is known to crash, and may corrupt memory.

Each line of standard input is a request in JSON, ``[what, path]``, answered by one line.
"""

import json
import sys
from typing import Any

import numpy as np
import pyDICOS as kit  # noqa: N813


def read(kind: str, path: str) -> Any:
    """What the toolkit makes of a file."""
    found, log = getattr(kit, kind)(), kit.ErrorLog()
    taken = found.Read(kit.Filename(path), log, None)
    words = log.GetErrorLog().Get()
    assert taken, words
    assert "Error" not in words
    return found


def report(path: str) -> dict[str, Any]:
    """The facts of a report."""
    found = read("TDR", path)
    return {
        "alarm": str(found.GetAlarmDecision()).rpartition(".")[2],
        "objects": found.GetNumPTOs(),
        "alarms": found.GetNumAlarmObjects(),
    }


def pixels(path: str) -> list[list[int]]:
    """The counts of an image."""
    counts: list[list[int]] = np.array(read("DX", path).GetXRayData().GetUnsigned16()).tolist()
    return counts


def refuses(path: str) -> bool:
    """True when a report is refused."""
    return not kit.TDR().Read(kit.Filename(path), kit.ErrorLog(), None)


def write_report(path: str) -> None:
    """A report of the toolkit's own making."""
    day, time = kit.DcsDate(2026, 11, 25), kit.DcsTime(6, 7, 8, 9)
    theirs = kit.TDR(kit.OBJECT_OF_INSPECTION_TYPE.enumTypeBaggage, kit.TDR_TYPE.enumMachine, 1)
    theirs.SetTDRTypeATR(kit.DcsLongString("maker"), kit.DcsLongString("v1"),
                         kit.Array1DDcsLongString())  # fmt: skip
    theirs.SetContentDateAndTime(day, time)
    theirs.SetAlarmDecision(kit.ALARM_DECISION.enumAlarm)
    theirs.SetAlarmDecisionDateTime(day, time)
    theirs.SetAbortFlag(kit.ABORT_FLAG.enumAbort, kit.ABORT_REASON.enumOversizeBag)
    theirs.SetTotalProcessingTimeInMS(12.0)
    theirs.SetScanType(kit.SCAN_TYPE.enumOperational)
    theirs.SetImageScaleRepresentation(1)
    image = kit.DcsUniqueIdentifier("1.2.3"), kit.DcsUniqueIdentifier("1.2.840.10008.5.1.4.1.1")
    theirs.AddReferencedSopInstance(*image)
    theirs.AddPotentialThreatObject(5, kit.ThreatType.enumThreatTypeBaggage)
    theirs.SetThreatRegionOfInterest(5, kit.Point3Dfloat(1, 2, 0), kit.Point3Dfloat(3, 4, 0),
                                     kit.Bitmap(), 0)  # fmt: skip
    theirs.SetBaggagePTODetails(5, 0, 0, 0)
    theirs.AddPTOAssessment(5, kit.ASSESSMENT_FLAG.enumHighThreat,
                            kit.THREAT_CATEGORY.enumExplosive,
                            kit.ABILITY_ASSESSMENT.enumNoInterference,
                            kit.DcsLongText("sheet"), 0.5)  # fmt: skip
    theirs.AddReferencedInstance(5, image[1], image[0], 0)
    moment = kit.DcsDateTime(day, time)
    theirs.SetPTOProcessingTime(5, moment, moment, 3.0)
    log = kit.ErrorLog()
    assert theirs.Write(kit.Filename(path), log), log.GetErrorLog().Get()


def write_image(path: str, *, compressed: bool = False) -> None:
    """An image of the toolkit's own making: 0, 3000, 6000 ... in 4 lines of 5."""
    image = kit.DX(kit.OBJECT_OF_INSPECTION_TYPE.enumTypeBaggage)
    data = image.GetXRayData()
    data.Allocate(kit.Volume.IMAGE_DATA_TYPE.enumUnsigned16Bit, 5, 4)
    counts = np.arange(20, dtype=np.uint16).reshape(4, 5) * 3000
    np.array(data.GetUnsigned16(), copy=False)[:] = counts
    image.SetKVP(160)
    image.SetXRayTubeCurrent(0.5)
    image.SetImageOrientation(kit.Vector3Dfloat(1, 0, 0), kit.Vector3Dfloat(0, 1, 0))
    image.SetImagePosition(kit.Point3Dfloat(0, 0, 0))
    form = () if compressed else (kit.TRANSFER_SYNTAX.enumLittleEndianExplicit,)
    assert image.Write(kit.Filename(path), kit.ErrorLog(), *form)  # JPEG by default


def main() -> None:
    """Answer until the input ends."""
    commands = {"report": report, "pixels": pixels, "refuses": refuses,
                "write_report": write_report, "write_image": write_image,
                "write_compressed": lambda path: write_image(path, compressed=True)}  # fmt: skip
    for line in sys.stdin:
        what, path = json.loads(line)
        try:
            answer = {"answer": commands[what](path)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


main()
