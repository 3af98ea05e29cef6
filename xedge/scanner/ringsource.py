"""The reader of a shared-memory ring: a live source of strips that survives its writer's death."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from xedge.scanner import ring
from xedge.scanner.flatfield import Mask
from xedge.scanner.ring import RingHeader, RingMap, RingPeer
from xedge.scanner.source import Source
from xedge.types import Strip


class RingSource(Source):
    """Strips out of a ring, as they are written; see `xedge.scanner.ring`.

    It takes up where the last reader of the ring stopped, and waits for a writer that died to
    come back. The strips end when the writer closes the ring, or `close` is called. Lines that
    were overwritten before they were read never come: the line counter of the next strip skips
    them. x86-64 only.

    Args:
        path: The ring's file.
        strip_lines: Lines in a strip at the most.
        patience_s: How long a line waits for others to fill its strip.
        poll_s: Seconds between two looks at the ring.

    Raises:
        RingError: When the ring is missing, damaged, of another version, or has a reader.
    """

    live = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        strip_lines: int = 16,
        patience_s: float = 0.02,
        poll_s: float = 0.0005,
    ) -> None:
        self._ring = RingMap(path, ring.READER_AT)
        self._strip_lines = max(1, min(strip_lines, self._ring.header.capacity // 4))
        self._patience_ns, self._poll_s = int(patience_s * 1e9), poll_s
        self._next = min(self._ring.own(ring.COUNT), self._ring.theirs(ring.COUNT))
        self._captured_ns = 0
        # A ring that was closed before this reader came waits for its next writer.
        unread = self._next < self._ring.theirs(ring.COUNT)
        self._seen_open = unread or self._ring.theirs(ring.STATE) == ring.OPEN
        self._stop = threading.Event()
        self._guard = threading.Lock()
        self._reading = self._released = False
        self.header: RingHeader = self._ring.header
        self.lost = 0

    @property
    def elements(self) -> int:
        """Detector elements in a line."""
        return self.header.detector.elements

    @property
    def writer(self) -> RingPeer:
        """What the writer says of itself."""
        return self._ring.peer

    def close(self) -> None:
        """Let go of the ring, also from another thread than reads; safe to call twice."""
        self._stop.set()
        with self._guard:
            self._release_if_idle()

    def __iter__(self) -> Iterator[Strip]:
        with self._guard:
            self._reading = not self._released
        try:
            while self._reading and (count := self._wait()):
                yield from self._take(count)
        finally:
            with self._guard:
                self._reading = False
                if self._stop.is_set():
                    self._release_if_idle()

    def _release_if_idle(self) -> None:
        if not self._reading and not self._released:
            self._released = True
            self._ring.put(ring.STATE, ring.CLOSED)
            self._ring.release()

    def _wait(self) -> int:
        """Lines that can be taken now; 0 when no more will come."""
        since_ns: int | None = None
        while not self._stop.is_set():
            state = self._ring.theirs(ring.STATE)  # before the count is read
            self._seen_open |= state == ring.OPEN
            closed = state == ring.CLOSED and self._seen_open
            ready = self._ring.theirs(ring.COUNT) - self._next
            now_ns = time.monotonic_ns()
            self._ring.put(ring.BEAT, now_ns)
            if ready:
                self._seen_open = True  # by somebody who was there between two looks
                since_ns = now_ns if since_ns is None else since_ns
                waited = now_ns - since_ns >= self._patience_ns
                if ready >= self._strip_lines or waited or closed:
                    return self._catch_up(ready)
            elif closed:
                return 0
            time.sleep(self._poll_s)
        return 0

    def _catch_up(self, ready: int) -> int:
        """Lines to take next; far behind, the older half of the ring is given up."""
        capacity = self.header.capacity
        if ready >= capacity:
            # The oldest lines are being overwritten as they would be read.
            skipped = ready - capacity // 2
            self._lose(skipped)
            ready -= skipped
        at = self._next % capacity
        return min(ready, self._strip_lines, capacity - at)

    def _lose(self, lines: int) -> None:
        self._next += lines
        self.lost += lines
        self._ring.put(ring.LOST, self._ring.own(ring.LOST) + lines)

    def _take(self, count: int) -> list[Strip]:
        """The next lines as strips: one, unless something is wrong within them."""
        at = self._next % self.header.capacity
        rows = self._ring.lines[at : at + count]
        wanted = np.arange(self._next, self._next + count, dtype=np.uint64) * 2 + 2
        # Read the sequences, the lines, and the sequences again: what changed is not used.
        stands = rows["sequence"] == wanted
        copy = rows.copy()
        stands &= rows["sequence"] == wanted
        gone = int(np.count_nonzero(~stands))
        self._next += count - gone
        if gone:
            self._lose(gone)
        self._ring.put(ring.COUNT, self._next)
        return [self._strip(copy[run], intact) for run, intact in _runs(copy, stands)]

    def _strip(self, lines: npt.NDArray[np.void], intact: bool) -> Strip:
        self._captured_ns = max(self._captured_ns, int(lines["captured_ns"][-1]))
        return Strip(
            int(lines["counter"][0]),
            np.ascontiguousarray(lines["encoder"], np.int64),
            np.ascontiguousarray(lines["low"], np.uint16),
            np.ascontiguousarray(lines["high"], np.uint16),
            self._captured_ns,
            intact,
        )


def _runs(lines: npt.NDArray[np.void], stands: Mask) -> list[tuple[slice, bool]]:
    """Runs of lines that may be one strip, and whether it is intact: consecutive counters, all
    of them sound or all of them damaged.
    """
    flags = lines["flags"]
    intact: Mask = (flags & ring.INTACT) != 0
    if (flags & ring.HAS_CRC).any():
        sound = lines["crc"] == np.array(ring.line_crcs(lines), np.uint32)
        intact &= sound | ((flags & ring.HAS_CRC) == 0)
    breaks = np.diff(lines["counter"]) != 1
    breaks |= (intact[1:] != intact[:-1]) | (stands[1:] != stands[:-1])
    edges = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(lines)]
    return [(slice(a, b), bool(intact[a])) for a, b in itertools.pairwise(edges)
            if stands[a]]  # fmt: skip
