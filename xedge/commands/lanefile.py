"""A lane's file: source, lane, buses, files and metrics of one belt, checked before it starts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from xedge.commands.ladder import LadderTable
from xedge.commands.sourcetable import SourceTable
from xedge.commands.tomlfile import TomlFile, above_zero
from xedge.control.board import MOST_COUNTS
from xedge.control.bus import Claim, listening
from xedge.control.buses import BusKind, bus_kind
from xedge.control.link import LinkConfig
from xedge.errors import ConfigError
from xedge.lane.journal import JournalSettings
from xedge.scanner.follow import FollowConfig
from xedge.scanner.pairing import MOST_VIEWS
from xedge.signing import read_public_key

LONGEST_SILENCE_S: Final = 10.0
TABLES: Final = ("lane", "ladder", "engine", "source", "correction", "control", "bus", "dicos",
                 "metrics")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LaneTable:
    """The lane.

    Attributes:
        name: What the lane is called in the log and in the metrics.
        bundle: The model; None takes the one that ships.
        require_signature: A public key; bundles that its owner has not signed are refused.
        engine: A name of `xedge.engines.BACK_ENDS`, or ``auto``.
        threads: Threads of the engine; None leaves a core to the detector's lines.
        alarm_threshold: Score of an ALARM; None takes the model's. Read again on SIGHUP.
        deadline_mm: Belt from a bag's last line to the place where its decision is needed.
        bag_limit_s: Seconds from a bag's first line within which it must be decided.
        journal: Folder of the journal; None keeps none.
        journal_mb: Raw strips that it keeps, MB; the oldest are deleted.
        journal_days: Days that it keeps bags and notes.
        journal_rows_mb: Its database, MB, from which the oldest bags and notes are deleted.
        journal_fsync: ``interval`` or ``decision``; see `xedge.lane.journal.JournalSettings`.
        keep: Decisions that stay in memory for the last report.
        silent_s: Seconds without a strip after which the detector is named silent.

    Raises:
        ConfigError: When a number cannot be.
    """

    name: str = "lane"
    bundle: Path | None = None
    require_signature: Path | None = None
    engine: str = "auto"
    threads: int | None = None
    alarm_threshold: float | None = None
    deadline_mm: float = 1000.0
    bag_limit_s: float = 60.0
    journal: Path | None = None
    journal_mb: float = 10_000.0
    journal_days: float = 400.0
    journal_rows_mb: float = 2_000.0
    journal_fsync: Literal["interval", "decision"] = "interval"
    keep: int = 1000
    silent_s: float = 30.0

    def __post_init__(self) -> None:
        above_zero(self, "threads", "deadline_mm", "bag_limit_s", "journal_mb",
                   "journal_days", "journal_rows_mb", "keep", "silent_s")  # fmt: skip
        if self.alarm_threshold is not None and not 0 < self.alarm_threshold <= 1:
            raise ConfigError("alarm_threshold cannot be used", expected="above 0, up to 1",
                              found=str(self.alarm_threshold))  # fmt: skip

    @property
    def public_key(self) -> bytes | None:
        """Whose signature the bundles must carry; None asks for none."""
        return None if self.require_signature is None else read_public_key(self.require_signature)

    @property
    def journal_settings(self) -> JournalSettings:
        """How the journal is kept."""
        return JournalSettings(
            keep_bytes=round(self.journal_mb * 1e6), fsync=self.journal_fsync,
            keep_days=self.journal_days, keep_rows_bytes=round(self.journal_rows_mb * 1e6),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class EngineTable:
    """How the engine is kept.

    Attributes:
        process: True runs it in a process of its own, which is ended and started again when it
            hangs, crashes or fails; False in the lane's process.
        timeout_s: Seconds that a window may take.
        start_s: Seconds that a start may take; engines may be built in it.
        retry_first_s: Seconds from a failure to the next start, doubling with each one.
        retry_most_s: Seconds between starts at the most.
        self_test_s: Seconds without a window after which the engine is held to the bundle's golden
            answer, which keeps it warm as well; 0 does that at the start alone.
        refine_all: True refines every window, whatever the bundle says of quiet ones.

    Raises:
        ConfigError: When a number cannot be.
    """

    process: bool = True
    timeout_s: float = 10.0
    start_s: float = 600.0
    retry_first_s: float = 0.2
    retry_most_s: float = 30.0
    self_test_s: float = 30.0
    refine_all: bool = False

    def __post_init__(self) -> None:
        above_zero(self, "timeout_s", "start_s", "retry_first_s", "retry_most_s")
        if not 0 <= self.self_test_s < math.inf:
            raise ConfigError("self_test_s cannot be used", expected="0 or more",
                              found=str(self.self_test_s))  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ControlTable:
    """How the lane deals with its PLCs.

    Attributes:
        at_start: ``require`` ends with an error when a PLC is not heard within `start_s`; ``wait``
            waits for it. Nothing is screened until every PLC was heard and says run.
        start_s: Seconds that ``require`` waits.
        drain_s: Seconds that the end waits for the last decisions to be taken over, and for the
            last cleared bag to pass the diverter.
        valid_mm: Belt behind a bag's tail for which its CLEAR is valid.
        reverse_counts: Encoder counts that the belt may roll back when it stops; one that goes
            back farther takes every CLEAR with it. The same as in the PLC's rule.
        beat_s: Seconds from one heartbeat of the lane to the next, half of `plc_limit_s` at most:
            a PLC that is as strict as the lane would else take it for dead between two of them.
        plc_limit_s: Seconds without a heartbeat of the PLC after which nothing is cleared, 10 at
            most: for so long the CLEARs stand before a PLC that has died.
        poll_s: Seconds from one look at the PLC's commands to the next.
        retry_first_s: Seconds from a failure to the first attempt to connect again.
        retry_most_s: Seconds between attempts at the most.

    Raises:
        ConfigError: When a number cannot be.
    """

    at_start: Literal["require", "wait"] = "require"
    start_s: float = 10.0
    drain_s: float = 15.0
    valid_mm: float = 2000.0
    reverse_counts: int = 16
    beat_s: float = 0.2
    plc_limit_s: float = 1.0
    poll_s: float = 0.05
    retry_first_s: float = 0.2
    retry_most_s: float = 5.0

    def __post_init__(self) -> None:
        seconds = {field.name for field in dataclasses.fields(self)} - {
            "at_start", "reverse_counts"
        }  # fmt: skip
        above_zero(self, *sorted(seconds))
        if not 0 <= self.reverse_counts <= MOST_COUNTS:
            raise ConfigError("reverse_counts cannot be used", expected=f"0 to {MOST_COUNTS}",
                              found=str(self.reverse_counts))  # fmt: skip
        if self.plc_limit_s > LONGEST_SILENCE_S:
            raise ConfigError("plc_limit_s cannot be used", found=str(self.plc_limit_s),
                              expected=f"{LONGEST_SILENCE_S:g} s at most",
                              remedy="It is in seconds, not milliseconds")  # fmt: skip
        for name in ("poll_s", "beat_s"):  # one side would be lost between two looks or beats
            if self.plc_limit_s < 2 * getattr(self, name):
                raise ConfigError("plc_limit_s cannot be used", found=str(self.plc_limit_s),
                                  expected=f"twice {name} ({getattr(self, name)}) or more",
                                  remedy=f"Set {name} lower")  # fmt: skip

    def link(self, counts_per_mm: float, plc_beats: bool) -> LinkConfig:
        """The set-up of a link.

        Raises:
            ConfigError: When `valid_mm` is too much for the encoder.
        """
        return LinkConfig(
            valid_counts=round(self.valid_mm * counts_per_mm), beat_s=self.beat_s,
            reverse_counts=self.reverse_counts, plc_limit_s=self.plc_limit_s,
            plc_beats=plc_beats, poll_s=self.poll_s,
            retry_first_s=self.retry_first_s, retry_most_s=self.retry_most_s,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class MetricsTable:
    """Where Prometheus finds the lane's figures, and whoever looks after it its health.

    Attributes:
        host: Address to listen at.
        port: TCP port; 0 serves none.

    Raises:
        ConfigError: When the port cannot be.
    """

    host: str = "127.0.0.1"
    port: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise ConfigError("port cannot be used", expected="0 to 65535", found=str(self.port))


@dataclass(frozen=True, kw_only=True)
class DicosTable:
    """The DICOS files that a security system gets.

    Attributes:
        folder: Where they go, in a folder of its own for each start; None writes none.
        machine: TOML file that describes the scanner, see docs/dicos.md; None says nothing of it.
    """

    folder: Path | None = None
    machine: Path | None = None


@dataclass(frozen=True)
class BusTable:
    """One bus.

    Attributes:
        kind: What kind it is.
        options: Its options.
        plc_beats: False for a PLC that writes no command image.
        place: File and line, for messages.
    """

    kind: BusKind
    options: Any
    plc_beats: bool
    place: str


@dataclass(frozen=True)
class LaneFile:
    """Everything about one lane.

    Attributes:
        path: The file.
        lane: The lane.
        sources: Where the lines come from; of a lane with several views, one for each.
        control: How the lane deals with its PLCs.
        buses: The buses, at least one.
        dicos: The DICOS files.
        metrics: Where Prometheus finds figures.
        engine: How the engine is kept.
        ladder: What screens when time runs short.
        correction: How the detector's correction follows it.
    """

    path: Path
    lane: LaneTable
    sources: tuple[SourceTable, ...]
    control: ControlTable
    buses: tuple[BusTable, ...]
    dicos: DicosTable
    metrics: MetricsTable
    engine: EngineTable
    ladder: LadderTable = field(default_factory=LadderTable)
    correction: FollowConfig = field(default_factory=FollowConfig)

    @property
    def source(self) -> SourceTable:
        """Where the lines come from, or those of the first view."""
        return self.sources[0]


def read_lane_file(path: Path) -> LaneFile:
    """A lane's file, all of it checked.

    Raises:
        ConfigError: Naming the line of what is wrong, and what to do about it.
    """
    file = TomlFile(path)
    file.check_tables(TABLES)
    if "source" not in file.tables:
        raise ConfigError(f"{path}: no table [source]",
                          remedy='Add [source] with kind = "simulated", say')  # fmt: skip
    buses = file.tables.get("bus", [])
    if isinstance(buses, dict):
        raise file.error(ConfigError("a bus is one of several", expected="[[bus]]", found="[bus]",
                                     remedy="Write [[bus]]"), "bus")  # fmt: skip
    if not isinstance(buses, list) or not buses:
        raise ConfigError(f"{path}: no bus", expected="one table [[bus]] or more",
                          remedy='Add [[bus]] with kind = "modbus", say')  # fmt: skip
    control = file.section(ControlTable, "control")
    read = tuple(_read_bus(file, number, table, control) for number, table in enumerate(buses))
    metrics = file.section(MetricsTable, "metrics")
    served = (listening(metrics.host, metrics.port),) if metrics.port else ()
    _refuse_overlaps([
        *((f"{bus.place}: [bus]", getattr(bus.options, "claims", ())) for bus in read),
        (f"{path}:{file.line('metrics')}: [metrics]", served),
    ])  # fmt: skip
    return LaneFile(
        path,
        file.section(LaneTable, "lane"),
        _read_sources(file),
        control,
        read,
        file.section(DicosTable, "dicos"),
        metrics,
        file.section(EngineTable, "engine"),
        file.section(LadderTable, "ladder"),
        file.section(FollowConfig, "correction"),
    )


def _read_sources(file: TomlFile) -> tuple[SourceTable, ...]:
    """The source of a lane, or those of its views."""
    tables = file.tables["source"]
    if not isinstance(tables, list):
        return (file.section(SourceTable, "source"),)
    views = tuple(file.build(SourceTable, table, "source", k) for k, table in enumerate(tables))
    wrong = None
    if not 1 <= len(views) <= MOST_VIEWS:
        wrong = ConfigError("a lane cannot have so many views", expected=f"1 to {MOST_VIEWS}",
                            found=str(len(views)))  # fmt: skip
    elif len(views) > 1 and any(view.kind == "folder" for view in views):
        wrong = ConfigError("a folder cannot be one of several views",
                            remedy="Give it a lane of its own")  # fmt: skip
    if wrong is not None:
        raise file.error(wrong, "source")
    return views


def _read_bus(file: TomlFile, number: int, table: Any, control: ControlTable) -> BusTable:
    if not isinstance(table, dict):
        raise file.error(ConfigError("each bus must be a table [[bus]]", found=repr(table)),
                         "", 0, "bus")  # fmt: skip
    table = dict(table)
    kind_name, beats = table.pop("kind", None), table.pop("plc_beats", True)
    try:
        if not isinstance(kind_name, str):
            raise ConfigError("a bus needs the key kind")
        kind = bus_kind(kind_name)
    except ConfigError as error:
        raise file.error(error, "bus", number, "kind") from error
    if not isinstance(beats, bool):
        wrong = ConfigError("plc_beats cannot be used", expected="true or false", found=repr(beats))
        raise file.error(wrong, "bus", number, "plc_beats")
    options = file.build(kind.options, table, "bus", number)
    waits_s = getattr(options, "waits_s", 0.0)
    if beats and waits_s > control.plc_limit_s:  # one slow call, and all that is shown is old
        wrong = ConfigError(
            "timeout_s cannot be used",
            found=str(waits_s),
            expected=f"plc_limit_s ({control.plc_limit_s}) or less",
            remedy="Set timeout_s here lower, or plc_limit_s in [control] higher",
        )
        raise file.error(wrong, "bus", number, "timeout_s")
    return BusTable(kind, options, beats, f"{file.path}:{file.line('bus', number)}")


def _refuse_overlaps(claimants: Sequence[tuple[str, tuple[Claim, ...]]]) -> None:
    """Nothing, when no two tables, each with its place in the file, claim one thing.

    Raises:
        ConfigError: When two do.
    """
    taken: list[tuple[Claim, str]] = []
    for place, claims in claimants:
        for claim in claims:
            for other, owner in taken:
                if claim.overlaps(other):
                    raise ConfigError(
                        f"{place} what it needs overlaps with that of {owner}",
                        expected="a place of its own for each image, a port for each server",
                        found=f"{claim} and {other}",
                        remedy="Move one of them, or take one out",
                    )
        taken += [(claim, place) for claim in claims]
