"""Where a lane's lines come from: the table `[source]` of its file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from xedge.commands.tomlfile import above_zero
from xedge.errors import ConfigError
from xedge.scanner.stripfile import MAX_ELEMENTS
from xedge.types import AIR_COUNTS

MOST_OFFSET_MM: Final = 5000.0


@dataclass(frozen=True, kw_only=True)
class SourceTable:
    """Where the lines come from.

    Attributes:
        kind: ``simulated``, ``strip-file``, ``ring``, ``folder``, or ``python``.
        path: The strip file, the ring's file, or the folder in which image files appear.
        correction: Of a strip file or a ring: the detector's correction file; None takes the dark
            and air runs of the strip file.
        entry: Of ``python``: ``package.module:function``, which takes no argument and returns a
            `xedge.commands.sources.Feed`.
        bags: Bags on the simulated belt.
        speed_m_s: Its speed; of a folder, the speed at which its images go by.
        elements: Of a folder: elements of a line, which no image may be wider than.
        pixel_mm: Of a folder: size of a colour picture's pixel at the belt; None takes its longer
            side to be `xedge.detector.ASSUMED_PICTURE_MM`.
        air_counts: Of a folder: what unattenuated air reads in 16-bit files.
        seed: Of its bags.
        offset_mm: Of one of several views: belt from where the first one looks to where it does.
        below: Of a simulated belt: True looks at it from below.

    Raises:
        ConfigError: When a number cannot be, or what the kind needs is missing.
    """

    kind: Literal["simulated", "strip-file", "ring", "folder", "python"]
    path: Path | None = None
    correction: Path | None = None
    entry: str = ""
    bags: int = 40
    speed_m_s: float = 0.5
    elements: int = 800
    pixel_mm: float | None = None
    air_counts: int = AIR_COUNTS
    seed: int = 1
    offset_mm: float = 0.0
    below: bool = False

    def __post_init__(self) -> None:
        above_zero(self, "bags", "speed_m_s", "pixel_mm")
        if not 8 <= self.elements <= MAX_ELEMENTS:
            raise ConfigError("elements cannot be used", expected=f"8 to {MAX_ELEMENTS}",
                              found=str(self.elements))  # fmt: skip
        if not 256 <= self.air_counts <= 65535:
            raise ConfigError("air_counts cannot be used", expected="256 to 65535",
                              found=str(self.air_counts))  # fmt: skip
        if not abs(self.offset_mm) <= MOST_OFFSET_MM:
            raise ConfigError("offset_mm cannot be used", found=str(self.offset_mm),
                              expected=f"{-MOST_OFFSET_MM:g} to {MOST_OFFSET_MM:g}")  # fmt: skip
        if self.seed < 0:
            raise ConfigError("seed cannot be used", expected="0 or more", found=str(self.seed))
        if self.kind in ("strip-file", "ring", "folder") and self.path is None:
            raise ConfigError(f"a {self.kind} needs the key path")
        if self.kind == "ring" and self.correction is None:
            raise ConfigError("a ring needs the key correction",
                              remedy="Make the file with `xedge flatfield make`")  # fmt: skip
        if self.kind == "python" and self.entry.count(":") != 1:
            raise ConfigError("entry cannot be used", expected="package.module:function",
                              found=repr(self.entry))  # fmt: skip
