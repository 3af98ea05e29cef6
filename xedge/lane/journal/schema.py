"""The database of a journal: its tables, its version, and how it is opened."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from xedge.errors import JournalError

VERSION: Final = 3
APPLICATION: Final = 0x58454A4C
"""SQLite's application id of a journal, "XEJL"."""

DATABASE: Final = "journal.sqlite"

TABLES: Final = """
CREATE TABLE boots (             -- one row for each start of a lane
    epoch INTEGER PRIMARY KEY,   -- rises by one; the first is drawn at random
    started_at INTEGER NOT NULL, -- wall clock, ns since 1970
    ended_at INTEGER,            -- NULL when the lane did not end in good order
    first_bag INTEGER NOT NULL,
    about TEXT NOT NULL,         -- JSON: code, model, engine ...
    config TEXT,                 -- JSON: the lane's set-up at its start
    flat_field BLOB              -- npz: the correction of the detector as it was made
);
CREATE TABLE bags (
    bag INTEGER PRIMARY KEY,     -- goes on over all boots
    epoch INTEGER NOT NULL,      -- of the boot in which it began
    segment INTEGER NOT NULL,    -- its strips are in this one and the next ones
    begun_at INTEGER NOT NULL,   -- wall clock, ns
    begun_ns INTEGER NOT NULL,   -- the lane's clock, as in events
    encoder_head INTEGER NOT NULL,
    encoder_tail INTEGER,        -- NULL until the bag has ended
    seq INTEGER,                 -- place among notes and events; NULL until it is decided
    decided_epoch INTEGER,       -- another one than epoch: a crash left it on the belt
    decided_at INTEGER,
    decided_ns INTEGER,
    verdict TEXT,
    reason TEXT,
    reasons TEXT,                -- JSON
    late INTEGER,
    latency_ns INTEGER,
    ladder TEXT,                 -- JSON: what screened each window
    detections TEXT,             -- JSON: label, score, box; float32 written out in full
    model_sha256 TEXT,
    config_sha256 TEXT,          -- of the set-up by which it was decided
    correction_sha256 TEXT,      -- of the detector's correction in force when it began
    handed INTEGER NOT NULL DEFAULT 0 -- 1: acknowledged, or pushed out of every PLC's image
);
CREATE INDEX bags_undecided ON bags (bag) WHERE verdict IS NULL;
CREATE INDEX bags_pending ON bags (bag) WHERE handed = 0;
CREATE TABLE notes (             -- what was unusual, and what buses and PLCs said
    seq INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL,
    at INTEGER NOT NULL,         -- wall clock, ns
    kind TEXT NOT NULL,
    fields TEXT NOT NULL         -- JSON
);
CREATE TABLE events (            -- what the lane's core was told: enough to run it again
    seq INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL,
    segment INTEGER NOT NULL,
    at_ns INTEGER NOT NULL,      -- the lane's clock
    kind TEXT NOT NULL,
    fields TEXT,                 -- JSON; of a strip NULL: its lines are in the segment
    encoder INTEGER              -- of a strip: at its last line
);
CREATE INDEX events_segment ON events (segment);
CREATE TABLE segments (
    segment INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL,
    fresh INTEGER NOT NULL,      -- 1: the first one of its boot, whose core is a new one
    core BLOB                    -- the core's state before its first strip; NULL: none was taken
);
CREATE TABLE deletions (         -- what retention deleted, a row for each day and cause
    day TEXT NOT NULL,           -- UTC
    cause TEXT NOT NULL,         -- age, or size
    first_bag INTEGER,           -- NULL when no bag was deleted
    last_bag INTEGER,
    bags INTEGER NOT NULL,
    decisions TEXT NOT NULL,     -- JSON: how many by verdict, of NOT_CLEARED by reason
    late INTEGER NOT NULL,
    notes INTEGER NOT NULL,
    boots INTEGER NOT NULL,
    PRIMARY KEY (day, cause)
);
"""


def create(path: Path) -> sqlite3.Connection:
    """A connection to the database of a journal that is written, made where there is none.

    Raises:
        JournalError: When it is of another version, damaged, or something else.
        OSError, sqlite3.Error: When it cannot be written.
    """
    # One thread opens it, another one writes, never both at once.
    base = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        if _empty(base, path):
            base.execute("PRAGMA auto_vacuum = INCREMENTAL")  # in front of the first page
            base.execute("PRAGMA journal_mode = WAL")
            base.execute("BEGIN IMMEDIATE")
            for statement in TABLES.split(";\n"):
                base.execute(statement)
            base.execute(f"PRAGMA application_id = {APPLICATION}")
            base.execute(f"PRAGMA user_version = {VERSION}")
            base.execute("COMMIT")
        check(base, path)
        base.execute("PRAGMA wal_autocheckpoint = 0")  # see store.Store.sync
    except BaseException:
        base.close()
        raise
    return base


def _empty(base: sqlite3.Connection, path: Path) -> bool:
    """True for a new database, or one whose tables a crash left out."""
    try:
        return not base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise _unreadable(path, error) from error


def attach(path: Path) -> sqlite3.Connection:
    """A connection that only reads; a lane may write meanwhile.

    Raises:
        JournalError: When there is no journal, or none that can be read.
    """
    if not path.is_file():
        raise JournalError(f"{path.parent} holds no journal", expected=f"a folder with {path.name}",
                           remedy="Name the folder that a lane writes its journal to")  # fmt: skip
    try:
        base = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    except sqlite3.Error as error:
        raise JournalError(f"the journal {path} cannot be opened", found=str(error),
                           remedy="Check who may read it") from error  # fmt: skip
    try:
        if _empty(base, path):
            raise JournalError(f"{path.parent} holds no journal yet", found="an empty database",
                               remedy="Wait until a lane has written it")  # fmt: skip
        check(base, path)
    except BaseException:
        base.close()
        raise
    return base


def check(base: sqlite3.Connection, path: Path) -> None:
    """Nothing, when a database is a journal of this version.

    Raises:
        JournalError: When it is not.
    """
    try:
        (application,) = base.execute("PRAGMA application_id").fetchone()
        (version,) = base.execute("PRAGMA user_version").fetchone()
        if application == APPLICATION and version == VERSION:
            base.execute("SELECT max(seq) FROM events").fetchone()
            return
    except sqlite3.DatabaseError as error:
        raise _unreadable(path, error) from error
    if application != APPLICATION:
        raise JournalError(f"{path} is no journal of a lane",
                           remedy="Name another folder")  # fmt: skip
    raise JournalError(
        f"the journal {path} is of another version", expected=str(VERSION), found=str(version),
        remedy="Start and drain a lane with the version of xedge that wrote it, so that what is "
               "open is handed over; then name a new folder. That version replays this one",
    )  # fmt: skip


def _unreadable(path: Path, error: sqlite3.Error) -> JournalError:
    return JournalError(f"the journal {path} cannot be read", found=str(error),
                        remedy="Keep the folder for whoever examines it, and name another one"
                        )  # fmt: skip
