"""What a journal writes: rows of its database, strips of its segments, in one thread."""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from xedge.errors import ConfigError
from xedge.lane.journal import schema
from xedge.lane.journal.records import (
    DAMAGED_STRIP,
    STRIP,
    decision_columns,
    decision_of,
)
from xedge.lane.journal.retention import Retention
from xedge.lane.journal.segments import Segments, segments_in
from xedge.scanner.stripfile import StripFileHeader
from xedge.types import Decision, Detections, Reason, Strip, Verdict

FIRST_EPOCHS: Final = 1 << 31
"""The first epoch of a journal lies below: it is drawn so that a PLC that remembers one of a
journal that was lost does not meet it again, and all later ones rise by one, up to 2^32."""

COMMIT_S: Final = 0.2
"""Seconds that what nobody waits for may stay out of the database."""

LOG_BYTES: Final = 64_000_000
"""SQLite's write-ahead log from which it is emptied when no bag is open, and at twice its size in
any case: the next write waits for the disk then, and a decision should not be that write."""


@dataclass(frozen=True, kw_only=True)
class JournalSettings:
    """How a journal is kept.

    Attributes:
        keep_bytes: Raw strips that are kept, bytes; the oldest segments are deleted.
        keep_days: Days that bags and notes are kept, by the wall clock.
        keep_rows_bytes: Bytes of the database from which the oldest bags and notes are deleted.
        fsync: ``interval``: what was written is forced onto the disk every `sync_s` seconds;
            ``decision``: each decision besides, before it is published.
        sync_s: See `fsync`.
        patience_s: Seconds for which the disk may hold up the lane; then the journal stops.
        queue_bytes: Strips that may wait for the disk, bytes.

    Raises:
        ConfigError: When one of them cannot be.
    """

    keep_bytes: int = 10_000_000_000
    keep_days: float = 400.0
    keep_rows_bytes: int = 2_000_000_000
    fsync: Literal["interval", "decision"] = "interval"
    sync_s: float = 1.0
    patience_s: float = 1.0
    queue_bytes: int = 64_000_000

    def __post_init__(self) -> None:
        for name in ("keep_bytes", "keep_days", "keep_rows_bytes", "sync_s", "patience_s",
                     "queue_bytes"):  # fmt: skip
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"a journal's {name} cannot be used", expected="above 0",
                                  found=str(getattr(self, name)))  # fmt: skip
        if self.fsync not in ("interval", "decision"):
            raise ConfigError("a journal's fsync cannot be used", expected="interval or decision",
                              found=repr(self.fsync))  # fmt: skip

    @property
    def segment_bytes(self) -> int:
        """Bytes of a segment: an eighth of all, 256 MB at the most."""
        return int(min(256_000_000, max(1, self.keep_bytes // 8)))


class Store:
    """The files of a journal. Opened in one thread, then used in another.

    Args:
        folder: The journal's folder, which exists.
        settings: How it is kept.
        about: What is known of the boot that begins.

    Attributes:
        epoch: Of this boot.
        first_bag: The number of its first bag.
        first_seq: The first free place among notes and events.
        recovered: Bags that were on the belt when the last boot broke off.
        segments: The raw strips.
    """

    def __init__(self, folder: Path, settings: JournalSettings, about: Mapping[str, str]) -> None:
        self._path = folder / schema.DATABASE
        self._log = folder / f"{schema.DATABASE}-wal"
        self._base = schema.create(self._path)
        self._sync_s = settings.sync_s
        try:
            self._base.execute("PRAGMA synchronous = FULL")  # an epoch must never come again
            self._base.execute("PRAGMA journal_size_limit = 0")  # so that its size tells its use
            self._undecided = 0
            self._committed_s = self._synced_s = time.monotonic()
            self.segments = Segments(folder, settings.keep_bytes, settings.segment_bytes)
            self._begin_boot(folder, about)
            self._retention = Retention(self._base, settings.keep_days, settings.keep_rows_bytes)
            if settings.fsync == "interval":
                self._base.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            self._base.close()
            raise

    def _begin_boot(self, folder: Path, about: Mapping[str, str]) -> None:
        self._base.row_factory = sqlite3.Row
        one = self._one
        self._base.execute("BEGIN IMMEDIATE")
        last = one("SELECT max(epoch) FROM boots")
        self.epoch = last + 1 if last is not None else secrets.randbelow(FIRST_EPOCHS - 1) + 1
        self.first_bag = 1 + max(
            one(f"SELECT coalesce(max({last}), 0) FROM {table}")
            for last, table in (("bag", "bags"), ("last_bag", "deletions"))
        )
        self.first_seq = 1 + max(
            one(f"SELECT coalesce(max(seq), 0) FROM {table}")
            for table in ("events", "notes", "bags")
        )
        self._base.execute(
            "INSERT INTO boots (epoch, started_at, first_bag, about) VALUES (?, ?, ?, ?)",
            (self.epoch, time.time_ns(), self.first_bag, json.dumps(dict(about), sort_keys=True)),
        )
        self._next_segment = 1 + max(
            self.segments.next_number - 1, one("SELECT coalesce(max(segment), 0) FROM segments")
        )
        self._first_segment = self._next_segment
        gone = {row[0] for row in self._base.execute("SELECT segment FROM segments")}
        for number in gone - segments_in(folder).keys():
            self._forget(number)
        self.recovered = self._recover()
        self._undecided = 0
        self._base.execute("COMMIT")

    def _recover(self) -> int:
        """Decide the bags that a crash left on the belt: no one will scan them again."""
        left = self._base.execute("SELECT * FROM bags WHERE verdict IS NULL ORDER BY bag")
        for row in left.fetchall():
            ended = row["encoder_tail"] is not None
            reached = self._base.execute(
                "SELECT encoder FROM events WHERE epoch = ? AND encoder IS NOT NULL"
                " ORDER BY seq DESC LIMIT 1", (row["epoch"],)
            ).fetchone() or (row["encoder_head"],)  # fmt: skip
            tail = row["encoder_tail"] if ended else max(row["encoder_head"], reached[0])
            # One that waited for the engine is late by now; of one under the beam, lines are lost.
            reason = Reason.TIMEOUT if ended else Reason.INCOMPLETE_SCAN
            decision = Decision(
                bag=row["bag"], verdict=Verdict.NOT_CLEARED, reason=reason, late=ended,
                encoder_head=row["encoder_head"], encoder_tail=tail,
                detections=Detections.empty(), reasons=frozenset({reason}),
            )  # fmt: skip
            self.decided(self.first_seq, time.time_ns(), 0, decision, row["model_sha256"] or "",
                         row["config_sha256"] or "")  # fmt: skip
            self.first_seq += 1
        return int(self._one(f"SELECT count(*) FROM bags WHERE decided_epoch = {self.epoch}"))

    def _one(self, sql: str) -> Any:
        return self._base.execute(sql).fetchone()[0]

    def pending(self) -> tuple[Decision, ...]:
        """Decisions of earlier boots that nobody has acknowledged, in the order of their bags."""
        rows = self._base.execute(
            "SELECT * FROM bags WHERE verdict IS NOT NULL AND handed = 0 ORDER BY bag"
        )
        return tuple(decision_of(dict(row)) for row in rows.fetchall())

    # Everything below is done by the thread that writes.

    def about(self, about: Mapping[str, str]) -> None:
        """Say more of this boot."""
        self._do("UPDATE boots SET about = ? WHERE epoch = ?",
                 json.dumps(dict(about), sort_keys=True), self.epoch)  # fmt: skip

    def start(self, config: str, flat_field: bytes, header: StripFileHeader) -> None:
        """Keep what a lane is set up with, and begin its first segment."""
        self._do("UPDATE boots SET config = ?, flat_field = ? WHERE epoch = ?",
                 config, flat_field, self.epoch)  # fmt: skip
        self._begin_segment(header, None)

    def strip(self, seq: int, at_ns: int, strip: Strip) -> None:
        """Keep a strip."""
        if self.segments.full:  # the core could not be kept for so long that none will do
            self._begin_segment(None, None)
        self.segments.write(strip)
        kind = STRIP if strip.intact else DAMAGED_STRIP
        self._event(seq, at_ns, kind, None, int(strip.encoder[-1]))

    def event(self, seq: int, at_ns: int, kind: str, fields: str) -> None:
        """Keep another event."""
        self._event(seq, at_ns, kind, fields, None)

    def _event(
        self, seq: int, at_ns: int, kind: str, fields: str | None, encoder: int | None
    ) -> None:
        self._do("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)",
                 seq, self.epoch, self.segments.number, at_ns, kind, fields, encoder)  # fmt: skip

    def note(self, seq: int, at: int, kind: str, fields: Mapping[str, Any]) -> None:
        """Keep a note."""
        self._do("INSERT INTO notes VALUES (?, ?, ?, ?, ?)",
                 seq, self.epoch, at, kind, json.dumps(dict(fields), sort_keys=True))  # fmt: skip

    def begun(self, bag: int, at: int, now_ns: int, head: int, digests: Mapping[str, str]) -> None:
        """A bag has begun; its first lines may be in the segment before.

        Args:
            bag: Its number.
            at: By the wall clock, ns.
            now_ns: By the lane's clock.
            head: Encoder counts at its first line.
            digests: SHA-256 of ``model``, ``config`` and ``correction``.
        """
        self._undecided += 1
        segment = max(self._first_segment, self.segments.number - 1)
        self._do(
            "INSERT INTO bags (bag, epoch, segment, begun_at, begun_ns, encoder_head,"
            " model_sha256, config_sha256, correction_sha256) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            bag, self.epoch, segment, at, now_ns, head,
            digests["model"], digests["config"], digests["correction"],
        )  # fmt: skip

    def ended(self, bag: int, tail: int) -> None:
        """No more lines belong to a bag."""
        self._do("UPDATE bags SET encoder_tail = ? WHERE bag = ? AND verdict IS NULL",
                 tail, bag)  # fmt: skip

    def decided(
        self, seq: int, at: int, now_ns: int, decision: Decision, model: str, config: str
    ) -> None:
        """A bag's only decision."""
        columns = decision_columns(decision) | {
            "seq": seq, "decided_epoch": self.epoch, "decided_at": at, "decided_ns": now_ns,
            "model_sha256": model, "config_sha256": config,
        }  # fmt: skip
        names = ", ".join(f"{name} = ?" for name in columns)
        done = self._do(
            f"UPDATE bags SET {names} WHERE bag = ? AND verdict IS NULL",
            *columns.values(), decision.bag,
        )  # fmt: skip
        if done.rowcount != 1:
            raise sqlite3.IntegrityError(f"bag {decision.bag} is decided, or never began")
        self._undecided -= 1

    def handed(self, bag: int) -> None:
        """A decision need not be sent again."""
        self._do("UPDATE bags SET handed = 1 WHERE bag = ?", bag)

    def rotate(self, core: bytes) -> None:
        """Begin the next segment, at which the lane's core can be set up again."""
        self._begin_segment(None, core)

    def _begin_segment(self, header: StripFileHeader | None, core: bytes | None) -> None:
        number, self._next_segment = self._next_segment, self._next_segment + 1
        self.segments.begin(number, header)
        self._do(
            "INSERT INTO segments VALUES (?, ?, ?, ?)",
            number,
            self.epoch,
            int(number == self._first_segment),
            core,
        )
        needed = self._one("SELECT min(segment) FROM bags WHERE verdict IS NULL")
        for old in self.segments.over_budget(number if needed is None else needed):
            self.segments.delete(old)
            self._forget(old)

    def _forget(self, number: int) -> None:
        """Its strips are gone: what is left of a segment replays nothing."""
        self._do("DELETE FROM events WHERE segment = ?", number)
        self._do("DELETE FROM segments WHERE segment = ?", number)

    def _do(self, sql: str, *values: Any) -> sqlite3.Cursor:
        self._begin()
        return self._base.execute(sql, values)

    def _begin(self) -> None:
        if not self._base.in_transaction:
            self._base.execute("BEGIN IMMEDIATE")

    def tidy(self, wanted: bool) -> bool:
        """Put on record what was written, if it is ``wanted`` or due; True when all of it is."""
        now_s = time.monotonic()
        if self._base.in_transaction and (wanted or now_s - self._committed_s >= COMMIT_S):
            self._base.execute("COMMIT")
            self._committed_s = now_s
        if not wanted and self._retention.due:  # nobody waits
            self._begin()
            self._retention.trim()
        self.segments.check()
        if now_s - self._synced_s >= self._sync_s and self.segments.idle:
            self._synced_s = now_s
            log = self._log.stat().st_size if self._log.exists() else 0
            full = log >= LOG_BYTES * (2 if self._undecided else 1)
            self.segments.beside(self._empty_log if full else self._sync)
        return not self._base.in_transaction

    def _sync(self) -> None:
        """Force everything onto the disk, strips first; in the other thread."""
        self.segments.sync()
        with self._log.open("rb") as log:
            os.fsync(log.fileno())

    def _empty_log(self) -> None:
        """The same, and what is in the log into the database."""
        self.segments.sync()
        base = sqlite3.connect(self._path)
        try:
            base.execute("PRAGMA wal_checkpoint(PASSIVE)")  # which holds up no writer
        finally:
            base.close()

    def finish(self) -> None:
        """The end in good order."""
        self._do("UPDATE boots SET ended_at = ? WHERE epoch = ?", time.time_ns(), self.epoch)
        self._base.execute("COMMIT")
        self.segments.close()
        self._base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._base.close()

    def abandon(self) -> None:
        """Let go of the files, whatever state they are in."""
        self.segments.abandon()
        with suppress(sqlite3.Error):
            self._base.close()
