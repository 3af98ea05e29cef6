"""Rows of a journal that grew too old or too many: deleted, and what they said counted.

Bags and notes are small, a kilobyte a bag, and are kept for long; but a lane that runs for years
must not fill its disk. What is deleted is entered in the table of deletions in the same
transaction, so that the books still balance: every bag that ever was is a row, or counted there.

Age is told by the wall clock, which a person or a time server may set by years: while it has gone
otherwise than the monotonic clock since the start, nothing is deleted by age, only by size.

A little at a time, in the thread that writes: a decision must not wait for it.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final

from xedge.lane.clock import Clock, MonotonicClock

DAY_NS: Final = 86_400 * 10**9

STEP_NS: Final = DAY_NS
"""The wall clock may differ by so much from the monotonic one: it is set right after a start."""

LOOK_NS: Final = 60 * 10**9
"""From one look at what is too old to the next, once nothing is."""

EVER_NS: Final = 2**63 - 1
"""Later than any row."""

BATCH: Final = 200
"""Bags and notes that are deleted at a time: some milliseconds."""

VACUUM_PAGES: Final = 256
"""Pages of 4 kB that the file gives back to the disk at a time."""

SPARE_PAGES: Final = 1024
"""Free pages, beside an eighth of all, that stay in the file: what comes next needs some."""


@dataclass(frozen=True)
class Deletion:
    """What retention deleted on one day, for one cause.

    Attributes:
        day: The day, UTC, as ``2026-11-25``.
        cause: ``age`` or ``size``.
        bags: How many bags.
        first_bag: The first of them; None when there was none.
        last_bag: The last of them. One in between that nobody had acknowledged by then was kept.
        decisions: How they were decided: how many by verdict, of NOT_CLEARED by reason.
        late: How many were late.
        notes: How many notes.
        boots: Starts of the lane of which nothing else was left.
    """

    day: str
    cause: str
    bags: int
    first_bag: int | None
    last_bag: int | None
    decisions: dict[str, int]
    late: int
    notes: int
    boots: int

    def __str__(self) -> str:
        """A sentence for a person."""
        counts = ", ".join(f"{n} {name}" for name, n in sorted(self.decisions.items()))
        bags = (
            f"bags {self.first_bag} to {self.last_bag} ({self.bags}: {counts}; {self.late} late)"
            if self.bags
            else "no bags"
        )
        return (
            f"deleted on {self.day} by retention ({self.cause}): {bags}, {self.notes} notes, "
            f"{self.boots} starts"
        )


def deletions(base: sqlite3.Connection) -> list[Deletion]:
    """All deletions of a journal whose rows are `sqlite3.Row`, the first one first."""
    rows = base.execute("SELECT * FROM deletions ORDER BY day, cause").fetchall()
    return [Deletion(**{**row, "decisions": json.loads(row["decisions"])}) for row in rows]


def decision_name(verdict: str, reason: str) -> str:
    """How a decision is counted: by its verdict, NOT_CLEARED by its reason as well."""
    return verdict if reason == "NONE" else f"{verdict} {reason}"


@dataclass(frozen=True)
class _Row:
    """A bag or a note that may go; a bag has `bag`, a note `seq`."""

    at: int
    bag: int | None = None
    seq: int | None = None
    decision: str = ""
    late: int = 0


class Retention:
    """Deletes rows of a journal by age and by size; in the thread that writes it.

    Never deleted: a bag that is open, or whose decision nobody has taken over; one whose strips may
    still be there, for a replay wants to compare it; the last bag, the last note and this boot,
    from which the next start goes on.

    Args:
        base: The database.
        keep_days: Days, by the wall clock, that rows are kept.
        keep_bytes: Bytes of the database, without its free pages, from which the oldest go.
        clock: That nobody sets; None for the machine's.
        started_ns: What the wall clock reads now, ns since 1970; None to read it.
    """

    def __init__(
        self,
        base: sqlite3.Connection,
        keep_days: float,
        keep_bytes: int,
        clock: Clock | None = None,
        started_ns: int | None = None,
    ) -> None:
        self._base = base
        self._keep_ns, self._keep_bytes = round(keep_days * DAY_NS), keep_bytes
        (self._page_bytes,) = base.execute("PRAGMA page_size").fetchone()
        self._clock = clock or MonotonicClock()
        self._next_ns = self._clock.now_ns()
        started_ns = time.time_ns() if started_ns is None else started_ns
        self._ahead_ns = started_ns - self._next_ns  # the wall clock, of the monotonic one

    @property
    def due(self) -> bool:
        """True when `trim` should be called, in a transaction."""
        return self._clock.now_ns() >= self._next_ns

    def trim(self, now_ns: int | None = None) -> bool:
        """Delete some of what is too old or too much; True when there may be more.

        Args:
            now_ns: The wall clock, ns since 1970; None for now.
        """
        now_ns = time.time_ns() if now_ns is None else now_ns
        steady_ns = self._clock.now_ns()
        chosen, cause = [], "age"
        if abs(now_ns - steady_ns - self._ahead_ns) <= STEP_NS:
            rows = [*self._bags(now_ns), *self._notes(now_ns)]
            chosen = [row for row in rows if row.at < now_ns - self._keep_ns]
        if not chosen and self._used_bytes > self._keep_bytes:
            rows = [*self._bags(), *self._notes()]
            chosen, cause = sorted(rows, key=lambda row: row.at)[:BATCH], "size"
        if chosen:
            self._delete(chosen, cause, now_ns)
        more = bool(chosen) or self._vacuum()
        self._next_ns = steady_ns + (0 if more else LOOK_NS)
        return more

    @property
    def _used_bytes(self) -> int:
        return int((self._one("PRAGMA page_count") - self._free_pages) * self._page_bytes)

    @property
    def _free_pages(self) -> int:
        return int(self._one("PRAGMA freelist_count"))

    def _one(self, sql: str) -> Any:
        return self._base.execute(sql).fetchone()[0]

    def _bags(self, until_ns: int = EVER_NS) -> list[_Row]:
        """The oldest bags that may go, but for those of later than the wall clock reads."""
        # A bag's first lines may be in the segment before the one that is written down.
        oldest = self._one("SELECT min(segment) FROM segments")
        rows = self._base.execute(
            "SELECT bag, segment, decided_at, verdict, reason, late FROM bags"
            " WHERE handed = 1 AND verdict IS NOT NULL AND bag < (SELECT max(bag) FROM bags)"
            f" AND decided_at <= ? ORDER BY bag LIMIT {BATCH}",
            (until_ns,),
        ).fetchall()
        return [
            _Row(row["decided_at"], bag=row["bag"], late=row["late"],
                 decision=decision_name(row["verdict"], row["reason"]))
            for row in rows if oldest is None or row["segment"] < oldest - 1
        ]  # fmt: skip

    def _notes(self, until_ns: int = EVER_NS) -> list[_Row]:
        """The oldest notes that may go, as of `_bags`."""
        rows = self._base.execute(
            "SELECT seq, at FROM notes WHERE seq < (SELECT max(seq) FROM notes)"
            f" AND at <= ? ORDER BY seq LIMIT {BATCH}",
            (until_ns,),
        ).fetchall()
        return [_Row(row["at"], seq=row["seq"]) for row in rows]

    def _delete(self, rows: Sequence[_Row], cause: str, now_ns: int) -> None:
        bags = [row for row in rows if row.bag is not None]
        notes = [(row.seq,) for row in rows if row.seq is not None]
        self._base.executemany("DELETE FROM bags WHERE bag = ?", [(row.bag,) for row in bags])
        self._base.executemany("DELETE FROM notes WHERE seq = ?", notes)
        day = datetime.fromtimestamp(now_ns // 10**9, timezone.utc).date().isoformat()
        known = self._base.execute(
            "SELECT * FROM deletions WHERE day = ? AND cause = ?", (day, cause)
        ).fetchone()
        decisions = Counter(row.decision for row in bags)
        numbers = [row.bag for row in bags]
        late, boots, counts = sum(row.late for row in bags), self._forget_boots(), [0, 0, 0, 0]
        if known is not None:
            decisions.update(json.loads(known["decisions"]))
            numbers += [known["first_bag"], known["last_bag"]]
            counts = [known[name] for name in ("bags", "late", "notes", "boots")]
        span = [number for number in numbers if number is not None]
        self._base.execute(
            "INSERT OR REPLACE INTO deletions"
            " (day, cause, first_bag, last_bag, decisions, bags, late, notes, boots)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (day, cause, min(span, default=None), max(span, default=None),
             json.dumps(decisions, sort_keys=True),
             *(a + b for a, b in zip(counts, (len(bags), late, len(notes), boots), strict=True))),
        )  # fmt: skip

    def _forget_boots(self) -> int:
        """Delete the boots in front of the first one that something is left of; how many."""
        firsts = [
            self._base.execute(sql).fetchone()
            for sql in (
                "SELECT epoch FROM bags ORDER BY bag LIMIT 1",
                "SELECT epoch FROM notes ORDER BY seq LIMIT 1",
                "SELECT epoch FROM segments ORDER BY segment LIMIT 1",
                "SELECT max(epoch) FROM boots",
            )
        ]
        needed = min(row[0] for row in firsts if row is not None)
        return self._base.execute("DELETE FROM boots WHERE epoch < ?", (needed,)).rowcount

    def _vacuum(self) -> bool:
        """Give free pages back to the disk; True when there may be more of them."""
        if self._free_pages <= SPARE_PAGES + self._one("PRAGMA page_count") // 8:
            return False
        self._base.execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})").fetchall()
        return True
