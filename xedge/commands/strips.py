"""Strip files recorded from the simulator, and strip files screened by a lane."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xedge
from xedge.bundle import Bundle, open_bundle
from xedge.commands.journals import name_engine, open_journal
from xedge.commands.ladder import LadderTable, rung_of
from xedge.commands.screening import EngineUsed, warm_detector
from xedge.errors import ConfigError, LineError
from xedge.lane.config import LaneConfig
from xedge.lane.journal import decision_record
from xedge.lane.report import LaneReport
from xedge.lane.runner import run_lane
from xedge.provenance import code_version
from xedge.scanner.source import StripFileSource
from xedge.scanner.stripfile import SIMULATOR, StripFileHeader, StripWriter
from xedge.sim.belt import BeltTruth, SimulatedBelt
from xedge.sim.correction import RUN_LINES
from xedge.sim.physics import ScannerModel
from xedge.spec import ModelSpec
from xedge.types import Decision, Scan, Strip

PITCH_TOLERANCE = 0.1
"""A model sees objects this much too large or too small as it saw others in training."""


@dataclass(frozen=True)
class Recording:
    """A strip file that was written.

    Attributes:
        path: The strip file.
        truth: The JSON file with what is really in it.
        bags: Bags on the belt.
        lines: Lines in the strips.
        bytes: Size of the strip file.
    """

    path: Path
    truth: Path
    bags: int
    lines: int
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """The recording as JSON values."""
        return dataclasses.asdict(self) | {"path": str(self.path), "truth": str(self.truth)}


def record_belt(
    path: Path,
    *,
    bags: int = 40,
    speed_m_s: float = 0.2,
    seed: int = 1,
    on_lines: Callable[[int], None] = lambda lines: None,
) -> Recording:
    """A simulated belt in a strip file, with its dark and air runs, and its truth beside it.

    Args:
        path: The strip file; its truth goes to the same name with the suffix ``.truth.json``.
        bags: Bags on the belt.
        speed_m_s: Its speed.
        seed: Of the bags and the gaps between them.
        on_lines: Called with the lines written so far.

    Raises:
        ConfigError: When the file cannot be written, or the belt cannot be.
    """
    scanner = ScannerModel()
    belt = SimulatedBelt(seed, bags, speed_m_s, scanner=scanner)
    header = StripFileHeader(
        scanner.elements, scanner.pitch_mm, 1 / scanner.pitch_mm, speed_m_s,
        {"source": SIMULATOR, "seed": seed, "bags": bags, "xedge": xedge.__version__,
         "commit": code_version().commit},
    )  # fmt: skip
    truth = path.with_suffix(".truth.json")
    lines = 0
    try:
        with StripWriter(path, header) as writer:
            writer.write_run("dark", *scanner.dark_run(RUN_LINES, seed))
            writer.write_run("air", *scanner.air_run(RUN_LINES, seed))
            for strip in belt:
                writer.write(strip)
                lines += len(strip)
                on_lines(lines)
        truth.write_text(json.dumps(truth_record(belt.truth), indent=1) + "\n", encoding="utf-8")
        size = path.stat().st_size
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written",
            found=error.strerror or str(error),
            remedy="Name another file with --out",
        ) from error
    return Recording(path, truth, bags, lines, size)


def truth_record(belt: Sequence[BeltTruth]) -> dict[str, Any]:
    """What is really on a belt, as JSON values.

    Lines are counted by the detector's line counter, which is the encoder too; an object's box
    is x1 y1 x2 y2 in elements and in lines from the bag's ``first_line``.
    """
    return {"bags": [dataclasses.asdict(bag) for bag in belt]}


@dataclass(frozen=True, eq=False)
class Screening:
    """A strip file that was screened.

    Attributes:
        lane: The lane's own report.
        engine: What ran the model.
        source_error: Why the file broke off, empty when it did not.
        truncated: True when the file's end was missing, and that was allowed.
    """

    lane: LaneReport
    engine: EngineUsed
    source_error: str
    truncated: bool

    @property
    def flaws(self) -> tuple[str, ...]:
        """What keeps this from being a sound screening of a sound recording, in words."""
        ledger, lane = self.lane.ledger, self.lane
        said = [f"{n} lines refused ({cause.value})" for cause, n in
                sorted(ledger.refused_lines.items()) if n]  # fmt: skip
        if self.truncated:
            said.append("the end of the file is missing")
        if ledger.missing_lines:
            said.append(f"{ledger.missing_lines} lines never came")
        reasons = lane.to_dict()["not_cleared_by_reason"]
        said += [f"{n} not cleared ({name})" for name, n in sorted(reasons.items())]
        if lane.tally.degraded:
            said.append(f"{lane.tally.degraded} not screened by the full model throughout")
        if lane.late:
            said.append(f"{lane.late} decided late")
        if not ledger.balanced:
            said.append("the ledger does not balance")
        if lane.journal_errors:
            said.append(f"{lane.journal_errors} records missing from the journal")
        return tuple(said)


def screen_file(
    path: Path,
    bundle: Bundle | Path | None = None,
    *,
    engine: str = "auto",
    threads: int | None = None,
    journal: Path | None = None,
    truncated_ok: bool = False,
    realtime: bool = False,
    ladder: LadderTable | None = None,
    refine_all: bool = False,
    public_key: bytes | None = None,
    on_decision: Callable[[Decision], None] = lambda decision: None,
    on_bag: Callable[[Decision, Scan | None], None] = lambda decision, scan: None,
) -> Screening:
    """What a lane says of every bag in a strip file.

    Args:
        path: The strip file; its dark and air runs give the correction.
        bundle: The model; None takes the shipped one.
        engine: A name of `xedge.engines.BACK_ENDS`, or ``auto``.
        threads: Threads of the engine; None leaves a core to the detector's lines.
        journal: The folder of a journal.
        truncated_ok: Take a file without its end as one that ends with its last whole record.
        realtime: On the machine's clock, at the speed of the recording.
        ladder: What takes over when time runs short; None for nothing.
        refine_all: True refines every window, whatever the bundle says of quiet ones.
        public_key: Whose signature the ladder's bundles must carry.
        on_decision: Called with each decision as soon as it is made.
        on_bag: Called after it, with the scan as well; None where the lane kept none.

    Raises:
        StripFileError: When the file cannot be opened, or has no runs. Damage further on raises
            nothing: the lane screens what came before, and `Screening.source_error` says so.
        LineError: When the recorded detector is not one that the model can be used with.
        BundleError, EngineError: When the model cannot be run.
        JournalError: When the journal cannot be used.
    """
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    with ExitStack() as stack:
        source = StripFileSource(path, truncated_ok=truncated_ok)
        stack.callback(source.close)
        header = source.reader.header
        _check_detector(path, header, opened.spec)
        flat_field = source.reader.flat_field()
        book = None if journal is None else stack.enter_context(open_journal(journal, opened))
        least = None if refine_all else opened.spec.alarm_threshold
        detector, used = stack.enter_context(warm_detector(opened, engine, threads, least))
        name_engine(book, used, least)
        ladder = ladder or LadderTable()
        fallbacks = []
        for name, other in ladder.open(opened.spec, public_key):
            quick, _ = stack.enter_context(warm_detector(other, engine, threads))
            fallbacks.append(rung_of(name, quick, other.spec, opened.spec))
        config = LaneConfig.for_model(opened.spec, counts_per_mm=header.counts_per_mm,
                                      clear_by=ladder.clearing)  # fmt: skip
        strips = _Watched(source)

        def publish(decision: Decision, scan: Scan | None) -> None:
            on_decision(decision)
            on_bag(decision, scan)

        lane = run_lane(
            strips, detector, flat_field, config, realtime=realtime, on_decision=publish,
            journal=book, fallbacks=fallbacks,
        )  # fmt: skip
    return Screening(lane, used, strips.error, source.reader.truncated)


def named_record(decision: Decision, classes: Sequence[str]) -> dict[str, Any]:
    """A decision as JSON values, its detections with the names of their classes."""
    record = decision_record(decision)
    for found in record["detections"]:
        found["label"] = classes[found["label"]]
    return record


class _Watched:
    """A source that remembers why it broke off."""

    def __init__(self, source: StripFileSource) -> None:
        self._source = source
        self.error = ""

    def __iter__(self) -> Iterator[Strip]:
        try:
            yield from self._source
        except Exception as error:
            self.error = str(error)
            raise


def _check_detector(path: Path, header: StripFileHeader, spec: ModelSpec) -> None:
    pitch, width = spec.pixel_mm / spec.binning, spec.width * spec.binning
    off = abs(header.pitch_mm / pitch - 1)
    if header.elements > width or header.elements < spec.binning or off > PITCH_TOLERANCE:
        raise LineError(
            f"the detector of {path} does not fit the model {spec.name}",
            expected=f"at most {width} elements of {pitch:.2f} mm (+-{PITCH_TOLERANCE:.0%})",
            found=f"{header.elements} of {header.pitch_mm:.2f} mm",
            remedy="Use a bundle that was made for this detector",
        )
