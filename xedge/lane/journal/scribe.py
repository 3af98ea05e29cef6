"""The thread that writes a journal, so that a disk that is slow, full or hung stops no lane."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

Work = Callable[[], None]

IDLE_S: Final = 0.2
"""Seconds after which the thread looks whether something is due, though nobody wants anything."""


class Scribe:
    """Does one piece of work after the other, in their order; stops for good at the first error.

    Who hands over work waits only when too much of it lies there already, and who needs to know
    that it is done waits in `settle`: both for ``patience_s`` at the most, after which it is
    stopped. A journal with a hole in it would be worse than one that ends.

    Args:
        tidy: Called in the thread when nothing is left to do, with True when somebody waits for
            the work to be on record; returns True when all of it is.
        most_bytes: Bytes that may wait.
        patience_s: Seconds that a lane may be held up.

    Attributes:
        failure: Why it stopped; empty while it works.
        lost: Pieces of work that were not done.
    """

    def __init__(
        self,
        tidy: Callable[[bool], bool],
        *,
        most_bytes: int,
        patience_s: float,
    ) -> None:
        self._tidy = tidy
        self._most_bytes, self._patience_s = most_bytes, patience_s
        self._changed = threading.Condition()
        self._works: deque[tuple[Work, int]] = deque()
        self._bytes = self._put = self._done = self._recorded = 0
        self._wanted = self._closing = False
        self.failure = ""
        self.lost = 0
        self._thread = threading.Thread(target=self._run, name="xedge-journal", daemon=True)
        self._thread.start()

    def put(self, work: Work, size: int = 0, *, urgent: bool = False) -> None:
        """Hand over work.

        Args:
            work: What to do.
            size: Bytes that it holds in memory.
            urgent: Put it on record as soon as it is done, whoever waits.
        """
        with self._changed:
            room = self._changed.wait_for(
                lambda: not self._bytes or self._bytes + size <= self._most_bytes
                or bool(self.failure), self._patience_s if size else 0,
            )  # fmt: skip
            if size and not room:
                self._stop(f"the disk was {self._bytes / 1e6:.0f} MB behind, and took nothing for "
                           f"{self._patience_s:g} s")  # fmt: skip
            if self.failure:
                self.lost += 1
                return
            self._works.append((work, size))
            self._put += 1
            self._bytes += size
            self._wanted |= urgent
            self._changed.notify_all()

    def settle(self) -> bool:
        """True when all that was handed over is on record; False when it is not and never will."""
        with self._changed:
            mine = self._put
            self._wanted = True
            self._changed.notify_all()
            done = self._changed.wait_for(
                lambda: self._recorded >= mine or bool(self.failure), self._patience_s
            )
            if not done:
                self._stop(f"the disk did not answer for {self._patience_s:g} s")
            return not self.failure

    def close(self, last: Work, wait_s: float) -> bool:
        """Do what is left, then ``last``, and end; False when the thread hangs, or had stopped."""
        with self._changed:
            self._closing = True
            if not self.failure:
                self._works.append((last, 0))
            self._changed.notify_all()
        self._thread.join(wait_s)
        if self._thread.is_alive():
            with self._changed:
                self._stop(f"the disk did not answer for {wait_s:g} s")
        return not self.failure

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._works or self._wanted or self._closing, IDLE_S)
                batch = list(self._works)
                self._works.clear()
                wanted, self._wanted = self._wanted or self._closing, False
                closing = self._closing
            try:
                for work, size in batch:
                    if self.failure:
                        return
                    work()
                    with self._changed:
                        self._bytes -= size
                        self._changed.notify_all()
                recorded = self._tidy(wanted)
            except Exception as error:  # whatever it is, the lane must not wait for this thread
                with self._changed:
                    self.lost += len(batch)
                    self._stop(describe(error))
                return
            with self._changed:
                self._done += len(batch)
                if recorded:
                    self._recorded = self._done
                self._changed.notify_all()
                if closing and not self._works:
                    return

    def _stop(self, why: str) -> None:
        """Give up; what waits is lost. Called with the lock held."""
        if self.failure:
            return
        self.failure = f"{why} ({time.strftime('%Y-%m-%d %H:%M:%S')})"
        self.lost += len(self._works)
        self._works.clear()
        self._bytes = 0
        self._changed.notify_all()


def describe(error: BaseException) -> str:
    """What went wrong at the disk, in words."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error) if isinstance(error, sqlite3.Error) else f"{type(error).__name__}: {error}"
