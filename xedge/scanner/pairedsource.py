"""The views of one belt as one source: their strips taken in turn, and brought together in rows."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from xedge.errors import LineError, XedgeError
from xedge.scanner.pairing import Pairing, ViewBooks, parts_of
from xedge.scanner.source import LineSource, Source
from xedge.types import Strip

WAITING: Final = 256
"""Strips of all views that wait to be brought together; a source beyond waits, and loses lines."""

PART_LINES: Final = 64
"""Lines of a strip that are taken at a time."""

STOP_S: Final = 0.2


class PairedSource(Source):
    """Rows of several views, see `xedge.scanner.pairing`.

    Views that are all live are read in threads of their own, so that one that hangs holds up none;
    others are taken by the times of their strips. A view that raises has ended; the others go on,
    and every bag is flagged.

    Args:
        sources: The views' sources, in the order of the pairing's views.
        pairing: What brings them together.
        tell: Called with what becomes of a view that fails, in the thread that reads the rows.
    """

    def __init__(
        self,
        sources: Sequence[LineSource],
        pairing: Pairing,
        tell: Callable[[str], None] = lambda error: None,
    ) -> None:
        self._sources, self._pairing, self._tell = tuple(sources), pairing, tell
        self._stop = threading.Event()
        self._behind: frozenset[int] = frozenset()
        self.live = all(source.live for source in sources)

    @property
    def elements(self) -> int:
        """Elements of a row: those of all views."""
        return self._pairing.elements

    @property
    def books(self) -> tuple[ViewBooks, ...]:
        """What became of each view's lines."""
        return self._pairing.books

    def close(self) -> None:
        """Close all views; safe to call twice, and from another thread."""
        self._stop.set()
        for source in self._sources:
            source.close()

    def __iter__(self) -> Iterator[Strip]:
        for view, found in self._in_threads() if self.live else self._by_time():
            if isinstance(found, Strip):
                yield from self._pairing.take(view, found)
                self._tell_behind()
                continue
            if found is not None:
                self._tell(f"view {view + 1} failed, no bag is cleared without it: {found}")
            yield from self._pairing.end(view)

    def _tell_behind(self) -> None:
        behind = self._pairing.behind
        for view in sorted(behind - self._behind):
            self._tell(
                f"view {view + 1} gives no lines, or late ones: no bag is cleared without it"
            )
        self._behind = behind

    def _by_time(self) -> Iterator[tuple[int, Strip | str | None]]:
        """Each view's strips and its end, with an error, by the times of the strips."""
        strips = [_read(source) for source in self._sources]
        heads = [next(one) for one in strips]
        open_views = set(range(len(heads)))
        while open_views:
            view = min(open_views, key=lambda k: _time(heads[k]))
            yield view, heads[view]
            if isinstance(heads[view], Strip):
                heads[view] = next(strips[view])
            else:
                open_views.remove(view)

    def _in_threads(self) -> Iterator[tuple[int, Strip | str | None]]:
        waiting: queue.Queue[tuple[int, Strip | str | None]] = queue.Queue(WAITING)

        def read(view: int, source: LineSource) -> None:
            for found in _read(source):
                while not self._stop.is_set():
                    try:
                        waiting.put((view, found), timeout=STOP_S)
                        break
                    except queue.Full:
                        continue
                if self._stop.is_set():
                    return

        threads = [
            threading.Thread(target=read, args=pair, name=f"xedge-view-{pair[0] + 1}", daemon=True)
            for pair in enumerate(self._sources)
        ]
        for thread in threads:
            thread.start()
        open_views = len(threads)
        while open_views and not self._stop.is_set():
            try:
                view, found = waiting.get(timeout=STOP_S)
            except queue.Empty:
                continue
            open_views -= not isinstance(found, Strip)
            yield view, found


def _read(source: LineSource) -> Iterator[Strip | str | None]:
    """A view's strips, and behind them None, or what went wrong."""
    error = before_ns = None
    try:
        for strip in source:
            if not isinstance(strip, Strip):
                raise LineError("it gave something else than a strip", found=type(strip).__name__)
            # One view must not be ahead by a long strip before the others have their turn.
            yield from parts_of(strip, PART_LINES, before_ns)
            before_ns = strip.captured_ns
    except (Exception, SystemExit) as raised:  # a vendor's code: the other views go on
        own = isinstance(raised, XedgeError)
        error = str(raised) if own else f"{type(raised).__name__}: {raised}"
    yield error


def _time(found: Strip | str | None) -> int:
    return found.captured_ns if isinstance(found, Strip) else -1
