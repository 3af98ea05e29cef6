r"""Correction files (``.xflat``): the flat field of one detector, kept between starts.

All numbers are little-endian::

    offset  size   field
    0       8      magic  89 58 46 4C 41 54 0A 1A  ("\x89XFLAT\n\x1a")
    8       2      version, 1                                     uint16
    10      2      energies, 2                                    uint16
    12      4      elements in a line, e                          uint32
    16      4      bytes of metadata, m                           uint32
    20      m      metadata: one JSON object, UTF-8: serial, made_utc, lag_lines, saturated_share
    20+m    8e     offset, low then high                          float32 [2, e]
    ...     8e     gain                                           float32 [2, e]
    ...     2e     dead elements, 0 or 1                          uint8 [2, e]
    ...     4      CRC-32 of all bytes before                     uint32
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

import numpy as np

from xedge.errors import CorrectionError
from xedge.scanner.flatfield import FlatField
from xedge.scanner.registration import MOST_LAG
from xedge.scanner.stripfile import MAX_ELEMENTS, MAX_METADATA

MAGIC: Final = b"\x89XFLAT\n\x1a"
VERSION: Final = 1
_HEAD: Final = struct.Struct("<8sHHII")
_CRC: Final = struct.Struct("<I")


@dataclass(frozen=True, eq=False)
class Correction:
    """All that is corrected of one detector.

    Attributes:
        flat_field: Offset, gain and dead elements.
        serial: Serial number of the detector; empty when nobody gave it.
        lag_lines: Lines by which the high line sees a place of the belt after the low one; see
            `xedge.scanner.registration.Registered`.
        made_utc: When it was made, ISO 8601.

    Raises:
        CorrectionError: When the lag cannot be.
    """

    flat_field: FlatField
    serial: str = ""
    lag_lines: int = 0
    made_utc: str = ""

    def __post_init__(self) -> None:
        if abs(self.lag_lines) > MOST_LAG:
            raise CorrectionError("the lag of the energies cannot be", found=str(self.lag_lines),
                                  expected=f"{-MOST_LAG} to {MOST_LAG} lines")  # fmt: skip

    def check(self, elements: int, serial: str, name: str) -> Correction:
        """The correction itself, when it is the one of a detector.

        Args:
            elements: Elements of the detector.
            serial: Its serial number; empty when it does not say.
            name: What the correction is called in an error, its file say.

        Raises:
            CorrectionError: When it is another detector's.
        """
        mine = self.flat_field.elements
        if mine != elements or (serial and self.serial and serial != self.serial):
            raise CorrectionError(
                f"{name} is the correction of another detector",
                expected=f"serial {serial or 'not given'}, {elements} elements",
                found=f"serial {self.serial or 'not given'}, {mine} elements",
                remedy="Name this detector's file, or make it with `xedge flatfield make`",
            )
        return self


def save_correction(path: str | os.PathLike[str], correction: Correction) -> Correction:
    """The correction as it was written, with its date; a file of that name is always whole.

    Raises:
        CorrectionError: When it cannot be written.
    """
    flat = correction.flat_field
    made = correction.made_utc or datetime.now(timezone.utc).isoformat(timespec="seconds")
    about = {"serial": correction.serial, "made_utc": made, "lag_lines": correction.lag_lines,
             "saturated_share": list(flat.saturated_share)}  # fmt: skip
    text = json.dumps(about, sort_keys=True).encode()
    body = b"".join((
        _HEAD.pack(MAGIC, VERSION, 2, flat.elements, len(text)), text,
        flat.offset.astype("<f4").tobytes(), flat.gain.astype("<f4").tobytes(),
        flat.dead.astype(np.uint8).tobytes(),
    ))  # fmt: skip
    target = Path(path)
    part = target.with_name(target.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(body + _CRC.pack(zlib.crc32(body)))
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except OSError as error:
        raise CorrectionError(f"{target} cannot be written", found=error.strerror or "",
                              remedy="Name another file") from error  # fmt: skip
    return Correction(flat, correction.serial, correction.lag_lines, made)


def load_correction(path: str | os.PathLike[str]) -> Correction:
    """The correction in a file.

    Raises:
        CorrectionError: When there is none, it is of another version, damaged or cut short, or
            what stands in it is no correction.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise CorrectionError(f"{path} cannot be read", found=error.strerror or "",
                              remedy="Make it with `xedge flatfield make`") from error  # fmt: skip
    if len(data) < _HEAD.size or not data.startswith(MAGIC):
        raise CorrectionError(f"{path} is no correction file", found=repr(data[:8]),
                              expected=f"a file that starts with {MAGIC!r}")  # fmt: skip
    _, version, energies, elements, size = _HEAD.unpack_from(data)
    if (version, energies) != (VERSION, 2):
        raise CorrectionError(f"{path} is of another version",
                              expected=f"version {VERSION} with 2 energies",
                              found=f"version {version} with {energies}",
                              remedy="Make it anew with this version of xedge")  # fmt: skip
    end = len(data) - _CRC.size
    if data[end:] != _CRC.pack(zlib.crc32(data[:end])):
        raise CorrectionError(f"{path} is damaged", found="a bad CRC, or a file cut short",
                              remedy="Make it anew, or take its copy")  # fmt: skip
    if size > MAX_METADATA or elements > MAX_ELEMENTS or end != _HEAD.size + size + 18 * elements:
        raise CorrectionError(f"{path} cannot be a correction",
                              found=f"{elements} elements in {len(data)} bytes")  # fmt: skip
    about = _about(path, data[_HEAD.size : _HEAD.size + size])
    at, shape = _HEAD.size + size, (2, elements)
    offset = np.frombuffer(data, "<f4", 2 * elements, at).astype(np.float32).reshape(shape)
    gain = np.frombuffer(data, "<f4", 2 * elements, at + 8 * elements).astype(np.float32)
    dead = np.frombuffer(data, np.uint8, 2 * elements, at + 16 * elements).astype(np.bool_)
    flat = FlatField(offset, gain.reshape(shape), dead.reshape(shape), about["saturated_share"])
    return Correction(flat, about["serial"], about["lag_lines"], about["made_utc"])


def _about(path: str | os.PathLike[str], text: bytes) -> dict[str, Any]:
    try:
        about = json.loads(text)
        low, high = about["saturated_share"]
        return {"serial": str(about["serial"]), "made_utc": str(about["made_utc"]),
                "lag_lines": int(about["lag_lines"]),
                "saturated_share": (float(low), float(high))}  # fmt: skip
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorrectionError(f"the metadata of {path} cannot be used", found=repr(error),
                              remedy="Make it anew") from error  # fmt: skip
