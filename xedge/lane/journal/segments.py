"""The raw strips of a journal: segment files under a budget, the oldest deleted first."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from xedge.scanner.stripfile import StripFileHeader, StripWriter
from xedge.types import Strip

_NAME: Final = re.compile(r"strips-(\d{8,})\.xstrip(\.part)?")


def path_of(folder: Path, segment: int) -> Path:
    """The file of a segment; ``.part`` behind it while it has no end."""
    return folder / f"strips-{segment:08d}.xstrip"


def segments_in(folder: Path) -> dict[int, Path]:
    """The segment files of a folder, by number, in their order."""
    found = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return dict(sorted((int(match[1]), path) for match, path in found if match))


def bytes_in(folder: Path) -> int:
    """Bytes of the segments of a folder; one that a lane renames or deletes now may be left out."""
    total = 0
    for path in segments_in(folder).values():
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


@dataclass(eq=False)
class Segments:
    """Writes strips; all but `sync` in one thread.

    What takes the disk's own time (to force data onto it, to free a deleted file) is done in a
    thread beside: a decision must not wait for it.

    Args:
        folder: Where.
        keep_bytes: Bytes of all segments together, the one that is written included.
        segment_bytes: Bytes from which another segment is wanted.

    Attributes:
        number: The segment that is written; 0 before the first.
        wanted: True when the next segment should begin as soon as the lane's core can be kept.
    """

    folder: Path
    keep_bytes: int
    segment_bytes: int

    def __post_init__(self) -> None:
        self._sizes = {n: path.stat().st_size for n, path in segments_in(self.folder).items()}
        self.number = 0
        self.wanted = False
        self._header: StripFileHeader | None = None
        self._writer: StripWriter | None = None
        self._beside = ThreadPoolExecutor(1, "xedge-journal-sync")
        self._jobs: list[Future[None]] = []

    @property
    def next_number(self) -> int:
        """The number of a segment behind all that lie there."""
        return max(self._sizes, default=0) + 1

    @property
    def full(self) -> bool:
        """True when the segment is so long that the next one must not wait any more."""
        return self._writer is not None and self._writer.size >= 2 * self.segment_bytes

    def begin(self, number: int, header: StripFileHeader | None = None) -> None:
        """Close the segment that is written and begin another one."""
        self._header = header or self._header
        assert self._header is not None
        if self._writer is not None:
            self._sizes[self.number] = self._writer.size
            self.beside(self._writer.close)
        self._writer = StripWriter(path_of(self.folder, number), self._header)
        self.number, self.wanted = number, False
        self._sizes[number] = self._writer.size

    def write(self, strip: Strip) -> None:
        """Append a strip."""
        assert self._writer is not None
        self._writer.write(strip)
        self.wanted = self._writer.size >= self.segment_bytes

    def over_budget(self, needed: int) -> list[int]:
        """Segments to be deleted: the oldest, never ``needed`` or one behind it."""
        left = sum(self._sizes.values()) - self._sizes.get(self.number, 0) + self.segment_bytes
        chosen = []
        for number in sorted(self._sizes):
            if left <= self.keep_bytes or number >= min(needed, self.number):
                break
            left -= self._sizes[number]
            chosen.append(number)
        return chosen

    def delete(self, number: int) -> int:
        """Delete a segment; the bytes that it had."""
        path = path_of(self.folder, number)

        def unlink() -> None:
            for name in (path, path.with_name(path.name + ".part")):
                name.unlink(missing_ok=True)

        self.beside(unlink)
        return self._sizes.pop(number)

    def beside(self, job: Callable[[], object]) -> None:
        """Do something in the other thread, after what was handed to it before."""
        self.check()
        self._jobs.append(self._beside.submit(lambda: (job(), None)[1]))

    @property
    def idle(self) -> bool:
        """True when the other thread has nothing to do."""
        return all(job.done() for job in self._jobs)

    def check(self) -> None:
        """Nothing, when what was done beside went well.

        Raises:
            OSError, sqlite3.Error: What went wrong there.
        """
        while self._jobs and self._jobs[0].done():
            self._jobs.pop(0).result()

    def sync(self) -> None:
        """Force the strips written so far onto the disk; in the other thread."""
        part = path_of(self.folder, self.number)
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile, and forced then
            handle = os.open(part.with_name(part.name + ".part"), os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def close(self) -> None:
        """Close the last segment and wait for the other thread."""
        if self._writer is not None:
            self.beside(self._writer.close)
        self._beside.shutdown(wait=True)
        self.check()

    def abandon(self) -> None:
        """Let go of everything, whatever state it is in."""
        self._beside.shutdown(wait=False, cancel_futures=True)
        if self._writer is not None:
            self._writer.__exit__(OSError, None, None)
