"""The lines that a service screens: from the simulator, a strip file, or a vendor's own code."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from xedge.commands.lanefile import SourceTable
from xedge.errors import ConfigError
from xedge.scanner.correctionfile import Correction, load_correction
from xedge.scanner.flatfield import FlatField
from xedge.scanner.registration import Registered
from xedge.scanner.ringsource import RingSource
from xedge.scanner.source import Source, StripFileSource
from xedge.scanner.stripfile import StripFileHeader
from xedge.sim.belt import SimulatedBelt
from xedge.sim.correction import flat_field
from xedge.sim.physics import ScannerModel
from xedge.types import Strip


@dataclass(frozen=True, eq=False)
class Feed:
    """What a detector gives a lane.

    Attributes:
        strips: Raw strips in the order of their capture.
        flat_field: The correction of the detector.
        counts_per_mm: Encoder counts a millimetre of belt.
        close: Frees what the strips hold; called once, from another thread than reads them.
        simulated: True when no machine has seen these bags: their DICOS files then say so.
    """

    strips: Iterable[Strip]
    flat_field: FlatField
    counts_per_mm: float
    close: Callable[[], None] = lambda: None
    simulated: bool = False


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
        return Feed(belt, flat_field(scanner, source.seed, source.seed), 1 / scanner.pitch_mm,
                    simulated=True)  # fmt: skip
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
    return _vendors_feed(source.entry)


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


def belt_plan(source: SourceTable) -> BeltPlan:
    """What will pass on the belt of a table, when that is known.

    Raises:
        ConfigError: When nobody knows: a vendor's source, or a recording without its truth.
    """
    if source.kind == "simulated":
        belt = SimulatedBelt(source.seed, source.bags, source.speed_m_s)
        return BeltPlan(
            tuple((bag.first_line, bag.last_line) for bag in belt.truth), belt.lines_per_s
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
    return BeltPlan(
        tuple((round(b["first_line"] * per_line), round(b["last_line"] * per_line)) for b in bags),
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
