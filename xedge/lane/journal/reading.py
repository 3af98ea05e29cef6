"""A journal read: its boots, bags, notes, and the events of a boot in their order."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xedge.errors import JournalError, StripFileError
from xedge.lane.config import LaneConfig
from xedge.lane.events import Event, StripArrived
from xedge.lane.journal import schema
from xedge.lane.journal.records import (
    DAMAGED_STRIP,
    MISFIT,
    STRIP,
    config_of,
    correction_of,
    decision_of,
    decision_record,
    event_of,
    misfit_of,
)
from xedge.lane.journal.retention import Deletion, deletions
from xedge.lane.journal.segments import bytes_in, path_of
from xedge.scanner.sidebyside import Corrections
from xedge.scanner.stripfile import StripReader
from xedge.types import Strip


@dataclass(frozen=True, eq=False)
class Boot:
    """One start of a lane.

    Attributes:
        epoch: Its number.
        started_at: When, ns since 1970.
        ended_at: When it ended in good order; None when it broke off, or runs.
        first_bag: The number of its first bag.
        about: What is known of it: code, model, engine.
        config: The lane's set-up; None when no lane has begun.
        flat_field: The correction of its detector, or of each view; None when no lane has begun.
    """

    epoch: int
    started_at: int
    ended_at: int | None
    first_bag: int
    about: dict[str, str]
    config: LaneConfig | None
    flat_field: Corrections | None


@dataclass(frozen=True)
class Start:
    """Where a boot's events can be told to a core: at its beginning, or where one was kept.

    Attributes:
        epoch: Of the boot.
        segment: The first segment from here on.
        core: The core's state; None for a new one.
    """

    epoch: int
    segment: int
    core: bytes | None


class JournalReader:
    """A journal, read only; a context manager. A lane may write it meanwhile.

    Args:
        folder: The journal's folder.

    Raises:
        JournalError: When there is none, or it is damaged or of another version.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)
        self._base = schema.attach(self._folder / schema.DATABASE)
        self._base.row_factory = sqlite3.Row

    def __enter__(self) -> JournalReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it; safe to call twice."""
        self._base.close()

    @property
    def strip_bytes(self) -> int:
        """Bytes of all segments."""
        return bytes_in(self._folder)

    def boots(self) -> list[Boot]:
        """All boots, the first one first."""
        return [
            Boot(
                row["epoch"], row["started_at"], row["ended_at"], row["first_bag"],
                json.loads(row["about"]), row["config"] and config_of(row["config"]),
                row["flat_field"] and correction_of(row["flat_field"]),
            )
            for row in self._base.execute("SELECT * FROM boots ORDER BY epoch")
        ]  # fmt: skip

    def bags(self, first: int = 1, last: int | None = None) -> list[dict[str, Any]]:
        """Rows of the table of bags, those not decided yet among them; see `schema`."""
        most = 2**62 if last is None else last
        rows = self._base.execute(
            "SELECT * FROM bags WHERE bag BETWEEN ? AND ? ORDER BY bag", (first, most)
        )
        return [dict(row) for row in rows]

    def deletions(self) -> list[Deletion]:
        """What retention deleted, the first day first."""
        return deletions(self._base)

    def records(self) -> list[dict[str, Any]]:
        """Notes and decisions in the order in which they were made, each with its ``kind``."""
        found: list[tuple[int, dict[str, Any]]] = [
            (row["seq"], {"kind": row["kind"], **json.loads(row["fields"])})
            for row in self._base.execute("SELECT * FROM notes")
        ]
        for row in self.bags():
            if row["verdict"] is not None:
                record = decision_record(decision_of(row))
                found.append((row["seq"], {"kind": "decision", **record}))
        return [record for _, record in sorted(found, key=lambda pair: pair[0])]

    def starts(self, epoch: int) -> list[Start]:
        """Where the events of a boot can be told from, in their order, as far as they are kept."""
        rows = self._base.execute(
            "SELECT segment, core FROM segments WHERE epoch = ? AND (fresh OR core IS NOT NULL)"
            " ORDER BY segment", (epoch,)
        )  # fmt: skip
        return [Start(epoch, row["segment"], row["core"]) for row in rows]

    def events(self, start: Start) -> Iterator[tuple[int, Event]]:
        """What a boot's core was told from a start on: the lane's clock, ns, and the event.

        Raises:
            JournalError: Where a strip is missing or damaged, as behind a loss of power.
        """
        strips: Iterator[Strip] = iter(())
        current = 0
        rows = self._base.execute(
            "SELECT segment, at_ns, kind, fields FROM events"
            " WHERE epoch = ? AND segment >= ? ORDER BY seq", (start.epoch, start.segment),
        )  # fmt: skip
        for segment, at_ns, kind, fields in rows:
            if kind in (STRIP, DAMAGED_STRIP):
                if segment != current:
                    strips, current = self._strips(segment), segment
                strip = next(strips, None)
                if strip is None or strip.intact != (kind == STRIP):
                    raise JournalError(
                        f"a strip of epoch {start.epoch} is missing or damaged",
                        found=f"in segment {segment} of {self._folder}",
                        remedy="Nothing behind it can be replayed",
                    )
                yield at_ns, StripArrived(strip)
            elif kind == MISFIT:
                yield at_ns, StripArrived(misfit_of(fields))
            else:
                yield at_ns, event_of(kind, fields)

    def _strips(self, segment: int) -> Iterator[Strip]:
        path = path_of(self._folder, segment)
        if not path.exists():
            path = path.with_name(path.name + ".part")
        try:
            with StripReader(path, truncated_ok=True) as reader:
                yield from reader
        except StripFileError:
            return  # the strip that is wanted is missing; `events` says so


def read_journal(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The notes and decisions of a journal, as `JournalReader.records`.

    Raises:
        JournalError: When there is none, or it is damaged or of another version.
    """
    with JournalReader(folder) as reader:
        return reader.records()
