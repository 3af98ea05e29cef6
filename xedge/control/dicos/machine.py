"""What the files say of the machine that made them, and the unique identifiers of one bag."""

from __future__ import annotations

import dataclasses
import datetime
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from xedge.control.dicos.document import pydicom
from xedge.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_LONGEST: Final = {"institution_address": 1024, "station": 16}
_LONG_STRING: Final = 64
_ROOT: Final = re.compile(r"(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))*")
_LONGEST_ROOT: Final = 40


@dataclass(frozen=True, kw_only=True)
class DicosMachine:
    """The scanner as DICOS files describe it. What nobody told stays empty, or 0.

    Attributes:
        manufacturer: Who made the scanner.
        model: Its name.
        serial: Its serial number.
        station: Which of the site's machines it is, at most 16 characters.
        institution: Where it stands.
        institution_address: The address of that place.
        tube_kv: Tube voltage, kV.
        tube_ua: Tube current, microamperes.
        low_kev: Effective energy of the low-energy channel, keV.
        high_kev: Effective energy of the high-energy channel, keV.
        pitch_mm: Pitch of the elements at the belt, millimetres.
        counts_per_mm: Encoder counts per millimetre of belt.
        speed_mm_s: Nominal belt speed, millimetres per second.
        belt_height_mm: Height of the belt.
        calibrated: When the flat-field correction was measured, with its time zone.
        uid_root: Root of all identifiers, one that is yours (``1.3.6.1.4.1.`` and your IANA
            number, say); empty takes ``2.25.`` and a random UUID, which needs no registration.

    Raises:
        ConfigError: When a text is too long or has a backslash, a number cannot be, or the root
            is none.
    """

    manufacturer: str = ""
    model: str = ""
    serial: str = ""
    station: str = ""
    institution: str = ""
    institution_address: str = ""
    tube_kv: float = 0.0
    tube_ua: float = 0.0
    low_kev: float = 0.0
    high_kev: float = 0.0
    pitch_mm: float = 0.0
    counts_per_mm: float = 0.0
    speed_mm_s: float = 0.0
    belt_height_mm: float = 0.0
    calibrated: datetime.datetime | None = None
    uid_root: str = ""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type == "str" and field.name != "uid_root":
                _check_text(field.name, value, _LONGEST.get(field.name, _LONG_STRING))
            elif field.type == "float":
                _check_number(field.name, value)
        if self.calibrated is not None and (
            not isinstance(self.calibrated, datetime.datetime) or self.calibrated.tzinfo is None
        ):
            raise ConfigError("calibrated must be a time with its zone",
                              expected="2026-11-25T06:00:00Z, say",
                              found=repr(self.calibrated))  # fmt: skip
        root = self.uid_root.rstrip(".") if isinstance(self.uid_root, str) else None
        if root is None or (root and not (_ROOT.fullmatch(root) and len(root) <= _LONGEST_ROOT)):
            raise ConfigError(
                "uid_root is no root of identifiers",
                expected=f"numbers with dots, none with a leading 0, up to {_LONGEST_ROOT} "
                "characters",
                found=repr(self.uid_root),
                remedy="Leave it out: random identifiers need no root",
            )

    def with_toml(self, path: Path) -> DicosMachine:
        """The same machine with what a TOML file says of it.

        Raises:
            ConfigError: When the file cannot be read, or a key is unknown or cannot be.
        """
        try:
            keys: Mapping[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} cannot be read", found=str(error)) from error
        fields = [field.name for field in dataclasses.fields(self)]
        if unknown := sorted(set(keys) - set(fields)):
            raise ConfigError(f"{path} has a key that says nothing of a machine",
                              expected=", ".join(fields), found=", ".join(unknown))  # fmt: skip
        try:
            return dataclasses.replace(self, **keys)
        except ConfigError as error:
            raise error.at(f"{path}:") from error

    def new_uid(self) -> str:
        """An identifier that no other file has, under `uid_root`, at most 64 characters."""
        prefix = f"{self.uid_root.rstrip('.')}." if self.uid_root else None
        return str(pydicom().uid.generate_uid(prefix))


@dataclass(frozen=True)
class BagUids:
    """The identifiers of one bag's files: all of one scan, in two series.

    Attributes:
        scan: Scan (Study) Instance UID, which images and report share.
        images: Series of the two images.
        report_series: Series of the report.
        frame: Frame of reference of images and boxes.
        low: SOP Instance UID of the low-energy image.
        high: SOP Instance UID of the high-energy image.
        report: SOP Instance UID of the report.
    """

    scan: str
    images: str
    report_series: str
    frame: str
    low: str
    high: str
    report: str

    @staticmethod
    def new(machine: DicosMachine) -> BagUids:
        """Identifiers that no other bag has."""
        return BagUids(*(machine.new_uid() for _ in dataclasses.fields(BagUids)))


def _check_text(name: str, value: object, longest: int) -> None:
    fits = isinstance(value, str) and len(value) <= longest and "\\" not in value
    if not fits or not str(value).isprintable():
        raise ConfigError(
            f"{name} cannot stand in a DICOS file",
            expected=f"up to {longest} printable characters without a backslash",
            found=repr(value),
        )


def _check_number(name: str, value: object) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not (math.isfinite(value) and value >= 0)
    ):
        raise ConfigError(f"{name} cannot be", expected="a number from 0", found=repr(value))
