"""Text to a stream from a thread of its own: who writes never waits for who reads."""

from __future__ import annotations

import logging
import os
import queue
import threading
from typing import Final

MOST: Final = 1000
CLOSE_S: Final = 5.0


class Outlet:
    """Writes lines to a file descriptor; a context manager that writes what is left at its end.

    Args:
        descriptor: Where to; written to as it is, without a buffer that a stalled reader could
            keep locked while the process ends.
        most: Lines that may wait; what comes on top is counted and lost.
        close_s: Seconds that the end waits for the reader.

    Attributes:
        lost: Lines that nobody read.
    """

    def __init__(self, descriptor: int, most: int = MOST, close_s: float = CLOSE_S) -> None:
        self._descriptor, self._close_s = descriptor, close_s
        self._most = most
        # A handler of a signal may put into this one while the thread that it interrupted does.
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="xedge-outlet", daemon=True)
        self.lost = 0

    def __enter__(self) -> Outlet:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.put(None)
        self._thread.join(self._close_s)

    def say(self, line: str) -> None:
        """Write a line some time; returns at once."""
        if self._lines.qsize() >= self._most:
            self.lost += 1
        else:
            self._lines.put(f"{line}\n".encode(errors="backslashreplace"))

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                while line:
                    line = line[os.write(self._descriptor, line) :]
            except OSError:  # the reader went away; another may not come
                self.lost += 1


class OutletHandler(logging.Handler):
    """Hands records of a log to an outlet.

    Args:
        outlet: Where they go.
    """

    def __init__(self, outlet: Outlet) -> None:
        super().__init__()
        self._outlet = outlet

    def emit(self, record: logging.LogRecord) -> None:
        """Hand over a record."""
        self._outlet.say(self.format(record))
