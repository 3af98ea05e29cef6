"""All DICOS files of one bag, and a thread that writes them beside a lane.

Writing a bag waits for the disk, up to a second: never do it in a lane's callback. A
`DicosArchive` takes decisions and scans without waiting, and writes them in a thread of its own.
"""

from __future__ import annotations

import datetime
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from xedge.control.dicos import document as doc
from xedge.control.dicos.document import Bag, Origin
from xedge.control.dicos.image import write_scan
from xedge.control.dicos.machine import BagUids, DicosMachine
from xedge.control.dicos.report import Screener, report_document
from xedge.errors import DicosError, XedgeError
from xedge.types import Decision, Scan

MOST_WAITING: Final = 16
"""Bags that an archive holds, some megabytes each."""
MOST_ERRORS: Final = 100


@dataclass(frozen=True)
class BagFiles:
    """The files of one bag.

    Attributes:
        report: The threat detection report.
        low: The low-energy image; None when the lane kept no scan.
        high: The high-energy image; None when the lane kept no scan.
    """

    report: Path
    low: Path | None
    high: Path | None


@dataclass(frozen=True)
class DicosFolder:
    """A folder that takes the files of many bags.

    Attributes:
        path: The folder; it is made when it is missing.
        machine: The machine, as the files describe it.
        screener: What screened.
        origin: Where the images come from.
    """

    path: Path
    machine: DicosMachine
    screener: Screener
    origin: Origin = Origin.MACHINE

    def write(
        self,
        decision: Decision,
        scan: Scan | None,
        *,
        scanned: datetime.datetime,
        label: str = "",
    ) -> BagFiles:
        """The files of a bag, images first: who sees the report finds what it refers to.

        Args:
            decision: The decision.
            scan: Its scan; None when the lane kept none: the report then refers to no image.
            scanned: When the bag's last line was read out.
            label: The bag's name in the baggage system.

        Raises:
            DicosError: When a file exists or cannot be written, or the bag cannot stand in one.
        """
        bag = Bag(BagUids.new(self.machine), scanned, self.origin, label)
        stem = f"bag-{decision.bag:06d}"
        report = self.path / f"{stem}-report.dcs"
        low = high = None
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DicosError(f"{self.path} cannot be made", found=error.strerror or str(error),
                             remedy="Name another folder") from error  # fmt: skip
        document = report_document(
            decision,
            bag,
            self.machine,
            self.screener,
            images=() if scan is None else (bag.uids.low, bag.uids.high),
            shape=None if scan is None else (scan.low.shape[0], scan.low.shape[1]),
        )
        if scan is not None:
            low, high = self.path / f"{stem}-low.dcs", self.path / f"{stem}-high.dcs"
            write_scan(scan, bag, self.machine, low, high)
        return BagFiles(doc.save(document, report), low, high)


_Job = tuple[Decision, Scan | None, datetime.datetime, DicosFolder]


class DicosArchive:
    """Writes bags in a thread of its own; a context manager, which ends when all are written.

    Its `put` is a lane's ``on_decision``. It never waits: a bag that comes when `MOST_WAITING`
    others wait is not written, and counted.

    Args:
        folder: Where the files go.
        now: The time of day, with its zone.

    Attributes:
        written: Bags written.
        dropped: Bags that came when the archive was full, or closed.
        failed: Bags that could not be written.
        errors: Why, the first `MOST_ERRORS`.
    """

    def __init__(
        self, folder: DicosFolder, now: Callable[[], datetime.datetime] | None = None
    ) -> None:
        doc.pydicom()  # missing here rather than in the thread
        self._folder = folder
        self._now = now or (lambda: datetime.datetime.now(datetime.timezone.utc))
        self._waiting: queue.Queue[_Job | None] = queue.Queue(MOST_WAITING)
        self._closed = False
        self.written = self.dropped = self.failed = 0
        self.errors: list[str] = []
        self._thread = threading.Thread(target=self._work, name="xedge-dicos", daemon=True)
        self._thread.start()

    def put(self, decision: Decision, scan: Scan | None) -> None:
        """Leave a bag to the thread, or count it as dropped."""
        scanned = self._now() - datetime.timedelta(microseconds=decision.latency_ns // 1000)
        try:
            if self._closed:
                raise queue.Full
            self._waiting.put_nowait((decision, scan, scanned, self._folder))
        except queue.Full:
            self.dropped += 1

    def retune(self, alarm_threshold: float) -> None:
        """Call objects of this score and better threats, in bags that come from now on."""
        screener = replace(self._folder.screener, alarm_threshold=alarm_threshold)
        self._folder = replace(self._folder, screener=screener)

    def close(self) -> None:
        """Return when all bags that were taken are written; safe to call twice."""
        if not self._closed:
            self._closed = True
            self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._waiting.get()) is not None:
            decision, scan, scanned, folder = job
            try:
                folder.write(decision, scan, scanned=scanned)
                self.written += 1
            except Exception as error:  # one bag's failure must not cost the bags behind it
                self.failed += 1
                if len(self.errors) < MOST_ERRORS:
                    said = str(error) if isinstance(error, XedgeError) else repr(error)
                    self.errors.append(f"bag {decision.bag}: {said}")

    def __enter__(self) -> DicosArchive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
