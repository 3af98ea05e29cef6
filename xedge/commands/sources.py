"""The lines that a service screens: from the simulator, a strip file, or a vendor's own code."""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from xedge.commands.sourcetable import SourceTable
from xedge.detector import ASSUMED_PICTURE_MM
from xedge.errors import ConfigError
from xedge.pictures import DualEnergyPicture, both_halves, read_picture
from xedge.preprocess import Placement, counts_from_pseudo_colour
from xedge.scanner.correctionfile import Correction, load_correction
from xedge.scanner.folder import CUTTER, FileSeen, FolderSource, plain_flat_field
from xedge.scanner.follow import FollowConfig
from xedge.scanner.pairing import ViewBooks
from xedge.scanner.registration import Registered
from xedge.scanner.ringsource import RingSource
from xedge.scanner.sidebyside import Corrections
from xedge.scanner.source import Source, StripFileSource
from xedge.scanner.stripfile import StripFileHeader
from xedge.sim.below import FromBelow, mirrored
from xedge.sim.belt import SimulatedBelt
from xedge.sim.correction import flat_field
from xedge.sim.physics import ScannerModel
from xedge.types import U16, Strip

LOG: Final = logging.getLogger("xedge.service")
NO_DEADLINE: Final = 1 << 40
"""Encoder counts that no belt reaches."""


@dataclass(frozen=True, eq=False)
class Feed:
    """What a detector gives a lane.

    Attributes:
        strips: Raw strips in the order of their capture.
        flat_field: The correction of the detector, or of each of its views.
        counts_per_mm: Encoder counts a millimetre of belt.
        close: Frees what the strips hold; called once, from another thread than reads them.
        simulated: True when no machine has seen these bags: their DICOS files then say so.
        changes: What its bags need changed in the lane's set-up, fields of `LaneConfig`.
        books: What becomes of each view's lines, where there are several.
    """

    strips: Iterable[Strip]
    flat_field: Corrections
    counts_per_mm: float
    close: Callable[[], None] = lambda: None
    simulated: bool = False
    changes: Mapping[str, Any] = field(default_factory=dict)
    books: tuple[ViewBooks, ...] = ()


@dataclass(frozen=True)
class BeltPlan:
    """What passes on a belt that is known beforehand, for who plays the PLC.

    Attributes:
        bags: Encoder at the first and at the last line of each bag, in their order.
        counts_per_s: Speed of the belt in encoder counts.
    """

    bags: tuple[tuple[int, int], ...]
    counts_per_s: float


def open_feed(source: SourceTable) -> Feed:
    """The lines that a table asks for.

    Raises:
        ConfigError: When a vendor's function is not there, or returns something else.
        StripFileError: When a strip file cannot be opened, or has no runs.
        RingError: When a ring cannot be opened, or has a reader already.
        CorrectionError: When a correction file cannot be used, or is another detector's.
    """
    if source.kind == "simulated":
        scanner = ScannerModel()
        belt = SimulatedBelt(source.seed, source.bags, source.speed_m_s, scanner=scanner)
        field = flat_field(scanner, source.seed, source.seed)
        if source.below:
            view = FromBelow(belt, round(source.offset_mm / scanner.pitch_mm))
            return Feed(view, mirrored(field), 1 / scanner.pitch_mm, simulated=True)
        return Feed(belt, field, 1 / scanner.pitch_mm, simulated=True)
    if source.kind == "strip-file":
        assert source.path is not None
        file = StripFileSource(source.path)
        header = file.reader.header
        with _closed_on_error(file):
            if source.correction is None:
                made = Correction(file.reader.flat_field())
            else:
                made = _correction(source.correction, header)
            return Feed(_registered(file, made, header), made.flat_field, header.counts_per_mm,
                        file.close, header.simulated)  # fmt: skip
    if source.kind == "ring":
        assert source.path is not None
        assert source.correction is not None
        ring = RingSource(source.path)
        with _closed_on_error(ring):
            header = ring.header.detector
            made = _correction(source.correction, header)
            return Feed(_registered(ring, made, header), made.flat_field, header.counts_per_mm,
                        ring.close)  # fmt: skip
    if source.kind == "folder":
        return _folder_feed(source)
    return _vendors_feed(source.entry)


def _folder_feed(source: SourceTable) -> Feed:
    assert source.path is not None
    pitch_mm = ScannerModel().pitch_mm

    def read(path: Path) -> tuple[U16, U16]:
        picture = read_picture(path, source.air_counts)
        if isinstance(picture, DualEnergyPicture):
            return picture.low, picture.high
        height, width = picture.shape
        pixel_mm = source.pixel_mm or ASSUMED_PICTURE_MM / max(height, width)
        place = Placement.scaled(height, width, pixel_mm / pitch_mm)
        return counts_from_pseudo_colour(place.resize(picture.rgb))

    line_ns = round(pitch_mm / source.speed_m_s * 1e6)
    folder = FolderSource(source.path, source.elements, read, parts=both_halves, on_file=_tell_file,
                          line_ns=line_ns)  # fmt: skip
    # No belt, no encoder to keep a deadline by: the bag limit does.
    changes = {"cutter": CUTTER, "deadline_counts": NO_DEADLINE, "correction": FollowConfig.off()}
    return Feed(folder, plain_flat_field(source.elements), 1 / pitch_mm, folder.close,
                changes=changes)  # fmt: skip


def _tell_file(seen: FileSeen) -> None:
    where = f"encoder {seen.first_encoder} to {seen.last_encoder}"
    if seen.error:
        LOG.error("%s was refused, its bag (%s) is not cleared: %s", seen.path, where, seen.error)
    else:
        LOG.info("%s goes by, %s", seen.path, where)


@contextmanager
def _closed_on_error(source: Source) -> Iterator[None]:
    try:
        yield
    except BaseException:
        source.close()
        raise


def _correction(path: Path, header: StripFileHeader) -> Correction:
    serial = str(header.metadata.get("serial", ""))
    return load_correction(path).check(header.elements, serial, str(path))


def _registered(
    strips: Iterable[Strip], correction: Correction, header: StripFileHeader
) -> Iterable[Strip]:
    if not correction.lag_lines:
        return strips
    return Registered(strips, correction.lag_lines, header.counts_per_mm * header.pitch_mm)


def _vendors_feed(entry: str) -> Feed:
    module, _, name = entry.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the source {entry} cannot be found", found=str(error),
                          remedy="Install its package beside xedge") from error  # fmt: skip
    feed = function()
    if not isinstance(feed, Feed):
        raise ConfigError(f"the source {entry} returned something else",
                          expected="an xedge.commands.sources.Feed",
                          found=type(feed).__name__)  # fmt: skip
    return feed


def belt_plan(source: SourceTable, behind_mm: float = 0.0) -> BeltPlan:
    """What will pass on the belt of a table, when that is known.

    Args:
        source: The table; of several views, that of the first.
        behind_mm: Belt from there to the last view, where a lane says that a bag is.

    Raises:
        ConfigError: When nobody knows: a vendor's source, or a recording without its truth.
    """
    if source.kind == "simulated":
        belt = SimulatedBelt(source.seed, source.bags, source.speed_m_s)
        behind = round(behind_mm / belt.scanner.pitch_mm)
        return BeltPlan(
            tuple((bag.first_line + behind, bag.last_line + behind) for bag in belt.truth),
            belt.lines_per_s,
        )
    truth = source.path.with_suffix(".truth.json") if source.path else Path()
    if source.kind != "strip-file" or source.path is None or not truth.is_file():
        raise ConfigError("nobody knows what passes on this belt",
                          expected="a simulated source, or a strip file with its truth beside it",
                          found=source.entry or str(source.path),
                          remedy="Record one with xedge record")  # fmt: skip
    file = StripFileSource(source.path)
    try:
        header = file.reader.header
    finally:
        file.close()
    bags = json.loads(truth.read_text(encoding="utf-8"))["bags"]
    per_line = header.counts_per_mm * header.pitch_mm
    first, last = (
        [round(b[name] * per_line + behind_mm * header.counts_per_mm) for b in bags]
        for name in ("first_line", "last_line")
    )
    return BeltPlan(
        tuple(zip(first, last, strict=True)),
        header.speed_m_s * 1000 * header.counts_per_mm,
    )


class Gate:
    """Strips until it is shut: the lane then comes to its end in good order.

    Args:
        strips: What passes.
    """

    def __init__(self, strips: Iterable[Strip]) -> None:
        self._strips = strips
        self._shut = False
        self.live = bool(getattr(strips, "live", False))

    def shut(self) -> None:
        """Let nothing pass any more, from the next strip on."""
        self._shut = True

    def __iter__(self) -> Iterator[Strip]:
        for strip in self._strips:
            if self._shut:
                return
            yield strip
