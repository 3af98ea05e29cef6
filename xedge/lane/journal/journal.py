"""A lane's journal, as the lane sees it: what it hands over is written in another thread."""

from __future__ import annotations

import fcntl
import itertools
import os
import sqlite3
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Final

from xedge.errors import JournalError, LaneError
from xedge.lane.config import LaneConfig
from xedge.lane.events import Event, Retuned, StripArrived
from xedge.lane.journal.records import (
    MISFIT,
    config_text,
    correction_bytes,
    digest,
    event_record,
    misfit_record,
)
from xedge.lane.journal.scribe import Scribe, describe
from xedge.lane.journal.store import JournalSettings, Store
from xedge.scanner.sidebyside import Corrections, digest_of, views_of
from xedge.scanner.stripfile import MAX_LINES, StripFileHeader
from xedge.types import Decision, Strip

CLOSE_S: Final = 60.0
"""Seconds that the end waits for the disk; no bag waits by then."""


class Journal:
    """The journal in a folder, for one run of one lane; a context manager.

    To open it begins a boot: a new epoch, and a decision for each bag that was on the belt when the
    last boot broke off. `write` and `acknowledge` may come from any thread, everything else comes
    from the thread that drives the lane. Nothing in here raises once it is open: a journal that
    fails is stopped for good, and the lane goes on.

    Args:
        folder: Its folder; made when its parent is there.
        settings: How it is kept.
        about: What is known of the boot: `model_sha256`, `engine`, say.

    Attributes:
        epoch: The number of this boot: one more than that of the last.
        first_bag: The number of its first bag; numbers go on over all boots.
        recovered: Bags that were on the belt when the last boot broke off; they are NOT_CLEARED.
        pending: Decisions of earlier boots that nobody has acknowledged, those of the recovered
            bags among them, in the order of the bags: to be sent again as they are.
        acknowledged_elsewhere: True when somebody calls `acknowledge`; else a decision counts as
            taken over when the lane's ``on_decision`` has returned.

    Raises:
        JournalError: When the journal cannot be used: its folder cannot be written, it is of
            another version or damaged, or another lane writes it.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        settings: JournalSettings | None = None,
        *,
        about: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = Path(folder)
        settings = settings or JournalSettings()
        self._about = dict(about or {})
        self._lock_file = _lock(self._folder)
        try:
            self._store = Store(self._folder, settings, self._about)
            self.pending = self._store.pending()
        except (OSError, sqlite3.Error) as error:
            self._lock_file.close()
            raise _unusable(self._folder, describe(error)) from error
        except BaseException:
            self._lock_file.close()
            raise
        self.epoch, self.first_bag = self._store.epoch, self._store.first_bag
        self.recovered = self._store.recovered
        self.acknowledged_elsewhere = False
        self._seq = itertools.count(self._store.first_seq)
        self._config = LaneConfig()
        self._config_digest = self._correction_digest = ""
        self._elements: int | None = None  # of the lane's detector; None before it starts
        self._now_ns = 0
        self._rotating = False
        self._last_decided = 0
        self._open = True
        self._scribe = Scribe(
            self._store.tidy, most_bytes=settings.queue_bytes, patience_s=settings.patience_s
        )  # fmt: skip

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def failure(self) -> str:
        """Why the journal was stopped; empty while it is written."""
        return self._scribe.failure

    @property
    def lost(self) -> int:
        """Records that it could not take."""
        return self._scribe.lost

    @property
    def wants_core(self) -> bool:
        """True when `rotate` should be called as soon as the lane's core can be kept."""
        wanted = self._store.segments.wanted and not self._rotating
        return wanted and not self._scribe.failure

    def describe(self, **about: str) -> None:
        """Say more of this boot: the engine's name, say."""
        self._about |= about
        said = dict(self._about)
        self._scribe.put(lambda: self._store.about(said))

    def start(self, correction: Corrections, config: LaneConfig) -> None:
        """A lane begins with this correction and this set-up.

        Raises:
            LaneError: When one has begun before: its bags would be mixed with the new ones.
        """
        if self._elements is not None:
            raise LaneError("a journal is for one run of one lane",
                            remedy="Open it anew for the next one")  # fmt: skip
        self._elements = sum(flat.elements for flat in views_of(correction))
        self._set_config(config)
        self._correction_digest = digest_of(correction)
        # The lane does not know the belt's speed, and the file wants one.
        header = StripFileHeader(
            self._elements, config.pitch_mm, config.counts_per_mm, 1.0,
            {"source": "journal", "epoch": self.epoch},
        )  # fmt: skip
        text, data = config_text(config), correction_bytes(correction)
        self._scribe.put(lambda: self._store.start(text, data, header), urgent=True)

    def event(self, event: Event, now_ns: int) -> None:
        """The lane's core is about to be told of this."""
        seq, self._now_ns = next(self._seq), now_ns
        store = self._store
        if isinstance(event, StripArrived):
            strip = event.strip
            if strip.elements == self._elements and len(strip) <= MAX_LINES:
                self._scribe.put(lambda: store.strip(seq, now_ns, strip), _bytes_of(strip))
                return
            kind, fields = MISFIT, misfit_record(strip)
        else:
            kind, fields = event_record(event)
        if isinstance(event, Retuned):
            self._set_config(replace(self._config, alarm_threshold=event.alarm_threshold))
        self._scribe.put(lambda: store.event(seq, now_ns, kind, fields))

    def rotate(self, core: bytes) -> None:
        """Begin the next segment: ``core`` is the lane's core before its first strip."""
        self._rotating = True

        def rotate() -> None:
            self._store.rotate(core)
            self._rotating = False

        self._scribe.put(rotate, len(core))

    def write(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Take a note; one that a bag has begun or ended is also entered in the table of bags."""
        seq, at, store = next(self._seq), time.time_ns(), self._store
        self._scribe.put(lambda: store.note(seq, at, kind, fields))
        if kind == "correction-changed":
            self._correction_digest = str(fields["sha256"])
        elif kind == "bag-begun":
            now_ns, bag, head = self._now_ns, int(fields["bag"]), int(fields["head_encoder"])
            digests = {"model": self._model_digest, "config": self._config_digest,
                       "correction": self._correction_digest}  # fmt: skip
            self._scribe.put(lambda: store.begun(bag, at, now_ns, head, digests), urgent=True)
        elif kind == "bag-ended":
            bag, tail = int(fields["bag"]), int(fields["tail_encoder"])
            self._scribe.put(lambda: store.ended(bag, tail))

    def decide(self, decision: Decision) -> bool:
        """Take a decision, and return when it is on record, to be published then.

        A second call for the same bag, behind one that was interrupted, only waits.

        Returns:
            False when the journal is stopped: the decision is published all the same.
        """
        if decision.bag != self._last_decided:
            seq, at, now_ns = next(self._seq), time.time_ns(), self._now_ns
            model, config = self._model_digest, self._config_digest
            self._scribe.put(
                lambda: self._store.decided(seq, at, now_ns, decision, model, config), urgent=True
            )
            self._last_decided = decision.bag
        return self._scribe.settle()

    def acknowledge(self, bag: int) -> None:
        """A decision was taken over, or can be no more: it is not sent again."""
        self._scribe.put(lambda: self._store.handed(bag))

    def close(self) -> None:
        """Force everything onto the disk and close; safe to call twice."""
        if not self._open:
            return
        self._open = False
        if not self._scribe.close(self._store.finish, CLOSE_S):
            with suppress(Exception):  # whatever the disk says now, it was said before
                self._store.abandon()
        self._lock_file.close()

    @property
    def _model_digest(self) -> str:
        return self._about.get("model_sha256", "")

    def _set_config(self, config: LaneConfig) -> None:
        self._config, self._config_digest = config, digest(config_text(config))


def _bytes_of(strip: Strip) -> int:
    return strip.encoder.nbytes + strip.low.nbytes + strip.high.nbytes


def _lock(folder: Path) -> BinaryIO:
    """A file that is locked for as long as it is open; the folder is made.

    Raises:
        JournalError: When it cannot be made, or another process has it.
    """
    try:
        folder.mkdir(exist_ok=True)
        file = (folder / "lock").open("ab")
    except OSError as error:
        raise _unusable(folder, describe(error)) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise JournalError(f"the journal {folder} is in use", found="another lane that writes it",
                           remedy="Stop that one, or name another folder") from error  # fmt: skip
    return file


def _unusable(folder: Path, found: str) -> JournalError:
    return JournalError(f"the journal {folder} cannot be written", expected="a folder with room",
                        found=found, remedy="Make room, or name another folder")  # fmt: skip
